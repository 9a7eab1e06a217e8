import { describe, expect, it } from "vitest";
import { type Bar, Candles, Prints } from "../src/data/candles";
import { type Interval, intervalOf } from "../src/data/interval";

const of = (id: string) => intervalOf(id) as Interval;
const at = (text: string) => Date.parse(`2026-01-05T${text}Z`) / 1000;
const bar = (t: string, o: number, h: number, l: number, c: number, v: number): Bar => ({
  t: `2026-01-05T${t}Z`,
  o,
  h,
  l,
  c,
  v,
});

describe("candles of a minute", () => {
  it("continue history with trades, and take the bar for the truth", () => {
    const c = new Candles(of("1Min"));
    c.load([bar("15:00:00", 10, 12, 9, 11, 100)]);
    expect(c.trade(at("15:01:05"), 11.5, 10)).toBe("last");
    c.trade(at("15:01:30"), 12.5, 5);
    c.trade(at("15:01:40"), 11, 1);
    expect(c.last).toEqual({ time: at("15:01:00"), open: 11.5, high: 12.5, low: 11, close: 11, volume: 16 });
    expect(c.bar(bar("15:01:00", 11.4, 12.5, 11, 11.2, 20))).toBe("last");
    expect(c.last).toMatchObject({ open: 11.4, close: 11.2, volume: 20 });
    expect(c.bar(bar("15:00:00", 10, 13, 9, 11, 110))).toBe("all"); // corrected
    expect(c.all[0]).toMatchObject({ high: 13, volume: 110 });
    expect(c.bar(bar("14:00:00", 1, 1, 1, 1, 1))).toBe("none"); // before all that is drawn
  });

  it("leave a late trade to the bar that corrects", () => {
    const c = new Candles(of("1Min"));
    c.trade(at("15:01:05"), 11, 1);
    expect(c.trade(at("15:00:59"), 99, 1)).toBe("none");
    expect(c.all).toHaveLength(1);
    expect(c.trade(at("15:01:06"), 0, 1)).toBe("none");
  });

  it("keep what came while history was on its way", () => {
    const c = new Candles(of("1Min"));
    c.trade(at("15:01:05"), 11, 1);
    c.trade(at("15:02:05"), 12, 1);
    c.load([bar("15:01:00", 10, 11, 10, 11, 50), bar("15:00:00", 10, 12, 9, 11, 100)]);
    expect(c.all.map((x) => [x.time - at("15:00:00"), x.volume])).toEqual([
      [0, 100],
      [60, 50],
      [120, 1],
    ]);
  });

  it("are bounded", () => {
    const c = new Candles(of("5Sec"));
    for (let i = 0; i < 5_000; i++) c.trade(i * 5, 10, 1);
    expect(c.all).toHaveLength(2_000);
    expect(c.last?.time).toBe(4_999 * 5);
  });

  it("add fractions of coins exactly", () => {
    const c = new Candles(of("1Min"));
    for (let i = 0; i < 10; i++) c.trade(at("15:01:05"), 10, 0.1);
    expect(c.last?.volume).toBe(1);
  });
});

describe("candles of several minutes", () => {
  it("are made of bars, and of trades for the minute that is not over", () => {
    const c = new Candles(of("5Min"));
    c.load([bar("15:00:00", 10, 12, 9, 11, 100)]); // two minutes of it
    c.trade(at("15:02:10"), 13, 7);
    expect(c.last).toEqual({ time: at("15:00:00"), open: 10, high: 13, low: 9, close: 13, volume: 107 });
    expect(c.bar(bar("15:02:00", 11, 13, 11, 12, 9))).toBe("last");
    expect(c.last).toEqual({ time: at("15:00:00"), open: 10, high: 13, low: 9, close: 12, volume: 109 });
    expect(c.bar(bar("15:02:00", 11, 14, 11, 12, 10))).toBe("last"); // corrected: not counted twice
    expect(c.last).toMatchObject({ high: 14, volume: 110 });
  });

  it("begin anew with a bar or trade of the next", () => {
    const c = new Candles(of("5Min"));
    c.load([bar("15:00:00", 10, 12, 9, 11, 100)]);
    c.trade(at("15:05:01"), 20, 1);
    expect(c.all).toHaveLength(2);
    c.bar(bar("15:05:00", 20, 21, 19, 20, 5));
    expect(c.last).toEqual({ time: at("15:05:00"), open: 20, high: 21, low: 19, close: 20, volume: 5 });
    expect(c.bar(bar("15:04:00", 1, 1, 1, 1, 1))).toBe("none");
  });
});

describe("candles of a day", () => {
  it("take the day so far, and the trades between", () => {
    const c = new Candles(of("1Day"));
    expect(c.trade(at("15:00:00"), 10, 1)).toBe("none"); // no bar has told when the day began
    expect(c.day(bar("05:00:00", 10, 12, 9, 11, 100))).toBe("last");
    expect(c.trade(at("15:00:01"), 13, 5)).toBe("last");
    expect(c.last).toEqual({ time: at("05:00:00"), open: 10, high: 13, low: 9, close: 13, volume: 100 });
    c.day(bar("05:00:00", 10, 13, 9, 13, 105));
    expect(c.last?.volume).toBe(105);
    expect(c.bar(bar("15:00:00", 1, 1, 1, 1, 1))).toBe("none");
  });
});

it("time and sales tell which way a price went, and are bounded", () => {
  const p = new Prints(3);
  for (const price of [10, 11, 11, 10, 10]) p.add(0, price, 1, "");
  expect([0, 1, 2].map((i) => p.ring.at(i)?.direction)).toEqual([1, -1, -1]);
  p.clear();
  expect(p.ring.length).toBe(0);
});
