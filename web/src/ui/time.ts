import type { Time } from "lightweight-charts";

// The chart reckons in UTC; its reader lives somewhere.

const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const fullDay = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const month = new Intl.DateTimeFormat(undefined, { month: "short", year: "2-digit" });
const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hour12: false });
const second = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hour12: false,
});
const utcDay = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });

/** tickMark labels the time axis; kind is 0 year, 1 month, 2 day, 3 time, 4 with seconds. */
export function tickMark(t: Time, kind: number): string {
  const d = new Date((t as number) * 1000);
  if (kind <= 1) return month.format(d);
  if (kind === 2) return day.format(d);
  return kind === 3 ? minute.format(d) : second.format(d);
}

/** crosshairTime labels the crosshair; days are whole, and the market's own. */
export function crosshairTime(t: number, seconds: number): string {
  const d = new Date(t * 1000);
  if (seconds >= 86_400) return utcDay.format(d);
  return `${fullDay.format(d)} ${(seconds < 60 ? second : minute).format(d)}`;
}
