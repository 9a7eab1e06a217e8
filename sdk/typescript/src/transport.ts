import { adviceFor } from "./codes.ts";
import { ClientError } from "./errors.ts";
import { count, str } from "./wire.ts";

/** What a transport tells its connection. Nothing comes after `fail`, nor after the transport was closed. */
export interface Receiver {
  /** The way is open; nothing has been said yet. */
  open(): void;
  /** A frame. settled: all that was asked for can be resumed behind it. */
  text(data: string, settled?: boolean): void;
  /** The gateway, or the network, has ended it. */
  fail(why: ClientError): void;
}

/** A way to and from the gateway. */
export interface Transport {
  send(text: string): void;
  close(): void;
}

/** The greatest message that the client takes, in characters. */
export const maxMessage = 16 << 20;

/** The part of the standard's WebSocket that the client needs. */
export interface WebSocketLike {
  onopen: unknown;
  onmessage: unknown;
  onclose: unknown;
  onerror: unknown;
  send(data: string): void;
  close(code?: number): void;
}

export type WebSocketConstructor = new (url: string, protocols?: string[]) => WebSocketLike;

/** The longest that a gateway may ask to wait. */
export const longest = 300_000;

function closed(close?: unknown, reason?: unknown, after?: unknown): ClientError {
  const code = count(close) || 1006;
  return new ClientError(str(reason) || "connection lost", adviceFor(code), 0, code, Math.min(count(after), longest));
}

export function webSocket(make: WebSocketConstructor, url: URL, protocols: string[], to: Receiver): Transport {
  const ws = new make(url.href, protocols);
  const nothing = () => {};
  const close = () => {
    ws.onopen = ws.onmessage = ws.onclose = nothing;
    try {
      ws.close(1000);
    } catch {
      // it is closed
    }
  };
  ws.onopen = () => to.open();
  ws.onmessage = (e: { data: unknown }) => to.text(str(e.data));
  ws.onclose = (e: { code: unknown; reason: unknown }) => to.fail(closed(e.code, e.reason));
  ws.onerror = nothing; // a close follows, which says more
  return { send: (text) => ws.send(text), close };
}

/**
 * Server-sent events by fetch, and not EventSource: that one can send no token,
 * tells no status, connects again as it likes, and Node has none.
 */
export function serverSentEvents(fetcher: typeof fetch, url: URL, token: string, to: Receiver): Transport {
  const stop = new AbortController();
  const { signal } = stop;
  const run = async () => {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const answer = await fetcher(url.href, { headers, signal });
    const type = answer.headers.get("content-type") ?? "";
    if (!answer.ok || !answer.body || !type.includes("event-stream")) throw await refusal(answer);
    to.open();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done || rest.length > maxMessage) throw closed();
      const blocks = (rest + value).split(/\r?\n\r?\n/);
      rest = blocks.pop() as string;
      for (const block of blocks) {
        const data = [...block.matchAll(/^data: ?([^\n]*)/gm)].map((m) => m[1]).join("\n");
        if (/^event: ?close/m.test(block)) {
          const { code, reason, retry_ms } = JSON.parse(data);
          throw closed(code, reason, retry_ms);
        }
        if (data) to.text(data, /^id:.*-/m.test(block));
      }
    }
  };
  run().catch((why: unknown) => {
    if (!signal.aborted)
      to.fail(why instanceof ClientError ? why : new ClientError("no connection", "backoff", 0, 0, 0, why));
  });
  return { send() {}, close: () => stop.abort() };
}

async function refusal(answer: Response): Promise<ClientError> {
  const { status } = answer;
  const problem = await answer.json().catch(() => {});
  const final = status < 500 && ![408, 425, 429].includes(status);
  const after = Math.min(count(1000 * Number(answer.headers.get("retry-after"))), longest);
  const message = str(problem?.detail) || str(problem?.title) || `HTTP status ${status}`;
  return new ClientError(message, final ? "never" : "backoff", status, 0, after);
}
