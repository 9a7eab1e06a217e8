import { plain } from "./decimal";

const suffixes: [number, string][] = [
  [1e12, "T"],
  [1e9, "B"],
  [1e6, "M"],
  [1e3, "K"],
];

/** compact writes a quantity in at most about five characters: 1.24M. */
export function compact(n: number): string {
  for (const [size, suffix] of suffixes) {
    if (n >= size * 0.9995) {
      const v = n / size;
      return v.toFixed(v < 9.995 ? 2 : v < 99.95 ? 1 : 0) + suffix;
    }
  }
  return Number.isInteger(n) ? String(n) : n.toFixed(n < 10 ? 2 : 1);
}

/** grouped writes a whole number with commas, and a fraction as it is. */
export function grouped(n: number): string {
  const [whole = "", part] = plain(n).split(".");
  return whole.replace(/\B(?=(\d{3})+$)/g, ",") + (part ? `.${part}` : "");
}

/** age writes a time in milliseconds as a person would say it. */
export function age(ms: number): string {
  if (!Number.isFinite(ms)) return "–";
  if (ms < 950) return `${Math.max(0, Math.round(ms / 100)) / 10} s`;
  if (ms < 9_950) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 59_500) return `${Math.round(ms / 1000)} s`;
  if (ms < 3_570_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} d`;
}

const two = (n: number) => String(n).padStart(2, "0");

/** clock writes a time of day where the reader is. */
export function clock(t: Date, millis = false): string {
  const text = `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
  return millis ? `${text}.${String(t.getMilliseconds()).padStart(3, "0")}` : text;
}

/** bytes writes a size. */
export function bytes(n: number): string {
  if (n < 1_000) return `${Math.round(n)} B`;
  if (n < 1_000_000) return `${(n / 1_000).toFixed(n < 10_000 ? 1 : 0)} kB`;
  return `${(n / 1_000_000).toFixed(n < 10_000_000 ? 1 : 0)} MB`;
}
