import { Core } from "./core.ts";
import type { ClientEvents } from "./events.ts";
import { now } from "./link.ts";
import { delivering, type Options, settle } from "./options.ts";
import { type Listener, Sub, type Subscription } from "./subscription.ts";
import type { Delivery, Feed, State, Stats, Topics } from "./types.ts";

/**
 * A connection to a gateway that is made again when it ends, and goes on where it
 * was. It connects at once, and lives until `close` or until the gateway says that
 * there is no use in trying.
 */
export class Client {
  readonly #core: Core;

  /** Throws a TypeError that says which option is wrong. */
  constructor(options: Options = {}) {
    const set = settle(options);
    const core = new Core(set);
    this.#core = core;
    const page = globalThis.document;
    if (set.pauseMs < 0 || !page) return;
    let timer: ReturnType<typeof setTimeout>;
    const watch = () => {
      clearTimeout(timer);
      if (!page.hidden) core.pause(false);
      else timer = setTimeout(() => core.pause(true), set.pauseMs);
    };
    page.addEventListener("visibilitychange", watch);
    core.on("closed", () => {
      clearTimeout(timer);
      page.removeEventListener("visibilitychange", watch);
    });
    watch();
  }

  /** Whether prices are current. */
  get state(): State {
    return this.#core.state;
  }

  /**
   * Milliseconds since prices were last known to be current: since anything came
   * while the feed was live. Infinity before the first time.
   */
  get ageMs(): number {
    return now() - this.#core.wellAt;
  }

  /** Where the client would resume: `<epoch>-<q>`. */
  get position(): string | undefined {
    return this.#core.position;
  }

  /** A copy of the counts. */
  get stats(): Stats {
    return { ...this.#core.stats };
  }

  /** How the feed is, as the gateway has said last. */
  get feed(): Feed | undefined {
    return this.#core.feed;
  }

  /**
   * Adds a subscription, on this connection and all later ones. Current values come
   * first. Throws a TypeError for an unknown channel or what is no symbol.
   */
  subscribe(topics: Topics, listener?: Listener): Subscription {
    return new Sub(this.#core, topics, listener);
  }

  /** Changes what the gateway does with events that are not taken in time, for all subscriptions. */
  configure(o: { delivery?: Delivery; intervalMs?: number }): void {
    const { set } = this.#core;
    const delivery = o.delivery ?? set.delivery;
    Object.assign(set, delivering(delivery, o.intervalMs ?? (delivery === "latest" ? set.intervalMs : 0)));
    this.#core.configure();
  }

  /** Calls fn at each event of a type, until the function that it gives is called. */
  on<K extends keyof ClientEvents>(type: K, fn: (e: ClientEvents[K]) => void): () => void {
    return this.#core.on(type, fn);
  }

  /** Drops the connection as a network would, to see it recover. */
  cut(): void {
    this.#core.cut();
  }

  /** Ends the client for good. */
  close(): void {
    this.#core.close();
  }
}

/** Reads an event's time: milliseconds since 1970, with fractions as far as a number holds them. */
export function parseTime(t: string): number {
  const fraction = /\.\d+/;
  return Date.parse(t.replace(fraction, "")) + 1000 * Number(fraction.exec(t) ?? 0);
}
