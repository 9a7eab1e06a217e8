// biome-ignore-all lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keys

import { useLayoutEffect, useRef } from "preact/hooks";
import { Prints } from "../data/candles";
import { clock, grouped } from "../data/format";
import { useModel } from "./context";

const kept = 200; // trades
const lines = 60; // on the page
const paintEvery = 80; // ms

/** Trades is time and sales of the symbol on the chart, newest first. */
export function Trades() {
  const model = useModel();
  const body = useRef<HTMLDivElement>(null);
  const symbol = model.symbol.value;

  useLayoutEffect(() => {
    const el = body.current as HTMLDivElement;
    const prints = new Prints(kept);
    const pool = Array.from({ length: lines }, () => line());
    el.replaceChildren();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let painted = 0;

    const paint = () => {
      timer = undefined;
      painted = performance.now();
      const row = model.stream.row(symbol);
      const n = Math.min(lines, prints.ring.length);
      for (let i = 0; i < n; i++) {
        const p = prints.ring.at(-1 - i);
        const l = pool[i];
        if (!p || !l) break;
        if (!l.root.isConnected) el.append(l.root);
        put(l.time, clock(new Date(p.at), true));
        put(l.price, row.text(p.price));
        put(l.size, grouped(p.size));
        const move = p.direction > 0 ? "up" : p.direction < 0 ? "down" : "";
        if (l.root.dataset.move !== move) l.root.dataset.move = move;
      }
    };
    const off = model.follow((events, now) => {
      let any = false;
      for (const e of events) {
        if (e.T !== "t") continue;
        any = true;
        prints.add(Date.parse(e.t), e.p, e.s, (e.c ?? []).join(" "));
      }
      if (!any || timer) return;
      if (now - painted >= paintEvery) paint();
      else timer = setTimeout(paint, paintEvery - (now - painted));
    });
    return () => {
      off();
      clearTimeout(timer);
    };
  }, [symbol, model]);

  const thinned = model.status.value.throttled || model.delivery.value === "latest";
  return (
    <section class="panel trades" aria-label="Time and sales">
      <header class="panel-head">
        <h3>Time & sales</h3>
        {thinned && (
          <span class="tag" title="Some trades give way to newer ones before they are sent: choose “every” to see all">
            thinned
          </span>
        )}
      </header>
      <div class="trades-head" aria-hidden="true">
        <span>Time</span>
        <span class="num">Price</span>
        <span class="num">Size</span>
      </div>
      <div
        class="trades-body"
        role="log"
        aria-live="off"
        aria-label={`Trades of ${symbol}, newest first`}
        tabIndex={0}
        ref={body}
      />
    </section>
  );
}

function line() {
  const root = document.createElement("div");
  root.className = "print";
  const make = (name: string) => {
    const el = document.createElement("span");
    el.className = name;
    const text = document.createTextNode("");
    el.append(text);
    root.append(el);
    return text;
  };
  return { root, time: make("time num"), price: make("num price"), size: make("num size") };
}

function put(text: Text, value: string): void {
  if (text.data !== value) text.data = value;
}
