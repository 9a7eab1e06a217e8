import { ClientError, type Retry } from "./errors.ts";

/** What a transport tells its connection. Nothing comes after `end`. */
export interface Receiver {
  /** The way is open; nothing has been said yet. */
  open(): void;
  text(data: string): void;
  /** The gateway, or the network, has ended it. An error where it says more than a close code. */
  end(why: ClientError | { close: number; reason: string }): void;
}

/** A way to and from the gateway. After `close` it tells its receiver nothing more. */
export interface Transport {
  send(text: string): void;
  close(): void;
}

/** The greatest message that the client takes, in characters. */
export const maxMessage = 16 << 20;

/** The part of the standard's WebSocket that the client needs. */
export interface WebSocketLike {
  onopen: ((ev: never) => void) | null;
  onmessage: ((ev: never) => void) | null;
  onclose: ((ev: never) => void) | null;
  onerror: ((ev: never) => void) | null;
  send(data: string): void;
  close(code?: number): void;
}

export type WebSocketConstructor = new (url: string, protocols?: string[]) => WebSocketLike;

export function webSocket(make: WebSocketConstructor, url: URL, protocols: string[], to: Receiver): Transport {
  const ws = new make(url.href, protocols);
  const nothing = () => {};
  ws.onopen = () => to.open();
  ws.onmessage = (e: { data: unknown }) => {
    if (typeof e.data === "string") to.text(e.data);
    else done({ close: 1003, reason: "binary data from the gateway" });
  };
  ws.onclose = (e: { code?: unknown; reason?: unknown }) =>
    done({ close: typeof e.code === "number" ? e.code : 1006, reason: typeof e.reason === "string" ? e.reason : "" });
  ws.onerror = nothing; // a close follows, which says more
  const close = () => {
    ws.onopen = ws.onmessage = ws.onclose = nothing;
    try {
      ws.close(1000);
    } catch {
      // it is closed
    }
  };
  const done = (why: { close: number; reason: string }) => {
    close();
    to.end(why);
  };
  return { send: (text) => ws.send(text), close };
}

type Fetch = typeof globalThis.fetch;

/**
 * Server-sent events by fetch, and not EventSource: that one can send no token,
 * tells no status, connects again as it likes, and Node has none.
 */
export function serverSentEvents(fetcher: Fetch, url: URL, headers: Record<string, string>, to: Receiver): Transport {
  const stop = new AbortController();
  let over = false;
  const end = (why: Parameters<Receiver["end"]>[0]) => {
    if (over) return;
    close();
    to.end(why);
  };
  const close = () => {
    over = true;
    stop.abort();
  };
  const run = async () => {
    const answer = await fetcher(url.href, {
      headers: { Accept: "text/event-stream", ...headers },
      signal: stop.signal,
      cache: "no-store",
      credentials: "same-origin",
    });
    if (over) return;
    if (!answer.ok || !answer.body || !/^text\/event-stream/i.test(answer.headers.get("content-type") ?? "")) {
      return end(await refusal(answer));
    }
    to.open();
    const reader = answer.body.getReader();
    const decoder = new TextDecoder();
    let rest = "";
    let data = "";
    let event = "";
    while (!over) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + decoder.decode(value, { stream: true })).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop() as string;
      for (const line of lines) {
        if (over) return;
        const [, field, text] = /^([^:]*):? ?(.*)$/s.exec(line) as unknown as [string, string, string];
        if (line === "") {
          if (event === "close") return end(closing(data));
          if (data) to.text(data);
          data = event = "";
        } else if (field === "data") data += (data && "\n") + text;
        else if (field === "event") event = text;
      }
      if (rest.length + data.length > maxMessage) return end({ close: 1009, reason: "a message that is too large" });
    }
    end({ close: 1006, reason: "" });
  };
  run().catch((cause: unknown) => end(new ClientError("no connection", "backoff", { cause })));
  return { send: () => {}, close };
}

function closing(data: string): Parameters<Receiver["end"]>[0] {
  let it: { code?: unknown; reason?: unknown } | null = null;
  try {
    it = JSON.parse(data);
  } catch {
    // it ends all the same
  }
  return {
    close: typeof it?.code === "number" ? it.code : 1006,
    reason: typeof it?.reason === "string" ? it.reason : "",
  };
}

async function refusal(answer: Response): Promise<ClientError> {
  const { status } = answer;
  let message = answer.ok ? "no event stream at this address" : `HTTP status ${status}`;
  try {
    const { title, detail } = (await answer.json()) as { title?: unknown; detail?: unknown };
    if (typeof title === "string") message = title;
    if (typeof detail === "string") message += `: ${detail}`;
  } catch {
    // the status alone has to do
  }
  const retry: Retry = status < 500 && ![408, 425, 429].includes(status) ? "never" : "backoff";
  const seconds = Number(answer.headers.get("retry-after"));
  const afterMs = seconds > 0 ? Math.min(seconds, 300) * 1000 : 0;
  return new ClientError(message, retry, { code: status, afterMs });
}
