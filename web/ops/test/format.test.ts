import { describe, expect, it } from "vitest";
import { bytes, clock, duration, figure, liveness, short, unknown } from "../src/format.ts";

const plain = (s: string) => s.replaceAll("\u202f", " ");

describe("figures", () => {
  it("has three digits that matter", () => {
    const cases: [number, string][] = [
      [0, "0"],
      [0.001, "0"],
      [0.25, "0.25"],
      [7, "7"],
      [12.34, "12.3"],
      [999, "999"],
      [999.6, "1k"],
      [1234, "1.23k"],
      [999_999, "1M"],
      [18_000, "18k"],
      [2_500_000, "2.5M"],
      [3e9, "3G"],
      [-1500, "-1.5k"],
    ];
    for (const [v, want] of cases) expect(short(v), String(v)).toBe(want);
  });
  it("writes bytes by 1024", () => {
    expect(plain(bytes(512))).toBe("512 B");
    expect(plain(bytes(1536))).toBe("1.5 KiB");
    expect(plain(bytes(367 * 2 ** 20))).toBe("367 MiB");
    expect(plain(bytes(2.5 * 2 ** 30))).toBe("2.5 GiB");
  });
  it("writes times as one would say them", () => {
    const cases: [number, string][] = [
      [0, "0 µs"],
      [0.00045, "450 µs"],
      [0.0015, "1.5 ms"],
      [0.25, "250 ms"],
      [12, "12 s"],
      [90.55, "90.5 s"],
      [180, "3 min"],
      [9000, "2.5 h"],
      [259200, "3 d"],
    ];
    for (const [v, want] of cases) expect(plain(duration(v)), String(v)).toBe(want);
  });
  it("knows each unit, and what it does not know", () => {
    expect(figure(null, "rate")).toBe(unknown);
    expect(figure(undefined, "bytes")).toBe(unknown);
    expect(figure(Number.NaN, "count")).toBe(unknown);
    expect(figure(1500, "rate")).toBe("1.5k/s");
    expect(plain(figure(2048, "bytes/s"))).toBe("2 KiB/s");
    expect(plain(figure(0.125, "share"))).toBe("12.5 %");
    expect(plain(figure(0.5, "cores"))).toBe("0.5 cores");
    expect(figure(1, "yes")).toBe("yes");
    expect(figure(0, "yes")).toBe("no");
  });
});

describe("the connection", () => {
  const t = Date.UTC(2026, 0, 5, 15, 2, 11);
  it("says since when the server is gone", () => {
    expect(liveness(t, t - 1000, t + 60_000, "the server cannot be reached")).toBe(
      `lost since ${clock(t)} (the server cannot be reached)`,
    );
  });
  it("says how old the last word is", () => {
    expect(liveness(null, null, t, "")).toBe("connecting");
    expect(liveness(null, t, t + 900, "")).toBe("live");
    expect(liveness(null, t, t + 30_000, "")).toBe("last heard 30 s ago");
  });
});
