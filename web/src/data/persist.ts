import { intervalOf } from "./interval";

/** Delivery is how the gateway treats what a slow client has not taken yet. */
export type Delivery = "adaptive" | "every" | "latest";

/** View is what the page shows: in the URL, so that it can be shared, and remembered. */
export interface View {
  symbols?: string[];
  symbol?: string; // the one on the chart
  interval?: string; // of its candles
  delivery?: Delivery;
  every?: number; // ms between events of a topic, with latest
}

export const deliveries: readonly Delivery[] = ["adaptive", "every", "latest"];
export const paces: readonly number[] = [0, 100, 250, 500, 1_000, 2_000, 5_000];
const mostSymbols = 300;
const key = "lzstock.view";

/** cleanSymbol gives a symbol as the protocol takes it, or nothing. */
export function cleanSymbol(text: string): string | undefined {
  const s = text.trim();
  return /^[A-Za-z0-9./_:^-]{1,32}$/.test(s) ? s : undefined;
}

function symbolsOf(list: unknown): string[] | undefined {
  if (!Array.isArray(list)) return undefined;
  const clean = list.flatMap((s) => (typeof s === "string" ? (cleanSymbol(s) ?? []) : []));
  return [...new Set(clean)].slice(0, mostSymbols);
}

function checked(v: Record<string, unknown>): View {
  const view: View = {};
  const symbols = symbolsOf(v.symbols);
  if (symbols) view.symbols = symbols;
  const symbol = typeof v.symbol === "string" ? cleanSymbol(v.symbol) : undefined;
  if (symbol) view.symbol = symbol;
  const interval = typeof v.interval === "string" ? intervalOf(v.interval) : undefined;
  if (interval) view.interval = interval.id;
  if (deliveries.includes(v.delivery as Delivery)) view.delivery = v.delivery as Delivery;
  if (paces.includes(Number(v.every)) && v.every !== null && v.every !== "") view.every = Number(v.every);
  return view;
}

/** parseURL reads a view from a query; what makes no sense is left out. */
export function parseURL(search: string): View {
  const q = new URLSearchParams(search);
  const v: Record<string, unknown> = Object.fromEntries(q);
  const symbols = q.get("symbols");
  v.symbols = symbols === null ? undefined : symbols.split(",");
  return checked(v);
}

/** writeURL writes a view as a query that people can read. */
export function writeURL(view: View): string {
  const parts: string[] = [];
  const readable = (s: string) => encodeURIComponent(s).replaceAll("%2F", "/").replaceAll("%3A", ":");
  if (view.symbols) parts.push(`symbols=${view.symbols.map(readable).join(",")}`);
  if (view.symbol) parts.push(`symbol=${readable(view.symbol)}`);
  if (view.interval) parts.push(`interval=${view.interval}`);
  if (view.delivery && view.delivery !== "adaptive") parts.push(`delivery=${view.delivery}`);
  if (view.every) parts.push(`every=${view.every}`);
  return parts.length > 0 ? `?${parts.join("&")}` : "";
}

/** load gives what the URL says, and for the rest what was remembered. */
export function load(search: string, storage: Pick<Storage, "getItem"> | undefined): View {
  let remembered: View = {};
  try {
    remembered = checked(JSON.parse(storage?.getItem(key) ?? "{}"));
  } catch {
    // What is remembered may be anything, or may not be read.
  }
  return { ...remembered, ...parseURL(search) };
}

/** save remembers a view. */
export function save(view: View, storage: Pick<Storage, "setItem"> | undefined): void {
  try {
    storage?.setItem(key, JSON.stringify(view));
  } catch {
    // Storage may be full or forbidden: the URL still has it.
  }
}

/** move puts the item at one place to another. */
export function move<T>(list: readonly T[], from: number, to: number): T[] {
  const out = [...list];
  const [item] = out.splice(from, 1);
  if (item !== undefined) out.splice(to, 0, item);
  return out;
}
