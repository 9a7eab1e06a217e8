import { fixedUnits, percent, units } from "./decimal";

/** Change is how far a price is from where the day began. */
export interface Change {
  amount: bigint; // in billionths
  hundredths: bigint; // of a percent
  basis: "close" | "open"; // compared with the previous day's close, or this day's open
}

/** change compares with the previous close, or with the day's open where that is not known. */
export function change(last?: number, previousClose?: number, dayOpen?: number): Change | undefined {
  const basis = previousClose ? "close" : "open";
  const base = previousClose || dayOpen;
  if (!last || !base) return undefined;
  const amount = units(last) - units(base);
  return { amount, hundredths: percent(amount, units(base)), basis };
}

/** signed writes an amount with its sign, also a plus. */
export function signed(amount: bigint, digits: number): string {
  const text = fixedUnits(amount, digits);
  return text.startsWith("−") || /^[0.,]*$/.test(text) ? text : `+${text}`;
}

/** signedPercent writes hundredths of a percent: +1.25 %. */
export function signedPercent(hundredths: bigint): string {
  return `${signed(hundredths * 10_000_000n, 2)}%`;
}
