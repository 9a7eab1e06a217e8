import { fixedUnits, units } from "./decimal";
import type { Interval } from "./interval";
import { Ring } from "./ring";

/** Bar is a bar as the protocol has it, in REST and in the stream. */
export interface Bar {
  t: string;
  o: number;
  h: number;
  l: number;
  c: number;
  v: number;
}

/** Candle is what the chart draws; time is in seconds. */
export interface Candle {
  time: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
}

/** Change says which candles are to be drawn again. */
export type Redraw = "none" | "last" | "all";

const most = 2_000;

/**
 * Candles continue a history with what comes live. History is the truth; trades
 * draw the candle that is being made ahead of it, and a bar that is complete
 * replaces what trades made of it.
 */
export class Candles {
  private list: Candle[] = [];
  private minutes = new Map<number, Candle>(); // of the last candle, where it is longer than one
  private base: Candle | undefined; // the last candle as history had it

  constructor(readonly interval: Interval) {}

  get all(): readonly Candle[] {
    return this.list;
  }

  get last(): Candle | undefined {
    return this.list.at(-1);
  }

  /** load begins with a history, oldest first; live candles behind it stay. */
  load(bars: readonly Bar[]): void {
    const history = bars.map(candle).filter((c) => Number.isFinite(c.time));
    history.sort((a, b) => a.time - b.time);
    const end = history.at(-1);
    const pure = end && { ...end };
    const later = end ? this.list.filter((c) => c.time > end.time) : this.list;
    const same = end && this.list.find((c) => c.time === end.time);
    if (end && same)
      Object.assign(end, merge(end, { ...same, volume: 0 }), { volume: Math.max(same.volume, end.volume) });
    this.list = [...history, ...later].slice(-most);
    this.base = this.last === end ? pure : undefined;
    const newest = Math.max(...this.minutes.keys()); // history has what came before
    this.minutes = new Map([...this.minutes].filter(([m]) => m === newest));
  }

  /** trade draws a trade into the candle of its time. */
  trade(at: number, price: number, size: number): Redraw {
    if (!(price > 0)) return "none";
    const last = this.last;
    if (this.interval.seconds >= 86_400) return this.intraday(at, price);
    const time = this.bucket(at);
    if (last && time < last.time) return "none"; // a late one: a corrected bar brings it
    const made: Candle = { time, open: price, high: price, low: price, close: price, volume: size };
    if (this.interval.seconds > 60) this.minute(at, made);
    if (last && time === last.time) {
      this.list[this.list.length - 1] = merge(last, made);
      return "last";
    }
    this.push(made);
    return "last";
  }

  /** bar takes a complete minute, or its correction, in place of what trades made. */
  bar(b: Bar): Redraw {
    const c = candle(b);
    if (this.interval.seconds < 60 || this.interval.seconds >= 86_400) return "none";
    if (this.interval.seconds === 60) return this.replace(c);
    const last = this.last;
    const time = this.bucket(c.time);
    if (!last || time > last.time) {
      this.push({ ...c, time });
      this.minutes.set(c.time, c);
      return "last";
    }
    if (time < last.time) return "none";
    this.minutes.set(c.time, c);
    this.list[this.list.length - 1] = this.combine(time);
    return "last";
  }

  /** day takes the day so far. */
  day(b: Bar): Redraw {
    return this.interval.seconds < 86_400 ? "none" : this.replace(candle(b));
  }

  /** intraday draws a price into the day; where a day begins, and its volume, its bar tells. */
  private intraday(at: number, price: number): Redraw {
    const last = this.last;
    if (!last || at < last.time || at >= last.time + 86_400) return "none";
    const made = { time: last.time, open: price, high: price, low: price, close: price, volume: 0 };
    this.list[this.list.length - 1] = merge(last, made);
    return "last";
  }

  private bucket(at: number): number {
    const s = this.interval.seconds;
    return Math.floor(at / s) * s;
  }

  private push(c: Candle): void {
    this.list.push(c);
    this.base = undefined;
    this.minutes = new Map([...this.minutes].filter(([m]) => this.bucket(m) === c.time));
    if (this.list.length > most) this.list.splice(0, this.list.length - most);
  }

  private minute(at: number, made: Candle): void {
    const m = Math.floor(at / 60) * 60;
    const had = this.minutes.get(m);
    this.minutes.set(m, had ? merge(had, { ...made, time: m }) : { ...made, time: m });
  }

  private combine(time: number): Candle {
    const parts = [...this.minutes.values()]
      .filter((m) => this.bucket(m.time) === time)
      .sort((a, b) => a.time - b.time);
    const all = this.base?.time === time ? [this.base, ...parts] : parts;
    const [head, ...tail] = all as [Candle, ...Candle[]];
    return tail.reduce(merge, { ...head, time });
  }

  private replace(c: Candle): Redraw {
    const last = this.last;
    if (!last || c.time > last.time) {
      this.push(c);
      return "last";
    }
    const i = this.list.findLastIndex((x) => x.time === c.time);
    if (i < 0) return "none";
    this.list[i] = c;
    return i === this.list.length - 1 ? "last" : "all";
  }
}

function candle(b: Bar): Candle {
  return { time: Date.parse(b.t) / 1000, open: b.o, high: b.h, low: b.l, close: b.c, volume: b.v };
}

function merge(a: Candle, b: Candle): Candle {
  return {
    time: a.time,
    open: a.open,
    high: Math.max(a.high, b.high),
    low: Math.min(a.low, b.low),
    close: b.close,
    volume: sum(a.volume, b.volume),
  };
}

/** sum adds two sizes exactly: fractions of coins would gather errors. */
function sum(a: number, b: number): number {
  if (Number.isInteger(a) && Number.isInteger(b)) return a + b;
  return Number(fixedUnits(units(a) + units(b), 9).replaceAll(",", ""));
}

/** Print is one line of time and sales. */
export interface Print {
  at: number; // ms
  price: number;
  size: number;
  direction: -1 | 0 | 1; // against the price before
  conditions: string;
}

/** Prints are the newest trades of one symbol. */
export class Prints {
  readonly ring: Ring<Print>;
  private price = 0;
  private direction: -1 | 0 | 1 = 0;

  constructor(capacity: number) {
    this.ring = new Ring(capacity);
  }

  add(at: number, price: number, size: number, conditions: string): void {
    if (this.price !== 0 && price !== this.price) this.direction = price > this.price ? 1 : -1;
    this.price = price;
    this.ring.push({ at, price, size, direction: this.direction, conditions });
  }

  clear(): void {
    this.ring.clear();
    this.price = 0;
    this.direction = 0;
  }
}
