// Placeholder until the generator is in place.
export const channels = ["trades", "quotes", "bars", "updatedBars", "dailyBars"] as const;
export type Channel = (typeof channels)[number];
export const letters = "tqbud";
export function adviceFor(close: number): "never" | "backoff" | "now" {
  if ([1002, 1003, 1007, 1008, 1009, 1010].includes(close) || (close >= 4000 && close <= 4099)) return "never";
  if (close >= 4200 && close <= 4299) return "now";
  return "backoff";
}
