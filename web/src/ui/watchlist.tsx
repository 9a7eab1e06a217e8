// biome-ignore-all lint/a11y/useSemanticElements: rows are lines of a table, and cards on a phone, which no table can be
// biome-ignore-all lint/a11y/useFocusableInteractive: its rows have the focus

import { useRef } from "preact/hooks";
import { AddSymbol } from "./add";
import { useModel } from "./context";
import { drag } from "./drag";
import { RowView } from "./row";

const bases: Record<string, [string, string]> = {
  "": ["Change", ""],
  close: ["vs close", "Change against the previous day's close"],
  open: ["vs open", "Change against today's open: the previous close is not known"],
  mixed: ["vs close°", "Change against the previous day's close; rows marked ° against today's open"],
};

export function Watchlist() {
  const model = useModel();
  const body = useRef<HTMLDivElement>(null);
  const list = model.symbols.value;
  const [basis, basisTitle] = bases[model.basis.value] as [string, string];

  const keys = (e: KeyboardEvent) => {
    const i = list.indexOf(model.symbol.value);
    const step = { ArrowUp: -1, ArrowDown: 1, Home: -list.length, End: list.length, PageUp: -10, PageDown: 10 }[e.key];
    if (step !== undefined) {
      e.preventDefault();
      const to = Math.max(0, Math.min(list.length - 1, i + step));
      if (e.altKey) model.shift(model.symbol.value, to);
      else model.symbol.value = list[to] ?? "";
    } else if (e.key === "Delete" || (e.key === "Backspace" && !e.metaKey)) {
      e.preventDefault();
      model.remove(model.symbol.value);
    } else if (e.key === "Enter" && e.target instanceof HTMLElement && e.target.role === "row") {
      model.tab.value = "chart";
    } else return;
    requestAnimationFrame(() => {
      const row = document.getElementById(`row-${model.symbol.value}`);
      row?.focus({ preventScroll: true });
      row?.scrollIntoView({ block: "nearest" });
    });
  };

  return (
    <section class="panel watchlist" aria-label="Watchlist" data-basis={model.basis.value}>
      <AddSymbol />
      <div class="grid" role="grid" aria-label="Watchlist" aria-rowcount={list.length + 1} onKeyDown={keys}>
        <div class="row head" role="row" aria-rowindex={1}>
          <span />
          <span role="columnheader">Symbol</span>
          <span role="columnheader" class="sparkline">
            2 min
          </span>
          <span role="columnheader" class="num">
            Last
          </span>
          <span role="columnheader" class="num change" title={basisTitle}>
            {basis}
          </span>
          <span role="columnheader" class="num percent" title={basisTitle}>
            %
          </span>
          <span role="columnheader" class="num bid">
            Bid
          </span>
          <span role="columnheader" class="num ask">
            Ask
          </span>
          <span role="columnheader" class="num spread">
            Spread
          </span>
          <span role="columnheader" class="num volume">
            Volume
          </span>
          <span />
        </div>
        <div class="rows" role="rowgroup" ref={body}>
          {list.map((s, i) => (
            <RowView
              key={s}
              symbol={s}
              place={i}
              selected={s === model.symbol.value}
              onGrip={(e, symbol) => body.current && drag(e, body.current, (to) => model.shift(symbol, to))}
            />
          ))}
          {list.length === 0 && (
            <p class="empty">
              Nothing is watched. Press <kbd>/</kbd> and type a symbol.
            </p>
          )}
        </div>
      </div>
    </section>
  );
}
