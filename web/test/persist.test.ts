import { describe, expect, it } from "vitest";
import { keep, recall } from "../src/data/credentials";
import { cleanSymbol, load, move, parseURL, save, writeURL } from "../src/data/persist";

function storage(start: Record<string, string> = {}) {
  const held = new Map(Object.entries(start));
  return {
    held,
    getItem: (k: string) => held.get(k) ?? null,
    setItem: (k: string, v: string) => void held.set(k, v),
    removeItem: (k: string) => void held.delete(k),
  };
}

describe("the view", () => {
  it("is in the URL as people read it, and comes back", () => {
    const view = {
      symbols: ["AAPL", "BTC/USD", "BRK.B"],
      symbol: "BTC/USD",
      interval: "5Min",
      delivery: "latest",
      every: 500,
    } as const;
    const url = writeURL({ ...view, symbols: [...view.symbols] });
    expect(url).toBe("?symbols=AAPL,BTC/USD,BRK.B&symbol=BTC/USD&interval=5Min&delivery=latest&every=500");
    expect(parseURL(url)).toEqual(view);
  });

  it("leaves out what makes no sense", () => {
    expect(
      parseURL("?symbols=AAPL,,%3Cscript%3E,AAPL,&symbol=%20&interval=7Min&delivery=sometimes&every=3&x=y"),
    ).toEqual({ symbols: ["AAPL"] });
    expect(parseURL("")).toEqual({});
    expect(parseURL(`?symbols=${Array.from({ length: 400 }, (_, i) => `S${i}`).join(",")}`).symbols).toHaveLength(300);
  });

  it("keeps an empty list that is meant", () => {
    expect(parseURL("?symbols=")).toEqual({ symbols: [] });
  });

  it("comes from the URL first, from what was remembered for the rest", () => {
    const s = storage();
    save({ symbols: ["MSFT"], symbol: "MSFT", interval: "1Hour" }, s);
    expect(load("", s)).toEqual({ symbols: ["MSFT"], symbol: "MSFT", interval: "1Hour" });
    expect(load("?symbols=AAPL", s)).toEqual({ symbols: ["AAPL"], symbol: "MSFT", interval: "1Hour" });
    expect(load("?interval=1Min", undefined)).toEqual({ interval: "1Min" });
  });

  it("bears anything in the storage, and none", () => {
    for (const text of ["", "null", "[]", "{", '{"symbols":7,"interval":{}}', '{"symbols":[1,null,"AAPL"]}']) {
      const v = load("", storage({ "lzstock.view": text }));
      expect(v.interval).toBeUndefined();
    }
    const full = {
      setItem: () => {
        throw new Error("full");
      },
    };
    expect(() => save({}, full)).not.toThrow();
  });

  it("knows a symbol", () => {
    expect([" AAPL ", "BRK.B", "BTC/USD", "ACP^", "BRpA", "", "<b>", "A".repeat(33), "A B"].map(cleanSymbol)).toEqual([
      "AAPL",
      "BRK.B",
      "BTC/USD",
      "ACP^",
      "BRpA",
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });
});

it("moves an item of a list", () => {
  expect(move(["a", "b", "c", "d"], 0, 2)).toEqual(["b", "c", "a", "d"]);
  expect(move(["a", "b", "c", "d"], 3, 0)).toEqual(["d", "a", "b", "c"]);
  expect(move([], 0, 1)).toEqual([]);
});

it("keeps credentials in the tab, and forgets them", () => {
  const s = storage();
  keep({ key: "k", secret: "s" }, s);
  expect(recall(s)).toEqual({ key: "k", secret: "s" });
  keep({ token: "t" }, s);
  expect(recall(s)).toEqual({ token: "t" });
  keep(undefined, s);
  expect(recall(s)).toBeUndefined();
  expect(recall(storage({ "lzstock.credentials": "{" }))).toBeUndefined();
  expect(recall(undefined)).toBeUndefined();
});
