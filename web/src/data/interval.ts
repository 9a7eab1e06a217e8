/** Interval is how long a candle lasts. */
export interface Interval {
  id: string; // in the URL, and of REST's timeframes
  label: string;
  name: string; // read aloud
  seconds: number;
  history: boolean; // REST has it
}

export const intervals: readonly Interval[] = [
  { id: "5Sec", label: "5s", name: "5 seconds", seconds: 5, history: false },
  { id: "1Min", label: "1m", name: "1 minute", seconds: 60, history: true },
  { id: "5Min", label: "5m", name: "5 minutes", seconds: 300, history: true },
  { id: "15Min", label: "15m", name: "15 minutes", seconds: 900, history: true },
  { id: "1Hour", label: "1h", name: "1 hour", seconds: 3_600, history: true },
  { id: "1Day", label: "1d", name: "1 day", seconds: 86_400, history: true },
];

export function intervalOf(id: string | undefined): Interval | undefined {
  return intervals.find((i) => i.id === id);
}
