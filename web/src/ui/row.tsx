// biome-ignore-all lint/a11y/useSemanticElements: rows are lines of a table, and cards on a phone, which no table can be
// biome-ignore-all lint/a11y/useFocusableInteractive: the row has the focus, its cells do not

import { useLayoutEffect, useRef } from "preact/hooks";
import { dark } from "../theme";
import { Cells, sparkHeight, sparkWidth } from "./cells";
import { useModel } from "./context";
import { Cross, Grip } from "./icons";
import { forgetInks } from "./spark";
import { whileVisible } from "./visible";

export interface RowProps {
  symbol: string;
  place: number;
  selected: boolean;
  onGrip: (e: PointerEvent, symbol: string) => void;
}

/** RowView is one symbol's line. Its frame is drawn once; Cells fills it. */
export function RowView({ symbol, place, selected, onGrip }: RowProps) {
  const model = useModel();
  const root = useRef<HTMLDivElement>(null);
  const name = model.name(symbol);

  useLayoutEffect(() => {
    const el = root.current as HTMLDivElement;
    const cells = new Cells(el, () => model.stream.live);
    const row = model.stream.row(symbol);
    cells.paint(row);
    const stop = [
      model.paint(symbol, (r) => cells.paint(r)),
      model.status.subscribe(() => cells.visible && cells.judge(row, performance.now())),
      dark.subscribe(() => {
        forgetInks();
        cells.redraw(row);
      }),
      whileVisible(el, (visible) => {
        cells.visible = visible;
        if (visible) cells.paint(row);
      }),
    ];
    return () => {
      for (const f of stop) f();
    };
  }, [symbol, model]);

  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the grid that it is in has the keys
    <div
      ref={root}
      class="row"
      role="row"
      id={`row-${symbol}`}
      data-symbol={symbol}
      aria-selected={selected}
      aria-rowindex={place + 2}
      tabIndex={selected ? 0 : -1}
      onClick={() => {
        model.symbol.value = symbol;
      }}
    >
      <span class="grip" role="presentation" onPointerDown={(e) => onGrip(e, symbol)} title="Drag to reorder">
        <Grip />
      </span>
      <span class="who" role="rowheader">
        <b>{symbol}</b>
        <span class="name">{name}</span>
        <span class="note" data-cell="note" />
      </span>
      <span class="sparkline" role="gridcell" aria-hidden="true">
        <canvas width={sparkWidth} height={sparkHeight} />
      </span>
      <span class="num last" role="gridcell" data-cell="last" />
      <span class="num change" role="gridcell" data-cell="change" />
      <span class="num percent" role="gridcell" data-cell="percent" />
      <span class="num bid" role="gridcell" data-cell="bid" />
      <span class="num ask" role="gridcell" data-cell="ask" />
      <span class="num spread" role="gridcell" data-cell="spread" />
      <span class="num volume" role="gridcell" data-cell="volume" />
      <span class="end" role="gridcell">
        <button
          type="button"
          class="quiet-button"
          aria-label={`Remove ${symbol}`}
          title={`Remove ${symbol}`}
          tabIndex={selected ? 0 : -1}
          onClick={(e) => {
            e.stopPropagation();
            model.remove(symbol);
          }}
        >
          <Cross />
        </button>
      </span>
    </div>
  );
}
