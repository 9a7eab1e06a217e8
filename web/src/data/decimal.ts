// Prices and sizes are decimals of at most nine places. A number that was parsed
// from JSON still writes itself as that decimal; what is computed with it would
// not (230.1 - 229.9 is 0.19999999999998863). So arithmetic is on whole billionths.

const scale = 1_000_000_000n;

/** units gives a decimal in billionths. Places beyond the ninth are cut off. */
export function units(v: number | string): bigint {
  const text = typeof v === "number" ? plain(v) : v;
  const m = /^(-?)(\d*)(?:\.(\d*))?$/.exec(text);
  if (!m || text === "" || text === "-") throw new RangeError(`not a decimal: ${text}`);
  const whole = BigInt(m[2] || "0") * scale + BigInt((m[3] ?? "").slice(0, 9).padEnd(9, "0"));
  return m[1] ? -whole : whole;
}

/** plain writes a number without an exponent. */
export function plain(n: number): string {
  const text = String(n);
  if (!text.includes("e")) return text;
  const fixed = n.toFixed(9);
  return fixed.includes("e") ? BigInt(Math.trunc(n)).toString() : fixed.replace(/\.?0+$/, "");
}

/** places counts the digits behind the point of a number, at most nine. */
export function places(n: number): number {
  const text = plain(n);
  const point = text.indexOf(".");
  return point < 0 ? 0 : Math.min(9, text.length - point - 1);
}

/** fixed writes a number with so many places and commas, rounded half away from zero. */
export function fixed(n: number, digits: number): string {
  return fixedUnits(units(n), digits);
}

/** fixedUnits does the same for billionths. */
export function fixedUnits(u: bigint, digits: number): string {
  const negative = u < 0n;
  const step = 10n ** BigInt(9 - digits);
  const rounded = ((negative ? -u : u) + step / 2n) / step;
  const text = rounded.toString().padStart(digits + 1, "0");
  const point = text.length - digits;
  const whole = text.slice(0, point).replace(/\B(?=(\d{3})+$)/g, ",");
  const sign = negative && rounded !== 0n ? "−" : "";
  return sign + whole + (digits > 0 ? `.${text.slice(point)}` : "");
}

/** percent gives part / base in hundredths of a percent, rounded half away from zero. */
export function percent(part: bigint, base: bigint): bigint {
  if (base === 0n) return 0n;
  const twice = (part * 20_000n) / base;
  return twice < 0n ? (twice - 1n) / 2n : (twice + 1n) / 2n;
}
