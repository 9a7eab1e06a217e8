import { describe, expect, it } from "vitest";
import { fold, Ledger } from "../src/data/ledger";
import { Ring, Spark } from "../src/data/ring";
import { quietAfter, Row, trust } from "../src/data/row";

describe("ring", () => {
  it("keeps the newest", () => {
    const r = new Ring<number>(3);
    expect(r.at(0)).toBeUndefined();
    for (let i = 1; i <= 7; i++) r.push(i);
    expect([r.length, r.at(0), r.at(1), r.at(2), r.at(-1), r.at(3), r.at(-4)]).toEqual([
      3,
      5,
      6,
      7,
      7,
      undefined,
      undefined,
    ]);
    r.setLast(9);
    expect([r.at(-1), r.at(-2)]).toEqual([9, 6]);
    r.clear();
    expect([r.length, r.at(-1)]).toEqual([0, undefined]);
  });

  it("samples a price once in a while", () => {
    const s = new Spark(4, 1_000);
    expect([s.add(1, 0), s.add(2, 999), s.add(3, 1_000), s.add(4, 5_500), s.add(5, 5_900)]).toEqual([
      true,
      false,
      true,
      true,
      false,
    ]);
    expect([0, 1, 2].map((i) => s.points.at(i))).toEqual([2, 3, 5]);
    for (let t = 6_000; t < 100_000; t += 100) s.add(t, t);
    expect(s.points.length).toBe(4);
  });
});

describe("ledger", () => {
  const t = (q: number, pq: number, more = {}) => ({ T: "t", S: "AAPL", p: 230.1, q, pq, ...more });

  it("counts what came behind the current value", () => {
    const l = new Ledger();
    l.add(t(10, 0, { snap: true }));
    l.add(t(20, 10));
    l.add(t(30, 20, { k: 3 }));
    expect(l.report()["t:AAPL"]).toEqual({
      first: 10,
      last: 30,
      events: 4,
      merged: 2,
      breaks: 0,
      hash: fold(fold(0, t(20, 10)), t(30, 20)),
    });
  });

  it("sees a hole, a repeat, and a value in place of what was missed", () => {
    const l = new Ledger();
    l.add(t(10, 0, { snap: true }));
    l.add(t(30, 20));
    l.add(t(30, 20));
    l.add(t(40, 30));
    expect(l.report()["t:AAPL"]).toMatchObject({ events: 2, breaks: 1 });
    expect(l.repeats).toBe(1);
    l.add(t(90, 0, { snap: true }));
    expect(l.report()["t:AAPL"]).toMatchObject({ events: 2, breaks: 2, last: 90 });
    l.add(t(90, 0, { snap: true }));
    expect(l.report()["t:AAPL"]).toMatchObject({ breaks: 2 });
  });

  it("tells other prices, other positions and another order apart", () => {
    const [a, b] = [t(20, 10), t(30, 20)];
    const h = fold(fold(0, a), b);
    expect(fold(fold(0, b), a)).not.toBe(h);
    expect(fold(fold(0, a), { ...b, p: 230.2 })).not.toBe(h);
    expect(fold(fold(0, a), { ...b, q: 31 })).not.toBe(h);
    expect(fold(0, { T: "q", S: "A", q: 1, bp: 1, ap: 2 })).not.toBe(fold(0, { T: "q", S: "A", q: 1, bp: 1, ap: 3 }));
  });

  it("is what another program reckons: FNV-1a over position and price", () => {
    expect(fold(0, { T: "t", S: "A", q: 20, p: 230.1 })).toBe(fnv("20 230.1"));
    expect(fold(0, { T: "q", S: "A", q: 20, bp: 0.5, ap: 1 })).toBe(fnv("20 0.5 1"));
  });

  it("forgets", () => {
    const l = new Ledger();
    l.add(t(10, 0, { snap: true }));
    l.drop("t:AAPL");
    expect(l.report()).toEqual({});
  });
});

function fnv(text: string): number {
  let h = 2166136261n;
  for (const c of new TextEncoder().encode(text)) h = ((h ^ BigInt(c)) * 16777619n) & 0xffffffffn;
  return Number(h);
}

describe("row", () => {
  it("takes trades, quotes, days and snapshots", () => {
    const r = new Row("AAPL");
    expect(trust(r, true, 0)).toBe("waiting");
    r.trade(230.1, "2026-01-05T15:00:00Z", 1_000);
    r.quote(230.05, 230.255, "2026-01-05T15:00:01Z", 2_000);
    r.day({ o: 229, v: 1_200, c: 230.1 });
    expect([r.text(r.last), r.text(r.ask), r.spread, r.volume, r.change?.basis]).toEqual([
      "230.100",
      "230.255",
      "0.205",
      1_200,
      "open",
    ]);
    r.snapshot(
      {
        prevDailyBar: { t: "2026-01-04T05:00:00Z", o: 1, h: 1, l: 1, c: 228, v: 1 },
        latestTrade: { t: "2026-01-05T14:00:00Z", p: 1, s: 1 },
        latestQuote: { t: "2026-01-05T14:00:00Z", bp: 1, bs: 1, ap: 2, as: 1 },
        dailyBar: { t: "2026-01-05T05:00:00Z", o: 1, h: 1, l: 1, c: 1, v: 1 },
      },
      3_000,
    );
    expect([r.last, r.bid, r.volume, r.change?.basis, r.change?.amount]).toEqual([
      230.1,
      230.05,
      1_200,
      "close",
      2_100_000_000n,
    ]);
  });

  it("shows no side that is not quoted, and no spread then", () => {
    const r = new Row("AAPL");
    r.quote(0, 230.1, "2026-01-05T15:00:01Z", 0);
    expect([r.text(r.bid), r.text(r.ask), r.spread]).toEqual(["", "230.10", ""]);
  });

  it("counts moves, and the way of the latest", () => {
    const r = new Row("AAPL");
    for (const p of [1, 1, 2, 2, 1]) r.trade(p, "2026-01-05T15:00:00Z", 0);
    expect([r.moves, r.up]).toEqual([2, false]);
  });

  it("is halted from one status to another, with the reason", () => {
    const r = new Row("AAPL");
    r.trade(1, "2026-01-05T15:00:00Z", 1);
    r.status({ sc: "H", sm: "Trading Halt", rc: "T1", rm: "News Pending" });
    expect([r.halted, trust(r, true, 1)]).toEqual(["Trading Halt: News Pending", "halted"]);
    r.status({ sc: "X", sm: "Price Indication" });
    expect(r.halted).not.toBe("");
    r.status({ sc: "T", sm: "Trading Resumption" });
    expect([r.halted, trust(r, true, 1)]).toEqual(["", "live"]);
    r.status({ sc: "P", sm: "" });
    expect(r.halted).toBe("halted");
  });

  it("is trusted as far as the feed, and says when it is old", () => {
    const r = { heard: 1, refused: "", halted: "", last: 1, bid: undefined, ask: undefined };
    expect(trust(r, true, 100)).toBe("live");
    expect(trust(r, true, quietAfter + 2)).toBe("quiet");
    expect(trust(r, false, 100)).toBe("stale");
    expect(trust({ ...r, halted: "news" }, true, 100)).toBe("halted");
    expect(trust({ ...r, halted: "news" }, false, 100)).toBe("stale");
    expect(trust({ ...r, refused: "unknown symbol" }, true, 100)).toBe("refused");
  });
});
