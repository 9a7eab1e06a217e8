import { channels } from "./codes.ts";
import type { Core } from "./core.ts";
import { conflate } from "./ledger.ts";
import { topicOf } from "./link.ts";
import type { MarketEvent, Topics } from "./types.ts";

export type Listener = (events: MarketEvent[]) => void;

/** What an iterator does when `limit` events wait and nobody takes them. */
export interface IteratorOptions {
  /** Default 1024. */
  limit?: number;
  /**
   * `conflate` (default): the latest event per channel and symbol stays, with `k`;
   * where there are more of those than `limit`, the oldest go. `drop`: the oldest
   * go. Either way `Stats.dropped` counts those that are gone.
   */
  overflow?: "conflate" | "drop";
}

/** Events of some channels and symbols. Several may overlap; the gateway is asked once. */
export interface Subscription extends AsyncIterable<MarketEvent> {
  /** What it is for. */
  readonly topics: Topics;
  /** Makes it one for other channels and symbols. What stays goes on without a break. */
  update(topics: Topics): void;
  /** Ends it; its iterators end when they have given what waits. */
  close(): void;
  /** Events one by one, bounded. Each iterator has a queue of its own, which begins with current values. */
  events(options?: IteratorOptions): AsyncIterableIterator<MarketEvent>;
}

export class Sub implements Subscription {
  topics: Topics = {};
  keys = new Set<string>();
  closed = false;
  /** Of the events that are being delivered, those for this subscription. */
  batch: MarketEvent[] = [];
  #queues = new Set<Queue>();

  readonly core: Core;
  readonly listener: Listener | undefined;

  constructor(core: Core, topics: Topics, listener: Listener | undefined) {
    this.core = core;
    this.listener = listener;
    this.update(topics);
  }

  update(topics: Topics): void {
    if (this.closed) return;
    const keys = new Set<string>();
    const own: Record<string, string[]> = {};
    for (const [channel, symbols] of Object.entries(topics)) {
      const c = channels.find((name) => name === channel);
      if (!c) throw new TypeError(`lzstock: there is no channel "${channel}": want one of ${channels.join(", ")}`);
      if (!symbols) continue;
      if (!Array.isArray(symbols)) throw new TypeError(`lzstock: ${channel} must be a list of symbols`);
      own[c] = [...symbols];
      for (const s of symbols) {
        if (typeof s !== "string" || !s || s.length > 32 || s.includes(","))
          throw new TypeError(`lzstock: ${channel} has "${s}", which is no symbol: want 1 to 32 characters`);
        keys.add(topicOf(c, s));
      }
    }
    this.topics = own as Topics;
    const before = this.keys;
    this.keys = keys;
    this.core.change(this, before, keys);
  }

  close(): void {
    if (this.closed) return;
    this.update({});
    this.closed = true;
    this.core.subs.delete(this);
    this.end();
  }

  covers(topic: string): boolean {
    return this.keys.has(topic) || this.keys.has(`${topic[0]}*`);
  }

  /** Hands out events. */
  emit(events: MarketEvent[]): void {
    for (const q of this.#queues) q.push(events);
    if (this.listener) this.core.call(this.listener, events);
  }

  /** Has the iterators end, with an error where the client has. */
  end(error?: Error): void {
    this.closed = true;
    for (const q of this.#queues) q.end(error);
    this.#queues.clear();
  }

  events({ limit = 1024, overflow = "conflate" }: IteratorOptions = {}): AsyncIterableIterator<MarketEvent> {
    if (!(limit >= 1)) throw new TypeError(`lzstock: limit is ${limit}: want 1 or more`);
    if (overflow !== "conflate" && overflow !== "drop")
      throw new TypeError(`lzstock: overflow is "${overflow}": want conflate or drop`);
    const q = new Queue(this.core, limit, overflow === "conflate", () => this.#queues.delete(q));
    if (this.closed) q.end(this.core.reason);
    else {
      this.#queues.add(q);
      q.push(this.core.current(this.keys));
    }
    return q;
  }

  [Symbol.asyncIterator](): AsyncIterator<MarketEvent> {
    return this.events();
  }
}

/** What waits for one iterator: at most `limit` events. */
class Queue implements AsyncIterableIterator<MarketEvent> {
  #events: MarketEvent[] = [];
  #next = 0;
  #takers: { resolve: (r: IteratorResult<MarketEvent>) => void; reject: (e: Error) => void }[] = [];
  #over = false;
  #error: Error | undefined;

  readonly core: Core;
  readonly limit: number;
  readonly conflates: boolean;
  readonly left: () => void;

  constructor(core: Core, limit: number, conflates: boolean, left: () => void) {
    this.core = core;
    this.limit = limit;
    this.conflates = conflates;
    this.left = left;
  }

  push(events: MarketEvent[]): void {
    for (const value of events) {
      const taker = this.#takers.shift();
      if (taker) taker.resolve({ value, done: false });
      else this.#events.push(value);
    }
    if (this.#events.length - this.#next <= this.limit) return;
    let waiting = this.#events.slice(this.#next);
    if (this.conflates) waiting = conflate(waiting);
    const more = waiting.length - this.limit;
    if (more > 0) {
      this.core.stats.dropped += more;
      waiting = waiting.slice(more);
    }
    this.#events = waiting;
    this.#next = 0;
  }

  end(error?: Error): void {
    this.#over = true;
    this.#error = error;
    const takers = this.#takers.splice(0);
    for (const { resolve, reject } of takers) {
      if (this.#error) reject(this.#error);
      else resolve({ value: undefined, done: true });
      this.#error = undefined;
    }
  }

  next(): Promise<IteratorResult<MarketEvent>> {
    const value = this.#events[this.#next];
    if (value) {
      if (++this.#next === this.#events.length) {
        this.#events = [];
        this.#next = 0;
      }
      return Promise.resolve({ value, done: false });
    }
    if (this.#over) {
      const error = this.#error;
      this.#error = undefined;
      return error ? Promise.reject(error) : Promise.resolve({ value: undefined, done: true });
    }
    return new Promise((resolve, reject) => this.#takers.push({ resolve, reject }));
  }

  return(): Promise<IteratorResult<MarketEvent>> {
    this.left();
    this.#events = [];
    this.#next = 0;
    this.end();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<MarketEvent> {
    return this;
  }
}
