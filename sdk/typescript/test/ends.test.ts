// What a client does when connections end, and when.
import { afterEach, describe, expect, it, vi } from "vitest";
import { Client, type MarketEvent, type Options } from "../src/index.ts";
import { adviceFor, endings } from "../src/tables.ts";
import { brief, fakeTime, Net, pass, type Socket, trade } from "./fake.ts";

const context = fakeTime();

function make(net: Net, options: Options = {}): Client {
  const c = new Client({ url: "http://gw.test", WebSocket: net.WebSocket, transport: "websocket", ...options });
  context.clients.push(c);
  return c;
}

const zoo = [
  1000,
  1001,
  1002,
  1003,
  1004,
  1005,
  1006,
  1007,
  1008,
  1009,
  1010,
  1011,
  1012,
  1013,
  1014,
  1015,
  2999,
  3000,
  3999,
  4000,
  4001,
  4002,
  4003,
  4004,
  4005,
  4050,
  4099,
  4100,
  4101,
  4102,
  4103,
  4104,
  4150,
  4199,
  4200,
  4201,
  4202,
  4203,
  4250,
  4299,
  4300,
  4999,
  0,
  -1,
  65_536,
  Number.NaN,
  undefined,
  null,
  "4003",
  {},
];

describe("close codes", () => {
  it.each(zoo)("%j are obeyed by their range", async (code) => {
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    const net = new Net();
    const c = make(net);
    c.subscribe({ trades: ["A"] });
    await pass(2);
    expect(c.state).toBe("live");
    const errors: unknown[] = [];
    c.on("state", (e) => errors.push(e.error));
    net.last.end(code, "because");
    const is = typeof code === "number" && Number.isSafeInteger(code) && code > 0 ? code : 1006;
    const advice = adviceFor(is);
    expect(errors[0]).toMatchObject({ close: is, retry: advice, message: "because" });
    expect(c.state).toBe(advice === "never" ? "closed" : "reconnecting");
    await pass(0);
    expect(net.sockets.length).toBe(advice === "now" ? 2 : 1);
    await pass(501);
    expect(net.sockets.length).toBe(advice === "never" ? 1 : 2);
    await pass(3600_000);
    if (advice === "never") expect(net.sockets.length).toBe(1);
  });

  it("that a gateway sends are all in the table", () => {
    for (const { close, retry } of endings) if (close) expect(adviceFor(close)).toBe(retry);
    expect(endings.length).toBeGreaterThan(20);
  });

  it("of the same kind over and over make no hot loop", async () => {
    for (const code of zoo) {
      const net = new Net();
      net.serve = (s) => s.greet().end(code);
      const c = make(net);
      await pass(60_000);
      // Doubling from 500 ms to 30 s at half of that on average: some 12 in a minute, and never 60.
      expect(net.sockets.length).toBeLessThan(60);
      c.close();
    }
  });

  it("begin anew only after a connection that has lasted", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0.999);
    const net = new Net();
    net.serve = (s) => {
      s.greet();
      setTimeout(() => s.end(1006), 11_000);
      setInterval(() => s.say({ T: "hb" }), 4000);
    };
    const c = make(net);
    const waits: number[] = [];
    c.on("state", (e) => e.retryMs && waits.push(e.retryMs));
    await pass(60_000);
    expect(waits.length).toBeGreaterThan(4);
    for (const w of waits) expect(w).toBeCloseTo(499.5, 1);
    c.close();
    vi.clearAllTimers();
  });

  it("double the limit of the wait up to its last, with full jitter", async () => {
    const random = vi.spyOn(Math, "random").mockReturnValue(1 - 1e-9);
    const net = new Net();
    net.serve = (s) => s.end(1006);
    const c = make(net, { minBackoffMs: 100, maxBackoffMs: 1000 });
    const waits: number[] = [];
    c.on("state", (e) => e.retryMs !== undefined && waits.push(Math.round(e.retryMs)));
    await pass(5000);
    expect(waits.slice(0, 6)).toEqual([100, 200, 400, 800, 1000, 1000]);
    random.mockReturnValue(0.25);
    const n = waits.length;
    await pass(2000);
    expect(waits[n + 1]).toBe(250);
  });

  it("have several gateways take turns", async () => {
    const net = new Net();
    net.serve = (s) => (s.url.host === "c" ? s.greet() : s.end(1006));
    const c = make(net, { url: ["http://a", "http://b", "ws://c/v1/stream"] });
    await pass(5000);
    expect(net.last.url.host).toBe("c");
    expect(net.sockets.length).toBeLessThanOrEqual(3);
    for (let i = 0; i < 6; i++) {
      net.last.say({ T: "hb" });
      await pass(2000); // it has lasted
    }
    net.last.end(4200);
    await pass(0);
    expect(net.last.url.host).not.toBe("c");
    expect(c.state).toBe("reconnecting");
  });
});

describe("silence", () => {
  it("of two heartbeats ends a connection; anything heard counts", async () => {
    const net = new Net();
    const c = make(net, { heartbeatMs: 1000 });
    const states: string[] = [];
    c.on("state", (e) => states.push(e.state));
    await pass(1);
    for (let i = 0; i < 10; i++) {
      await pass(1900);
      net.last.say({ T: "hb" });
    }
    expect(net.sockets).toHaveLength(1);
    await pass(1999);
    expect(c.ageMs).toBe(1999);
    expect(states).toEqual(["live"]);
    await pass(1);
    expect(net.last.left).toBe(true);
    expect(states).toEqual(["live", "reconnecting"]);
    await pass(502);
    expect(c.state).toBe("live");
  });

  it("of a machine that slept is not the gateway's", async () => {
    const net = new Net();
    const c = make(net, { heartbeatMs: 1000 });
    await pass(500);
    const before = performance.now();
    vi.spyOn(performance, "now").mockImplementation(() => before + 3_600_000 + Date.now() - t0);
    const t0 = Date.now();
    await pass(1600); // the watchdog has fired, an hour late
    expect(net.last.left).toBe(false);
    net.last.say({ T: "hb" }); // which had waited to be read
    await pass(1500);
    expect(net.sockets).toHaveLength(1);
    await pass(1000);
    expect(net.sockets[0]?.left).toBe(true);
    c.close();
    vi.restoreAllMocks();
  });

  it("of the feed shows in the state and in the age", async () => {
    const net = new Net();
    const c = make(net, { heartbeatMs: 1000 });
    await pass(2);
    net.last.say({ T: "feed", state: "live", since: "" });
    for (let i = 0; i < 5; i++) {
      net.last.say({
        T: "feed",
        state: i < 3 ? "stale" : "down",
        since: "2026-01-05T15:00:00Z",
        reason: "lost",
        sources: [{ name: "sim", state: "stale" }],
      });
      await pass(1000);
      expect(c.state).toBe(i < 3 ? "stale" : "down");
      expect(c.ageMs).toBe(1000 * (i + 1));
    }
    expect(c.feed).toMatchObject({
      state: "down",
      since: "2026-01-05T15:00:00Z",
      reason: "lost",
      sources: [{ name: "sim" }],
    });
    net.last.say({ T: "feed", state: "live" });
    expect([c.state, c.ageMs]).toEqual(["live", 0]);
  });
});

describe("moves", () => {
  /** A gateway that resumes: it has events 1 to n of A, and sends what is behind `since`. */
  const resuming = (net: Net, head: { q: number }) => {
    net.serve = (s) => {
      s.oncommand = (cmd) => {
        s.ack(cmd);
        const since = Number(String(cmd.since ?? "").split("-")[1] ?? 0);
        if (!since) s.say(trade("A", head.q, 0, { snap: true }));
        for (let q = since + 1; since && q <= head.q; q++) s.say(trade("A", q, q - 1));
      };
      s.greet();
    };
  };

  it("happen beside the old connection, without a gap or a repeat", async () => {
    const net = new Net();
    const head = { q: 5 };
    resuming(net, head);
    const c = make(net, { url: ["http://a", "http://b"] });
    const got: MarketEvent[] = [];
    const told: unknown[] = [];
    const states: string[] = [];
    c.on("reconnect", (e) => told.push(e));
    c.on("state", (e) => states.push(e.state));
    c.subscribe({ trades: ["A"] }, (e) => got.push(...e));
    await pass(11_000 / 2);
    net.last.say({ T: "hb", q: 5 });
    await pass(11_000 / 2);
    const old = net.last;
    old.say({ T: "reconnect", reason: "drain", delay_ms: 1000, deadline_ms: 10_000, since: "7-5" });
    old.say(trade("A", ++head.q, 5));
    await pass(999);
    expect(net.sockets).toHaveLength(1);
    old.say(trade("A", ++head.q, 6));
    await pass(1);
    expect(net.sockets).toHaveLength(2);
    old.say(trade("A", ++head.q, 7)); // while the new one is being made
    await pass(10);
    expect(net.last.url.host).not.toBe(old.url.host);
    expect(net.last.commands("subscribe")).toMatchObject([{ trades: ["A"], since: "7-8" }]);
    expect(old.left).toBe(true);
    net.last.say(trade("A", ++head.q, 8));
    expect(brief(got)).toEqual(["tA5*", "tA6", "tA7", "tA8", "tA9"]);
    expect(told).toEqual([{ moved: true, reason: "drain", downMs: 0 }]);
    expect(states).toEqual(["live"]);
    expect(c.stats).toMatchObject({ moves: 1, reconnects: 1, losses: 0, gaps: 0 });
  });

  it("that fail leave the old connection in use, to its end", async () => {
    const net = new Net();
    const c = make(net);
    await pass(2);
    const old = net.last;
    net.serve = (s) => s.end(1006);
    old.say({ T: "reconnect", reason: "max_age", delay_ms: 10, deadline_ms: 30_000 });
    for (let i = 0; i < 4; i++) {
      await pass(3000);
      old.say({ T: "hb" });
    }
    expect(c.state).toBe("live");
    expect(net.sockets.length).toBeGreaterThan(1);
    expect(net.sockets.length).toBeLessThan(15);
    net.serve = (s) => s.greet();
    for (let i = 0; i < 10; i++) {
      await pass(3000);
      old.say({ T: "hb" });
      net.last.say({ T: "hb" });
    }
    expect(old.left).toBe(true);
    expect(c.stats.moves).toBe(1);
  });

  it("go on where the old connection ends too early", async () => {
    const net = new Net();
    const head = { q: 5 };
    resuming(net, head);
    const c = make(net);
    const got: MarketEvent[] = [];
    c.subscribe({ trades: ["A"] }, (e) => got.push(...e));
    await pass(2);
    const old = net.last;
    old.say({ T: "reconnect", reason: "drain", delay_ms: 0, deadline_ms: 1 });
    head.q = 8;
    const serve = net.serve;
    net.serve = (s) => setTimeout(() => serve(s), 3000);
    await pass(600);
    expect(net.sockets).toHaveLength(2);
    old.end(4200);
    expect(c.state).toBe("reconnecting");
    await pass(3000);
    expect(net.sockets).toHaveLength(2);
    expect(brief(got)).toEqual(["tA5*", "tA6", "tA7", "tA8"]);
  });

  it("asked for over and over stay rare", async () => {
    const net = new Net();
    net.serve = (s) => {
      s.greet();
      for (let i = 0; i < 100; i++) s.say({ T: "reconnect", reason: "drain", delay_ms: 0, deadline_ms: 0 });
    };
    make(net);
    await pass(60_000);
    expect(net.sockets.length).toBeGreaterThan(2);
    expect(net.sockets.length).toBeLessThan(60);
  });

  it("are asked for with nonsense, and stay rare", async () => {
    for (const delay_ms of [-1, Number.NaN, "1", null, 1e300, {}, 2 ** 53]) {
      const net = new Net();
      net.serve = (s) => s.greet().say({ T: "reconnect", reason: {}, delay_ms });
      make(net);
      await pass(60_000);
      expect(net.sockets.length).toBeGreaterThan(1);
      expect(net.sockets.length).toBeLessThan(60);
    }
  });
});

describe("losses", () => {
  it("are mended by resuming before them; listeners see no gap", async () => {
    const net = new Net();
    const events = (s: Socket, since: number) => {
      for (let q = since + 1; q <= 9; q++) s.say(trade("A", q, q - 1));
    };
    net.serve = (s) => {
      s.oncommand = (cmd) => {
        s.ack(cmd);
        if (cmd.since) events(s, Number(String(cmd.since).split("-")[1]));
        else s.say(trade("A", 3, 0, { snap: true }), trade("B", 4, 0, { snap: true }));
      };
      s.greet();
    };
    const c = make(net);
    const got: MarketEvent[] = [];
    c.subscribe({ trades: ["A", "B"] }, (e) => got.push(...e));
    await pass(2);
    net.last.say(trade("B", 6, 4), trade("A", 7, 5)); // 4 and 5 of A never came
    await pass(2);
    expect(net.sockets).toHaveLength(2);
    expect(net.last.commands("subscribe")).toMatchObject([
      { trades: ["A"], since: "7-3" },
      { trades: ["B"], since: "7-4" },
    ]);
    expect(brief(got).filter((e) => e.startsWith("tA"))).toEqual(["tA3*", "tA4", "tA5", "tA6", "tA7", "tA8", "tA9"]);
    expect(c.stats).toMatchObject({ resnapshots: 1, losses: 0, gaps: 0 });
  });

  it("that cannot be mended are marked, told, and make no loop", async () => {
    const net = new Net();
    net.serve = (s) => {
      s.oncommand = (cmd) => {
        s.ack(cmd);
        s.say(trade("A", 10, 9));
        s.say(trade("A", 20, 15)); // and so again
      };
      s.greet();
    };
    const c = make(net);
    const gaps: unknown[] = [];
    const got: MarketEvent[] = [];
    c.on("gap", (g) => gaps.push(g));
    c.subscribe({ trades: ["A"] }, (e) => got.push(...e));
    await pass(50_000);
    expect(brief(got)).toEqual(["tA10", "tA20!"]);
    expect(gaps).toEqual([{ reason: "unexplained", from: "7-10", to: "7-15", channel: "trades", symbol: "A" }]);
    expect(c.stats).toMatchObject({ resnapshots: 1, losses: 1, gaps: 1 });
  });

  it("that the gateway tells are passed on, and the next values are marked", async () => {
    const net = new Net();
    const c = make(net);
    const gaps: unknown[] = [];
    const got: MarketEvent[] = [];
    c.on("gap", (g) => gaps.push(g));
    c.subscribe({ trades: ["A", "B"] }, (e) => got.push(...e));
    await pass(2);
    net.last.say(trade("A", 5, 0), trade("B", 6, 0));
    net.last.say({ T: "gap", reason: "expired", from: "7-6", to: "7-20" });
    expect(c.position).toBe("7-6");
    net.last.say(trade("A", 18, 0, { snap: true }), trade("B", 6, 0, { snap: true }));
    net.last.say(trade("A", 21, 18), trade("B", 22, 6));
    net.last.say({ T: "gap", reason: "epoch", from: "7-22", to: "9-1" });
    net.last.say(trade("A", 2, 0, { snap: true }), trade("A", 3, 2));
    expect(brief(got)).toEqual(["tA5", "tB6", "tA18*!", "tA21", "tB22", "tA2*!", "tA3"]);
    expect(gaps).toEqual([
      { reason: "expired", from: "7-6", to: "7-20" },
      { reason: "epoch", from: "7-22", to: "9-1" },
    ]);
    expect(c.position).toBe("9-3");
  });

  it("are none with latest, which brings the current value of what has changed", async () => {
    const net = new Net();
    const c = make(net, { delivery: "latest" });
    const got: MarketEvent[] = [];
    c.subscribe({ trades: ["A"] }, (e) => got.push(...e));
    await pass(2);
    net.last.say(trade("A", 5, 0));
    c.cut();
    await pass(600);
    expect(net.last.commands("subscribe")).toMatchObject([{ since: "7-5" }]);
    net.last.say(trade("A", 50, 0, { snap: true }), trade("A", 51, 50));
    expect(brief(got)).toEqual(["tA5", "tA50*", "tA51"]);
    expect(c.stats).toMatchObject({ losses: 0, gaps: 0 });
  });

  it("between epochs are told by whoever resumes into another one", async () => {
    const net = new Net();
    const c = make(net);
    const got: MarketEvent[] = [];
    c.subscribe({ trades: ["A"] }, (e) => got.push(...e));
    await pass(2);
    net.last.say(trade("A", 500, 0));
    net.serve = (s) => s.greet({ epoch: 8 });
    net.last.end(1006);
    await pass(600);
    expect(net.last.commands("subscribe")).toMatchObject([{ since: "7-500" }]);
    net.last.say({ T: "gap", reason: "epoch", from: "7-500", to: "8-3" });
    net.last.say(trade("A", 3, 0, { snap: true }), trade("A", 4, 3));
    expect(brief(got)).toEqual(["tA500", "tA3*!", "tA4"]);
  });

  it("are not taken for granted where a topic had no value yet: it is asked for anew", async () => {
    const net = new Net();
    const c = make(net);
    c.subscribe({ trades: ["A"], bars: ["Q"] });
    await pass(2);
    net.last.say(trade("A", 5, 0));
    net.last.say({ T: "hb", q: 5 }); // a value may be on its way still
    c.cut();
    await pass(600);
    expect(net.last.commands("subscribe")).toMatchObject([{ trades: ["A"], since: "7-5" }, { bars: ["Q"] }]);
    expect(net.last.commands("subscribe")[1]).not.toHaveProperty("since");
    net.last.say({ T: "hb", q: 9 });
    net.last.say({ T: "hb", q: 9 }); // now it is known to have none
    c.cut();
    await pass(2000);
    expect(net.last.commands("subscribe")).toMatchObject([{ trades: ["A"], bars: ["Q"], since: "7-9" }]);
  });
});

describe("hidden pages", () => {
  afterEach(() => vi.unstubAllGlobals());

  it("pause, and go on where they were", async () => {
    const page = Object.assign(new EventTarget(), { hidden: false });
    vi.stubGlobal("document", page);
    const show = (hidden: boolean) => {
      page.hidden = hidden;
      page.dispatchEvent(new Event("visibilitychange"));
    };
    const net = new Net();
    const c = make(net, { pauseWhenHidden: 5000 });
    const states: string[] = [];
    c.on("state", (e) => states.push(e.state));
    c.subscribe({ trades: ["A"] });
    await pass(2);
    net.last.say(trade("A", 5, 0));
    show(true);
    await pass(4000);
    show(false);
    net.last.say({ T: "hb" });
    await pass(4000);
    expect(states).toEqual(["live"]);
    show(true);
    await pass(5000);
    expect(states).toEqual(["live", "paused"]);
    expect(net.last.left).toBe(true);
    expect(c.ageMs).toBeGreaterThan(5000);
    await pass(3_600_000);
    expect(net.sockets).toHaveLength(1);
    show(false);
    await pass(2);
    expect(states).toEqual(["live", "paused", "reconnecting", "live"]);
    expect(net.last.commands("subscribe")).toMatchObject([{ since: "7-5" }]);
    c.close();
    show(true);
    await pass(10_000);
    expect(c.state).toBe("closed");
  });
});
