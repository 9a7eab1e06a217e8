import { conflate } from "./ledger.ts";
import type { MarketEvent } from "./types.ts";

const limit = 8192; // events that wait for a frame; then the latest per channel and symbol
const slowest = 250; // ms that events wait where no frame comes: in a hidden tab, or without a screen

/** Events on their way to listeners: at once, or gathered until the next animation frame. */
export interface Outbox {
  add(events: MarketEvent[]): void;
  flush(): void;
}

export function outbox(gathers: boolean, deliver: (events: MarketEvent[]) => void): Outbox {
  let waiting: MarketEvent[] = [];
  let frame: number | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const flush = () => {
    clearTimeout(timer);
    if (frame) cancelAnimationFrame(frame);
    timer = frame = undefined;
    const events = waiting;
    waiting = [];
    if (events.length) deliver(events);
  };
  const add = (events: MarketEvent[]) => {
    waiting = waiting.concat(events);
    if (waiting.length > limit) waiting = conflate(waiting);
    if (!gathers || waiting.length > limit) flush();
    else if (!timer) {
      timer = setTimeout(flush, slowest);
      frame = globalThis.requestAnimationFrame?.(flush);
    }
  };
  return { add, flush };
}
