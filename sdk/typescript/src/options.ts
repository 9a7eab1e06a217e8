import type { WebSocketConstructor } from "./transport.ts";
import type { Delivery } from "./types.ts";

/** How a client connects and delivers. All is optional. */
export interface Options {
  /** The gateway, as http(s) or ws(s), with or without /v1/stream; several gateways of one feed take turns. Default: the page's origin. */
  url?: string | URL | readonly (string | URL)[];
  /** A JSON Web Token, or what fetches one: asked anew for each connection, and before one expires. */
  token?: string | (() => string | Promise<string>);
  /** An API key and its secret, in place of a token. Not for pages that others see. */
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
  /** Disconnect while the page is hidden, after so many milliseconds; `true` is 10000. Default: never. */
  pauseWhenHidden?: boolean | number;
  /** Default `auto`: WebSocket, and server-sent events where WebSockets never open. */
  transport?: "auto" | "websocket" | "sse";
  /** The first limit of the random wait between attempts, default 500, and the last, default 30000. */
  minBackoffMs?: number;
  maxBackoffMs?: number;
  /** Up to the gateway's greeting, default 10000. */
  connectTimeoutMs?: number;
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
  frame: boolean;
  pauseMs: number | undefined;
  webSocket: WebSocketConstructor | undefined;
  sse: typeof globalThis.fetch | undefined;
  minBackoffMs: number;
  maxBackoffMs: number;
  connectTimeoutMs: number;
}

const wrong = (what: string): never => {
  throw new TypeError(`lzstock: ${what}`);
};

function between(name: string, n: number | undefined, least: number, most: number, normal: number): number {
  const v = n ?? normal;
  if (!(v >= least && v <= most)) wrong(`${name} is ${v}: want ${least} to ${most}`);
  return v;
}

function oneOf(name: string, v: string | undefined, words: string[]): string {
  const is = v ?? (words[0] as string);
  if (!words.includes(is)) wrong(`${name} is "${is}": want one of ${words.join(", ")}`);
  return is;
}

/** Completes the address of a gateway's stream. */
function endpoint(address: string | URL, sessionId: string | undefined): URL {
  let u: URL;
  try {
    u = new URL(address, globalThis.location?.href);
  } catch {
    return wrong(`url "${address}": want https://host, wss://host/v1/stream or the like`);
  }
  if (!/^(http|ws)s?:$/.test(u.protocol)) wrong(`url "${address}": want http, https, ws or wss`);
  for (const key of u.searchParams.keys()) {
    if (key !== "session_id") wrong(`url has the parameter "${key}": subscribe by the client, not by the address`);
  }
  u.hash = "";
  u.protocol = u.protocol.replace("http", "ws");
  u.pathname = `${u.pathname.replace(/\/(v1\/(stream|events)\/?)?$/, "")}/v1/stream`;
  if (sessionId) u.searchParams.set("session_id", sessionId);
  return u;
}

export function delivering(
  delivery: Delivery | undefined,
  intervalMs: number | undefined,
): Pick<Settings, "delivery" | "intervalMs"> {
  const is = oneOf("delivery", delivery, ["adaptive", "every", "latest"]) as Delivery;
  if (intervalMs && is !== "latest") wrong("intervalMs goes with the delivery latest only");
  return { delivery: is, intervalMs: intervalMs ? between("intervalMs", intervalMs, 100, 10_000, 0) : 0 };
}

export function settle(o: Options): Settings {
  const { token, key, secret, sessionId } = o;
  if (!key !== !secret) wrong("key and secret go together");
  if ([token, key, sessionId].filter(Boolean).length > 1) wrong("give a token, or key and secret, or a session");
  const at = o.url ?? globalThis.location?.origin ?? wrong("url is missing: there is no page whose origin it could be");
  const list = Array.isArray(at) ? at : [at];
  if (list.length === 0) wrong("url is an empty list");
  const transport = oneOf("transport", o.transport, ["auto", "websocket", "sse"]);
  const g = globalThis as { WebSocket?: unknown };
  const webSocket =
    transport === "sse" ? undefined : ((o.WebSocket ?? g.WebSocket) as WebSocketConstructor | undefined);
  const fetcher = transport === "websocket" ? undefined : (o.fetch ?? globalThis.fetch?.bind(globalThis));
  if (transport === "websocket" && !webSocket) wrong("there is no WebSocket here: give one as an option");
  if (!webSocket && !fetcher) wrong("there is neither WebSocket nor fetch here: give one as an option");
  const hidden = o.pauseWhenHidden;
  const minBackoffMs = between("minBackoffMs", o.minBackoffMs, 1, 3_600_000, 500);
  return {
    urls: list.map((u: string | URL) => endpoint(u, sessionId)),
    token,
    key,
    secret,
    ...delivering(o.delivery, o.intervalMs),
    heartbeatMs: between("heartbeatMs", o.heartbeatMs, 1000, 60_000, 5000),
    frame: oneOf("flush", o.flush, ["message", "frame"]) === "frame",
    pauseMs:
      hidden === true
        ? 10_000
        : hidden === false || hidden === undefined
          ? undefined
          : between("pauseWhenHidden", hidden, 0, 86_400_000, 0),
    webSocket,
    sse: fetcher,
    minBackoffMs,
    maxBackoffMs: Math.max(minBackoffMs, between("maxBackoffMs", o.maxBackoffMs, 1, 3_600_000, 30_000)),
    connectTimeoutMs: between("connectTimeoutMs", o.connectTimeoutMs, 1, 600_000, 10_000),
  };
}
