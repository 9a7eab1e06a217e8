// The page's own account of what it was sent, to be compared with what another
// client got or a tape holds. It costs a few numbers a topic, however long it runs.

/** Entry is what came on one topic. */
export interface Entry {
  first: number; // the position that the account begins behind
  last: number; // the newest position
  events: number; // that came, merged ones counted each
  merged: number; // of them, those that gave way to later ones
  hash: number; // over positions and prices in order
  breaks: number; // where an event did not name the one before it
}

/** Sample is what the ledger reads of an event. */
export interface Sample {
  T: string;
  S: string;
  q?: number;
  pq?: number;
  k?: number;
  snap?: boolean;
  p?: number;
  bp?: number;
  ap?: number;
  c?: unknown;
}

/** Ledger keeps account by topic, such as "t:AAPL". */
export class Ledger {
  private readonly topics = new Map<string, Entry>();
  repeats = 0; // events that had come before

  add(e: Sample): void {
    if (e.q === undefined) return;
    const key = `${e.T}:${e.S}`;
    const entry = this.topics.get(key);
    if (!entry || e.snap) {
      this.begin(key, e, entry);
      return;
    }
    if (e.q <= entry.last) {
      this.repeats++;
      return;
    }
    if (e.pq !== entry.last) entry.breaks++;
    const k = e.k ?? 1;
    entry.events += k;
    entry.merged += k - 1;
    entry.last = e.q;
    entry.hash = fold(entry.hash, e);
  }

  /** begin starts a topic's account at a current value: what lies behind it is new. */
  private begin(key: string, e: Sample, entry: Entry | undefined): void {
    const q = e.q ?? 0;
    if (entry && q <= entry.last) return;
    if (entry) {
      entry.breaks++; // a value in place of what was missed
      entry.last = q;
      return;
    }
    const first = e.snap ? q : (e.pq ?? 0);
    const fresh: Entry = { first, last: q, events: 0, merged: 0, hash: 0, breaks: 0 };
    if (!e.snap) {
      fresh.events = e.k ?? 1;
      fresh.merged = fresh.events - 1;
      fresh.hash = fold(0, e);
    }
    this.topics.set(key, fresh);
  }

  /** drop forgets a topic that is watched no more. */
  drop(key: string): void {
    this.topics.delete(key);
  }

  /** report copies the account. */
  report(): Record<string, Entry> {
    const out: Record<string, Entry> = {};
    for (const [key, entry] of this.topics) out[key] = { ...entry };
    return out;
  }
}

/** fold adds an event to a hash: FNV-1a over "position price [price]". */
export function fold(hash: number, e: Sample): number {
  const price = e.T === "q" ? `${e.bp} ${e.ap}` : e.T === "t" ? `${e.p}` : `${e.c ?? ""}`;
  const text = `${e.q} ${price}`;
  let h = hash === 0 ? 0x811c9dc5 : hash;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}
