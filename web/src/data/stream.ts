import {
  type Channel,
  Client,
  type ClientError,
  channels,
  type MarketEvent,
  type Options,
  type Subscription,
  type Topics,
} from "@lzstock/client";
import type { Credentials } from "./credentials";
import { age } from "./format";
import { Ledger } from "./ledger";
import type { Delivery } from "./persist";
import { Ring } from "./ring";
import { Row } from "./row";

// What stands between the SDK and the page: rows, the page's own ledger, and a
// journal of what happened to the connection. Nothing here draws.

/** Note is a line of the journal. */
export interface Note {
  at: number; // ms
  tone: "good" | "bad" | "plain";
  text: string;
}

/** Origin tells what kind of prices these are, as far as the events say. */
export interface Origin {
  simulated: boolean;
  time: number; // ms, the venue's, of the newest event; 0 where none came
}

export interface StreamOptions {
  credentials: Credentials | undefined;
  delivery: Delivery;
  every: number;
}

const watched = ["trades", "quotes", "dailyBars", "statuses"].filter((c): c is Channel =>
  (channels as readonly string[]).includes(c),
);
const charted: readonly Channel[] = ["bars", "updatedBars"]; // the rest comes for the list, in which it is

/** Stream keeps rows current. Its callbacks are set by the page. */
export class Stream {
  readonly rows = new Map<string, Row>();
  readonly ledger = new Ledger();
  readonly journal = new Ring<Note>(50);
  readonly origin: Origin = { simulated: false, time: 0 };
  onRow: (row: Row) => void = () => {};
  onChart: (events: readonly MarketEvent[], now: number) => void = () => {}; // of the symbol that is followed
  onChange: () => void = () => {}; // state, feed or journal
  onDenied: (why: string) => void = () => {};
  onRecovered: () => void = () => {}; // after a gap or a reconnect: what was missed may matter

  private client: Client;
  private list: Subscription | undefined;
  private chart: Subscription | undefined;
  private symbols: string[] = [];
  private symbol = "";
  private gapsSeen = 0;
  private readonly off: (() => void)[] = [];

  constructor(options: StreamOptions) {
    this.client = this.open(options);
  }

  get connection(): Client {
    return this.client;
  }

  /** live tells whether prices are current, as the server and the SDK say. */
  get live(): boolean {
    return this.client.state === "live";
  }

  row(symbol: string): Row {
    let row = this.rows.get(symbol);
    if (!row) {
      row = new Row(symbol);
      this.rows.set(symbol, row);
    }
    return row;
  }

  /** watch says which symbols the list has. */
  watch(symbols: readonly string[]): void {
    for (const gone of this.symbols.filter((s) => !symbols.includes(s))) this.forget(gone);
    this.symbols = [...symbols];
    for (const s of symbols) this.row(s);
    const topics = topicsOf(watched, this.symbols);
    if (this.list) this.list.update(topics);
    else this.list = this.client.subscribe(topics, (events) => this.take(events));
  }

  /** follow says which symbol the chart has. */
  follow(symbol: string): void {
    if (symbol === this.symbol) return;
    this.symbol = symbol;
    this.chart?.close();
    this.chart = symbol
      ? this.client.subscribe(topicsOf(charted, [symbol]), (events) => this.onChart(events, performance.now()))
      : undefined;
  }

  configure(delivery: Delivery, every: number): void {
    this.client.configure({ delivery, intervalMs: delivery === "latest" ? every : 0 });
    this.note(
      "plain",
      delivery === "latest"
        ? `Asked for the latest value, ${every ? `every ${every} ms` : "as fast as it comes"}`
        : `Asked for ${delivery} delivery`,
    );
  }

  /** cut drops the connection as a network would. */
  cut(): void {
    this.note("bad", "You pulled the plug");
    this.client.cut();
  }

  /** restart connects anew, with other credentials. */
  restart(options: StreamOptions): void {
    const { symbols, symbol } = this;
    this.stop();
    this.client = this.open(options);
    this.watch(symbols);
    this.follow(symbol);
    this.onChange();
  }

  stop(): void {
    for (const off of this.off.splice(0)) off();
    this.list = this.chart = undefined;
    this.symbol = "";
    this.client.close();
  }

  note(tone: Note["tone"], text: string): void {
    this.journal.push({ at: Date.now(), tone, text });
    this.onChange();
  }

  private open(o: StreamOptions): Client {
    const options: Options = { delivery: o.delivery, flush: "frame" };
    if (o.delivery === "latest" && o.every > 0) options.intervalMs = o.every;
    if (o.credentials?.token) options.token = o.credentials.token;
    else if (o.credentials?.key) Object.assign(options, { key: o.credentials.key, secret: o.credentials.secret });
    const client = new Client(options);
    this.listen(client);
    return client;
  }

  private listen(client: Client): void {
    this.off.push(
      client.on("state", ({ state, previous, error, retryMs }) => {
        if (state === "reconnecting" && previous !== state) this.note("bad", lost(error));
        else if (state === "reconnecting" && retryMs) this.note("bad", `Not back yet${because(error)}`);
        else if (state === "live" && (previous === "stale" || previous === "down"))
          this.note("good", "Prices are current again");
        else if (state === "live" && previous === "connecting") this.note("good", "Connected, prices are current");
        this.onChange();
      }),
      client.on("feed", ({ state, reason }) => {
        if (state !== "live") this.note("bad", `The feed is ${state}${reason ? `: ${reason}` : ""}`);
        this.onChange();
      }),
      client.on("gap", (gap) => {
        this.note("bad", `Gap${gap.symbol ? ` in ${gap.symbol}` : ""}: ${gaps[gap.reason]}`);
        this.onRecovered();
      }),
      client.on("reconnect", ({ moved, reason, downMs }) => {
        const lost = client.stats.gaps > this.gapsSeen;
        this.gapsSeen = client.stats.gaps;
        if (reason === "topics" || reason === "delivery" || reason === "token") return;
        this.note(
          "good",
          moved ? "Moved to a new connection" : `Back after ${age(downMs)}${lost ? "" : ", resumed where it ended"}`,
        );
        this.onRecovered();
      }),
      client.on("throttle", ({ on }) =>
        this.note("plain", on ? "This page is behind: the gateway merges events" : "Caught up: every event again"),
      ),
      client.on("rejected", (list) => {
        for (const { symbol, message } of list) {
          const row = this.rows.get(symbol);
          if (!row || row.refused) continue;
          row.refused = message;
          this.onRow(row);
        }
      }),
      client.on("error", (e) => this.note("bad", e.message)),
      client.on("closed", ({ error }) => {
        this.note("bad", `Ended${because(error)}`);
        if (error && (denials.includes(error.code) || denials.includes(error.close))) this.onDenied(error.message);
      }),
    );
  }

  private take(events: readonly MarketEvent[]): void {
    const now = performance.now();
    const followed: MarketEvent[] = [];
    for (const e of events) {
      this.ledger.add(e);
      const row = this.rows.get(e.S);
      if (!row) continue;
      this.apply(row, e, now);
      this.onRow(row);
      if (e.S === this.symbol) followed.push(e);
    }
    if (followed.length > 0) this.onChart(followed, now);
  }

  private apply(row: Row, e: MarketEvent, now: number): void {
    switch (e.T) {
      case "t":
        row.trade(e.p, e.t, now);
        if (e.x === "SIM") this.origin.simulated = true;
        this.origin.time = Date.parse(e.t);
        break;
      case "q":
        row.quote(e.bp, e.ap, e.t, now);
        if (e.bx === "SIM") this.origin.simulated = true;
        this.origin.time = Date.parse(e.t);
        break;
      case "d":
        row.day(e);
        break;
      case "s":
        row.status(e);
        break;
    }
  }

  private forget(symbol: string): void {
    this.rows.delete(symbol);
    for (const T of ["t", "q", "d", "s"]) this.ledger.drop(`${T}:${symbol}`);
  }
}

/** denials are the codes, of errors and of close frames, that credentials might mend. */
const denials = [401, 402, 403, 404, 4001, 4002, 4003];

const gaps: Record<string, string> = {
  expired: "the gateway no longer holds what was missed",
  epoch: "the feed began anew",
  unexplained: "something never came",
  paused: "the page was hidden for long",
};

/** lost says that the connection is, and why, where that says more. */
function lost(error: ClientError | undefined): string {
  return error && error.message !== "connection lost" && error.message !== "cut"
    ? `Connection lost: ${error.message}`
    : "Connection lost";
}

function because(error: ClientError | undefined): string {
  return error ? `: ${error.message}` : "";
}

function topicsOf(channels: readonly Channel[], symbols: readonly string[]): Topics {
  return Object.fromEntries(channels.map((c) => [c, [...symbols]]));
}
