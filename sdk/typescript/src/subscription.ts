import { type Channel, channels } from "./codes.ts";
import type { Core } from "./core.ts";
import { conflate } from "./ledger.ts";

import { between, oneOf, wrong } from "./options.ts";
import type { MarketEvent, Topics } from "./types.ts";
import { str, topicOf } from "./wire.ts";

export type Listener = (events: MarketEvent[]) => void;

/** What an iterator does with events that nobody takes. */
export interface IteratorOptions {
  /** How many may wait. Default 1024. */
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
  events(options?: IteratorOptions): AsyncGenerator<MarketEvent, void, void>;
}

type Queue = (events: MarketEvent[]) => void;

export class Sub implements Subscription {
  topics: Topics = {};
  #keys = new Set<string>();
  #over = false;
  #error: Error | undefined;
  #queues = new Set<Queue>(); // of its iterators

  declare readonly core: Core;
  declare readonly listener: Listener | undefined;

  constructor(core: Core, topics: Topics, listener: Listener | undefined) {
    Object.assign(this, { core, listener });
    this.update(topics);
  }

  update(topics: Topics): void {
    const keys = new Set<string>();
    for (const [name, symbols] of Object.entries(topics)) {
      const channel = oneOf("channel", name as Channel, ...channels);
      for (const s of symbols ?? []) {
        if (!/^[^,]{1,32}$/.test(str(s))) wrong(`symbol of ${name}`, s, "1 to 32 characters");
        keys.add(topicOf(channel, s));
      }
    }
    if (this.#over) return;
    const before = this.#keys;
    this.topics = structuredClone(topics);
    this.#keys = keys;
    this.core.change(this, before, keys);
  }

  close(): void {
    this.update({});
    this.core.subs.delete(this);
    this.end();
  }

  /** Hands out events; `own` are current values, for the listener alone. */
  emit(events: MarketEvent[], own?: boolean): void {
    if (this.#over) return;
    if (!own) for (const push of this.#queues) push(events);
    if (this.listener) this.core.call(this.listener, events);
  }

  /** Has the iterators end, with an error where the client has. */
  end(error?: Error): void {
    this.#error = error;
    this.#over = true;
    for (const push of this.#queues) push([]);
  }

  events({ limit = 1024, overflow = "conflate" }: IteratorOptions = {}): AsyncGenerator<MarketEvent, void, void> {
    between("limit", limit, 1, Number.POSITIVE_INFINITY);
    return this.#iterate(limit, oneOf("overflow", overflow, "conflate", "drop") === "conflate");
  }

  async *#iterate(limit: number, conflates: boolean): AsyncGenerator<MarketEvent, void, void> {
    const { core } = this;
    let waiting: MarketEvent[] = []; // at most `limit`
    let wake = () => {};
    const push: Queue = (events) => {
      waiting = waiting.concat(events);
      if (waiting.length > limit && conflates) waiting = conflate(waiting);
      core.counts.dropped += waiting.splice(0, waiting.length - limit).length;
      wake();
    };
    if (!this.#over) push(core.current([...this.#keys]));
    this.#queues.add(push);
    try {
      for (;;) {
        const e = waiting.shift();
        if (e) yield e;
        else if (this.#error) throw this.#error;
        else if (this.#over) return;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    } finally {
      this.#queues.delete(push);
    }
  }

  [Symbol.asyncIterator](): AsyncGenerator<MarketEvent, void, void> {
    return this.events();
  }
}

/** Hands out events to whoever wants them, each a list of its own. */
export function deliver(routes: Map<string, Set<Sub>>, events: MarketEvent[]): void {
  const batches = new Map<Sub, MarketEvent[]>();
  for (const e of events) {
    for (const key of [e.T + e.S, `${e.T}*`]) {
      for (const sub of routes.get(key) ?? []) {
        const batch = batches.get(sub) ?? [];
        if (batch.at(-1) !== e) batch.push(e);
        batches.set(sub, batch);
      }
    }
  }
  for (const [sub, batch] of batches) sub.emit(batch);
}
