import { batch, effect, signal } from "@preact/signals";
import { type Credentials, keep, recall } from "./data/credentials";
import { intervals } from "./data/interval";
import { cleanSymbol, type Delivery, load, move, save, type View, writeURL } from "./data/persist";
import { type Failure, type Named, Rest, type Result } from "./data/rest";
import type { Row } from "./data/row";
import { Stream } from "./data/stream";
import { readStatus, Speed, type Status } from "./status";

/** Tab is the part of the page that a phone shows. */
export type Tab = "list" | "chart" | "trades" | "connection";

/** favourites are what a reader sees first, where the gateway has them. */
const favourites = ["AAPL", "MSFT", "NVDA", "SPY", "TSLA", "AMZN", "GOOGL", "META", "AMD", "BTC/USD", "ETH/USD", "QQQ"];

/** Follower gets what comes for the symbol on the chart, and when. */
type Follower = Stream["onChart"];

/** atOnce is how many symbols one request asks for. */
const atOnce = 100;

/** Model is all that the page knows; components read its signals and call its methods. */
export class Model {
  readonly symbols = signal<string[]>([]);
  readonly symbol = signal("");
  readonly interval = signal("1Min");
  readonly delivery = signal<Delivery>("adaptive");
  readonly every = signal(0);
  readonly tab = signal<Tab>("list");
  readonly asking = signal(""); // why credentials are asked for; empty where they are not
  readonly helping = signal(false);
  readonly spoken = signal(""); // for screen readers
  readonly trouble = signal<Failure | undefined>(undefined); // REST's
  readonly names = signal<ReadonlyMap<string, string>>(new Map());
  readonly basis = signal<"" | "close" | "open" | "mixed">("");
  readonly chosen = signal(false); // somebody chose an interval
  readonly status = signal<Status>({} as Status);
  readonly recovered = signal(0); // times that something may have been missed
  readonly rates = signal(0); // counts what speeds.ring has got
  readonly speeds = new Speed();

  readonly rest: Rest;
  readonly stream: Stream;
  credentials: Credentials | undefined;
  private readonly painters = new Map<string, Set<(row: Row) => void>>();
  private readonly dirty = new Set<Row>();
  private readonly followers = new Set<Follower>();
  private painting = false;
  private all: Promise<Result<Named[]>> = Promise.resolve({ ok: true, value: [] });

  constructor() {
    this.credentials = recall(safe(() => sessionStorage));
    const view = load(
      location.search,
      safe(() => localStorage),
    );
    batch(() => {
      this.symbols.value = view.symbols ?? [];
      this.interval.value = view.interval ?? "1Min";
      this.chosen.value = view.interval !== undefined;
      this.delivery.value = view.delivery ?? "adaptive";
      this.every.value = view.every ?? 0;
      this.symbol.value = view.symbol ?? "";
    });
    this.rest = new Rest(() => this.credentials);
    this.stream = new Stream(this.options);
    this.stream.onRow = (row) => this.mark(row);
    this.stream.onChange = () => this.refresh();
    this.stream.onDenied = (why) => this.denied(why);
    this.stream.onRecovered = () => this.recovered.value++;
    this.stream.onChart = (events, now) => {
      for (const f of this.followers) f(events, now);
    };
    this.refresh();
  }

  /** start fills an empty list, and has everything follow the signals. */
  async start(): Promise<void> {
    this.all = this.rest.symbols("", 1_000);
    void this.all.then((r) => (r.ok ? this.learn(r.value) : this.failed(r.failure)));
    if (this.symbols.value.length === 0) {
      const first = await this.first();
      if (this.symbols.value.length === 0) this.symbols.value = first;
    }
    effect(() => this.stream.watch(this.symbols.value));
    effect(() => {
      const { value: list } = this.symbols;
      if (!list.includes(this.symbol.value)) this.symbol.value = list[0] ?? "";
      this.stream.follow(this.symbol.value);
    });
    effect(() => this.remember());
    let known = "";
    effect(() => {
      const list = this.symbols.value;
      const missing = list.filter((s) => !known.split(",").includes(s));
      known = list.join(",");
      if (missing.length > 0) void this.fill(missing);
    });
    setInterval(() => this.refresh(), 250);
    setInterval(() => {
      this.speeds.ring.push(this.status.value.rate);
      this.rates.value++;
    }, 1_000);
    setInterval(() => void this.fill(this.symbols.value), 300_000); // a day may have begun
  }

  /** name gives an instrument's name, where it is known. */
  name(symbol: string): string {
    return this.names.value.get(symbol) ?? "";
  }

  add(text: string): boolean {
    const s = cleanSymbol(text);
    if (!s) return false;
    if (!this.symbols.value.includes(s)) this.symbols.value = [...this.symbols.value, s];
    this.symbol.value = s;
    this.say(`${s} added`);
    return true;
  }

  remove(symbol: string): void {
    const list = this.symbols.value;
    const i = list.indexOf(symbol);
    if (i < 0) return;
    batch(() => {
      this.symbols.value = list.filter((s) => s !== symbol);
      if (this.symbol.value === symbol) this.symbol.value = list[i + 1] ?? list[i - 1] ?? "";
    });
    this.say(`${symbol} removed`);
  }

  /** shift moves a symbol in the list to a place. */
  shift(symbol: string, to: number): void {
    const list = this.symbols.value;
    const from = list.indexOf(symbol);
    const place = Math.max(0, Math.min(list.length - 1, to));
    if (from < 0 || place === from) return;
    this.symbols.value = move(list, from, place);
    this.say(`${symbol} is now number ${place + 1} of ${list.length}`);
  }

  choose(interval: string): void {
    if (!intervals.some((i) => i.id === interval)) return;
    batch(() => {
      this.interval.value = interval;
      this.chosen.value = true;
    });
  }

  deliver(delivery: Delivery, every: number): void {
    batch(() => {
      this.delivery.value = delivery;
      this.every.value = delivery === "latest" ? every : 0;
    });
    this.stream.configure(delivery, this.every.value);
  }

  /** signIn connects with credentials, which this tab remembers; none forgets them. */
  signIn(c: Credentials | undefined): void {
    this.credentials = c;
    keep(
      c,
      safe(() => sessionStorage),
    );
    this.asking.value = "";
    this.trouble.value = undefined;
    this.stream.restart(this.options);
    void this.fill(this.symbols.value);
  }

  /** denied asks who the reader is, once the gateway has refused. */
  private denied(why: string): void {
    this.ask(this.credentials ? `The gateway did not take them: ${why}.` : "This gateway wants to know who you are.");
  }

  ask(why: string): void {
    if (!this.asking.value) this.asking.value = why;
  }

  say(text: string): void {
    this.spoken.value = text;
  }

  /** paint calls f whenever a symbol's row has changed, at most once a frame. */
  paint(symbol: string, f: (row: Row) => void): () => void {
    const set = this.painters.get(symbol) ?? new Set();
    this.painters.set(symbol, set.add(f));
    return () => {
      set.delete(f);
      if (set.size === 0) this.painters.delete(symbol);
    };
  }

  /** follow calls f with the events of the symbol on the chart. */
  follow(f: Follower): () => void {
    this.followers.add(f);
    return () => this.followers.delete(f);
  }

  /** mark has a row painted once everything that came with it is known. */
  mark(row: Row): void {
    this.dirty.add(row);
    if (this.painting) return;
    this.painting = true;
    queueMicrotask(() => {
      this.painting = false;
      for (const r of this.dirty) for (const f of this.painters.get(r.symbol) ?? []) f(r);
      this.dirty.clear();
    });
  }

  /** failed says what REST lacks; who must sign in is asked to. */
  failed(f: Failure): void {
    if (f.kind === "denied" && f.status === 401) this.denied(f.detail);
    else if (f.kind !== "unreachable") this.trouble.value = f; // the stream tells that already
  }

  private get options() {
    return { credentials: this.credentials, delivery: this.delivery.value, every: this.every.value };
  }

  private async first(): Promise<string[]> {
    const r = await this.all;
    if (!r.ok) return favourites;
    const all = r.value.map((s) => s.symbol);
    const known = favourites.filter((s) => all.includes(s));
    return known.length >= 3 || all.length === 0
      ? known.length > 0
        ? known
        : favourites
      : all.slice(0, favourites.length);
  }

  /** fill asks for what the stream does not bring: previous closes, and names. */
  private async fill(symbols: readonly string[]): Promise<void> {
    if (symbols.length === 0) return;
    if (symbols.length > atOnce) {
      await this.fill(symbols.slice(0, atOnce));
      return this.fill(symbols.slice(atOnce));
    }
    const r = await this.rest.snapshots(symbols);
    if (!r.ok) return this.failed(r.failure);
    if (this.trouble.value?.kind === "unavailable") this.trouble.value = undefined;
    for (const [symbol, s] of Object.entries(r.value)) {
      const row = this.stream.rows.get(symbol);
      if (!row || !s) continue;
      row.snapshot(s, performance.now());
      this.mark(row);
    }
    this.weigh();
  }

  /** learn remembers the names of symbols. */
  learn(list: readonly Named[]): void {
    const named = list.filter((s): s is Required<Named> => !!s.name && this.names.value.get(s.symbol) !== s.name);
    if (named.length > 0)
      this.names.value = new Map([...this.names.value, ...named.map((s) => [s.symbol, s.name] as const)]);
  }

  private weigh(): void {
    const kinds = new Set<string>();
    for (const s of this.symbols.value) {
      const basis = this.stream.rows.get(s)?.change?.basis;
      if (basis) kinds.add(basis);
    }
    this.basis.value = kinds.size > 1 ? "mixed" : (([...kinds][0] ?? "") as "" | "close" | "open");
  }

  private remember(): void {
    const view: View = {
      symbols: this.symbols.value,
      symbol: this.symbol.value,
      delivery: this.delivery.value,
      every: this.every.value,
    };
    if (this.chosen.value) view.interval = this.interval.value;
    save(
      view,
      safe(() => localStorage),
    );
    history.replaceState(null, "", location.pathname + writeURL(view));
  }

  private refresh(): void {
    this.status.value = readStatus(this.stream, this.speeds);
    this.weigh();
  }
}

function safe<T>(f: () => T): T | undefined {
  try {
    return f();
  } catch {
    return undefined; // storage may be forbidden
  }
}
