import type { Core } from "./core.ts";
import type { Link } from "./link.ts";
import type { MarketEvent } from "./types.ts";
import { channelOf, now } from "./wire.ts";

const healAgain = 60_000; // least time between two connections that are given up because events were missing

/** What has been handed out, whichever connection it came from. */
export class Ledger {
  epoch = 0;
  /** The event that was handed out last, by topic. */
  last = new Map<string, MarketEvent>();
  /** Topics that may have lost something before their next event. */
  doubt = new Set<string>();
  healed = Number.NEGATIVE_INFINITY; // when a connection was last given up because events were missing

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

  /** The current values that are known of topics. */
  current(topics: string[]): MarketEvent[] {
    return topics
      .flatMap((topic) => this.known(topic))
      .flatMap((topic) => this.last.get(topic) ?? [])
      .map((e) => ({ ...e, snap: true }));
  }
}

/**
 * Decides about an event that a connection has brought, and takes note of it: true
 * where it is to be handed out, undefined where the gateway has sent others before
 * it that never came. Then the connection is given up, and the next one resumes
 * before them; if that does not help, the event is marked.
 */
export function admit(core: Core, link: Link, e: MarketEvent): boolean | undefined {
  const { ledger, next, counts } = core;
  const { chain, epoch, book } = link;
  const { last, doubt } = ledger;
  const topic = e.T + e.S;
  if (!book.of(topic) && !link.url.search) return false; // nobody has asked for it, or nobody does any more
  if (epoch !== ledger.epoch) {
    if (next !== link && next?.began) return false; // that one is in another epoch already
    ledger.restart(epoch);
  }
  const before = chain.get(topic);
  chain.set(topic, e.snap ? e.q : Math.max(before ?? 0, e.q));
  if (link.awaits && core.cur?.book.of(topic)) return false; // the one in use brings it
  const at = last.get(topic)?.q ?? 0;
  if (e.q <= at || (before && !e.snap && e.q <= before)) {
    if (e.snap && e.q === at) doubt.delete(topic); // nothing came between
    counts.duplicates++;
    return false;
  }
  const skips = at > 0 && core.set.delivery !== "latest"; // which never promised what comes between
  const broken = e.snap ? skips : before ? e.pq !== before : at > 0 && (e.pq > at || !e.pq);
  if (broken && !e.snap && !doubt.has(topic)) {
    if (epoch && at && now() - ledger.healed >= healAgain && book.rewind(topic, at)) {
      core.book.rewind(topic, at);
      ledger.healed = now();
      counts.resnapshots++;
      return undefined;
    }
    const place = `${epoch}-`;
    core.lost({ reason: "unexplained", from: place + at, to: place + e.pq, channel: channelOf(topic), symbol: e.S });
  }
  e.broken = doubt.delete(topic) || broken;
  last.set(topic, e);
  if (e.broken) counts.losses++;
  counts.events++;
  counts.merged += (e.k ?? 1) - 1;
  return true;
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
