import { describe, expect, it } from "vitest";
import { change, signed, signedPercent } from "../src/data/change";
import { fixed, fixedUnits, percent, places, plain, units } from "../src/data/decimal";

describe("decimals", () => {
  it("reads what the protocol writes, exactly", () => {
    for (const [v, want] of [
      [230.1, 230_100_000_000n],
      [0.000000001, 1n],
      [97250, 97_250_000_000_000n],
      [8388608.123456, 8_388_608_123_456_000n],
      [-1.5, -1_500_000_000n],
      [1e-9, 1n],
      ["0.1", 100_000_000n],
    ] as const)
      expect(units(v), String(v)).toBe(want);
    for (const bad of ["", "-", "1e5", "x", "1.2.3", Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => units(bad)).toThrow(RangeError);
  });

  it("has no artefacts of floating point", () => {
    expect(230.1 - 229.9).not.toBe(0.2);
    expect(fixedUnits(units(230.1) - units(229.9), 9)).toBe("0.200000000");
    expect(fixed(1.005, 2)).toBe("1.01"); // (1.005).toFixed(2) is 1.00
    expect(fixed(0.285, 2)).toBe("0.29");
    expect(fixed(-1.005, 2)).toBe("−1.01");
    expect(fixed(-0.001, 2)).toBe("0.00");
  });

  it("groups, and keeps as many places as it is told", () => {
    expect(fixed(97250.4, 2)).toBe("97,250.40");
    expect(fixed(1234567.891, 0)).toBe("1,234,568");
    expect(fixed(0.00000012, 9)).toBe("0.000000120");
    expect(fixed(999.999, 2)).toBe("1,000.00");
  });

  it("counts places", () => {
    expect([230, 230.1, 230.12, 1e-9, 1.5e-7].map(places)).toEqual([0, 1, 2, 9, 8]);
    expect(plain(1e21)).toBe("1000000000000000000000");
    expect(plain(1.5e-7)).toBe("0.00000015");
  });

  it("rounds percentages half away from zero", () => {
    expect(percent(units(1), units(3))).toBe(3_333n);
    expect(percent(units(0.00005), units(1))).toBe(1n);
    expect(percent(units(-0.00005), units(1))).toBe(-1n);
    expect(percent(units(0.00004), units(1))).toBe(0n);
    expect(percent(1n, 0n)).toBe(0n);
  });
});

describe("change", () => {
  it("is against the previous close, else the open, and says which", () => {
    expect(change(230.1, 229.9, 231)).toEqual({ amount: 200_000_000n, hundredths: 9n, basis: "close" });
    expect(change(230.1, undefined, 231)).toEqual({ amount: -900_000_000n, hundredths: -39n, basis: "open" });
    expect(change(230.1, 0, 231)?.basis).toBe("open");
    expect(change(230.1)).toBeUndefined();
    expect(change(undefined, 229.9)).toBeUndefined();
  });

  it("is written with its sign", () => {
    expect(signed(200_000_000n, 2)).toBe("+0.20");
    expect(signed(-200_000_000n, 2)).toBe("−0.20");
    expect(signed(1n, 2)).toBe("0.00");
    expect(signedPercent(125n)).toBe("+1.25%");
    expect(signedPercent(-5n)).toBe("−0.05%");
    expect(signedPercent(0n)).toBe("0.00%");
  });
});
