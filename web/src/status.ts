import { Ring } from "./data/ring";
import type { Stream } from "./data/stream";

/** Source is one source of the feed, as it says how it is. */
export interface Source {
  name: string;
  state: string;
  since?: string;
  reason?: string;
}

/** Status is how the connection is, for those who show it. */
export interface Status {
  state: string; // the SDK's
  live: boolean;
  headline: string; // what to say in a word
  explanation: string; // and in a sentence, where it is not live
  age: number; // ms since prices were known to be current; infinite before they ever were
  rate: number; // events a second
  transport: string;
  events: number;
  merged: number;
  reconnects: number;
  gaps: number;
  losses: number;
  bytes: number;
  throttled: boolean;
  position: string;
  sources: Source[];
  simulated: boolean;
  recorded: number; // when the prices were recorded, in ms; 0 where they are not old
}

/** Speed counts events a second over the last two seconds. */
export class Speed {
  readonly ring = new Ring<number>(60); // of the last minute
  private samples: { at: number; events: number }[] = [];

  add(at: number, events: number): number {
    this.samples.push({ at, events });
    while (this.samples.length > 2 && at - (this.samples[0]?.at ?? at) > 2_000) this.samples.shift();
    const first = this.samples[0];
    if (!first || at - first.at < 200) return 0;
    return Math.max(0, ((events - first.events) * 1_000) / (at - first.at));
  }
}

const headlines: Record<string, string> = {
  connecting: "Connecting",
  live: "Live",
  stale: "Stale",
  down: "Down",
  reconnecting: "Reconnecting",
  paused: "Paused",
  closed: "Closed",
};

const reasons: Record<string, string> = {
  monitor: "the gateway has lost its monitor",
  bus: "the bus cannot be reached",
  lagging: "events are read later than they come",
  lost: "a source is gone",
  silent: "a source is silent though it should send",
};

/** explain says in a sentence why prices are not current. */
export function explain(state: string, reason: string | undefined): string {
  const why = reason ? (reasons[reason] ?? reason) : "";
  switch (state) {
    case "live":
      return "";
    case "connecting":
      return "Connecting to the gateway.";
    case "reconnecting":
      return "The connection is lost. Reconnecting; the last prices stand.";
    case "paused":
      return "Paused while the page was hidden.";
    case "closed":
      return "The gateway has ended the connection.";
    case "down":
      return `The feed is down${why ? `: ${why}` : ""}. The last prices stand.`;
  }
  return `Prices may not be current${why ? `: ${why}` : ""}.`;
}

const old = 60_000;

export function readStatus(stream: Stream, speed: Speed): Status {
  const c = stream.connection;
  const { stats, feed } = c;
  const { origin } = stream;
  return {
    state: c.state,
    live: c.state === "live",
    headline: headlines[c.state] ?? c.state,
    explanation: explain(c.state, feed?.reason),
    age: c.ageMs,
    rate: speed.add(performance.now(), stats.events),
    transport: stats.transport ?? "",
    events: stats.events,
    merged: stats.merged,
    reconnects: stats.reconnects,
    gaps: stats.gaps,
    losses: stats.losses,
    bytes: stats.bytes,
    throttled: stats.throttled,
    position: c.position ?? "",
    sources: [...(feed?.sources ?? [])],
    simulated: origin.simulated,
    recorded: origin.time > 0 && Date.now() - origin.time > old ? origin.time : 0,
  };
}
