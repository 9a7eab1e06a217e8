import { useEffect } from "preact/hooks";
import { intervals } from "../data/interval";
import type { Model, Tab } from "../model";
import { flipTheme } from "../theme";
import { Chart } from "./chart";
import { Connection } from "./connection";
import { useModel } from "./context";
import { Help, SignIn } from "./dialogs";
import { Header } from "./header";
import { Bars, Clock, List, Pulse } from "./icons";
import { Trades } from "./trades";
import { Watchlist } from "./watchlist";

const tabs: [Tab, string, () => preact.JSX.Element][] = [
  ["list", "Watchlist", List],
  ["chart", "Chart", Bars],
  ["trades", "Trades", Clock],
  ["connection", "Connection", Pulse],
];

export function App() {
  const model = useModel();
  useEffect(() => {
    const press = (e: KeyboardEvent) => shortcut(e, model);
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, [model]);
  const s = model.status.value;
  return (
    <div class="app" data-tab={model.tab.value} data-live={s.live}>
      <Header />
      <Banner />
      <main>
        <Watchlist />
        <Chart />
        <div class="below">
          <Trades />
          <Connection />
        </div>
      </main>
      <nav class="tabs" aria-label="Parts of the page">
        {tabs.map(([id, label, Icon]) => (
          <button
            key={id}
            type="button"
            aria-current={model.tab.value === id ? "page" : undefined}
            onClick={() => {
              model.tab.value = id;
            }}
          >
            <Icon />
            {label}
          </button>
        ))}
      </nav>
      <p class="unseen" role="status" aria-live="polite">
        {model.spoken.value}
      </p>
      {model.helping.value && <Help />}
      {model.asking.value && <SignIn />}
    </div>
  );
}

/** Banner says in a line what is not as it should be. */
function Banner() {
  const model = useModel();
  const s = model.status.value;
  const f = model.trouble.value;
  if (!s.live && s.explanation && s.state !== "connecting") {
    return (
      <p class="banner" data-state={s.state} role="status">
        {s.explanation}
        {s.state === "closed" && (
          <button type="button" onClick={() => model.signIn(model.credentials)}>
            Connect again
          </button>
        )}
      </p>
    );
  }
  if (f?.kind === "unavailable")
    return <p class="banner">History and previous closes are not to be had now: {f.detail}</p>;
  return null;
}

function shortcut(e: KeyboardEvent, model: Model): void {
  const at = e.target;
  const typing = at instanceof HTMLElement && at.matches("input, select, textarea, dialog, dialog *");
  if (typing || e.ctrlKey || e.metaKey || e.altKey) return;
  const list = model.symbols.value;
  const step = { j: 1, k: -1 }[e.key];
  const interval = intervals[Number(e.key) - 1];
  if (e.key === "/") {
    const field = document.getElementById("add");
    field?.focus();
    if (document.activeElement !== field) requestAnimationFrame(() => field?.focus()); // a phone shows it first
    model.tab.value = "list";
  } else if (e.key === "?") model.helping.value = true;
  else if (e.key === "t") flipTheme();
  else if (e.key === "p") model.stream.cut();
  else if (interval) model.choose(interval.id);
  else if (step) {
    const to = Math.max(0, Math.min(list.length - 1, list.indexOf(model.symbol.value) + step));
    model.symbol.value = list[to] ?? "";
  } else return;
  e.preventDefault();
}
