import { describe, expect, it, vi } from "vitest";
import { Client, type ClientEvents, type MarketEvent, type Options, parseTime } from "../src/index.ts";
import { brief, fakeTime, Net, pass, quote, trade } from "./fake.ts";

const context = fakeTime();

function make(net: Net, options: Options = {}): Client {
  const c = new Client({ url: "http://gw.test", WebSocket: net.WebSocket, transport: "websocket", ...options });
  context.clients.push(c);
  return c;
}

/** Notes what a client tells. */
function listen(c: Client): { [K in keyof ClientEvents]: ClientEvents[K][] } {
  const told = {} as Record<string, unknown[]>;
  for (const type of ["state", "feed", "gap", "throttle", "rejected", "error", "reconnect", "closed"] as const) {
    const list: unknown[] = [];
    told[type] = list;
    c.on(type, (e) => list.push(e));
  }
  return told as never;
}

describe("connecting", () => {
  it("asks for the native endpoint, and subscribes once it is greeted", async () => {
    const net = new Net();
    const c = make(net, { url: "https://gw.test/markets/", delivery: "latest", intervalMs: 500, heartbeatMs: 2000 });
    c.subscribe({ trades: ["AAPL"], quotes: ["*"] });
    expect(c.state).toBe("connecting");
    expect(c.ageMs).toBe(Number.POSITIVE_INFINITY);
    await pass(0);
    const s = net.last;
    expect(s.url.href).toBe("wss://gw.test/markets/v1/stream?delivery=latest&interval_ms=500&hb_ms=2000");
    expect(s.protocols).toEqual(["lzstock.v1.json"]);
    expect(s.sent).toEqual([]);
    await pass(1);
    expect(s.sent).toEqual([
      {
        action: "subscribe",
        id: 1,
        trades: ["AAPL"],
        quotes: ["*"],
        delivery: "latest",
        interval_ms: 500,
        hb_ms: 2000,
      },
    ]);
    expect(c.state).toBe("live");
    await pass(300);
    expect(c.ageMs).toBe(300);
  });

  it("sends a token as a subprotocol, and after a refusal in a message, which says why", async () => {
    const net = new Net();
    let n = 0;
    net.serve = (s) => {
      if (s.protocols.length > 1) return s.end(1006); // 401, as a page sees it
      s.greet();
      s.say({ T: "error", code: 402, msg: "auth failed: wrong", retry: false });
      s.end(4001, "auth failed");
    };
    const c = make(net, { token: async () => `token${++n}` });
    const told = listen(c);
    await pass(10_000);
    expect(net.sockets.map((s) => s.protocols[1])).toEqual([
      "bearer.token1",
      undefined,
      "bearer.token3", // a new one is tried once
      undefined,
    ]);
    expect(net.sockets.map((s) => s.sent[0])).toEqual([
      undefined,
      { action: "auth", token: "token2" },
      undefined,
      { action: "auth", token: "token4" },
    ]);
    expect(c.state).toBe("closed");
    expect(told.closed).toHaveLength(1);
    expect(told.closed[0]?.error).toMatchObject({ code: 402, retry: "never", message: "auth failed: wrong" });
  });

  it("sends a key and its secret, and waits until they are accepted", async () => {
    const net = new Net();
    net.serve = (s) => {
      s.oncommand = () => {};
      s.greet();
    };
    const c = make(net, { key: "k", secret: "s" });
    c.subscribe({ trades: ["A"] });
    await pass(10);
    expect(net.last.sent).toEqual([{ action: "auth", key: "k", secret: "s" }]);
    expect(c.state).toBe("connecting");
    net.last.say({ T: "success", msg: "authenticated" });
    await pass(1);
    const [subscribe] = net.last.commands("subscribe");
    expect(c.state).toBe("connecting"); // nothing has been answered yet
    net.last.ack(subscribe as Record<string, unknown>);
    await pass(1);
    expect(c.state).toBe("live");
  });

  it("is not live before a gateway that wants to know who it is has said so", async () => {
    const net = new Net();
    net.serve = (s) => {
      s.oncommand = () => setTimeout(() => s.say({ T: "error", code: 401, msg: "not authenticated", retry: false }), 1);
      s.greet();
    };
    const c = make(net, {});
    const told = listen(c);
    c.subscribe({ trades: ["A"] });
    await pass(10);
    expect(c.state).toBe("closed");
    expect(told.state.map((e) => e.state)).not.toContain("live");
  });

  it("renews a token before it expires, also where that fails at first", async () => {
    const net = new Net();
    let n = 0;
    const c = make(net, {
      token: () => {
        if (++n === 2) throw new Error("not now");
        if (n === 3) return Promise.reject(new Error("nor now"));
        return `t${n}`;
      },
    });
    await pass(10);
    net.last.say({ T: "expiring", expires: "2026-01-05T15:00:00Z" });
    net.last.say({ T: "expiring", expires: "2026-01-05T15:00:00Z" });
    for (let i = 0; i < 25; i++) {
      await pass(1000);
      net.last.say({ T: "hb", t: "" });
    }
    expect(net.last.commands("auth")).toEqual([{ action: "auth", token: "t4" }]);
    expect(c.state).toBe("live");
    expect(net.sockets).toHaveLength(1);
  });

  it("gives a token's source up after the timeout, and asks again", async () => {
    const net = new Net();
    let n = 0;
    const c = make(net, { token: () => (++n === 1 ? new Promise<string>(() => {}) : "good") });
    await pass(9999);
    expect(n).toBe(1);
    await pass(600);
    expect(n).toBe(2);
    expect(c.state).toBe("live");
  });

  it("gives a gateway up that says nothing", async () => {
    const net = new Net();
    net.serve = (s) => s.open();
    const c = make(net);
    const told = listen(c);
    await pass(10_000);
    expect(net.last.left).toBe(true);
    expect(told.state.at(-1)).toMatchObject({ state: "connecting", error: { message: "the gateway is silent" } });
  });

  it.each([
    [{ url: "ftp://x" }, "url is ftp://x"],
    [{ url: "nonsense" }, "url is nonsense"],
    [{ url: [] }, "url is :"],
    [{ url: "http://x/v1/stream?trades=A" }, "without parameters"],
    [{ url: undefined }, "url"],
    [{ key: "a" }, "authentication"],
    [{ token: "a", key: "b", secret: "c" }, "authentication"],
    [{ delivery: "some" }, "delivery is some: want adaptive, every, latest"],
    [{ intervalMs: 500 }, "intervalMs is 500"],
    [{ delivery: "latest", intervalMs: 50 }, "intervalMs is 50: want 100 to 10000"],
    [{ heartbeatMs: 10 }, "heartbeatMs is 10: want 1000 to 60000"],
    [{ heartbeatMs: "x" }, "heartbeatMs is x"],
    [{ flush: "never" }, "flush is never"],
    [{ transport: "pigeon" }, "transport is pigeon"],
    [{ minBackoffMs: 0 }, "minBackoffMs is 0"],
    [{ maxBackoffMs: 10 }, "maxBackoffMs is 10"],
    [{ pauseWhenHidden: -5 }, "pauseWhenHidden is -5"],
    [{ WebSocket: undefined, transport: "websocket" }, "WebSocket"],
  ])("refuses the options %j", (options, message) => {
    const given = { url: "http://x", WebSocket: class {}, transport: "websocket", ...options } as Options;
    if ("WebSocket" in options) vi.stubGlobal("WebSocket", undefined);
    try {
      expect(() => new Client(given)).toThrow(message);
      expect(() => new Client(given)).toThrow(TypeError);
    } finally {
      vi.unstubAllGlobals();
    }
  });
});

describe("subscriptions", () => {
  it("are one union on the wire, counted by reference", async () => {
    const net = new Net();
    const c = make(net);
    const a = c.subscribe({ trades: ["A", "B"] });
    const b = c.subscribe({ trades: ["B", "C"], quotes: ["A"] });
    await pass(2);
    const wire = () => net.last.sent.map((s) => [s.action, s.trades, s.quotes]);
    expect(wire()).toEqual([["subscribe", ["A", "B", "C"], ["A"]]]);
    a.close();
    await pass(1);
    expect(wire().slice(1)).toEqual([["unsubscribe", ["A"], undefined]]);
    b.update({ trades: ["B", "D"] });
    await pass(1);
    expect(wire().slice(2)).toEqual([
      ["unsubscribe", ["C"], ["A"]],
      ["subscribe", ["D"], undefined],
    ]);
    c.subscribe({ trades: ["E"] }).close(); // what comes and goes at once is never heard of
    await pass(1);
    expect(wire()).toHaveLength(4);
    expect(b.topics).toEqual({ trades: ["B", "D"] });
  });

  it("get their own events, once each, and others do not", async () => {
    const net = new Net();
    const c = make(net);
    const got: Record<string, MarketEvent[]> = { a: [], all: [], q: [] };
    c.subscribe({ trades: ["A"] }, (e) => got.a?.push(...e));
    c.subscribe({ trades: ["*", "A"] }, (e) => got.all?.push(...e));
    c.subscribe({ quotes: ["A"] }, (e) => got.q?.push(...e));
    await pass(2);
    net.last.say(trade("A", 10, 0, { snap: true }), trade("B", 11, 0), quote("A", 12, 0), trade("A", 13, 10));
    net.last.say(quote("Z", 14, 0));
    expect(brief(got.a as MarketEvent[])).toEqual(["tA10*", "tA13"]);
    expect(brief(got.all as MarketEvent[])).toEqual(["tA10*", "tB11", "tA13"]);
    expect(brief(got.q as MarketEvent[])).toEqual(["qA12"]);
  });

  it("that come later get what is current from memory, without asking", async () => {
    const net = new Net();
    const c = make(net);
    c.subscribe({ trades: ["*"] });
    await pass(2);
    net.last.say(trade("A", 10, 0), trade("B", 11, 0));
    const got: MarketEvent[] = [];
    c.subscribe({ trades: ["*"] }, (e) => got.push(...e));
    await pass(0);
    expect(brief(got)).toEqual(["tA10*", "tB11*"]);
    expect(net.last.sent).toHaveLength(1);
  });

  it("begin anew after nobody wanted a symbol for a while", async () => {
    const net = new Net();
    const c = make(net);
    const got: MarketEvent[] = [];
    const sub = c.subscribe({ trades: ["A"] }, (e) => got.push(...e));
    await pass(2);
    net.last.say(trade("A", 10, 0));
    sub.update({});
    await pass(1);
    net.last.say(trade("A", 11, 10)); // was on its way
    sub.update({ trades: ["A"] });
    await pass(1);
    net.last.say(trade("A", 20, 0, { snap: true }), trade("A", 21, 20));
    expect(brief(got)).toEqual(["tA10", "tA20*", "tA21"]);
    expect(c.stats).toMatchObject({ losses: 0, gaps: 0, events: 3 });
  });

  it("tell what the gateway refuses, and ask again only when somebody subscribes anew", async () => {
    const net = new Net();
    net.serve = (s) => {
      s.oncommand = (cmd) => {
        if (JSON.stringify(cmd).includes("TOO"))
          s.say({ T: "error", id: cmd.id, code: 405, msg: "symbol limit exceeded", retry: false });
        else
          s.ack(cmd, {
            rejected: [{ ch: "trades", S: "X", code: 412, msg: "unknown symbol" }, null, { ch: 1 }, { ch: "trades" }],
          });
      };
      s.greet();
    };
    const c = make(net);
    const told = listen(c);
    const x = c.subscribe({ trades: ["A", "X"] });
    await pass(2);
    expect(told.rejected).toEqual([[{ channel: "trades", symbol: "X", code: 412, message: "unknown symbol" }]]);
    const y = c.subscribe({ quotes: ["TOO"] });
    await pass(1);
    expect(told.rejected[1]).toEqual([
      { channel: "quotes", symbol: "TOO", code: 405, message: "symbol limit exceeded" },
    ]);
    expect(told.error).toMatchObject([{ code: 405 }]);
    c.cut();
    await pass(1000);
    expect(net.last.sent).toMatchObject([{ trades: ["A"] }]);
    x.close();
    y.close();
    c.subscribe({ trades: ["X"] });
    await pass(1);
    expect(net.last.commands("subscribe").at(-1)).toMatchObject({ trades: ["X"] });
  });

  it("are written as commands that the gateway takes: in parts, and not too fast", async () => {
    const net = new Net();
    net.serve = (s) => s.greet({ limits: { message_bytes: 1100, commands_per_s: 4 } });
    const c = make(net);
    const symbols = Array.from({ length: 1000 }, (_, i) => `SYM${i}`);
    c.subscribe({ trades: symbols, quotes: symbols });
    await pass(2);
    expect(net.last.sent).toHaveLength(4);
    await pass(1000);
    expect(net.last.sent.length).toBeLessThanOrEqual(8);
    for (let i = 0; i < 60; i++) {
      net.last.say({ T: "hb" });
      await pass(1000);
    }
    for (const cmd of net.last.sent) expect(JSON.stringify(cmd).length).toBeLessThanOrEqual(1100);
    expect(net.last.sent.flatMap((s) => (s.trades as string[]) ?? [])).toEqual(symbols);
    expect(net.last.sent.flatMap((s) => (s.quotes as string[]) ?? [])).toEqual(symbols);
  });

  it("refuse what is no channel or no symbol", () => {
    const c = make(new Net());
    expect(() => c.subscribe({ news: ["A"] } as never)).toThrow("channel is news: want trades, quotes, bars");
    expect(() => c.subscribe(JSON.parse('{"__proto__":["A"]}'))).toThrow("channel is __proto__");
    expect(() => c.subscribe({ trades: [""] })).toThrow("symbol of trades is : want 1 to 32 characters");
    expect(() => c.subscribe({ trades: [5 as never] })).toThrow("symbol of trades");
    expect(() => c.subscribe({ trades: ["A,B"] })).toThrow("symbol of trades");
  });

  it("change their delivery while they are there", async () => {
    const net = new Net();
    const c = make(net, { delivery: "latest", intervalMs: 1000 });
    c.subscribe({ trades: ["A"] });
    await pass(2);
    c.configure({ intervalMs: 250 });
    c.configure({ delivery: "every" });
    expect(net.last.sent.slice(1)).toMatchObject([
      { action: "subscribe", delivery: "latest", interval_ms: 250 },
      { action: "subscribe", delivery: "every", interval_ms: 0 },
    ]);
    expect(() => c.configure({ delivery: "x" as never })).toThrow("delivery is x");
    c.cut();
    await pass(1000);
    expect(net.last.url.search).toContain("delivery=every&interval_ms=0");
  });
});

describe("iterators", () => {
  it("give events one by one, from the current value on", async () => {
    const net = new Net();
    const c = make(net);
    const sub = c.subscribe({ trades: ["A"] });
    await pass(2);
    net.last.say(trade("A", 10, 0));
    const seen: MarketEvent[] = [];
    const reading = (async () => {
      for await (const e of sub) seen.push(e);
    })();
    await pass(0);
    net.last.say(trade("A", 11, 10), trade("A", 12, 11));
    await pass(0);
    expect(brief(seen)).toEqual(["tA10*", "tA11", "tA12"]);
    sub.close();
    await reading;
  });

  it("conflate what nobody takes, with k", async () => {
    const net = new Net();
    const c = make(net);
    const it = c.subscribe({ trades: ["*"] }).events({ limit: 4 });
    const first = it.next();
    await pass(2);
    net.last.say(trade("A", 1, 0));
    await first;
    for (let q = 2; q <= 101; q++) net.last.say(trade(q % 2 ? "A" : "B", q, q > 3 ? q - 2 : q - 2, { k: 2 }));
    const rest: MarketEvent[] = [];
    for (let i = 0; i < 3; i++) rest.push((await it.next()).value as MarketEvent);
    const sums = new Map<string, number>();
    for (const e of rest) sums.set(e.S, (sums.get(e.S) ?? 0) + (e.k ?? 1));
    const left = c.stats.dropped;
    expect(left).toBe(0);
    expect(rest.at(-1)?.q).toBeGreaterThan(98);
    await it.return();
    expect((await it.next()).done).toBe(true);
  });

  it("drop the oldest where that is asked for, or conflation is not enough", async () => {
    const net = new Net();
    const c = make(net);
    const it = c.subscribe({ trades: ["*"] }).events({ limit: 3, overflow: "drop" });
    const wide = c.subscribe({ trades: ["*"] }).events({ limit: 2 });
    const firsts = [it.next(), wide.next()];
    await pass(2);
    net.last.say(trade("Z", 1, 0));
    await Promise.all(firsts);
    net.last.say(...["A", "B", "C", "D", "E"].map((s, i) => trade(s, i + 2, 0)));
    expect(c.stats.dropped).toBe(2 + 3);
    const got = [await it.next(), await it.next(), await it.next()].map((r) => r.value as MarketEvent);
    expect(brief(got)).toEqual(["tC4", "tD5", "tE6"]);
    expect(() => c.subscribe({}).events({ limit: 0 })).toThrow("limit is 0");
    expect(() => c.subscribe({}).events({ overflow: "x" as never })).toThrow("overflow is x");
    await it.return();
    await wide.return();
  });

  it("end with the client's error", async () => {
    const net = new Net();
    const c = make(net);
    const sub = c.subscribe({ trades: ["A"] });
    const failing = expect(sub.events().next()).rejects.toMatchObject({ close: 4003, retry: "never" });
    await pass(2);
    net.last.end(4003, "the credentials were revoked");
    await failing;
    await expect(sub.events().next()).rejects.toMatchObject({ close: 4003 });
    await expect(
      c
        .subscribe({ trades: ["B"] })
        .events()
        .next(),
    ).rejects.toMatchObject({ close: 4003 });
  });
});

describe("listeners", () => {
  it("that throw break nothing, and are told of", async () => {
    const net = new Net();
    const c = make(net);
    const bad = new Error("bad listener");
    const got: MarketEvent[] = [];
    c.subscribe({ trades: ["A"] }, () => {
      throw bad;
    });
    c.subscribe({ trades: ["A"] }, (async () => {
      throw bad;
    }) as never);
    c.subscribe({ trades: ["A"] }, (e) => got.push(...e));
    await pass(2);
    const reports = vi.spyOn(console, "error").mockImplementation(() => {});
    net.last.say(trade("A", 1, 0));
    await pass(0);
    expect(reports.mock.calls).toEqual([[bad], [bad]]);
    const errors: unknown[] = [];
    c.on("error", (e) => {
      errors.push(e);
      throw new Error("so is this one");
    });
    net.last.say(trade("A", 2, 1));
    await pass(0);
    expect(errors).toEqual([bad, bad]);
    expect(reports.mock.calls.slice(2)).toMatchObject([
      [{ message: "so is this one" }],
      [{ message: "so is this one" }],
    ]);
    expect(brief(got)).toEqual(["tA1", "tA2"]);
    expect(c.state).toBe("live");
  });

  it("may close, cut and subscribe in the midst of anything", async () => {
    const net = new Net();
    for (const type of ["state", "feed", "reconnect", "gap", "rejected"] as const) {
      for (const act of ["close", "cut", "subscribe"] as const) {
        const c = make(net);
        let n = 0;
        c.on(type, () => {
          if (n++ < 3) act === "subscribe" ? c.subscribe({ quotes: ["B"] }) : c[act]();
        });
        c.subscribe({ trades: ["A"] }, () => n++ < 3 && act !== "subscribe" && c[act]());
        for (let i = 0; i < 4; i++) {
          await pass(2000);
          net.last.say({ T: "feed", state: i % 2 ? "stale" : "live", since: "" });
          net.last.say(trade("A", i + 1, i));
          net.last.say({ T: "gap", reason: "expired", from: "7-1", to: "7-2" });
          net.last.end(1006);
        }
        for (let i = 0; i < 60 && c.state === "reconnecting"; i++) await pass(500);
        expect(c.state).toBe(act === "close" && n ? "closed" : "live");
        c.close();
      }
    }
  });

  it("are not called any more once they are taken away", async () => {
    const net = new Net();
    const c = make(net);
    let n = 0;
    const off = c.on("state", () => n++);
    await pass(2);
    expect(n).toBe(1);
    off();
    c.close();
    expect(n).toBe(1);
  });
});

describe("animation frames", () => {
  it("gather events, once per frame", async () => {
    const frames: (() => void)[] = [];
    vi.stubGlobal("requestAnimationFrame", (f: () => void) => frames.push(f));
    vi.stubGlobal("cancelAnimationFrame", () => {});
    const net = new Net();
    const c = make(net, { flush: "frame" });
    const batches: string[][] = [];
    c.subscribe({ trades: ["*"] }, (e) => batches.push(brief(e)));
    await pass(2);
    net.last.say(trade("A", 1, 0));
    net.last.say(trade("A", 2, 1));
    expect(batches).toEqual([]);
    expect(frames).toHaveLength(1);
    frames.shift()?.();
    expect(batches).toEqual([["tA1", "tA2"]]);
    net.last.say(trade("A", 3, 2));
    expect(frames).toHaveLength(1);
    await pass(250); // the tab is hidden: no frame comes
    expect(batches).toEqual([["tA1", "tA2"], ["tA3"]]);
    vi.unstubAllGlobals();
  });

  it("come before the current values of who subscribes meanwhile, so that nothing comes twice", async () => {
    const net = new Net();
    const c = make(net, { flush: "frame" });
    const got: MarketEvent[][] = [[], [], []];
    c.subscribe({ trades: ["A"] }, (e) => got[0]?.push(...e));
    await pass(2);
    net.last.say(trade("A", 1, 0), trade("A", 2, 1));
    c.subscribe({ trades: ["A"] }, (e) => got[1]?.push(...e));
    const it = c.subscribe({ trades: ["A"] }).events();
    const first = it.next();
    net.last.say(trade("A", 3, 2));
    await pass(250);
    got[2] = [(await first).value as MarketEvent, (await it.next()).value as MarketEvent];
    expect(got.map(brief)).toEqual([
      ["tA1", "tA2", "tA3"],
      ["tA2*", "tA3"],
      ["tA2*", "tA3"],
    ]);
    await it.return();
  });

  it("bound what waits: the latest stays, and k adds up", async () => {
    const net = new Net();
    const c = make(net, { flush: "frame" });
    const got: MarketEvent[] = [];
    c.subscribe({ trades: ["*"] }, (e) => got.push(...e));
    await pass(2);
    let q = 0;
    for (let i = 0; i < 100; i++) {
      net.last.say(...Array.from({ length: 1000 }, () => trade(`S${++q % 10}`, q, Math.max(0, q - 10))));
    }
    await pass(250);
    expect(got.length).toBeLessThanOrEqual(8192);
    expect(got.reduce((n, e) => n + (e.k ?? 1), 0)).toBe(q);
    const last = new Map<string, number>();
    for (const e of got) {
      expect(e.pq).toBe(last.get(e.S) ?? 0); // the chain holds
      last.set(e.S, e.q);
    }
    expect(c.stats).toMatchObject({ events: q, losses: 0 });
  });
});

it("reads times", () => {
  expect(parseTime("2021-02-22T15:51:45.335689322Z")).toBe(Date.UTC(2021, 1, 22, 15, 51, 45, 335));
  expect(parseTime("2021-02-22T19:15:00Z")).toBe(Date.UTC(2021, 1, 22, 19, 15));
  expect(parseTime("nonsense")).toBeNaN();
});
