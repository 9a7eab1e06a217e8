import { useLayoutEffect, useRef } from "preact/hooks";
import { Cells } from "./cells";
import { useModel } from "./context";

/** Headline is the symbol on the chart, large. */
export function Headline() {
  const model = useModel();
  const root = useRef<HTMLDivElement>(null);
  const symbol = model.symbol.value;
  const row = symbol ? model.stream.row(symbol) : undefined;
  const name = model.name(symbol);

  useLayoutEffect(() => {
    if (!row || !root.current) return;
    const cells = new Cells(root.current, () => model.stream.live);
    cells.paint(row);
    const stop = [
      model.paint(symbol, (r) => cells.paint(r)),
      model.status.subscribe(() => cells.judge(row, performance.now())),
    ];
    return () => {
      for (const f of stop) f();
    };
  }, [symbol, model]);

  const basis = model.status.value && row?.change?.basis;
  const closing = row?.closing
    ? new Date(row.closing).toLocaleDateString(undefined, { day: "numeric", month: "short", timeZone: "UTC" })
    : "";
  return (
    <div class="headline" ref={root}>
      <h2>
        {symbol || "No symbol"} <small>{name}</small>
      </h2>
      <p>
        <span class="last num" data-cell="last" />
        <span class="num change" data-cell="change" />
        <span class="num percent" data-cell="percent" />
        <span class="basis">
          {basis === "close" && `since the close of ${closing}: ${row?.text(row.previousClose)}`}
          {basis === "open" && `since today's open: ${row?.text(row.open)}`}
        </span>
        <span class="note" data-cell="note" />
      </p>
    </div>
  );
}
