import type { WebSocketConstructor } from "./transport.ts";
import type { Delivery } from "./types.ts";

/** How a client connects and delivers. All is optional. */
export interface Options {
  /** The gateway, as http(s) or ws(s), with or without /v1/stream; several gateways of one feed take turns. Default: the page's origin. */
  url?: string | URL | readonly (string | URL)[];
  /** A JSON Web Token, or what fetches one: asked anew for each connection, and before one expires. */
  token?: string | (() => string | Promise<string>);
  /** An API key and its secret, in place of a token, by WebSocket only. Not for pages that others see. */
  key?: string;
  secret?: string;
  /** A session from `POST /v1/sessions`, which needs no credentials. */
  sessionId?: string;
  /** Default `adaptive`. */
  delivery?: Delivery;
  /** 100 to 10000, with `latest`: at most one event per channel and symbol in that time. */
  intervalMs?: number;
  /** 1000 to 60000, default 5000. A gateway that is silent for twice as long is given up. */
  heartbeatMs?: number;
  /** Deliver with each message (default), or once per animation frame; in a hidden tab, each 250 ms at most. */
  flush?: "message" | "frame";
  /** Disconnect while the page is hidden, after so many milliseconds; `true` is 10000. Default: never, as is `false` or 0. */
  pauseWhenHidden?: boolean | number;
  /** Default `auto`: WebSocket, and server-sent events where WebSockets never open. */
  transport?: "auto" | "websocket" | "sse";
  /** The first limit of the random wait between attempts, default 500, and the last, default 30000. */
  minBackoffMs?: number;
  maxBackoffMs?: number;
  /** In place of the global one, such as that of the package ws in Node 20. */
  WebSocket?: unknown;
  /** In place of the global one. */
  fetch?: typeof globalThis.fetch;
}

/** Options, checked and completed. */
export interface Settings {
  urls: URL[];
  token: Options["token"];
  key: string | undefined;
  secret: string | undefined;
  delivery: Delivery;
  intervalMs: number;
  heartbeatMs: number;
  gathers: boolean;
  pauseMs: number;
  webSocket: WebSocketConstructor | undefined;
  sse: typeof globalThis.fetch | undefined;
  minBackoffMs: number;
  maxBackoffMs: number;
}

export const wrong = (name: string, is: unknown, want: string): never => {
  throw new TypeError(`${name} is ${is}: want ${want}`);
};

export function between(name: string, is: number, least: number, most: number): number {
  return is >= least && is <= most ? is : wrong(name, is, `${least} to ${most}`);
}

export function oneOf<W extends string>(name: string, is: W, ...words: W[]): W {
  return words.includes(is) ? is : wrong(name, is, words.join(", "));
}

/** Completes the address of a gateway's stream. */
function endpoint(address: string | URL, sessionId: string | undefined): URL {
  let u: URL | undefined;
  try {
    u = new URL(address, globalThis.location?.href);
  } catch {
    // it is told below
  }
  if (!u || !/^(http|ws)s?:$/.test(u.protocol) || !/^(\?session_id=[^&]+)?$/.test(u.search)) {
    return wrong("url", address, "http(s)://… or ws(s)://… without parameters");
  }
  u.hash = "";
  u.protocol = u.protocol.replace("http", "ws");
  u.pathname = `${u.pathname.replace(/\/(v1\/stream)?$/, "")}/v1/stream`;
  if (sessionId) u.searchParams.set("session_id", sessionId);
  return u;
}

export function delivering(delivery: Delivery, intervalMs: number): { delivery: Delivery; intervalMs: number } {
  oneOf("delivery", delivery, "adaptive", "every", "latest");
  if (intervalMs) between("intervalMs", intervalMs, 100, delivery === "latest" ? 10_000 : 0);
  return { delivery, intervalMs };
}

export function settle(o: Options): Settings {
  const { token, key, secret, sessionId, pauseWhenHidden: hidden, transport = "auto", minBackoffMs = 500 } = o;
  const { location, WebSocket, fetch } = globalThis as Partial<typeof globalThis>;
  if (!key !== !secret || [token, key, sessionId].filter(Boolean).length > 1) {
    wrong("authentication", "ambiguous", "token, or key and secret, or sessionId");
  }
  oneOf("transport", transport, "auto", "websocket", "sse");
  const list = [o.url ?? location?.origin ?? ""].flat() as (string | URL)[];
  if (!list.length) list.push("");
  const webSocket = transport === "sse" ? undefined : ((o.WebSocket ?? WebSocket) as WebSocketConstructor | undefined);
  const sse = transport === "websocket" || key ? undefined : (o.fetch ?? fetch?.bind(globalThis));
  if (!webSocket && !sse) wrong("WebSocket", "missing", "a constructor");
  return {
    urls: list.map((u) => endpoint(u, sessionId)),
    token,
    key,
    secret,
    ...delivering(o.delivery ?? "adaptive", o.intervalMs ?? 0),
    heartbeatMs: between("heartbeatMs", o.heartbeatMs ?? 5000, 1000, 60_000),
    gathers: oneOf("flush", o.flush ?? "message", "message", "frame") === "frame",
    pauseMs: between("pauseWhenHidden", hidden === true ? 10_000 : hidden || -1, -1, 2 ** 31 - 1),
    webSocket,
    sse,
    minBackoffMs: between("minBackoffMs", minBackoffMs, 1, 3_600_000),
    maxBackoffMs: between("maxBackoffMs", o.maxBackoffMs ?? Math.max(minBackoffMs, 30_000), minBackoffMs, 3_600_000),
  };
}
