import { conflate } from "./ledger.ts";
import type { MarketEvent } from "./types.ts";

const limit = 8192; // events that wait for a frame; then the latest per channel and symbol
const slowest = 250; // ms that events wait where no frame comes: in a hidden tab, or without a screen

/** Events on their way to listeners: at once, or gathered until the next animation frame. */
export class Outbox {
  #events: MarketEvent[] = [];
  #frame: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  readonly gathers: boolean;
  readonly deliver: (events: MarketEvent[]) => void;

  constructor(gathers: boolean, deliver: (events: MarketEvent[]) => void) {
    this.gathers = gathers;
    this.deliver = deliver;
  }

  add(events: MarketEvent[]): void {
    if (!this.gathers) {
      this.deliver(events);
      return;
    }
    for (const e of events) this.#events.push(e);
    if (this.#events.length > limit) {
      this.#events = conflate(this.#events);
      if (this.#events.length > limit) {
        this.flush();
        return;
      }
    }
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => this.flush(), slowest);
    this.#frame = globalThis.requestAnimationFrame?.(() => this.flush());
  }

  flush(): void {
    this.stop();
    const events = this.#events;
    this.#events = [];
    if (events.length) this.deliver(events);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#frame !== undefined) cancelAnimationFrame(this.#frame);
    this.#frame = undefined;
  }
}
