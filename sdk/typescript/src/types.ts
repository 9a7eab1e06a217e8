import type { Channel } from "./codes.ts";

/** What the gateway does with events that the client does not take in time. */
export type Delivery = "adaptive" | "every" | "latest";

/**
 * Whether prices are current. `connecting`: there was no connection yet. `live`:
 * they are. `stale`: some may not be, the gateway says. `down`: the feed has been
 * lost for 10 s. `reconnecting`: the connection was lost, and the next one goes on
 * where it ended. `paused`: the page is hidden. `closed`: ended for good.
 */
export type State = "connecting" | "live" | "stale" | "down" | "reconnecting" | "paused" | "closed";

/** Symbols by channel; "*" stands for all symbols. */
export type Topics = { readonly [C in Channel]?: readonly string[] };

interface Common {
  /** The symbol. */
  S: string;
  /** The venue's time, RFC 3339 with up to nine digits of the second; of bars the start. `parseTime` reads it. */
  t: string;
  /** The position in the feed. */
  q: number;
  /** The position sent before it on this channel and symbol; 0 for none. */
  pq: number;
  /** How many events it stands for, after conflation. Absent: 1. */
  k?: number;
  /** It is the current value at subscribe, not a live event. */
  snap?: boolean;
  /** Set by the client: events before it on this channel and symbol were lost, or may have been. */
  broken?: boolean;
}

/** One execution. */
export interface Trade extends Common {
  T: "t";
  /** Price and size. */
  p: number;
  s: number;
  /** Identifier, exchange, conditions, tape. */
  i?: number;
  x?: string;
  c?: string[];
  z?: string;
}

/** Best bid and offer. A side that is not quoted has price and size 0. */
export interface Quote extends Common {
  T: "q";
  /** Bid: price, size, exchange. */
  bp: number;
  bs: number;
  bx?: string;
  /** Offer: price, size, exchange. */
  ap: number;
  as: number;
  ax?: string;
  /** Conditions, tape. */
  c?: string[];
  z?: string;
}

interface BarFields extends Common {
  /** Open, high, low, close. */
  o: number;
  h: number;
  l: number;
  c: number;
  /** Volume, number of trades, average price by volume. */
  v: number;
  n: number;
  vw: number;
}

/** A minute that is over. */
export interface Bar extends BarFields {
  T: "b";
}

/** Such a minute again, corrected by a late trade. */
export interface UpdatedBar extends BarFields {
  T: "u";
}

/** The day so far. */
export interface DailyBar extends BarFields {
  T: "d";
}

/** Whether a symbol trades, or why it does not. */
export interface Status extends Common {
  T: "s";
  /** Status: code and text. */
  sc: string;
  sm: string;
  /** Reason: code and text. */
  rc?: string;
  rm?: string;
  /** Tape. */
  z?: string;
}

/** One update, told apart by `T`, with the protocol's own names of fields. */
export type MarketEvent = Trade | Quote | Bar | UpdatedBar | DailyBar | Status;

/** How the feed is, as the gateway has said last. */
export interface Feed {
  state: "live" | "stale" | "down";
  /** Since when, by the server's clock. */
  since?: string;
  reason?: string;
  sources?: { name: string; state: string; since?: string; reason?: string }[];
}

/** Events that will not come. */
export interface Gap {
  /**
   * `expired`: the gateway no longer holds them. `epoch`: the feed began anew.
   * `unexplained`: it says that it has sent what never came.
   */
  reason: "expired" | "epoch" | "unexplained";
  /** Positions, `<epoch>-<q>`. */
  from?: string;
  to?: string;
  /** The only channel and symbol that is concerned; absent: all may be. */
  channel?: Channel;
  symbol?: string;
}

/** A channel and symbol that the gateway refused. It is not asked for again until somebody subscribes to it anew. */
export interface Rejection {
  channel: Channel;
  symbol: string;
  code: number;
  message: string;
}

/** Counts over a client's life. */
export interface Stats {
  /** Of the connection in use; undefined while there is none. */
  transport: "websocket" | "sse" | undefined;
  /** WebSocket messages or server-sent events, and their characters. */
  frames: number;
  bytes: number;
  /** Events that were handed out, and further ones that those stand for, conflated by the gateway. */
  events: number;
  merged: number;
  /** Events that came twice, and were dropped. */
  duplicates: number;
  /** Connections that took the place of an earlier one, and how many of them did so before it had ended. */
  reconnects: number;
  moves: number;
  /** Losses that were told by "gap". */
  gaps: number;
  /** Events that were marked `broken`. */
  losses: number;
  /** Times that events were missing and the client asked for them again. */
  resnapshots: number;
  /** Events that an iterator dropped because nobody took them. */
  dropped: number;
  /** The gateway conflates for this client, which is behind. */
  throttled: boolean;
}
