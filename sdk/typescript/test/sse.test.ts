// Server-sent events, where WebSockets are blocked.
import { describe, expect, it } from "vitest";
import { Client, type MarketEvent, type Options } from "../src/index.ts";
import { brief, fakeTime, Net, pass, trade } from "./fake.ts";

const context = fakeTime();

/** Lets what was written to a stream arrive. */
const arrive = async () => {
  for (let i = 0; i < 10; i++) await new Promise((done) => setImmediate(done));
};

/** One answer that goes on. */
class Stream {
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  readonly response: Response;
  readonly url: URL;
  readonly headers: Record<string, string>;
  readonly signal: AbortSignal;

  constructor(url: string, init: RequestInit) {
    this.url = new URL(url);
    this.headers = init.headers as Record<string, string>;
    this.signal = init.signal as AbortSignal;
    const body = new ReadableStream<Uint8Array>({
      start: (c) => {
        this.#controller = c;
      },
    });
    this.response = new Response(body, { headers: { "Content-Type": "text/event-stream" } });
    this.signal.addEventListener("abort", () => {
      try {
        this.#controller.error(new DOMException("aborted", "AbortError"));
      } catch {
        // it has ended
      }
    });
  }

  get q(): string {
    return decodeURIComponent(this.url.search);
  }

  async write(text: string | Uint8Array): Promise<void> {
    const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
    if (!this.signal.aborted) this.#controller.enqueue(bytes);
    await arrive();
  }

  say(...messages: unknown[]): Promise<void> {
    return this.write(`data: ${JSON.stringify(messages)}\n\n`);
  }

  /** As say, where all topics can be resumed behind it. */
  settle(...messages: unknown[]): Promise<void> {
    return this.write(`data: ${JSON.stringify(messages)}\nid: 7-1\n\n`);
  }

  greet(epoch = 7): Promise<void> {
    return this.say({ T: "success", msg: "connected", epoch });
  }

  async end(): Promise<void> {
    this.#controller.close();
    await arrive();
  }
}

class Server {
  streams: Stream[] = [];
  answer: (s: Stream) => Response | Promise<Response> = (s) => s.response;
  readonly fetch = async (url: unknown, init: unknown) => {
    const s = new Stream(url as string, init as RequestInit);
    this.streams.push(s);
    return this.answer(s);
  };

  get last(): Stream {
    return this.streams.at(-1) as Stream;
  }
}

function make(server: Server, options: Options = {}): { c: Client; got: MarketEvent[]; states: string[] } {
  const c = new Client({ url: "https://gw.test/x", fetch: server.fetch as typeof fetch, transport: "sse", ...options });
  context.clients.push(c);
  const got: MarketEvent[] = [];
  const states: string[] = [];
  c.on("state", (e) => states.push(e.state));
  return { c, got, states };
}

const go = async (ms = 0) => {
  await pass(ms);
  await arrive();
};

describe("the stream", () => {
  it("is asked for with all topics, and its messages are a WebSocket's", async () => {
    const server = new Server();
    const { c, got, states } = make(server, { token: () => "jwt", delivery: "latest", intervalMs: 500 });
    await go(1000);
    expect(server.streams).toEqual([]); // there is nothing to ask for
    c.subscribe({ trades: ["A", "B"], quotes: ["*"] }, (e) => got.push(...e));
    await go(250);
    expect(server.last.url.origin + server.last.url.pathname).toBe("https://gw.test/x/v1/events");
    expect(server.last.q).toBe("?delivery=latest&interval_ms=500&hb_ms=5000&trades=A,B&quotes=*");
    expect(server.last.headers).toEqual({ Authorization: "Bearer jwt" });
    await server.last.greet();
    await server.last.say({ T: "feed", state: "stale", since: "" });
    await server.last.say(trade("A", 5, 0, { snap: true }), trade("A", 6, 5));
    expect(brief(got)).toEqual(["tA5*", "tA6"]);
    expect(states).toEqual(["live", "stale"]);
    expect(c.stats.transport).toBe("sse");
    c.close();
    expect(server.last.signal.aborted).toBe(true);
  });

  it("may come in any pieces, with either end of lines", async () => {
    const server = new Server();
    const { c, got } = make(server);
    c.subscribe({ trades: ["A"] }, (e) => got.push(...e));
    await go();
    expect(server.last.headers).toEqual({});
    let text = ":\n\nretry: 3000\n\n";
    for (let q = 1; q <= 30; q++) {
      const json = JSON.stringify([trade("A", q, q - 1, { x: "é: ü" })]);
      const end = ["\n", "\r\n"][q % 2] as string;
      text += `event: message${end}data: ${json.slice(0, 10)}${end}data:${json.slice(10)}${end}id: 7-${q}${end}${end}:${end}`;
    }
    const bytes = new TextEncoder().encode(text);
    for (let i = 0; i < bytes.length; i += 7) {
      // Bytes, not characters: a letter may be cut in two.
      await server.last.write(bytes.slice(i, i + 7));
    }
    await server.last.write("\n");
    expect(got.map((e) => e.q)).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
    expect(c.state).toBe("live");
  });

  it("goes on behind the last event when it breaks", async () => {
    const server = new Server();
    const { c, got, states } = make(server);
    c.subscribe({ trades: ["A"] }, (e) => got.push(...e));
    await go();
    await server.last.greet();
    await server.last.say(trade("A", 5, 0));
    await server.last.end();
    expect(states).toEqual(["live", "reconnecting"]);
    await go(600);
    expect(server.last.q).toContain("&trades=A&since=7-5");
    await server.last.say(trade("A", 6, 5));
    expect(brief(got)).toEqual(["tA5", "tA6"]);
    expect(c.stats).toMatchObject({ losses: 0, reconnects: 1 });
  });

  it("ends as its last event says", async () => {
    for (const [code, state] of [
      [4003, "closed"],
      [4200, "reconnecting"],
      [4102, "reconnecting"],
    ] as const) {
      const server = new Server();
      const { c } = make(server);
      c.subscribe({ trades: ["A"] });
      await go();
      await server.last.greet();
      const why: unknown[] = [];
      c.on("state", (e) => why.push(e.error));
      await server.last.write(`event: close\ndata: {"code":${code},"reason":"because","retry_ms":5}\n\n`);
      expect(why[0]).toMatchObject({ close: code, message: "because" });
      expect(c.state).toBe(state);
      expect(server.last.signal.aborted).toBe(true);
    }
  });

  it("that makes no sense, or never ends a line, is given up", async () => {
    const server = new Server();
    const { c } = make(server);
    c.subscribe({ trades: ["A"] });
    for (const text of [
      "data: nonsense\n\n",
      "event: close\ndata: nonsense\n\n",
      "x".repeat(6 << 20),
      `${"data: x\n".repeat(10)}\n`,
    ]) {
      for (let i = 0; i < 40 && c.state !== "live"; i++) await go(1000);
      const s = server.last;
      for (let i = 0; i < 4; i++) await s.write(text);
      expect(s.signal.aborted).toBe(true);
      expect(c.state).toBe("reconnecting");
    }
  });

  it("is read no further once it was given up, though more has come", async () => {
    const server = new Server();
    const { c, got } = make(server);
    c.subscribe({ trades: ["A"] }, (e) => got.push(...e));
    await go();
    const data = (m: unknown) => `data: ${JSON.stringify([m])}\n\n`;
    await server.last.write(data(trade("A", 1, 0)) + data({ T: "t" }) + data(trade("A", 2, 1)));
    expect(brief(got)).toEqual(["tA1"]);
    expect(c.state).toBe("reconnecting");
  });

  it("that is silent is given up", async () => {
    const server = new Server();
    const { c, states } = make(server, { heartbeatMs: 1000 });
    c.subscribe({ trades: ["A"] });
    await go();
    await go(1999);
    expect(states).toEqual(["live"]);
    await go(2);
    expect(states).toEqual(["live", "reconnecting"]);
  });
});

describe("refusals", () => {
  const problem = (status: number, more: object = {}) =>
    Response.json({ title: "no", detail: "token has expired" }, { status, ...more });

  it("of credentials are final, and say why", async () => {
    const server = new Server();
    server.answer = () => problem(401);
    const { c } = make(server, { token: "old" });
    c.subscribe({ trades: ["A"] });
    const closed: unknown[] = [];
    c.on("closed", (e) => closed.push(e.error));
    await go();
    expect(closed).toMatchObject([{ code: 401, message: "token has expired", retry: "never" }]);
    await go(60_000);
    expect(server.streams).toHaveLength(1);
  });

  it("of a gateway that is full are obeyed", async () => {
    const server = new Server();
    server.answer = () => problem(503, { headers: { "Retry-After": "7" } });
    const { c } = make(server);
    c.subscribe({ trades: ["A"] });
    await go(6999);
    expect(server.streams).toHaveLength(1);
    await go(600);
    expect(server.streams).toHaveLength(2);
  });

  it("of all kinds make no hot loop", async () => {
    for (const answer of [
      () => problem(500),
      () => problem(429, { headers: { "Retry-After": "nonsense" } }),
      () => new Response("hello", { headers: { "Content-Type": "text/html" } }),
      () => new Response(null, { status: 204 }),
      () => Promise.reject(new TypeError("network")),
      () => ({}) as Response,
      () => new Promise<Response>(() => {}),
    ]) {
      const server = new Server();
      server.answer = answer;
      const { c } = make(server);
      c.subscribe({ trades: ["A"] });
      await go(60_000);
      expect(server.streams.length).toBeLessThan(45);
      c.close();
    }
  });
});

describe("a topic without a value", () => {
  for (const settled of [true, false]) {
    it(`${settled ? "does not keep others from being resumed" : "that may be on its way has all begin anew"}`, async () => {
      const server = new Server();
      const { c } = make(server);
      c.subscribe({ trades: ["A"], statuses: ["*"] });
      await go();
      await server.last.greet();
      await server.last[settled ? "settle" : "say"](trade("A", 5, 0, { snap: true }));
      await server.last.end();
      await go(600);
      expect(server.streams).toHaveLength(2);
      expect(server.last.q.includes("since=7-5")).toBe(settled);
    });
  }
});

describe("changes", () => {
  it("of subscriptions are another stream, which takes over without a gap", async () => {
    const server = new Server();
    const { c, got } = make(server);
    const told: unknown[] = [];
    c.on("reconnect", (e) => told.push(e));
    c.subscribe({ trades: ["A"] }, (e) => got.push(...e));
    await go();
    const old = server.last;
    await old.greet();
    await old.say(trade("A", 5, 0, { snap: true }));
    c.subscribe({ trades: ["B"] }, (e) => got.push(...e));
    await go(260);
    expect(server.streams).toHaveLength(2);
    const next = server.last;
    expect(next.q).toContain("trades=A,B");
    expect(next.q).not.toContain("since"); // else B's current value would not come
    await next.greet();
    await next.say(trade("A", 7, 0, { snap: true }), trade("B", 8, 0, { snap: true }));
    expect(old.signal.aborted).toBe(false); // 6 and 7 have not come yet
    await old.say(trade("A", 6, 5));
    await next.say(trade("A", 9, 7));
    await old.say(trade("A", 7, 6));
    await old.say(trade("A", 9, 7));
    expect(old.signal.aborted).toBe(true);
    await next.say(trade("A", 10, 9), trade("B", 11, 8));
    expect(brief(got).filter((e) => e[1] === "A")).toEqual(["tA5*", "tA6", "tA7", "tA9", "tA10"]);
    expect(brief(got).filter((e) => e[1] === "B")).toEqual(["tB8*", "tB11"]);
    expect(told).toEqual([{ moved: true, reason: "topics", downMs: 0 }]);
    expect(c.stats).toMatchObject({ losses: 0, gaps: 0, moves: 1 });
  });

  it("that are under way when the stream breaks begin anew, and what may be missing is marked", async () => {
    const server = new Server();
    const { c, got } = make(server);
    c.subscribe({ trades: ["A"] }, (e) => got.push(...e));
    await go();
    const old = server.last;
    await old.greet();
    await old.say(trade("A", 5, 0, { snap: true }));
    c.subscribe({ trades: ["B"] }, (e) => got.push(...e));
    await go(260);
    const next = server.last;
    await next.greet();
    await next.say(trade("A", 9, 0, { snap: true }), trade("B", 8, 0, { snap: true }));
    await old.end(); // 6 to 9 of A never came, and the next stream does not bring them
    expect(next.signal.aborted).toBe(true);
    expect(c.state).toBe("reconnecting");
    await go(600);
    expect(server.streams).toHaveLength(3);
    await server.last.greet();
    await server.last.say(trade("A", 9, 0, { snap: true }), trade("B", 8, 0, { snap: true }));
    expect(brief(got)).toEqual(["tA5*", "tB8*", "tA9*!"]);
    expect(c.stats.losses).toBe(1);
  });

  it("that only take away resume, and come together", async () => {
    const server = new Server();
    const { c } = make(server);
    const sub = c.subscribe({ trades: ["A", "B", "C"] });
    await go();
    await server.last.greet();
    await server.last.say(trade("A", 5, 0), trade("B", 6, 0), trade("C", 7, 0));
    sub.update({ trades: ["A", "B"] });
    await go(10);
    sub.update({ trades: ["A"] });
    await go(260);
    expect(server.streams).toHaveLength(2);
    expect(server.last.q).toContain("trades=A&since=7-7");
    for (let i = 0; i < 20; i++) {
      sub.update({ trades: i % 2 ? ["A"] : ["A", "B"] });
      await go(10);
    }
    expect(server.streams.length).toBeLessThan(4);
    c.configure({ delivery: "every" });
    await go(2000);
    expect(server.last.q).toContain("delivery=every");
  });

  it("of the token are another stream too", async () => {
    const server = new Server();
    let n = 0;
    const { c } = make(server, { token: () => `t${++n}` });
    c.subscribe({ trades: ["A"] });
    await go();
    await server.last.greet();
    await server.last.say(trade("A", 5, 0));
    await server.last.say({ T: "expiring", expires: "" });
    await go(10);
    expect(server.last.headers.Authorization).toBe("Bearer t2");
    expect(server.last.q).toContain("since=7-5");
    expect(server.streams[0]?.signal.aborted).toBe(true);
  });
});

describe("falling back", () => {
  it("happens when WebSockets never open; then they are tried once more", async () => {
    const net = new Net();
    net.serve = (s) => s.end(1006);
    const server = new Server();
    const { c, got, states } = make(server, { transport: "auto", WebSocket: net.WebSocket });
    c.subscribe({ trades: ["A"] }, (e) => got.push(...e));
    await go(5000);
    expect(net.sockets).toHaveLength(2 + 1); // twice in vain, and once more beside the stream
    expect(server.streams).toHaveLength(1);
    expect(c.stats.transport).toBe("sse");
    await server.last.greet();
    await server.last.say(trade("A", 5, 0));
    expect(states.at(-1)).toBe("live");
    await server.last.end();
    await go(10_000);
    expect(server.streams.length).toBeGreaterThan(1);
    expect(net.sockets.length).toBeLessThan(6);
    expect(c.state).toBe("live");
  });

  it("is taken back where it was the gateway that was down", async () => {
    const net = new Net();
    net.serve = (s) => s.end(1006);
    const server = new Server();
    const { c } = make(server, { transport: "auto", WebSocket: net.WebSocket });
    const told: unknown[] = [];
    c.on("reconnect", (e) => told.push(e));
    c.subscribe({ trades: ["A"] });
    for (let i = 0; i < 100 && !server.streams.length; i++) await go(20);
    await server.last.greet();
    await server.last.say(trade("A", 5, 0));
    net.serve = (s) => s.greet();
    await go(2000);
    expect(c.stats.transport).toBe("websocket");
    expect(server.last.signal.aborted).toBe(true);
    expect(net.last.commands("subscribe")).toMatchObject([{ trades: ["A"], since: "7-5" }]);
    expect(told).toEqual([{ moved: true, reason: "transport", downMs: 0 }]);
  });

  it("does not happen once a WebSocket has opened, nor by a gateway without server-sent events", async () => {
    const net = new Net();
    const server = new Server();
    const { c } = make(server, { transport: "auto", WebSocket: net.WebSocket });
    c.subscribe({ trades: ["A"] });
    await go(10);
    net.serve = (s) => s.end(1006);
    net.last.end(1006);
    await go(120_000);
    expect(server.streams).toEqual([]);
    c.close();

    server.answer = () => new Response(null, { status: 404 });
    const { c: other } = make(server, { transport: "auto", WebSocket: net.WebSocket });
    other.subscribe({ trades: ["A"] });
    await go(60_000);
    expect(server.streams.length).toBeGreaterThan(1);
    net.serve = (s) => s.greet();
    for (let i = 0; i < 90 && other.stats.transport !== "websocket"; i++) await go(1000);
    expect(other.stats.transport).toBe("websocket");
  });
});
