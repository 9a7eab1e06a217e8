import { Book } from "./book.ts";
import { ClientError } from "./errors.ts";
import { Emitter } from "./events.ts";
import { admit, Ledger } from "./ledger.ts";
import { Link } from "./link.ts";
import { delivering, type Options, type Settings, settle } from "./options.ts";
import { type Outbox, outbox } from "./outbox.ts";
import { watch } from "./page.ts";
import { deliver, type Listener, Sub, type Subscription } from "./subscription.ts";
import type { Delivery, Feed, Gap, MarketEvent, State, Stats, Topics } from "./types.ts";
import { count, now, str } from "./wire.ts";

const stable = 10_000; // how long a connection must have lasted for the count of failures to begin anew
const gather = 250; // changes of subscriptions, where each takes another connection
const maxTopics = 1 << 17; // that a gateway may bring; more is taken for nonsense

/** The client itself: when connections are made, which one is in use, and what is handed out. */
export class Core extends Emitter {
  cur: Link | undefined; // in use
  next: Link | undefined; // is being made, perhaps while cur still delivers
  book = new Book(); // of the connection that is, or was last, in use
  ledger = new Ledger();
  subs = new Set<Sub>();
  refused = new Set<string>();
  unopened = 0; // attempts in a row that never opened
  wsWorks = false; // a WebSocket was open once
  state: State = "connecting";
  feed: Feed | undefined;
  reason: ClientError | undefined; // why it has ended for good
  counts: Stats = {
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

  #routes = new Map<string, Set<Sub>>(); // who wants a topic
  #out: Outbox;
  #timer: ReturnType<typeof setTimeout> | undefined; // for the next attempt
  #endpoint: number;
  #wellAt = Number.NEGATIVE_INFINITY; // when prices were known to be current
  #failures = 0; // attempts in a row that failed, or ended soon
  #refusals = 0; // endpoints in a row that refuse for good
  #renewed = false; // a new token was fetched since the last one was good
  #moving = ""; // why a move is under way; "transport": to see whether WebSockets work after all
  #again = false; // there was a connection
  #downAt = 0;
  #syncing = false;
  #paused = false;
  #ended = false;

  declare readonly set: Settings;

  constructor(options: Options = {}) {
    super();
    const set = settle(options);
    this.set = set;
    this.#endpoint = Math.floor(Math.random() * set.urls.length);
    this.#out = outbox(set.gathers, (events) => deliver(this.#routes, events));
    this.#plan(0);
    if (set.pauseMs >= 0) watch(this, set.pauseMs);
  }

  get ageMs(): number {
    return now() - this.#wellAt;
  }

  get stats(): Stats {
    return { ...this.counts };
  }

  subscribe(topics: Topics, listener?: Listener): Subscription {
    return new Sub(this, topics, listener);
  }

  /** Follows what has changed: the connection in use, and the state. */
  update(error?: ClientError, retryMs?: number): void {
    const { next, counts } = this;
    if (next?.began && (!this.cur || next.ready(this.cur.book))) this.#use(next);
    const { cur, state: previous } = this;
    if (cur?.feed && cur.feed !== this.feed) {
      this.feed = cur.feed;
      this.tell("feed", cur.feed);
    }
    if (cur && cur.throttled !== counts.throttled) {
      counts.throttled = cur.throttled;
      this.tell("throttle", { on: cur.throttled });
    }
    // Until something has been answered, credentials may be wanted.
    const is = cur?.feed?.state ?? (cur?.restoring ? previous : "live");
    if (cur && is === "live") this.#wellAt = now();
    counts.transport = cur && (cur.sse ? "sse" : "websocket");
    this.state = this.#ended
      ? "closed"
      : this.#paused
        ? "paused"
        : cur
          ? is
          : this.#again
            ? "reconnecting"
            : "connecting";
    const { state } = this;
    if (state !== previous || retryMs !== undefined) this.tell("state", { state, previous, error, retryMs });
    this.#moveOn();
  }

  get position(): string | undefined {
    const { epoch, least } = this.book;
    return epoch && least ? `${epoch}-${least}` : undefined;
  }

  #plan(wait: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      const { urls, webSocket, sse } = this.set;
      // In turns where none was ever open: a gateway that is down looks like one that is blocked.
      const turn = this.unopened > 0 && this.unopened % 2 === 0 && this.#moving !== "transport";
      const useSSE = !webSocket || (!!sse && !this.wsWorks && turn);
      const url = urls[this.#endpoint % urls.length] as URL;
      if (useSSE && !url.search && !this.wanted().length) {
        this.#plan(gather); // there is nothing yet that could be asked for
        return;
      }
      this.next = new Link(this, url, useSSE);
      this.update();
      this.next?.start();
    }, wait);
  }

  #use(link: Link): void {
    const { cur: old, book } = this;
    const again = this.#again;
    const reason = this.#moving;
    this.cur = link;
    this.next = undefined;
    this.book = link.book;
    this.#again = true;
    this.#moving = "";
    this.#refusals = 0;
    link.awaits = false;
    old?.close();
    if (old) this.counts.moves++;
    if (again) {
      this.counts.reconnects++;
      this.tell("reconnect", { moved: !!old, reason, downMs: old ? 0 : now() - this.#downAt });
    }
    this.#sync(book);
    // The gateway can be reached: once more, do WebSockets?
    if (link.sse && this.set.webSocket && !this.wsWorks && !old) this.move("transport", 1000);
  }

  /** A connection has ended by itself. */
  ended(link: Link, why: ClientError): void {
    const { next, cur } = this;
    if (link === next) {
      this.next = undefined;
      if (!link.opened) this.unopened++;
      if (cur && this.#moving === "transport") return; // WebSockets do not work, and this one does
    } else {
      this.cur = undefined;
      this.#moving = "";
      this.#downAt = now();
      if (now() - link.began >= stable) this.#failures = this.#renewed = 0 as never;
      if (next?.awaits) {
        next.close();
        this.next = undefined;
      } else if (next) {
        this.update(why); // it is on its way, and decides
        return;
      }
    }
    if (why.retry !== "now" || why.close === 4200) this.#endpoint++;
    if (!this.#final(link, why)) {
      const wait = why.afterMs + (why.retry === "now" && !this.#failures ? 0 : this.#jitter());
      this.#failures++;
      this.#plan(wait);
      if (!this.cur) this.update(why, wait);
    } else if (!this.cur) this.#finish(why); // else it is used as long as it lasts
  }

  /** Whether there is no use in another attempt. */
  #final({ opened, sse }: Link, { retry, code, close }: ClientError): boolean {
    const { token, urls, webSocket } = this.set;
    if (retry !== "never") {
      this.#refusals = 0;
      return false;
    }
    const credentials = close ? close === 4001 || close === 4003 : code > 400 && code < 404;
    if (credentials && typeof token === "function" && !this.#renewed) {
      this.#renewed = true;
      return false;
    }
    if (sse && !opened && webSocket && !credentials) return false; // a gateway without server-sent events
    return !!close || credentials || ++this.#refusals >= urls.length;
  }

  /** Full jitter: a random wait below a limit that doubles when each endpoint has had its turn. */
  #jitter(): number {
    const { minBackoffMs, maxBackoffMs, urls } = this.set;
    return Math.random() * Math.min(maxBackoffMs, minBackoffMs * 2 ** Math.floor(this.#failures / urls.length));
  }

  /** The gateway has asked to move. */
  #moveOn(): void {
    const { cur } = this;
    const notice = cur?.notice;
    if (!notice || this.#busy) return;
    cur.notice = undefined;
    const settled = now() - cur.began >= stable;
    const reason = str(notice.reason);
    if (reason === "drain") this.#endpoint++;
    // Who is sent away at once goes on slowly.
    this.move(reason, Math.min(count(notice.delay_ms), 60_000) + (settled ? 0 : this.#jitter()));
    this.#failures = settled ? 0 : this.#failures + 1;
  }

  /** Whether another connection is planned or being made. */
  get #busy(): boolean {
    return !!this.next || (!!this.#timer && this.#moving !== "transport");
  }

  /** Plans a connection beside the one in use. */
  move(reason: string, wait: number): void {
    if (!this.cur || this.#busy) return;
    this.#moving = reason;
    this.#plan(wait);
  }

  #finish(error?: ClientError): void {
    this.#out.flush();
    if (this.#ended) return;
    this.#ended = true;
    this.reason = error;
    this.#disconnect();
    this.update(error);
    for (const s of this.subs) s.end(error);
    this.subs.clear();
    this.#routes.clear();
    this.tell("closed", { error });
  }

  #disconnect(): void {
    const { cur, next } = this;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#moving = "";
    if (cur) this.#downAt = now();
    this.cur = this.next = undefined;
    cur?.close();
    next?.close();
  }

  close(): void {
    this.#finish();
  }

  cut(): void {
    (this.cur ?? this.next)?.fail(new ClientError("cut", "backoff"));
  }

  pause(paused: boolean): void {
    if (this.#ended || paused === this.#paused) return;
    this.#paused = paused;
    this.#disconnect();
    if (!paused) this.#plan(0);
    this.update();
  }

  lost(gap: Gap): void {
    this.counts.gaps++;
    this.tell("gap", gap);
  }

  wanted(): string[] {
    return [...this.#routes.keys()].filter((t) => !this.refused.has(t));
  }

  /** A subscription wants other topics than before. */
  change(sub: Sub, before: Set<string>, after: Set<string>): void {
    if (this.#ended) {
      sub.end(this.reason);
      return;
    }
    this.subs.add(sub);
    for (const topic of before) {
      const subs = this.#routes.get(topic);
      if (after.has(topic) || !subs) continue;
      subs.delete(sub);
      if (subs.size) continue;
      this.#routes.delete(topic);
      this.refused.delete(topic);
    }
    // Others may have some of them already: then the gateway sends no current values.
    const values = this.current([...after].filter((topic) => !before.has(topic)));
    if (values.length) queueMicrotask(() => sub.emit(values, true));
    for (const topic of after) this.#routes.set(topic, (this.#routes.get(topic) ?? new Set()).add(sub));
    this.sync();
  }

  /** The current values that are known of topics. What waits for a frame comes before them. */
  current(topics: string[]): MarketEvent[] {
    this.#out.flush();
    return this.ledger.current(topics);
  }

  /** Soon has the gateway know what is wanted; what comes and goes until then it never hears of. */
  sync(): void {
    if (this.#syncing) return;
    this.#syncing = true;
    queueMicrotask(() => {
      this.#syncing = false;
      this.#sync(this.book);
    });
  }

  #sync(old: Book): void {
    const { cur } = this;
    if (!cur || cur.busy) return;
    const { tracks } = cur.book;
    const want = this.wanted();
    const set = new Set(want);
    const more = want.filter((t) => !tracks.has(t));
    const less = [...tracks.keys()].filter((t) => !set.has(t));
    if (cur.sse) {
      // The address says what comes: that takes another connection.
      if (want.length && more.length + less.length) this.move("topics", gather);
      return;
    }
    if (less.length) cur.command("unsubscribe", less);
    if (more.length) cur.ask(old.plan(more), old);
  }

  configure(o: { delivery?: Delivery; intervalMs?: number }): void {
    const { set } = this;
    const { delivery = set.delivery } = o;
    Object.assign(set, delivering(delivery, o.intervalMs ?? (delivery === "latest" ? set.intervalMs : 0)));
    if (this.cur?.sse) this.move("delivery", 0);
    else this.cur?.command("subscribe", []);
  }

  /** Takes a frame's events from a connection. */
  take(link: Link, list: MarketEvent[]): void {
    const { ledger, cur } = this;
    const out: MarketEvent[] = [];
    let why: ClientError | undefined;
    for (const e of list) {
      const verdict = admit(this, link, e);
      if (verdict) out.push(e);
      else if (verdict === undefined) {
        why = new ClientError("events are missing", "now");
        break;
      }
    }
    if (!why) for (const e of list) link.book.came(e.T + e.S, e.q);
    if (ledger.last.size > maxTopics) {
      this.ledger = new Ledger();
      this.book = new Book();
      why = new ClientError("too many symbols", "backoff");
    }
    if (why && link === cur) {
      this.next?.close(); // the next one resumes behind what is missing
      this.next = undefined;
    }
    if (!why) this.update();
    if (out.length) this.#out.add(out);
    if (why) link.fail(why);
  }
}
