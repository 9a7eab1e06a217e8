import type { ClientError } from "./errors.ts";
import type { Feed, Gap, Rejection, State } from "./types.ts";

/** What a client tells, by name. */
export interface ClientEvents {
  /** The state has changed, or an attempt has failed: `error` says why, `retryMs` is how long until the next. */
  state: { state: State; previous: State; error?: ClientError | undefined; retryMs?: number | undefined };
  /** The gateway says how the feed is. */
  feed: Feed;
  /** Events were lost for good. */
  gap: Gap;
  /** The gateway conflates for this client, which is behind; or no longer. */
  throttle: { on: boolean };
  /** The gateway refuses some of what was subscribed to. */
  rejected: Rejection[];
  /** Something went wrong that ends nothing: a command was refused, or a listener threw (this, whatever it is). */
  error: Error;
  /**
   * Another connection has taken the place of the last one. `moved`: before that one
   * had ended, because the gateway had asked for it (`reason` is drain or max_age) or
   * for the client's own reasons (token, transport, topics, delivery). Else `downMs`
   * is how long there was none.
   */
  reconnect: { moved: boolean; reason: string; downMs: number };
  /** The client has ended for good; without an error where `close` was called. */
  closed: { error?: ClientError | undefined };
}

type Handler = (e: never) => unknown;

/** Tells whoever listens. */
export class Emitter {
  #handlers = new Map<string, Set<Handler>>();

  on(type: string, fn: Handler): () => void {
    const list = this.#handlers.get(type) ?? new Set();
    this.#handlers.set(type, list.add(fn));
    return () => list.delete(fn);
  }

  tell<K extends keyof ClientEvents>(type: K, e: ClientEvents[K]): void {
    for (const fn of [...(this.#handlers.get(type) ?? [])])
      this.call(fn as (e: unknown) => unknown, e, type === "error");
  }

  /** Calls a user's function; what it throws is reported, and breaks nothing. */
  call<E>(fn: (e: E) => unknown, e: E, last?: boolean): void {
    const report = (error: unknown) => {
      if (!last && this.#handlers.get("error")?.size) this.tell("error", error as Error);
      else (globalThis.reportError ?? console.error)(error);
    };
    try {
      Promise.resolve(fn(e)).catch(report);
    } catch (error) {
      report(error);
    }
  }
}
