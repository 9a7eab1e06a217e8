import { useEffect, useRef } from "preact/hooks";
import { age, bytes, clock, compact, grouped } from "../data/format";
import { type Delivery, deliveries, paces } from "../data/persist";
import { useModel } from "./context";
import { Key, Plug } from "./icons";
import { fit, readInks } from "./spark";

const deliveryNames: Record<Delivery, string> = {
  adaptive: "Adaptive: every event, merged while this page is too slow",
  every: "Every: every event, or an honest end",
  latest: "Latest: the newest value of each symbol",
};

export function Connection() {
  const model = useModel();
  const s = model.status.value;
  const notes = [];
  const { journal } = model.stream;
  for (let i = 1; i <= Math.min(8, journal.length); i++) notes.push(journal.at(-i));
  return (
    <section class="panel connection" aria-label="Connection">
      <header class="panel-head">
        <h3>Connection</h3>
        <span class="pill" data-state={s.state}>
          {s.headline}
        </span>
      </header>
      <div class="connection-body">
        <Rate />
        <dl class="facts">
          <Fact name="Age of data" value={age(s.age)} hint="Since prices were last known to be current" />
          <Fact name="Events" value={`${compact(Math.round(s.rate))}/s`} hint={`${grouped(s.events)} in all`} />
          <Fact
            name="Conflated"
            value={compact(s.merged)}
            hint="Events that gave way to newer ones before they were sent"
            mark={s.throttled}
          />
          <Fact name="Reconnects" value={String(s.reconnects)} hint="Connections that took over from a broken one" />
          <Fact
            name="Gaps"
            value={String(s.gaps)}
            hint="Times that events were lost for good, as the gateway or this page noticed"
            mark={s.gaps > 0}
          />
          <Fact
            name="Transport"
            value={transports[s.transport] ?? (s.transport || "–")}
            hint={`${bytes(s.bytes)} received`}
          />
        </dl>
        <div class="controls">
          <label>
            <span>Delivery</span>
            <select
              value={model.delivery.value}
              title={deliveryNames[model.delivery.value]}
              onChange={(e) => model.deliver(e.currentTarget.value as Delivery, model.every.value || 500)}
            >
              {deliveries.map((d) => (
                <option key={d} value={d}>
                  {d}
                </option>
              ))}
            </select>
          </label>
          {model.delivery.value === "latest" && (
            <label>
              <span>At most every</span>
              <select
                value={String(model.every.value)}
                onChange={(e) => model.deliver("latest", Number(e.currentTarget.value))}
              >
                {paces.map((p) => (
                  <option key={p} value={String(p)}>
                    {p === 0 ? "no limit" : p < 1_000 ? `${p} ms` : `${p / 1_000} s`}
                  </option>
                ))}
              </select>
            </label>
          )}
          <button
            type="button"
            class="plug"
            title="Cut the connection as a network would, and watch it recover (p)"
            onClick={() => model.stream.cut()}
          >
            <Plug /> Pull the plug
          </button>
          {model.credentials && (
            <button type="button" title="Forget the credentials, and ask anew" onClick={() => model.signIn(undefined)}>
              <Key /> Sign out
            </button>
          )}
        </div>
        {s.sources?.length > 0 && (
          <ul class="sources" aria-label="Sources">
            {s.sources.map((x) => (
              <li key={x.name}>
                <i class="dot" data-state={x.state} />
                <span>{x.name}</span>
                <em>
                  {x.state}
                  {x.reason ? `, ${x.reason}` : ""}
                </em>
              </li>
            ))}
          </ul>
        )}
        <ol class="journal" aria-label="What happened">
          {notes.map(
            (n) =>
              n && (
                <li key={`${n.at}${n.text}`} data-tone={n.tone}>
                  <time class="num">{clock(new Date(n.at))}</time>
                  <span>{n.text}</span>
                </li>
              ),
          )}
        </ol>
      </div>
    </section>
  );
}

const transports: Record<string, string> = { websocket: "WebSocket", sse: "Server-sent events" };

function Fact({ name, value, hint, mark }: { name: string; value: string; hint: string; mark?: boolean }) {
  return (
    <div title={hint} data-mark={mark || undefined}>
      <dt>{name}</dt>
      <dd class="num">{value}</dd>
    </div>
  );
}

const width = 240;
const height = 34;

/** Rate draws events a second over the last minute. */
function Rate() {
  const model = useModel();
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const el = canvas.current;
    if (!el) return;
    return model.rates.subscribe(() => {
      const g = fit(el, width, height);
      if (!g) return;
      const { ring } = model.speeds;
      let most = 1;
      for (let i = 0; i < ring.length; i++) most = Math.max(most, ring.at(i) ?? 0);
      g.clearRect(0, 0, width, height);
      g.fillStyle = readInks().accent;
      const w = width / ring.capacity;
      for (let i = 0; i < ring.length; i++) {
        const h = Math.max(1, ((ring.at(-1 - i) ?? 0) / most) * (height - 2));
        g.globalAlpha = 0.28 + 0.5 * (1 - i / ring.capacity);
        g.fillRect(width - (i + 1) * w, height - h, w - 1, h);
      }
    });
  }, [model]);
  return (
    <canvas
      class="rate"
      ref={canvas}
      width={width}
      height={height}
      role="img"
      aria-label="Events a second over the last minute"
    />
  );
}
