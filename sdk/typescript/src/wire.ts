import { type Channel, channels, letters } from "./codes.ts";
import type { ClientError } from "./errors.ts";

export type Json = Record<string, unknown>;

/** Time that no clock turns back, in milliseconds. */
export const now = (): number => performance.now();

/** A topic is the letter of its channel's messages and the symbol, such as "qAAPL"; "q*" is all symbols. */
export const topicOf = (channel: Channel, symbol: string): string => letters[channels.indexOf(channel)] + symbol;
export const channelOf = (topic: string): Channel => channels[letters.indexOf(topic[0] as string)] as Channel;

const numbers: Record<string, string[]> = { t: ["p", "s"], q: ["bp", "bs", "ap", "as"], s: [] };
const bar = [..."ohlcvn", "vw"];

/** Whether a data message has what each of its kind has. */
export function isEvent(m: Json): boolean {
  const { T, S, t, q, pq, k = 1, snap = false } = m;
  return !!(
    /^.{1,32}$/s.test(str(S)) &&
    str(t) &&
    count(q) &&
    (pq === 0 || count(pq)) &&
    count(k) &&
    typeof snap === "boolean" &&
    (T !== "s" || str(m.sc)) &&
    (numbers[T as string] ?? bar).every((key) => Number.isFinite(m[key]))
  );
}

export function byChannel(topics: string[]): Record<string, string[]> {
  const out: Record<string, string[]> = {};
  for (const topic of topics) {
    out[channelOf(topic)] ??= [];
    out[channelOf(topic)]?.push(topic.slice(1));
  }
  return out;
}

/** Says of each topic what was said of all. */
export const refusals = (topics: string[], { code, message: msg }: ClientError): Json[] =>
  topics.map((t) => ({ ch: channelOf(t), S: t.slice(1), code, msg }));

// What comes from outside is read as what it should be, or as nothing.
export const str = (x: unknown): string => (typeof x === "string" ? x : "");
export const count = (x: unknown): number => (Number.isSafeInteger(x) && (x as number) > 0 ? (x as number) : 0);
