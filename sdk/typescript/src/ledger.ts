import type { MarketEvent } from "./types.ts";

/** What has been handed out, whichever connection it came from. */
export class Ledger {
  epoch = 0;
  /** The event that was handed out last, by topic: at most `maxTopics`. */
  last = new Map<string, MarketEvent>();
  /** Something may be missing before the next event, unless it is a current value up to here. */
  doubt = new Map<string, number>();

  /** Begins anew with another epoch, whose positions do not compare. */
  restart(epoch: number): void {
    for (const t of this.last.keys()) this.doubt.set(t, 0);
    this.last.clear();
    this.epoch = epoch;
  }

  /** Topics may have lost something; "*" stands for all that are known of its channel. */
  suspect(topics: Iterable<string>): void {
    for (const topic of topics) {
      this.doubt.set(topic, 0);
      if (topic.slice(1) === "*") for (const t of this.last.keys()) if (t[0] === topic[0]) this.doubt.set(t, 0);
    }
  }

  /** Lets topics begin anew that the gateway was told to leave out. `held` tells of what else covers one. */
  forget(topics: string[], held: (topic: string) => boolean): void {
    const drop = (t: string) => {
      if (!held(t)) {
        this.last.delete(t);
        this.doubt.delete(t);
      }
    };
    for (const topic of topics) {
      if (topic.slice(1) === "*") for (const t of [...this.last.keys()]) if (t[0] === topic[0]) drop(t);
      drop(topic);
    }
  }
}

/** A newer event in the place of one that was not delivered, as the gateway's conflation does it. */
export function merge(older: MarketEvent, newer: MarketEvent): MarketEvent {
  const out = { ...newer };
  if (older.broken) out.broken = true;
  if (newer.snap) return out; // it stands for no other
  out.pq = older.pq;
  out.k = (older.k ?? 1) + (newer.k ?? 1);
  if (older.snap) out.k--; // which stood for no event
  return out;
}

/** The latest event per channel and symbol, in the order of their positions. */
export function conflate(events: Iterable<MarketEvent>): MarketEvent[] {
  const latest = new Map<string, MarketEvent>();
  for (const e of events) {
    const topic = e.T + e.S;
    const older = latest.get(topic);
    latest.delete(topic); // it moves to the end
    latest.set(topic, older ? merge(older, e) : e);
  }
  return [...latest.values()];
}
