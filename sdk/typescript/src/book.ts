/** How far one subscription is. */
export interface Track {
  acked?: boolean | undefined; // the gateway has taken it, on this connection or an earlier one
  settled?: boolean | undefined; // its current value has come, or there is none: it can be resumed
  beat?: boolean | undefined; // a heartbeat has come since it was taken
  group?: Group | undefined; // none: it is as far as the book
}

/** Topics that one command has resumed: until a heartbeat they may lag behind. */
interface Group {
  at: number;
  acked?: boolean;
  kept?: true; // something behind `at` is missing: it stays for the next connection
}

/**
 * How far a connection has brought each subscription: where the next one resumes.
 * It outlives its connection. Topics are written as their message's letter and
 * their symbol, such as "qAAPL"; "q*" is all symbols.
 *
 * Frames ascend, so the last position of a whole frame tells all that came, but for
 * topics that were resumed on this connection: those may lag behind, each command's
 * for itself.
 */
export class Book {
  epoch = 0;
  at = 0;
  tracks = new Map<string, Track>();

  /** What covers a topic: itself, or all symbols of its channel. */
  of(topic: string): Track | undefined {
    return this.tracks.get(topic) ?? this.tracks.get(`${topic[0]}*`);
  }

  /** Has the next connection resume a topic at a position that was passed, if it can. */
  rewind(topic: string, at: number): boolean {
    const t = this.of(topic);
    if (t?.settled) t.group = { at, kept: true };
    return !!t?.settled;
  }

  /** Where all that can be resumed can be, together. */
  get least(): number {
    let least = Number.POSITIVE_INFINITY;
    for (const { group } of this.tracks.values()) least = Math.min(least, (group ?? this).at);
    return least < Number.POSITIVE_INFINITY ? least : this.at;
  }

  /** Takes note of an event of a frame that came whole. */
  came(topic: string, q: number): void {
    const t = this.of(topic);
    if (!t) return;
    t.settled = true;
    const place = t.group ?? this;
    if (!("kept" in place)) place.at = Math.max(place.at, q);
  }

  /** Takes note of a heartbeat, which comes only when nothing waits. */
  beat(q: number): void {
    for (const t of this.tracks.values()) {
      t.settled ||= t.beat; // a value that is fetched for it comes before a second heartbeat
      t.beat = t.acked;
      if (t.group?.acked) t.group = undefined;
    }
    this.at = Math.max(this.at, q);
  }

  /** Takes note of a gap: until current values have come nothing can be resumed. */
  lose(): void {
    for (const [topic, { acked }] of this.tracks) this.tracks.set(topic, { acked });
  }

  /** Divides topics by where they are to be resumed; 0 stands for anew. */
  plan(topics: string[]): Map<number, string[]> {
    const out = new Map<number, string[]>();
    for (const topic of topics) {
      const t = this.tracks.get(topic);
      const at = this.epoch && t?.settled ? (t.group ?? this).at : 0;
      const list = out.get(at) ?? [];
      list.push(topic);
      out.set(at, list);
    }
    return out;
  }
}
