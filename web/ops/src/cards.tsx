import { useState } from "preact/hooks";
import { Chart, type Line } from "./chart.tsx";
import { extent, family, type History, latest, span } from "./data.ts";
import { clock, figure, type Unit } from "./format.ts";

interface Shown {
  history: History;
  seconds: number;
  theme: string;
}

interface CardProps extends Shown {
  title: string;
  unit: Unit;
  figures: [name: string, label: string][];
  note?: string;
}

/** One figure, or some that belong together, with what they were. */
export function Card({ title, unit, figures, note, history, seconds, theme }: CardProps) {
  const [at, setAt] = useState<number | null>(null);
  const there = figures.filter(([name]) => history.figures[name]);
  if (there.length === 0) return null;
  const { times, from } = span(history, seconds);
  const lines: Line[] = there.map(([name, label]) => ({ label, values: history.figures[name]?.slice(from) ?? [] }));
  const when = at !== null && times[at] !== undefined ? times[at] : null;
  const now = lines.map((l) => (when === null ? latest(l.values) : (l.values[at ?? 0] ?? null)));
  const range = extent(lines.flatMap((l) => l.values));
  return (
    <section class="card" aria-label={title}>
      <header>
        <h3>{title}</h3>
        <span class="when">{when === null ? (note ?? "") : clock(when * 1000)}</span>
      </header>
      <p class="values">
        {lines.map((l, i) => (
          <span key={l.label} class={lines.length > 1 ? `key key${i}` : ""}>
            {lines.length > 1 && <small>{l.label} </small>}
            <b>{figure(now[i], unit)}</b>
          </span>
        ))}
      </p>
      <Chart
        label={`${title}: ${lines.map((l, i) => `${l.label} ${figure(now[i], unit)}`).join(", ")}${range ? `; between ${figure(range[0], unit)} and ${figure(range[1], unit)}` : ""}`}
        times={times}
        lines={lines}
        unit={unit}
        theme={theme}
        onCursor={setAt}
      />
    </section>
  );
}

/** A figure by reason: the six that count most as lines, all of them as a list. */
export function Reasons({
  title,
  name,
  empty,
  history,
  seconds,
  theme,
}: Shown & { title: string; name: string; empty: string }) {
  const { times, from } = span(history, seconds);
  const all = family(history, name, from).filter((f) => f.total > 0);
  const lines = all.slice(0, 6);
  return (
    <section class="card wide" aria-label={title}>
      <header>
        <h3>{title}</h3>
      </header>
      {all.length === 0 ? (
        <p class="empty">{empty}</p>
      ) : (
        <>
          <ul class="reasons">
            {all.map((f, i) => (
              <li key={f.label} class={i < 6 ? `key key${i}` : ""}>
                {f.label} <b>{figure(Math.round(f.total), "count")}</b>
              </li>
            ))}
          </ul>
          <Chart
            label={`${title}: ${all.map((f) => `${f.label} ${Math.round(f.total)}`).join(", ")}`}
            times={times}
            lines={lines.map((f) => ({ label: f.label, values: f.values }))}
            unit="rate"
            theme={theme}
            onCursor={() => {}}
          />
        </>
      )}
    </section>
  );
}
