import type { Book } from "./book.ts";
import { ClientError } from "./errors.ts";
import { Ledger } from "./ledger.ts";
import { channelOf, Link, now } from "./link.ts";
import type { Settings } from "./options.ts";
import { Outbox } from "./outbox.ts";
import type { Sub } from "./subscription.ts";
import type { Feed, Gap, MarketEvent, Rejection, State, Stats } from "./types.ts";

/** What a client tells, by name. */
export interface ClientEvents {
  /** The state has changed; `error` says why, where the connection was lost; `retryMs` is how long until the next attempt. */
  state: { state: State; previous: State; error?: ClientError | undefined; retryMs?: number | undefined };
  /** The gateway says how the feed is. */
  feed: Feed;
  /** Events were lost for good. */
  gap: Gap;
  /** The gateway conflates for this client, which is behind; or no longer. */
  throttle: { on: boolean };
  /** The gateway refuses some of what was subscribed to. */
  rejected: Rejection[];
  /** Something went wrong that does not end the client: a listener threw, a command was refused, a connection was lost. */
  error: Error;
  /**
   * Another connection has taken the place of the last one. `moved`: before that one
   * had ended, because the gateway had asked for it (`reason`: drain, max_age) or for
   * the client's own reasons (token, transport, topics). Else `downMs` is how long there was none.
   */
  reconnect: { moved: boolean; reason: string; downMs: number };
  /** The client has ended for good; without an error where `close` was called. */
  closed: { error?: ClientError | undefined };
}

const stable = 10_000; // how long a connection must have lasted for the count of failures to begin anew
const healAgain = 60_000; // least time between two connections that are given up because events were missing
const maxTopics = 1 << 17; // that a gateway may bring; more is taken for nonsense
const longPause = 60_000; // after which what was missed is not asked for, unless every event counts

type Handler = (e: never) => unknown;

/** Decides when connections are made, which one is in use, and what is handed out. */
export class Core {
  cur: Link | undefined; // in use
  next: Link | undefined; // is being made, perhaps while cur still delivers
  book: Book | undefined; // of the connection that is, or was last, in use
  ledger = new Ledger();
  subs = new Set<Sub>();
  refused = new Set<string>();
  unopened = 0; // WebSockets in a row that never opened
  reason: ClientError | undefined; // why it has ended for good
  stats: Stats = {
    transport: undefined,
    frames: 0,
    bytes: 0,
    events: 0,
    merged: 0,
    duplicates: 0,
    reconnects: 0,
    moves: 0,
    gaps: 0,
    losses: 0,
    resnapshots: 0,
    dropped: 0,
    throttled: false,
  };
  state: State = "connecting";
  feed: Feed | undefined;

  #want = new Map<string, number>(); // how many subscriptions want a topic
  #routes = new Map<string, Set<Sub>>();
  #handlers = new Map<string, Set<Handler>>();
  #out: Outbox;
  #timer: ReturnType<typeof setTimeout> | undefined; // for the next attempt
  #backing = false; // it runs because an attempt failed
  #endpoint = 0;
  #failures = 0; // attempts in a row that failed, or ended soon
  #refusals = 0; // endpoints in a row that refuse for good
  #renewed = false; // a new token was fetched since the last one was good
  #useSSE: boolean;
  #wsWorks = false;
  #probing = false; // the attempt looks whether WebSockets work
  #moving = ""; // why a move is under way
  #again = false; // there was a connection
  #downAt = 0;
  #wellAt = Number.NEGATIVE_INFINITY;
  #healed = Number.NEGATIVE_INFINITY;
  #syncing = false;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #refusedSyncs = 0;
  #synced = Number.NEGATIVE_INFINITY;
  #pausedAt = 0;

  readonly set: Settings;

  constructor(set: Settings) {
    this.set = set;
    this.#useSSE = !set.webSocket;
    this.#endpoint = Math.floor(Math.random() * set.urls.length);
    this.#out = new Outbox(set.frame, (events) => this.#deliver(events));
    this.#plan(0);
  }

  // Telling.

  on(type: string, fn: Handler): () => void {
    const list = this.#handlers.get(type) ?? new Set();
    this.#handlers.set(type, list);
    list.add(fn);
    return () => list.delete(fn);
  }

  tell<K extends keyof ClientEvents>(type: K, e: ClientEvents[K]): void {
    const list = this.#handlers.get(type);
    if (list) for (const fn of [...list]) this.call(fn, e as never, type === "error");
  }

  /** Calls a user's function; what it throws is reported, and breaks nothing. */
  call<E>(fn: (e: E) => unknown, e: E, last = false): void {
    const report = (error: unknown) => {
      if (!last && this.#handlers.get("error")?.size) this.complain(error);
      else if (typeof reportError === "function") reportError(error);
      else console.error(error);
    };
    try {
      const r = fn(e);
      if (r instanceof Promise) r.catch(report);
    } catch (error) {
      report(error);
    }
  }

  complain(error: unknown): void {
    this.tell("error", error instanceof Error ? error : new Error(String(error)));
  }

  /** Recomputes the state. */
  update(error?: ClientError, retryMs?: number): void {
    const { cur, state: previous } = this;
    if (cur) {
      if (!cur.feed || cur.feed.state === "live") this.#wellAt = now();
    }
    this.stats.transport = cur && (cur.sse ? "sse" : "websocket");
    const state = this.#ended
      ? "closed"
      : this.#pausedAt
        ? "paused"
        : cur
          ? (cur.feed?.state ?? "live")
          : this.#again
            ? "reconnecting"
            : "connecting";
    if (state === previous && retryMs === undefined) return;
    this.state = state;
    this.tell("state", { state, previous, error, retryMs });
  }

  #ended = false;

  get ageMs(): number {
    return now() - this.#wellAt;
  }

  get position(): string | undefined {
    const b = this.book;
    return b?.epoch && b.at ? `${b.epoch}-${b.least}` : undefined;
  }

  // Attempts.

  #plan(wait: number, backing = false): void {
    clearTimeout(this.#timer);
    this.#backing = backing;
    this.#timer = setTimeout(() => this.#attempt(), wait);
  }

  #cancel(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#backing = false;
  }

  #attempt(): void {
    this.#cancel();
    if (this.#ended || this.#pausedAt || this.next) return;
    const sse = this.#useSSE && !this.#probing;
    const link = new Link(this, this.set.urls[this.#endpoint] as URL, sse);
    this.next = link;
    this.update();
    link.start();
  }

  /** The transport of a connection is open. */
  opened(link: Link): void {
    if (link.sse) return;
    this.#wsWorks = true;
    this.unopened = 0;
    this.#useSSE = false;
  }

  /** A connection takes commands. */
  began(link: Link): void {
    if (!this.cur) this.#use(link);
  }

  /** A connection has what earlier ones had: it can take their place. */
  restored(link: Link): void {
    if (link === this.next && !link.awaits) this.#use(link);
  }

  /** Looks whether the connection in use has caught up with one that waits for that. */
  settle(): void {
    const { cur, next } = this;
    if (cur && next?.awaits && next.begun && next.book.at && cur.book.at >= next.book.at) this.#use(next);
  }

  #use(link: Link): void {
    const old = this.cur;
    const from = this.book;
    this.cur = link;
    this.next = undefined;
    this.book = link.book;
    link.awaits = false;
    this.#refusals = 0;
    if (old) {
      old.close();
      this.stats.moves++;
    }
    if (this.#again) {
      this.stats.reconnects++;
      this.tell("reconnect", { moved: !!old, reason: this.#moving, downMs: old ? 0 : now() - this.#downAt });
    }
    const probe = link.sse && !!this.set.webSocket && !this.#wsWorks && !this.#probing && !old;
    this.#again = true;
    this.#moving = "";
    this.#probing = false;
    if (this.cur !== link) return; // a handler has closed or cut it
    this.throttled(link);
    if (link.feed) this.fed(link);
    this.update();
    this.sync(from);
    if (probe) {
      this.#probing = true; // the gateway can be reached: once more, do WebSockets?
      this.#moving = "transport";
      this.#plan(this.#jitter() + 1000);
    }
  }

  /** A connection has ended by itself. */
  ended(link: Link, why: ClientError): void {
    if (link === this.next) this.#failed(link, why);
    else if (link === this.cur) this.#dropped(link, why);
  }

  #failed(link: Link, why: ClientError): void {
    this.next = undefined;
    if (this.#probing) {
      this.#probing = false;
      this.#moving = "";
      if (this.cur) return; // WebSockets do not work, and this one does
    }
    const { set } = this;
    const opened = link.opened;
    if (!opened && !link.sse) this.unopened++;
    if (!opened && set.sse && set.webSocket && !this.#wsWorks) {
      // In turns, since a gateway that is down looks like one that is blocked.
      this.#useSSE = !link.sse && this.unopened > 1;
      if (link.sse) this.unopened = 0;
      if (link.sse && [404, 405, 406, 426, 501].includes(why.code) && !link.url.search) {
        why = new ClientError(why.message, "backoff", why);
      }
    }
    this.#turnTo(why);
    const final = this.#final(why);
    if (final && !this.cur) {
      this.#finish(why);
      return;
    }
    if (final)
      this.#moving = ""; // as long as the old connection lasts, it is used
    else this.#back(why);
  }

  #dropped(link: Link, why: ClientError, missing = false): void {
    this.cur = undefined;
    this.#downAt = now();
    if (now() - link.greeted >= stable) {
      this.#failures = 0;
      this.#renewed = false;
    }
    const { next } = this;
    if (next && (missing || next.awaits)) {
      next.close(); // the next one resumes behind what is missing
      this.next = undefined;
    } else if (next) {
      // it is on its way, and decides
      this.update(why);
      if (next.begun) this.#use(next);
      return;
    }
    this.#probing = false;
    if (this.#backing && why.retry !== "never") {
      this.update(why);
      return;
    }
    this.#moving = "";
    this.#turnTo(why);
    if (this.#final(why)) this.#finish(why);
    else this.#back(why);
  }

  /** The gateway asks to move, or the client has a reason of its own. */
  move(link: Link, reason: string, delay: number, _deadline: number): void {
    if (link !== this.cur || this.next || (this.#timer && !this.#probing)) return;
    let wait = Math.min(delay, 60_000);
    if (now() - link.greeted >= stable) {
      this.#failures = 0;
      this.#renewed = false;
    } else if (reason !== "topics") {
      wait += this.#jitter(); // who is sent away at once goes on slowly
      this.#failures++;
    }
    if (reason === "drain") this.#turn();
    this.#probing = false;
    this.#moving = reason;
    this.#plan(wait);
  }

  #back(why: ClientError): void {
    const wait = why.afterMs + (why.retry === "now" && this.#failures === 0 ? 0 : this.#jitter());
    this.#failures++;
    this.#plan(wait, true);
    if (!this.cur) this.update(why, wait);
  }

  #turn(): void {
    this.#endpoint = (this.#endpoint + 1) % this.set.urls.length;
  }

  #turnTo(why: ClientError): void {
    if (why.retry !== "now" || why.close === 4200) this.#turn();
  }

  /** Whether there is no use in another attempt. */
  #final(why: ClientError): boolean {
    if (why.retry !== "never") {
      this.#refusals = 0;
      return false;
    }
    const http = !why.close;
    const credentials = http ? [401, 402, 403].includes(why.code) : why.close === 4001 || why.close === 4003;
    if (credentials && typeof this.set.token === "function" && !this.#renewed) {
      this.#renewed = true;
      return false;
    }
    return !http || credentials || ++this.#refusals >= this.set.urls.length;
  }

  /** Full jitter: a random wait below a limit that doubles when each endpoint has had its turn. */
  #jitter(): number {
    const { minBackoffMs, maxBackoffMs, urls } = this.set;
    return (
      Math.random() * Math.min(maxBackoffMs, minBackoffMs * 2 ** Math.min(30, Math.floor(this.#failures / urls.length)))
    );
  }

  #finish(error?: ClientError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.reason = error;
    this.#disconnect();
    this.#out.stop();
    this.update(error);
    for (const s of [...this.subs]) s.end(error);
    this.subs.clear();
    this.#routes.clear();
    this.#want.clear();
    this.tell("closed", { error });
  }

  #disconnect(): void {
    this.#cancel();
    clearTimeout(this.#retry);
    const { cur, next } = this;
    this.cur = this.next = undefined;
    this.#probing = false;
    this.#moving = "";
    cur?.close();
    next?.close();
    if (cur) this.#downAt = now();
  }

  close(): void {
    this.#out.flush();
    this.#finish();
  }

  cut(): void {
    const { cur, next } = this;
    (cur ?? next)?.fail(new ClientError("cut", "backoff"));
  }

  pause(on: boolean): void {
    if (this.#ended || on === this.#pausedAt > 0) return;
    if (on) {
      this.#pausedAt = now() || 1;
      this.#disconnect();
      this.update();
      return;
    }
    const long = now() - this.#pausedAt > longPause;
    this.#pausedAt = 0;
    if (long && this.set.delivery === "adaptive" && this.book?.at) {
      const from = this.position as string;
      this.ledger.suspect(this.ledger.last.keys());
      this.book.lose();
      this.lost({ reason: "paused", from });
    }
    this.#failures = 0;
    this.#plan(0);
    this.update();
  }

  // What a connection tells of itself.

  fed(link: Link): void {
    if (link !== this.cur || !link.feed) return;
    this.feed = link.feed;
    this.tell("feed", link.feed);
    this.update();
  }

  throttled(link: Link): void {
    if (link !== this.cur || this.stats.throttled === link.throttled) return;
    this.stats.throttled = link.throttled;
    this.tell("throttle", { on: link.throttled });
  }

  lost(gap: Gap): void {
    this.stats.gaps++;
    this.tell("gap", gap);
  }

  // Subscriptions.

  wanted(): string[] {
    return [...this.#want.keys()].filter((t) => !this.refused.has(t));
  }

  /** A subscription wants other topics than before. */
  change(sub: Sub, before: Set<string>, after: Set<string>): void {
    if (this.#ended) {
      sub.end(this.reason);
      return;
    }
    this.subs.add(sub);
    for (const topic of before) {
      if (after.has(topic)) continue;
      const n = (this.#want.get(topic) ?? 1) - 1;
      if (n) this.#want.set(topic, n);
      else {
        this.#want.delete(topic);
        this.refused.delete(topic);
      }
      const subs = this.#routes.get(topic);
      subs?.delete(sub);
      if (!subs?.size) this.#routes.delete(topic);
    }
    const added: string[] = [];
    for (const topic of after) {
      if (before.has(topic)) continue;
      this.#want.set(topic, (this.#want.get(topic) ?? 0) + 1);
      const subs = this.#routes.get(topic) ?? new Set();
      this.#routes.set(topic, subs);
      subs.add(sub);
      added.push(topic);
    }
    if (added.length && sub.listener) {
      // Others have some of them already: then no current values come for those.
      const values = this.current(added);
      if (values.length) queueMicrotask(() => !sub.closed && sub.emit(values.filter((e) => sub.covers(e.T + e.S))));
    }
    this.sync();
  }

  /** The current values that are known of topics. */
  current(topics: Iterable<string>): MarketEvent[] {
    const out: MarketEvent[] = [];
    const add = (e: MarketEvent | undefined) => {
      if (e) out.push({ ...e, snap: true });
    };
    for (const topic of topics) {
      if (topic.slice(1) !== "*") add(this.ledger.last.get(topic));
      else for (const [t, e] of this.ledger.last) if (t[0] === topic[0]) add(e);
    }
    return out;
  }

  /** Soon has the gateway know what is wanted; what comes and goes until then it never hears of. */
  sync(old?: Book): void {
    if (old) {
      this.#sync(old);
      return;
    }
    if (this.#syncing) return;
    this.#syncing = true;
    queueMicrotask(() => {
      this.#syncing = false;
      this.#sync(this.cur?.book);
    });
  }

  #sync(old: Book | undefined): void {
    const { cur } = this;
    if (!cur || !old || cur.busy) return;
    const want = new Set(this.wanted());
    const more = [...want].filter((t) => !cur.asked.has(t));
    const less = [...cur.asked].filter((t) => !want.has(t));
    if (!more.length && !less.length) return;
    if (cur.sse) {
      // The address says what comes: a new connection.
      const wait = Math.max(50, this.#synced + 1000 - now());
      if (!this.next) this.#synced = now() + wait;
      this.move(cur, "topics", wait, 0);
      return;
    }
    if (less.length) cur.drop(less);
    if (more.length) cur.ask(old.plan(more), old);
  }

  /** Asks again later for what the gateway could not do now. */
  again(): void {
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.sync(), 1000 * 2 ** Math.min(5, this.#refusedSyncs++));
  }

  configure(): void {
    const { cur } = this;
    if (cur?.sse) this.move(cur, "delivery", 0, 0);
    else cur?.configure();
  }

  // Events.

  /** Takes a frame's events from a connection. */
  take(link: Link, list: MarketEvent[]): void {
    if (link !== this.cur && link !== this.next) return;
    const out: MarketEvent[] = [];
    let missing = false;
    for (const e of list) {
      const verdict = this.#admit(link, e);
      if (verdict === "deliver") out.push(e);
      missing = verdict === "missing";
      if (missing) break;
    }
    if (!missing) for (const e of list) link.book.came(e.T + e.S, e.q);
    if (this.ledger.last.size > maxTopics) {
      this.ledger.restart(0);
      this.ledger.doubt.clear();
      this.book = undefined;
      link.fail(new ClientError("the gateway makes no sense: it has too many symbols", "backoff"));
      return;
    }
    this.settle();
    this.update();
    if (out.length) this.#out.add(out);
    if (!missing || link.over) return;
    const why = new ClientError("events are missing", "now");
    link.close();
    if (link === this.cur) this.#dropped(link, why, true);
    else this.ended(link, why);
  }

  /**
   * Decides about an event, and takes note of it. One that continues what was
   * handed out is handed out; one that was is dropped. Where the gateway has sent
   * events that never came, the connection is given up and the next one resumes
   * before them; if that does not help, the event is marked.
   */
  #admit(link: Link, e: MarketEvent): "deliver" | "drop" | "missing" {
    const { ledger, next, stats } = this;
    const topic = e.T + e.S;
    const track = link.book.of(topic);
    if (!track) return "drop"; // it was unsubscribed, or never asked for
    if (link.epoch !== ledger.epoch) {
      if (next && next !== link && next.begun) return "drop"; // that one is in another epoch already
      if (ledger.last.size) this.lost({ reason: "epoch", from: `${ledger.epoch}-0`, to: `${link.epoch}-${e.q}` });
      ledger.restart(link.epoch);
    }
    const before = link.chain.get(topic);
    const fresh = link.fresh.delete(topic) || (track !== link.book.tracks.get(topic) && before === undefined);
    link.chain.set(topic, e.snap ? e.q : Math.max(before ?? 0, e.q));
    if (link.awaits && this.cur?.book.of(topic)) return "drop"; // the one in use brings it
    const last = ledger.last.get(topic)?.q;
    const floor = ledger.doubt.get(topic);
    let doubt = floor !== undefined;
    if (e.snap && doubt && e.q <= (floor as number))
      doubt = false; // it was current when the subscription began
    else if (floor && !e.snap && last === undefined && e.pq === 0 && fresh) doubt = false; // no value came before it
    if ((last !== undefined && e.q <= last) || (before !== undefined && !e.snap && e.q <= before)) {
      if (e.snap && e.q === last) ledger.doubt.delete(topic); // nothing came between
      stats.duplicates++;
      return "drop";
    }
    let broken = false;
    if (e.snap)
      broken = last !== undefined; // the gateway skips to the current value
    else if (before !== undefined) broken = e.pq !== before && (e.pq !== 0 || !fresh);
    else if (last !== undefined) broken = e.pq > last || (e.pq === 0 && !fresh);
    if (broken && !doubt && !e.snap) {
      if (this.#heal(link, topic, last)) return "missing";
      const [from, to] = [`${link.epoch}-${last ?? 0}`, `${link.epoch}-${e.pq}`];
      this.lost({ reason: "unexplained", from, to, channel: channelOf(topic), symbol: e.S });
    }
    ledger.last.set(topic, e);
    ledger.doubt.delete(topic);
    if (broken || doubt) {
      e.broken = true;
      stats.losses++;
    } else delete e.broken;
    stats.events++;
    stats.merged += (e.k ?? 1) - 1;
    return "deliver";
  }

  /** Whether the connection is to be given up for the sake of what is missing behind `last`. */
  #heal(link: Link, topic: string, last: number | undefined): boolean {
    if (!link.epoch || !last || now() - this.#healed < healAgain) return false;
    if (!link.book.rewind(topic, last)) return false;
    if (this.book !== link.book) this.book?.rewind(topic, last);
    this.#healed = now();
    this.stats.resnapshots++;
    return true;
  }

  #deliver(events: MarketEvent[]): void {
    const touched = new Set<Sub>();
    for (const e of events) {
      for (const key of [e.T + e.S, `${e.T}*`]) {
        for (const sub of this.#routes.get(key) ?? []) {
          touched.add(sub);
          if (sub.batch.at(-1) !== e) sub.batch.push(e);
        }
      }
    }
    for (const sub of touched) {
      const { batch } = sub;
      sub.batch = [];
      if (!sub.closed) sub.emit(batch);
    }
  }
}
