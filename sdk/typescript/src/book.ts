/** How far one subscription is. */
export interface Track {
  acked: boolean; // the gateway has taken it, on this connection or an earlier one
  settled: boolean; // its current value has come, or there is none: it can be resumed
  beats: number; // heartbeats since it was taken
  from: number; // how far the book was when the gateway first took it
  group?: Group | undefined; // none: it is as far as the book
}

/** Topics that one command has resumed: until a heartbeat they may lag behind. */
interface Group {
  at: number;
  acked: boolean;
  kept: boolean; // something behind `at` is missing: it stays for the next connection
}

export const track = (t?: Partial<Track>): Track => ({ acked: false, settled: false, beats: 0, from: 0, ...t });

/**
 * How far a connection has brought each subscription: where the next one resumes.
 * It outlives its connection. Topics are written as their message's letter and
 * their symbol, such as "qAAPL"; "q*" is all symbols.
 *
 * Frames ascend, so the last position of a whole frame tells all that came, except
 * for topics that were resumed on this connection.
 */
export class Book {
  epoch = 0;
  at = 0;
  tracks = new Map<string, Track>();

  /** What covers a topic: itself, or all symbols of its channel. */
  of(topic: string): Track | undefined {
    return this.tracks.get(topic) ?? this.tracks.get(`${topic[0]}*`);
  }

  /** Has the next connection resume a topic at a position that was passed. */
  rewind(topic: string, at: number): boolean {
    const t = this.of(topic);
    if (!t?.settled) return false;
    t.group = { at, acked: true, kept: true };
    return true;
  }

  /** Where a topic can be resumed; 0 where it cannot. */
  position(topic: string): number {
    const t = this.tracks.get(topic);
    return this.epoch && t?.settled ? (t.group ?? this).at : 0;
  }

  /** Where all that can be resumed can be, together. */
  get least(): number {
    let at = this.at;
    for (const { group } of this.tracks.values()) if (group && group.at < at) at = group.at;
    return at;
  }

  /** Takes note of an event of a frame that came whole. */
  came(topic: string, q: number): void {
    if (q > this.at) this.at = q;
    const t = this.of(topic);
    if (!t) return;
    t.settled = true;
    if (t.group && !t.group.kept && q > t.group.at) t.group.at = q;
  }

  /** Takes note of a heartbeat, which comes only when nothing waits. */
  beat(q: number): void {
    let lag = false;
    for (const t of this.tracks.values()) {
      if (t.acked && !t.settled) t.settled = ++t.beats > 1; // a value that is fetched for it comes before that
      if (t.group?.acked && !t.group.kept) t.group = undefined;
      lag ||= !!t.group;
    }
    if (!lag && q > this.at) this.at = q;
  }

  /** Takes note of a gap: until current values have come nothing can be resumed. */
  lose(): void {
    for (const [topic, { acked }] of this.tracks) this.tracks.set(topic, track({ acked }));
  }

  /** Divides topics by where they are to be resumed; 0 stands for anew. */
  plan(topics: Iterable<string>): Map<number, string[]> {
    const out = new Map<number, string[]>();
    for (const topic of topics) {
      const at = this.position(topic);
      const list = out.get(at);
      if (list) list.push(topic);
      else out.set(at, [topic]);
    }
    return out;
  }
}
