import type { Bar } from "./candles";
import { type Change, change } from "./change";
import { fixed, fixedUnits, places, units } from "./decimal";
import type { Snapshot } from "./rest";
import { Spark } from "./ring";

const sparkPoints = 120;
const sparkEvery = 1_000;
const haltCodes = ["H", "P", "Q", "2"];
const tradedCodes = ["T", "3"];

/** Row is what the page knows of one symbol. It is changed in place; who shows it is told. */
export class Row {
  name = "";
  last: number | undefined;
  bid: number | undefined;
  ask: number | undefined;
  volume: number | undefined;
  open: number | undefined;
  previousClose: number | undefined;
  closing = ""; // the day of the previous close
  digits = 2; // as many places as a price of it has had
  heard = 0; // when something came, on the page's own clock
  time = ""; // the venue's, of the newest trade or quote
  refused = ""; // why the gateway does not send it
  halted = ""; // why nobody trades; empty while they do
  moves = 0; // changes of last
  up = false; // whether the latest was upwards
  readonly spark = new Spark(sparkPoints, sparkEvery);

  constructor(readonly symbol: string) {}

  trade(p: number, t: string, now: number): void {
    this.heard = now;
    this.time = t;
    this.price(p, now);
  }

  quote(bp: number, ap: number, t: string, now: number): void {
    this.heard = now;
    if (!this.time || Date.parse(t) >= Date.parse(this.time)) this.time = t;
    this.bid = bp || undefined;
    this.ask = ap || undefined;
    for (const p of [bp, ap]) if (p) this.digits = Math.max(this.digits, places(p));
  }

  day(b: Pick<Bar, "o" | "v" | "c">): void {
    this.open = b.o || this.open;
    this.volume = b.v;
  }

  /** status takes what the venue says: some codes halt, some end a halt, others say nothing about it. */
  status(s: { sc: string; sm: string; rc?: string; rm?: string }): void {
    if (haltCodes.includes(s.sc)) this.halted = [s.sm, s.rm].filter(Boolean).join(": ") || "halted";
    else if (tradedCodes.includes(s.sc)) this.halted = "";
  }

  /** snapshot fills in what the stream has not brought; what it brought is newer. */
  snapshot(s: Snapshot, now: number): void {
    if (s.prevDailyBar) {
      this.previousClose = s.prevDailyBar.c;
      this.closing = s.prevDailyBar.t;
    }
    if (s.dailyBar && this.volume === undefined) this.day(s.dailyBar);
    if (s.latestTrade && this.last === undefined) {
      this.price(s.latestTrade.p, now);
      this.time ||= s.latestTrade.t;
    }
    if (s.latestQuote && this.bid === undefined && this.ask === undefined) {
      this.bid = s.latestQuote.bp || undefined;
      this.ask = s.latestQuote.ap || undefined;
    }
  }

  get change(): Change | undefined {
    return change(this.last, this.previousClose, this.open);
  }

  /** spread is how far bid and ask are apart; a crossed quote's is negative. */
  get spread(): string {
    return this.bid && this.ask ? fixedUnits(units(this.ask) - units(this.bid), this.digits) : "";
  }

  text(p: number | undefined): string {
    return p === undefined ? "" : fixed(p, this.digits);
  }

  private price(p: number, now: number): void {
    this.digits = Math.max(this.digits, places(p));
    if (this.last !== undefined && p !== this.last) {
      this.moves++;
      this.up = p > this.last;
    }
    this.last = p;
    this.spark.add(p, now);
  }
}

/** Age tells how much a row's price can be trusted, with how the feed is. */
export type Trust = "waiting" | "live" | "quiet" | "stale" | "halted" | "refused";

/** quietAfter is how long a row may be without news until it says so. */
export const quietAfter = 30_000;

/** trust judges a row: only the server can tell a quiet symbol from a dead feed. */
export function trust(
  row: Pick<Row, "heard" | "refused" | "halted" | "last" | "bid" | "ask">,
  feedLive: boolean,
  now: number,
): Trust {
  if (row.refused) return "refused";
  if (row.last === undefined && row.bid === undefined && row.ask === undefined) return "waiting";
  if (!feedLive) return "stale";
  if (row.halted) return "halted";
  if (row.heard === 0 || now - row.heard > quietAfter) return "quiet";
  return "live";
}
