// What the server says, and how it becomes history here.

export type Values = (number | null)[];

export interface State {
  name: string;
  state: string;
  level: "ok" | "warn" | "bad";
  text?: string;
  since?: string;
}

export interface Drain {
  state: "serving" | "draining" | "drained";
  left: number;
  since?: string;
  deadline?: string;
  stops: boolean;
}

export interface SlowClient {
  conn: string;
  user?: string;
  transport: string;
  delivery: string;
  age_ms: number;
  oldest_ms: number;
  queued: number;
  conflated: number;
  bytes: number;
  busy: boolean;
}

/** The answer of /ops.json. */
export interface Doc {
  title: string;
  build: string;
  started: string;
  now: number;
  step_ms: number;
  kept: number;
  times: number[];
  figures: Record<string, Values>;
  state: State[];
  drain?: Drain;
  slow?: SlowClient[];
}

/** The last samples of all figures, on one axis of time, in seconds. */
export interface History {
  started: string;
  last: number; // the newest sample, Unix milliseconds; 0: there is none
  times: number[];
  figures: Record<string, Values>;
}

export const nothing: History = { started: "", last: 0, times: [], figures: {} };

/** Adds what came to what is there. A process that began anew begins a history anew. */
export function merge(before: History, doc: Doc): History {
  const old = before.started === doc.started ? before : nothing;
  const fresh = doc.times.findIndex((t) => t > old.last);
  const from = fresh < 0 ? doc.times.length : fresh;
  const times = [...old.times, ...doc.times.slice(from).map((t) => t / 1000)];
  const cut = Math.max(0, times.length - doc.kept);
  const figures: Record<string, Values> = {};
  for (const name of new Set([...Object.keys(old.figures), ...Object.keys(doc.figures)])) {
    const had = old.figures[name] ?? blank(old.times.length);
    const came = doc.figures[name]?.slice(from) ?? blank(doc.times.length - from);
    figures[name] = [...had, ...came].slice(cut);
  }
  return { started: doc.started, last: doc.times.at(-1) ?? old.last, times: times.slice(cut), figures };
}

function blank(n: number): Values {
  return new Array<null>(n).fill(null);
}

/** The samples of the last seconds before the newest. */
export function span(h: History, seconds: number): { times: number[]; from: number } {
  const end = h.times.at(-1) ?? 0;
  const from = h.times.findIndex((t) => t > end - seconds);
  return { times: from < 0 ? [] : h.times.slice(from), from: Math.max(0, from) };
}

/** The newest value that is one, unless it is older than ten samples. */
export function latest(v: Values | undefined): number | null {
  for (let i = (v?.length ?? 0) - 1; v && i >= Math.max(0, v.length - 10); i--) {
    const x = v[i];
    if (x !== null && x !== undefined) return x;
  }
  return null;
}

/** Least and most of what is there. */
export function extent(v: Values): [number, number] | null {
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  for (const x of v) {
    if (x === null) continue;
    least = Math.min(least, x);
    most = Math.max(most, x);
  }
  return least > most ? null : [least, most];
}

/** The figures of a name and a label, the one that grew most first. */
export function family(h: History, name: string, from: number): { label: string; values: Values; total: number }[] {
  return Object.entries(h.figures)
    .filter(([key]) => key.startsWith(`${name}.`))
    .map(([key, all]) => {
      const values = all.slice(from);
      return { label: key.slice(name.length + 1), values, total: values.reduce<number>((sum, x) => sum + (x ?? 0), 0) };
    })
    .sort((a, b) => b.total - a.total || a.label.localeCompare(b.label));
}
