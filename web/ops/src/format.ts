// How figures are written. What is not known is a dash.

export const unknown = "–";

export type Unit = "count" | "rate" | "bytes" | "bytes/s" | "seconds" | "share" | "cores" | "yes";

const thin = "\u202f";

/** Three digits that matter, and a letter for the thousands. */
export function short(v: number): string {
  const size = Math.abs(v);
  for (const [limit, letter] of [
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ] as const) {
    if (size >= limit * 0.9995) return digits(v / limit) + letter;
  }
  return digits(v);
}

function digits(v: number): string {
  if (Number.isInteger(v)) return String(v);
  const size = Math.abs(v);
  if (size < 0.005) return "0";
  return String(Number(size >= 100 ? v.toFixed(0) : size >= 10 ? v.toFixed(1) : v.toFixed(2)));
}

export function bytes(v: number): string {
  for (const [limit, unit] of [
    [2 ** 30, "GiB"],
    [2 ** 20, "MiB"],
    [2 ** 10, "KiB"],
  ] as const) {
    if (Math.abs(v) >= limit) return `${digits(v / limit)}${thin}${unit}`;
  }
  return `${digits(v)}${thin}B`;
}

/** A time that passes: 1.5 ms, 12 s, 3 min. */
export function duration(seconds: number): string {
  if (seconds < 0.001) return `${digits(Math.round(seconds * 1e6))}${thin}µs`;
  if (seconds < 1) return `${digits(seconds * 1e3)}${thin}ms`;
  if (seconds < 120) return `${digits(seconds)}${thin}s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)}${thin}min`;
  if (seconds < 172800) return `${digits(seconds / 3600)}${thin}h`;
  return `${digits(seconds / 86400)}${thin}d`;
}

export function figure(v: number | null | undefined, unit: Unit): string {
  if (v === null || v === undefined || Number.isNaN(v)) return unknown;
  switch (unit) {
    case "bytes":
      return bytes(v);
    case "bytes/s":
      return `${bytes(v)}/s`;
    case "seconds":
      return duration(v);
    case "share":
      return `${digits(v * 100)}${thin}%`;
    case "rate":
      return `${short(v)}/s`;
    case "cores":
      return `${digits(v)}${thin}cores`;
    case "yes":
      return v > 0 ? "yes" : "no";
    case "count":
      return short(v);
  }
}

/** A time of day, here. */
export function clock(ms: number, rough = false): string {
  const parts: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit", hour12: false };
  return new Date(ms).toLocaleTimeString([], rough ? parts : { ...parts, second: "2-digit" });
}

/** What is said of the connection to the server. */
export function liveness(lostSince: number | null, lastOK: number | null, now: number, why: string): string {
  if (lostSince !== null) return `lost since ${clock(lostSince)} (${why})`;
  if (lastOK === null) return "connecting";
  const age = Math.max(0, Math.round((now - lastOK) / 1000));
  return age > 2 ? `last heard ${age} s ago` : "live";
}
