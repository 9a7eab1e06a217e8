// A gateway that lies, floods and dies. Whatever it does, the client makes no hot
// loop, leaves no rejection unhandled, keeps its memory bounded and stays of use.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Client, type MarketEvent } from "../src/index.ts";
import { fakeTime, Net, pass, quote, type Socket, status, trade } from "./fake.ts";

const context = fakeTime();
const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
const runs = Number(process.env.RUNS ?? 150);
console.info(`hostile: SEED=${seed} RUNS=${runs}`);

/** At most this many attempts in a minute: full jitter from 500 ms to 30 s makes some 12. */
const attempts = 45;

function make(net: Net): { c: Client; got: MarketEvent[] } {
  const c = new Client({ url: "http://gw.test", WebSocket: net.WebSocket, transport: "websocket", heartbeatMs: 1000 });
  context.clients.push(c);
  const got: MarketEvent[] = [];
  for (const type of ["gap", "feed", "error", "state", "rejected", "reconnect", "throttle", "closed"] as const)
    c.on(type, () => {});
  c.subscribe({ trades: ["A", "*"], quotes: ["A", "B"], bars: ["*"] }, (e) => {
    got.push(...e);
    if (got.length > 5000) got.splice(0, 2500);
  });
  return { c, got };
}

/** What an event must be, whatever came. */
function sound(e: MarketEvent): void {
  expect(Number.isSafeInteger(e.q) && e.q > 0 && Number.isSafeInteger(e.pq)).toBe(true);
  expect(typeof e.S === "string" && e.S.length > 0 && typeof e.t === "string").toBe(true);
  if (e.T === "t") expect(Number.isFinite(e.p) && Number.isFinite(e.s)).toBe(true);
  if (e.T === "q") expect(Number.isFinite(e.bp + e.bs + e.ap + e.as)).toBe(true);
}

/** Topics ascend, and nothing comes twice, except where positions have begun anew. */
function ascending(got: MarketEvent[]): void {
  const last = new Map<string, number>();
  for (const e of got) {
    const topic = e.T + e.S;
    if (!e.broken) expect(e.q).toBeGreaterThan(last.get(topic) ?? 0);
    last.set(topic, e.q);
  }
}

/** Afterwards an honest gateway must be of use again. */
async function recovers(net: Net, c: Client, got: MarketEvent[]): Promise<void> {
  if (c.state === "closed") return;
  net.serve = (s) => {
    s.oncommand = (cmd) => {
      s.ack(cmd);
      if (cmd.trades) s.say(trade("FINAL", 2 ** 50, 0, { snap: true }));
    };
    s.greet({ epoch: 99 });
  };
  net.last?.end(1006);
  // A new subscription: what was refused before is not asked for again.
  const sub = c.subscribe({ trades: ["FINAL"] }, (e) => got.push(...e));
  for (let i = 0; i < 80 && got.at(-1)?.S !== "FINAL"; i++) await pass(1000);
  expect(got.at(-1)?.S).toBe("FINAL");
  sub.close();
}

const nonsense: [string, unknown[]][] = [
  ["no JSON", ["", "{", "[", '[{"T":"t"', "hello", "\u0000", '[{"T":"t","S":"A"}', "[1e999]", '"', "[[[["]],
  ["no array", ["{}", "1", "null", '"text"', "true", '{"T":"hb"}']],
  [
    "no messages",
    ["[1]", "[null]", "[[]]", '["T"]', "[{}]", '[{"T":null}]', '[{"T":1}]', '[{"T":["t"]}]', '[{"T":""}]'],
  ],
  ["binary data", [new ArrayBuffer(8), new Uint8Array([91, 93]), {}, undefined, null, 5]],
  [
    "wrong types",
    [
      { p: "10" },
      { p: null },
      { p: [] },
      { s: {} },
      { S: 5 },
      { S: "" },
      { S: "x".repeat(33) },
      { q: "1" },
      { q: 1.5 },
      { q: -1 },
      { q: 0 },
      { q: 2 ** 60 },
      { pq: null },
      { pq: -5 },
      { pq: "0" },
      { k: 0 },
      { k: "2" },
      { k: -1 },
      { snap: 1 },
      { snap: "true" },
      { t: 5 },
      { t: null },
      { p: undefined },
    ].map((x) => JSON.stringify([trade("A", 5, 0, x)])),
  ],
  [
    "statuses without a code",
    [{ sc: 5 }, { sc: "" }, { sc: null }, { sc: undefined }].map((x) => JSON.stringify([status("A", 5, 0, x)])),
  ],
  [
    "numbers that are none",
    [
      JSON.stringify([trade("A", 5, 0)]).replace("10.5", "1e999"),
      JSON.stringify([trade("A", 5, 0)]).replace("10.5", "NaN"),
      JSON.stringify([trade("A", 5, 0)]).replace("10.5", '"NaN"'),
    ],
  ],
];

describe.each(nonsense)("%s", (_, frames) => {
  it.each(frames.map((f) => [typeof f === "string" ? f.slice(0, 60) : String(f), f]))("%s", async (_, frame) => {
    const net = new Net();
    const { c, got } = make(net);
    await pass(2);
    const first = net.last;
    first
      .say(trade("A", 3, 0))
      .raw(frame)
      .say(trade("A", 4, 3));
    expect(first.left).toBe(true);
    expect(c.state).toBe("reconnecting");
    expect(got.map((e) => e.q)).toEqual([3]);
    net.serve = (s) => s.greet().raw(frame);
    await pass(60_000);
    expect(net.sockets.length).toBeLessThan(attempts);
    await recovers(net, c, got);
  });
});

describe("tolerance", () => {
  it("of what is not known: other messages, other fields, deep nesting", async () => {
    const net = new Net();
    const { c, got } = make(net);
    await pass(2);
    net.last.say(
      { T: "news", x: 1 },
      { T: "tq" },
      { T: "toString" },
      { T: "__proto__" },
      { T: "x".repeat(1e5) },
      trade("A", 1, 0, { later: { a: [] } }),
    );
    net.last.raw(`[{"T":"x","deep":${"[".repeat(5000)}${"]".repeat(5000)}}]`);
    net.last.say(trade("A", 2, 1));
    expect(got.map((e) => e.q)).toEqual([1, 2]);
    expect(c.state).toBe("live");
  });

  it("of control messages that make no sense", async () => {
    const net = new Net();
    const { c } = make(net);
    await pass(2);
    const junk = [null, 0, -1, 1.5, "x", "7-1", "-", "9-9-9", true, [], {}, [null], { a: 1 }, 2 ** 60, "__proto__"];
    for (const x of junk) {
      for (const m of [
        { T: "hb", q: x, t: x },
        { T: "feed", state: x, since: x, epoch: x, reason: x, sources: x },
        { T: "feed", state: "live", sources: [x] },
        { T: "throttle", state: x },
        { T: "subscription", id: x, rejected: x, trades: x },
        { T: "subscription", rejected: [{ ch: x, S: x, code: x, msg: x }] },
        { T: "success", msg: x, limits: x, epoch: x },
        { T: "expiring", expires: x },
        { T: "pong", id: x },
      ]) {
        net.last.say(m);
      }
    }
    expect(c.state).toBe("live");
    for (const x of junk) net.last.say({ T: "gap", reason: x, from: x, to: x });
    for (const x of junk) net.last.say({ T: "error", id: x, code: x, msg: x, retry: x });
    await pass(60_000);
    expect(net.sockets.length).toBeLessThan(attempts);
  });

  it("of names that objects know", async () => {
    const net = new Net();
    const c = new Client({ url: "http://gw.test", WebSocket: net.WebSocket, transport: "websocket" });
    context.clients.push(c);
    const names = ["__proto__", "constructor", "toString", "hasOwnProperty", "*"];
    const got: MarketEvent[] = [];
    c.subscribe({ trades: names, quotes: ["__proto__"] }, (e) => got.push(...e));
    await pass(2);
    expect(net.last.sent).toMatchObject([{ trades: names, quotes: ["__proto__"] }]);
    net.last.say(...names.slice(0, 4).map((S, i) => trade(S, i + 1, 0)));
    net.last.raw(
      JSON.stringify([trade("A", 9, 0)]).replace(
        '"i":1',
        '"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}',
      ),
    );
    expect(got.map((e) => e.S)).toEqual([...names.slice(0, 4), "A"]);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
    const sub = c.subscribe({ trades: ["*"] });
    let n = 0;
    for await (const e of sub) if (e.T === "t" && ++n === 5) break;
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });
});

describe("floods", () => {
  it("of symbols nobody can have are cut off, and forgotten", async () => {
    const net = new Net();
    const { c, got } = make(net);
    await pass(2);
    const first = net.last;
    let q = 0;
    for (let i = 0; i < 14 && !first.left; i++)
      first.say(...Array.from({ length: 10_000 }, () => trade(`S${++q}`, q, 0)));
    expect(first.left).toBe(true);
    expect(q).toBeLessThanOrEqual(140_000);
    expect(c.state).toBe("reconnecting");
    await recovers(net, c, got);
  });

  it("of bytes that are too many for one message are cut off", async () => {
    const net = new Net();
    const { c, got } = make(net);
    await pass(2);
    net.last.raw(`["${"x".repeat(16 << 20)}"]`);
    expect(net.sockets[0]?.left).toBe(true);
    await recovers(net, c, got);
  });

  it("of events that nobody takes are bounded in iterators and frames", async () => {
    const net = new Net();
    const c = new Client({ url: "http://gw.test", WebSocket: net.WebSocket, transport: "websocket", flush: "frame" });
    context.clients.push(c);
    const it = c.subscribe({ trades: ["*"] }).events({ limit: 100 });
    const first = it.next();
    await pass(2);
    let q = 0;
    for (let i = 0; i < 50; i++) {
      net.last.say(...Array.from({ length: 2000 }, () => trade(`S${++q % 300}`, q, Math.max(0, q - 300))));
      await pass(300);
    }
    await first;
    let n = 1;
    it.return();
    for await (const _ of it) n++;
    expect(n).toBeLessThanOrEqual(101);
    expect(c.stats.dropped).toBeGreaterThan(0);
    net.last.say({ T: "hb" });
    expect(c.state).toBe("live");
  });

  it("of rejections, notices and errors cost nothing", async () => {
    const net = new Net();
    const { c } = make(net);
    await pass(2);
    for (let i = 0; i < 2000; i++) {
      net.last.say({ T: "expiring" }, { T: "reconnect", reason: "max_age", delay_ms: 60_000 });
      net.last.say({ T: "subscription", rejected: [{ ch: "trades", S: `N${i % 50}`, code: 409, msg: "" }] });
      net.last.say({ T: "error", code: 407, msg: "x", retry: true });
    }
    expect(net.last.sent.length).toBeLessThan(5);
    expect(c.state).toBe("live");
  });
});

describe("lies", () => {
  it.each([
    ["positions that go back", (i: number) => trade("A", 1000 - i, 999 - i)],
    ["chains that are wrong", (i: number) => trade("A", 10 + 3 * i, 10 + 3 * i - 1)],
    ["chains that point ahead", (i: number) => trade("A", 10 + i, 10_000 + i)],
    ["chains of nothing", (i: number) => trade("A", 10 + i, 0)],
    ["the same over and over", () => trade("A", 5, 5)],
    ["current values over and over", (i: number) => trade("A", 10 + (i % 7), 0, { snap: true })],
    ["positions at the end of numbers", (i: number) => trade("A", Number.MAX_SAFE_INTEGER - (i % 3), i)],
    ["gaps without end", (i: number) => ({ T: "gap", reason: "epoch", from: `7-${i}`, to: `${8 + i}-1` })],
    ["heartbeats far ahead", (i: number) => ({ T: "hb", q: Number.MAX_SAFE_INTEGER - i })],
    ["epochs that change", (i: number) => ({ T: "feed", state: "live", since: "", epoch: i + 1 })],
  ])("%s", async (_, make1) => {
    const net = new Net();
    const { c, got } = make(net);
    net.serve = (s) => {
      s.greet();
      for (let i = 0; i < 200; i++) s.say(make1(i));
    };
    await pass(60_000);
    expect(net.sockets.length).toBeLessThan(attempts);
    for (const e of got) sound(e);
    ascending(got);
    await recovers(net, c, got);
  });
});

// What a hostile gateway may do, one thing after the other, on each connection.
type Act = (s: Socket) => void;
const number = fc.oneof(fc.integer({ min: -2, max: 60 }), fc.constantFrom(0.5, 1e300, Number.MAX_SAFE_INTEGER));
const any = fc.oneof(fc.jsonValue({ maxDepth: 2 }), number, fc.constantFrom("7-5", "8-1", "__proto__", "NaN"));
const symbol = fc.constantFrom("A", "B", "__proto__", "Z");
const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(fc.constantFrom(trade, quote), symbol, fc.nat(60), fc.nat(60), fc.boolean()).map(
      ([kind, S, q, pq, snap]): Act =>
        (s) =>
          s.say(kind(S, q, pq, snap ? { snap } : {})),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.dictionary(fc.constantFrom("T", "S", "p", "s", "q", "pq", "k", "snap", "t"), any).map(
      (m): Act =>
        (s) =>
          s.say(m),
    ),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(
        fc.constantFrom("hb", "gap", "feed", "throttle", "subscription", "error", "success", "reconnect", "expiring"),
        fc.dictionary(
          fc.constantFrom(
            "q",
            "from",
            "to",
            "reason",
            "state",
            "epoch",
            "id",
            "rejected",
            "code",
            "msg",
            "retry",
            "limits",
            "delay_ms",
            "since",
          ),
          any,
        ),
      )
      .map(
        ([T, m]): Act =>
          (s) =>
            s.say({ ...m, T }),
      ),
  },
  {
    weight: 1,
    arbitrary: fc.string().map(
      (text): Act =>
        (s) =>
          s.raw(text),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(1000, 1006, 1011, 1015, 3000, 4100, 4102, 4200, 4203, 4999).map(
      (code): Act =>
        (s) =>
          s.end(code),
    ),
  },
  { weight: 1, arbitrary: fc.constant((s: Socket) => s.say({ T: "gap", reason: "epoch", from: "7-1", to: "8-1" })) },
);

it("whatever it does, there is no hot loop, nothing unsound and nothing unhandled", { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(act, { maxLength: 12 }), { minLength: 1, maxLength: 6 }),
      fc.boolean(),
      async (scripts, answers) => {
        const net = new Net();
        const { c, got } = make(net);
        let n = 0;
        net.serve = (s) => {
          if (!answers) s.oncommand = () => {};
          s.greet({ epoch: 7 + (n % 2) });
          for (const [i, f] of (scripts[n++ % scripts.length] ?? []).entries()) setTimeout(() => f(s), i * 100);
        };
        await pass(60_000);
        expect(net.sockets.length).toBeLessThan(attempts + 20);
        for (const e of got) sound(e);
        ascending(got);
        await recovers(net, c, got);
        c.close();
      },
    ),
    { seed, numRuns: runs },
  );
});
