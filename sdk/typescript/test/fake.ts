import { afterEach, beforeEach, expect, vi } from "vitest";
import type { Client, MarketEvent } from "../src/index.ts";

/** A network in memory, whose gateway is whatever the test makes of it. */
export class Net {
  sockets: Socket[] = [];
  /** Called for each connection, soon after it was asked for. */
  serve: (s: Socket) => void = (s) => s.greet();
  readonly WebSocket: unknown;

  constructor() {
    const net = this;
    this.WebSocket = class extends Socket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols);
        net.sockets.push(this);
        setTimeout(() => this.over || net.serve(this), 1);
      }
    };
  }

  get last(): Socket {
    return this.sockets.at(-1) as Socket;
  }
}

/** One of its connections, as the gateway has it. */
export class Socket {
  onopen: (e: unknown) => void = () => {};
  onmessage: (e: { data: unknown }) => void = () => {};
  onclose: (e: { code?: unknown; reason?: unknown }) => void = () => {};
  onerror: (e: unknown) => void = () => {};
  over = false;
  /** The client has closed it. */
  left = false;
  sent: Record<string, unknown>[] = [];
  /** Called for each command. */
  oncommand: (c: Record<string, unknown>) => void = (c) => this.ack(c);
  readonly at = performance.now();
  readonly url: URL;
  readonly protocols: string[];

  constructor(url: string, protocols: string[]) {
    this.url = new URL(url);
    this.protocols = protocols;
  }

  send(text: string): void {
    if (this.over) throw new Error("closed");
    const c = JSON.parse(text);
    this.sent.push(c);
    this.oncommand(c);
  }

  close(): void {
    this.left = true;
    this.over = true;
  }

  open(): this {
    this.onopen({});
    return this;
  }

  greet(more: object = {}): this {
    this.open();
    return this.say({ T: "success", msg: "connected", epoch: 7, ping_ms: 20_000, ...more });
  }

  /** Sends messages in one frame. */
  say(...messages: unknown[]): this {
    return this.raw(JSON.stringify(messages));
  }

  raw(data: unknown): this {
    if (!this.over) this.onmessage({ data });
    return this;
  }

  ack(c: Record<string, unknown>, more: object = {}): this {
    return c.action === "auth"
      ? this.say({ T: "success", msg: "authenticated" })
      : this.say({ T: "subscription", id: c.id, trades: [], ...more });
  }

  end(code?: unknown, reason: unknown = ""): void {
    if (this.over) return;
    this.over = true;
    this.onclose({ code, reason });
  }

  /** The commands of one kind. */
  commands(action: string): Record<string, unknown>[] {
    return this.sent.filter((c) => c.action === action);
  }
}

export const trade = (S: string, q: number, pq: number, more: object = {}) => ({
  T: "t",
  S,
  i: 1,
  x: "SIM",
  p: 10.5,
  s: 1,
  t: "2026-01-05T15:00:00Z",
  c: [],
  z: "",
  q,
  pq,
  ...more,
});

export const quote = (S: string, q: number, pq: number, more: object = {}) => ({
  T: "q",
  S,
  bx: "",
  bp: 1,
  bs: 1,
  ax: "",
  ap: 2,
  as: 1,
  t: "2026-01-05T15:00:00Z",
  c: [],
  z: "",
  q,
  pq,
  ...more,
});

export const status = (S: string, q: number, pq: number, more: object = {}) => ({
  T: "s",
  S,
  sc: "H",
  sm: "Trading Halt",
  rc: "T12",
  rm: "",
  t: "2026-01-05T15:00:00Z",
  z: "C",
  q,
  pq,
  ...more,
});

/** Positions and topics, which is mostly what matters. */
export const brief = (events: MarketEvent[]) =>
  events.map((e) => `${e.T}${e.S}${e.q}${e.snap ? "*" : ""}${e.broken ? "!" : ""}`);

/** Fakes time in each test of a file, and fails it where a rejection stays unhandled. */
export function fakeTime(): { clients: Client[] } {
  const context = { clients: [] as Client[] };
  const unhandled: unknown[] = [];
  const note = (e: unknown) => unhandled.push(e);
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
    process.on("unhandledRejection", note);
    process.on("uncaughtException", note);
  });
  afterEach(async () => {
    for (const c of context.clients.splice(0)) c.close();
    await pass(5); // the fake network's own
    expect(vi.getTimerCount(), "timers after close").toBe(0);
    vi.useRealTimers();
    vi.restoreAllMocks();
    await new Promise((done) => setTimeout(done, 0));
    process.off("unhandledRejection", note);
    process.off("uncaughtException", note);
    expect(unhandled.splice(0)).toEqual([]);
  });
  return context;
}

export const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
