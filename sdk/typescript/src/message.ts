import { type Channel, channels } from "./codes.ts";
import type { Feed, MarketEvent, Rejection } from "./types.ts";

/** A message of control, with what the client needs of it. Wrong types become what is harmless. */
export type Message =
  | { T: "success"; msg: string; epoch: number; bytes: number; rate: number }
  | { T: "subscription"; id: unknown; rejected: Rejection[] }
  | { T: "error"; id: unknown; code: number; msg: string; retry: boolean }
  | { T: "feed"; epoch: number; feed: Feed }
  | { T: "gap"; reason: "expired" | "epoch"; from: string; to: string }
  | { T: "throttle"; on: boolean }
  | { T: "hb"; q: number }
  | { T: "reconnect"; reason: string; delay: number; deadline: number }
  | { T: "expiring" }
  | { T: "" };

export const isPosition = (x: unknown): x is number => Number.isSafeInteger(x) && (x as number) >= 0;

const text = (x: unknown): string => (typeof x === "string" ? x : "");
const count = (x: unknown): number => (isPosition(x) ? x : 0);
const numeric: Record<string, string> = { t: "p s", q: "bp bs ap as", b: "o h l c v n vw" };
for (const bar of "ud") numeric[bar] = numeric.b as string;

/** Whether a data message has what every one of its kind has. */
export function isEvent(m: Record<string, unknown>): m is MarketEvent & Record<string, unknown> {
  const { S, T, q, pq, k, t, snap } = m;
  return (
    typeof S === "string" &&
    S.length > 0 &&
    S.length <= 32 &&
    typeof t === "string" &&
    isPosition(q) &&
    q > 0 &&
    isPosition(pq) &&
    (k === undefined || (isPosition(k) && k > 0)) &&
    (snap === undefined || typeof snap === "boolean") &&
    (numeric[T as string] ?? "").split(" ").every((key) => !key || Number.isFinite(m[key]))
  );
}

/** Reads a position, `<epoch>-<q>`. */
export function parsePosition(s: string): { epoch: number; q: number } | undefined {
  const [, epoch, q] = /^(\d+)-(\d+)$/.exec(s)?.map(Number) ?? [];
  return epoch && isPosition(epoch) && isPosition(q) ? { epoch, q } : undefined;
}

/** Reads a message of control; one that is not known, or makes no sense, has no T. */
export function read(m: Record<string, unknown>): Message {
  switch (m.T) {
    case "success": {
      const limits = (m.limits ?? {}) as Record<string, unknown>;
      return {
        T: m.T,
        msg: text(m.msg),
        epoch: count(m.epoch),
        bytes: count(limits.message_bytes),
        rate: count(limits.commands_per_s),
      };
    }
    case "subscription":
      return { T: m.T, id: m.id, rejected: Array.isArray(m.rejected) ? m.rejected.flatMap(rejection) : [] };
    case "error":
      return { T: m.T, id: m.id, code: count(m.code), msg: text(m.msg), retry: m.retry === true };
    case "feed": {
      const { state, since, reason, sources } = m;
      if (state !== "live" && state !== "stale" && state !== "down") break;
      const feed: Feed = { state };
      if (text(since)) feed.since = text(since);
      if (text(reason)) feed.reason = text(reason);
      if (Array.isArray(sources))
        feed.sources = sources.filter((s) => typeof s?.name === "string" && typeof s.state === "string");
      return { T: m.T, epoch: count(m.epoch), feed };
    }
    case "gap":
      return { T: m.T, reason: m.reason === "epoch" ? "epoch" : "expired", from: text(m.from), to: text(m.to) };
    case "throttle":
      return { T: m.T, on: m.state === "on" };
    case "hb":
      return { T: m.T, q: count(m.q) };
    case "reconnect":
      return { T: m.T, reason: text(m.reason), delay: count(m.delay_ms), deadline: count(m.deadline_ms) };
    case "expiring":
      return { T: m.T };
  }
  return { T: "" };
}

function rejection(r: Record<string, unknown> | null): Rejection[] {
  const channel = r?.ch as Channel;
  return channels.includes(channel) && typeof r?.S === "string"
    ? [{ channel, symbol: r.S, code: count(r.code), message: text(r.msg) }]
    : [];
}
