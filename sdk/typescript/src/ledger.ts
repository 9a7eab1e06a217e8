import type { MarketEvent } from "./types.ts";

/** What has been handed out, whichever connection it came from. */
export class Ledger {
  epoch = 0;
  /** The event that was handed out last, by topic. */
  last = new Map<string, MarketEvent>();
  /** Topics that may have lost something before their next event. */
  doubt = new Set<string>();

  /** Begins anew with another epoch, whose positions do not compare. */
  restart(epoch: number): void {
    this.suspect(this.last.keys());
    this.last.clear();
    this.epoch = epoch;
  }

  /** Topics may have lost something. */
  suspect(topics: Iterable<string>): void {
    for (const topic of topics) for (const t of this.known(topic)) this.doubt.add(t);
  }

  /** A topic, or all that are known of its channel. */
  known(topic: string): string[] {
    return topic.slice(1) === "*" ? [...this.last.keys()].filter((t) => t[0] === topic[0]) : [topic];
  }
}

/** The latest event per channel and symbol, as the gateway's own conflation does it. */
export function conflate(events: MarketEvent[]): MarketEvent[] {
  const latest = new Map<string, MarketEvent>();
  for (const e of events) {
    const topic = e.T + e.S;
    const older = latest.get(topic);
    let out = e;
    if (older) {
      out = { ...e };
      if (older.broken) out.broken = true;
      if (!e.snap) {
        out.pq = older.pq;
        out.k = (e.k ?? 1) + (older.snap ? 0 : (older.k ?? 1)); // a current value stands for no event
      }
      latest.delete(topic); // it moves to the end: positions ascend
    }
    latest.set(topic, out);
  }
  return [...latest.values()];
}
