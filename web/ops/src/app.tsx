import { useEffect, useState } from "preact/hooks";
import { Card, Reasons } from "./cards.tsx";
import { type Doc, type History, merge, nothing, type SlowClient, type State } from "./data.ts";
import { DrainButton } from "./drain.tsx";
import { bytes, clock, duration, liveness, short } from "./format.ts";

const every = 1000;
const patience = 5000;
const ranges: [seconds: number, label: string][] = [
  [60, "1 min"],
  [300, "5 min"],
  [900, "15 min"],
];

interface Link {
  doc: Doc | null;
  history: History;
  lostSince: number | null;
  lastOK: number | null;
  why: string;
}

/** Asks the server for what is new, again and again, while the page is seen. */
export function useFigures(): Link {
  const [link, setLink] = useState<Link>({ doc: null, history: nothing, lostSince: null, lastOK: null, why: "" });
  useEffect(() => {
    let over = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let history = nothing;
    const ask = async () => {
      try {
        const resp = await fetch(`/ops.json?since=${history.last}`, {
          signal: AbortSignal.timeout(patience),
          cache: "no-store",
        });
        if (!resp.ok) throw new Error(`the server answers ${resp.status}`);
        const doc = (await resp.json()) as Doc;
        if (history.started && history.started !== doc.started && doc.times.length === 0) history = nothing;
        history = merge(history, doc);
        const shown = history;
        if (!over) setLink({ doc, history: shown, lostSince: null, lastOK: Date.now(), why: "" });
      } catch (e) {
        const why =
          e instanceof TypeError ? "the server cannot be reached" : e instanceof Error ? e.message : String(e);
        if (!over) setLink((l) => ({ ...l, lostSince: l.lostSince ?? Date.now(), why }));
      }
      if (!over && !document.hidden) timer = setTimeout(ask, every);
    };
    const seen = () => {
      clearTimeout(timer);
      if (!document.hidden) void ask();
    };
    document.addEventListener("visibilitychange", seen);
    void ask();
    return () => {
      over = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    };
  }, []);
  return link;
}

/** auto, light or dark: what the reader chose, and what that means now. */
function useTheme(): [choice: string, theme: string, choose: (t: string) => void] {
  const [choice, setChoice] = useState(() => localStorage.getItem("theme") ?? "auto");
  const [dark, setDark] = useState(() => matchMedia("(prefers-color-scheme: dark)").matches);
  useEffect(() => {
    const query = matchMedia("(prefers-color-scheme: dark)");
    const changed = () => setDark(query.matches);
    query.addEventListener("change", changed);
    return () => query.removeEventListener("change", changed);
  }, []);
  const theme = choice === "auto" ? (dark ? "dark" : "light") : choice;
  document.documentElement.dataset.theme = theme;
  return [
    choice,
    theme,
    (t) => {
      localStorage.setItem("theme", t);
      setChoice(t);
    },
  ];
}

export function App() {
  const { doc, history, lostSince, lastOK, why } = useFigures();
  const [choice, theme, choose] = useTheme();
  const [seconds, setSeconds] = useState(900);
  const lost = lostSince !== null;
  const shown = { history, seconds, theme };
  useEffect(() => {
    document.title = `${lost ? "LOST · " : ""}lzstock ${doc?.title ?? ""}`;
  }, [lost, doc?.title]);
  return (
    <>
      <header class="top">
        <h1>
          lzstock <span>{doc?.title}</span>
        </h1>
        <output class={lost ? "live bad" : "live"} aria-live="polite">
          {liveness(lostSince, lastOK, Date.now(), why)}
        </output>
        <fieldset>
          <legend>Shown</legend>
          {ranges.map(([s, label]) => (
            <label key={s}>
              <input type="radio" name="range" checked={s === seconds} onChange={() => setSeconds(s)} />
              {label}
            </label>
          ))}
        </fieldset>
        <label class="theme">
          Theme{" "}
          <select value={choice} onChange={(e) => choose(e.currentTarget.value)}>
            <option>auto</option>
            <option>light</option>
            <option>dark</option>
          </select>
        </label>
        <DrainButton drain={doc?.drain} title={doc?.title ?? "process"} lost={lost} />
      </header>
      {lost && (
        <p role="alert" class="banner">
          The server does not answer since {clock(lostSince)}: {why}. {doc ? "What is shown is what it said last." : ""}{" "}
          Trying again.
        </p>
      )}
      <main class={lost ? "stale" : ""}>
        {doc && <States list={doc.state} />}
        <div class="cards">
          <Card
            {...shown}
            title="Sockets"
            unit="count"
            figures={[
              ["sockets", "all"],
              ["event_streams", "event streams"],
            ]}
          />
          <Card {...shown} title="Events delivered" unit="rate" figures={[["events", "to clients"]]} />
          <Card {...shown} title="Events from upstream" unit="rate" figures={[["events_in", "in"]]} />
          <Card {...shown} title="Frames" unit="rate" figures={[["frames", "out"]]} />
          <Card {...shown} title="Bytes" unit="bytes/s" figures={[["bytes", "out"]]} />
          <Card
            {...shown}
            title="Age of prices at clients"
            unit="seconds"
            note="of the last 10 s"
            figures={[
              ["age_p50", "p50"],
              ["age_p99", "p99"],
            ]}
          />
          <Card
            {...shown}
            title="Conflated"
            unit="share"
            note="of what was delivered"
            figures={[["conflated", "share"]]}
          />
          <Card
            {...shown}
            title="Age of prices from the monitor"
            unit="seconds"
            note="of the last 10 s"
            figures={[
              ["upstream_age_p50", "p50"],
              ["upstream_age_p99", "p99"],
            ]}
          />
          <Card {...shown} title="Monitor: events" unit="rate" figures={[["monitor_events", "read"]]} />
          <Card
            {...shown}
            title="Monitor: age on the bus"
            unit="seconds"
            note="of the last 10 s"
            figures={[
              ["monitor_age_p50", "p50"],
              ["monitor_age_p99", "p99"],
            ]}
          />
          <Card {...shown} title="Monitor: streams" unit="count" figures={[["monitor_streams", "open"]]} />
          <Card
            {...shown}
            title="Bus: acknowledgements"
            unit="seconds"
            note="of the last 10 s"
            figures={[
              ["bus_ack_p50", "p50"],
              ["bus_ack_p99", "p99"],
            ]}
          />
          <Card {...shown} title="Bus: events published" unit="rate" figures={[["bus_events", "out"]]} />
          <Card {...shown} title="Bus reached" unit="yes" figures={[["bus", "reached"]]} />
          <Card
            {...shown}
            title="Bus node"
            unit="yes"
            figures={[
              ["node_ready", "ready"],
              ["node_leader", "leader"],
            ]}
          />
          <Card {...shown} title="Bus node: stored" unit="bytes" figures={[["node_store", "files"]]} />
          <Card {...shown} title="Source: events" unit="rate" figures={[["feed_events", "out"]]} />
          <Card {...shown} title="Source: behind its schedule" unit="seconds" figures={[["feed_lag", "lag"]]} />
          <Card
            {...shown}
            title="Memory"
            unit="bytes"
            figures={[
              ["memory", "resident"],
              ["heap", "Go heap"],
            ]}
          />
          <Card {...shown} title="CPU" unit="cores" figures={[["cpu", "used"]]} />
          <Card {...shown} title="Goroutines" unit="count" figures={[["goroutines", "now"]]} />
          <Card {...shown} title="Open files" unit="count" figures={[["files", "now"]]} />
        </div>
        {history.figures.sockets && (
          <div class="cards">
            <Reasons {...shown} title="Why sockets ended" name="closes" empty="None has ended in this time." />
            <Reasons
              {...shown}
              title="Why requests were refused"
              name="refused"
              empty="None was refused in this time."
            />
          </div>
        )}
        {doc?.slow && <Slow list={doc.slow} />}
      </main>
      <footer>
        <p>{doc && `${doc.build}, up for ${duration(Math.max(0, (doc.now - Date.parse(doc.started)) / 1000))}`}</p>
        <nav aria-label="What else is here">
          <a href="/metrics">metrics</a> <a href="/readyz">readyz</a> <a href="/debug/">profiles</a>{" "}
          <a href="/ops.json">these figures</a>
        </nav>
      </footer>
    </>
  );
}

function States({ list }: { list: State[] }) {
  return (
    <ul class="states" aria-label="State of the parts">
      {list.map((s) => (
        <li key={s.name} class={s.level}>
          <span class="name">{s.name}</span> <b>{s.state}</b>
          {s.since && <small> since {clock(Date.parse(s.since))}</small>}
          {s.text && <small>: {s.text}</small>}
        </li>
      ))}
    </ul>
  );
}

export function Slow({ list }: { list: SlowClient[] }) {
  return (
    <section class="card slow" aria-label="Slow clients">
      <header>
        <h3>Slow clients</h3>
        <span class="when">users are hashed; conn as in the log</span>
      </header>
      {list.length === 0 ? (
        <p class="empty">All clients keep up.</p>
      ) : (
        <section
          class="scroll"
          aria-label="Table of slow clients" /* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and the keyboard must reach that */
          tabIndex={0}
        >
          <table>
            <thead>
              <tr>
                {[
                  "conn",
                  "user",
                  "transport",
                  "delivery",
                  "age",
                  "oldest queued",
                  "queued",
                  "conflated",
                  "bytes",
                  "",
                ].map((h) => (
                  <th key={h} scope="col">
                    {h}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {list.map((c) => (
                <tr key={c.conn}>
                  <td>{c.conn}</td>
                  <td>{c.user ?? "–"}</td>
                  <td>{c.transport}</td>
                  <td>{c.delivery}</td>
                  <td>{duration(c.age_ms / 1000)}</td>
                  <td>{c.oldest_ms > 0 ? duration(c.oldest_ms / 1000) : "–"}</td>
                  <td>{short(c.queued)}</td>
                  <td>{short(c.conflated)}</td>
                  <td>{bytes(c.bytes)}</td>
                  <td>{c.busy ? "busy" : ""}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
    </section>
  );
}
