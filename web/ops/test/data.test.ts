import { describe, expect, it } from "vitest";
import { type Doc, extent, family, latest, merge, nothing, span } from "../src/data.ts";

const doc = (times: number[], figures: Doc["figures"], started = "a"): Doc => ({
  title: "up",
  build: "",
  started,
  now: 0,
  step_ms: 1000,
  kept: 4,
  times,
  figures,
  state: [],
});

describe("history", () => {
  it("goes on where it was", () => {
    const h = merge(merge(nothing, doc([1000, 2000], { a: [1, 2] })), doc([3000], { a: [3] }));
    expect(h).toEqual({ started: "a", last: 3000, times: [1, 2, 3], figures: { a: [1, 2, 3] } });
  });
  it("takes nothing twice", () => {
    const h = merge(merge(nothing, doc([1000, 2000], { a: [1, 2] })), doc([2000, 3000], { a: [2, 3] }));
    expect(h.times).toEqual([1, 2, 3]);
    expect(h.figures.a).toEqual([1, 2, 3]);
  });
  it("stays as it is where nothing is new", () => {
    const h = merge(nothing, doc([1000], { a: [1] }));
    expect(merge(h, doc([], { a: [] }))).toEqual(h);
  });
  it("leaves blank what was not there", () => {
    const h = merge(merge(nothing, doc([1000], { a: [1] })), doc([2000], { b: [2] }));
    expect(h.figures).toEqual({ a: [1, null], b: [null, 2] });
  });
  it("holds as much as the server", () => {
    const h = merge(
      merge(nothing, doc([1000, 2000, 3000], { a: [1, 2, 3] })),
      doc([4000, 5000], { a: [4, 5], b: [1, 1] }),
    );
    expect(h.times).toEqual([2, 3, 4, 5]);
    expect(h.figures).toEqual({ a: [2, 3, 4, 5], b: [null, null, 1, 1] });
  });
  it("begins anew with the process", () => {
    const h = merge(merge(nothing, doc([1000], { a: [1] })), doc([500], { b: [2] }, "b"));
    expect(h).toEqual({ started: "b", last: 500, times: [0.5], figures: { b: [2] } });
  });
});

describe("what is shown", () => {
  const h = merge(
    nothing,
    doc([1000, 2000, 3000, 4000], {
      "closes.drain": [0, 0, 3, 1],
      "closes.max_age": [1, 5, 0, 0],
      closes_x: [9, 9, 9, 9],
    }),
  );
  it("is the last seconds", () => {
    expect(span(h, 2)).toEqual({ times: [3, 4], from: 2 });
    expect(span(h, 900)).toEqual({ times: [1, 2, 3, 4], from: 0 });
    expect(span(nothing, 60)).toEqual({ times: [], from: 0 });
  });
  it("has the reason first that counts most in that time", () => {
    expect(family(h, "closes", 0).map((f) => [f.label, f.total])).toEqual([
      ["max_age", 6],
      ["drain", 4],
    ]);
    expect(family(h, "closes", 2).map((f) => [f.label, f.total])).toEqual([
      ["drain", 4],
      ["max_age", 0],
    ]);
  });
  it("has the newest value that is known, but no old one", () => {
    expect(latest([1, 2, null])).toBe(2);
    expect(latest([1, ...new Array<null>(10).fill(null)])).toBe(null);
    expect(latest([])).toBe(null);
    expect(latest(undefined)).toBe(null);
  });
  it("has bounds where there is a value", () => {
    expect(extent([null, 3, -1, null])).toEqual([-1, 3]);
    expect(extent([null])).toBe(null);
  });
});
