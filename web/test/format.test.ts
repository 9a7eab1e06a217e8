import { expect, it } from "vitest";
import { age, bytes, clock, compact, grouped } from "../src/data/format";

it("writes quantities shortly", () => {
  const want: [number, string][] = [
    [0, "0"],
    [7, "7"],
    [0.5, "0.50"],
    [12.34, "12.3"],
    [999, "999"],
    [999.7, "1.00K"],
    [1_000, "1.00K"],
    [14_749, "14.7K"],
    [999_600, "1.00M"],
    [1_240_000, "1.24M"],
    [123_456_789, "123M"],
    [2.5e12, "2.50T"],
  ];
  for (const [n, text] of want) expect(compact(n), String(n)).toBe(text);
  for (let n = 1; n < 1e15; n = n * 1.37 + 1) expect(compact(n).length, String(n)).toBeLessThanOrEqual(6);
});

it("groups whole numbers and leaves fractions as they are", () => {
  expect([1, 1234, 1234567.125, 0.4725].map(grouped)).toEqual(["1", "1,234", "1,234,567.125", "0.4725"]);
});

it("says ages as people do", () => {
  expect(
    [-5, 0, 340, 1_000, 12_000, 59_600, 90_000, 7_200_000, 300_000_000, Number.POSITIVE_INFINITY].map(age),
  ).toEqual(["0 s", "0 s", "0.3 s", "1.0 s", "12 s", "1 min", "2 min", "2 h", "3 d", "–"]);
});

it("writes times and sizes", () => {
  expect(clock(new Date(2026, 0, 5, 9, 3, 7, 45))).toBe("09:03:07");
  expect(clock(new Date(2026, 0, 5, 9, 3, 7, 45), true)).toBe("09:03:07.045");
  expect([12, 1_234, 56_789, 1_234_567, 12_345_678].map(bytes)).toEqual(["12 B", "1.2 kB", "57 kB", "1.2 MB", "12 MB"]);
});
