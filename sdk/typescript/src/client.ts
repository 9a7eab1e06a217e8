import { Core } from "./core.ts";
import type { ClientEvents } from "./events.ts";
import type { Options } from "./options.ts";
import type { Listener, Subscription } from "./subscription.ts";
import type { Delivery, Feed, State, Stats, Topics } from "./types.ts";

/**
 * A connection to a gateway that is made again when it ends, and goes on where it
 * was. It connects at once, and lives until `close` or until the gateway says that
 * there is no use in trying.
 */
export interface Client {
  /** Whether prices are current. */
  readonly state: State;

  /**
   * Milliseconds since prices were last known to be current: since anything came
   * while the feed was live. Infinity before the first time.
   */
  readonly ageMs: number;

  /** Where the client would resume: `<epoch>-<q>`. */
  readonly position: string | undefined;

  /** A copy of the counts. */
  readonly stats: Stats;

  /** How the feed is, as the gateway has said last. */
  readonly feed: Feed | undefined;

  /**
   * Adds a subscription, on this connection and all later ones. Current values come
   * first. Throws a TypeError for an unknown channel or what is no symbol.
   */
  subscribe(topics: Topics, listener?: Listener): Subscription;

  /** Changes what the gateway does with events that are not taken in time, for all subscriptions. */
  configure(o: { delivery?: Delivery; intervalMs?: number }): void;

  /** Calls fn at each event of a type, until the function that it gives is called. */
  on<K extends keyof ClientEvents>(type: K, fn: (e: ClientEvents[K]) => void): () => void;

  /** Drops the connection as a network would, to see it recover. */
  cut(): void;

  /** Ends the client for good. */
  close(): void;
}

/** Makes a client. Throws a TypeError that says which option is wrong. */
export const Client = Core as new (options?: Options) => Client;

/** Reads an event's time: milliseconds since 1970. */
export const parseTime = (t: string): number => Date.parse(t);
