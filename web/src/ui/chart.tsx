// biome-ignore-all lint/a11y/useSemanticElements: buttons of which one is on; a picture that is a canvas

import { useSignal } from "@preact/signals";
import {
  CandlestickSeries,
  ColorType,
  CrosshairMode,
  createChart,
  HistogramSeries,
  type IChartApi,
  type ISeriesApi,
  LineStyle,
  type UTCTimestamp,
} from "lightweight-charts";
import { useEffect, useRef } from "preact/hooks";
import { type Candle, Candles } from "../data/candles";
import { fixed } from "../data/decimal";
import { compact } from "../data/format";
import { intervalOf, intervals } from "../data/interval";
import { dark } from "../theme";
import { useModel } from "./context";
import { Headline } from "./headline";
import { forgetInks, readInks } from "./spark";
import { crosshairTime, tickMark } from "./time";

const history = 500; // candles
const drawEvery = 100; // ms: a chart is all drawn anew, which takes long

interface Drawing {
  chart: IChartApi;
  candles: ISeriesApi<"Candlestick">;
  volume: ISeriesApi<"Histogram">;
}

function draw(el: HTMLElement): Drawing {
  const chart = createChart(el, {
    autoSize: true,
    layout: { attributionLogo: false, fontFamily: getComputedStyle(document.body).fontFamily, fontSize: 11 },
    rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.08, bottom: 0.24 } },
    timeScale: {
      borderVisible: false,
      timeVisible: true,
      rightOffset: 4,
      barSpacing: 8,
      minBarSpacing: 1.5,
      tickMarkFormatter: tickMark,
    },
    crosshair: { mode: CrosshairMode.Normal },
  });
  const candles = chart.addSeries(CandlestickSeries, { borderVisible: false, priceLineStyle: LineStyle.Dotted });
  const volume = chart.addSeries(HistogramSeries, {
    priceScaleId: "volume",
    priceFormat: { type: "volume" },
    lastValueVisible: false,
    priceLineVisible: false,
  });
  chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
  return { chart, candles, volume };
}

function paintInks({ chart, candles }: Drawing): void {
  forgetInks();
  const c = readInks();
  chart.applyOptions({
    layout: { background: { type: ColorType.Solid, color: "transparent" }, textColor: c.text },
    grid: { vertLines: { color: c.grid }, horzLines: { color: c.grid } },
    crosshair: {
      vertLine: { color: c.flat, labelBackgroundColor: c.accent },
      horzLine: { color: c.flat, labelBackgroundColor: c.accent },
    },
  });
  candles.applyOptions({ upColor: c.up, downColor: c.down, wickUpColor: c.up, wickDownColor: c.down });
}

const time = (c: Candle) => c.time as UTCTimestamp;
const column = (c: Candle) => ({
  time: time(c),
  value: c.volume,
  color: `${c.close >= c.open ? readInks().up : readInks().down}55`,
});
const stick = (c: Candle) => ({ time: time(c), open: c.open, high: c.high, low: c.low, close: c.close });

/** Chart draws one symbol's candles: history first, then what comes. */
export function Chart() {
  const model = useModel();
  const place = useRef<HTMLDivElement>(null);
  const notice = useSignal("");
  const hover = useSignal<Candle | undefined>(undefined);
  const symbol = model.symbol.value;
  const interval = model.interval.value;
  const digits = useRef(2);

  useEffect(() => {
    const which = intervalOf(interval);
    if (!place.current || !which || !symbol) return;
    const drawing = draw(place.current);
    const candles = new Candles(which);
    const stop = new AbortController();
    let queued = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let all = true;
    let inks = dark.peek();
    paintInks(drawing);
    drawing.chart.applyOptions({
      timeScale: { secondsVisible: which.seconds < 60 },
      localization: { timeFormatter: (t: UTCTimestamp) => crosshairTime(t as number, which.seconds) },
    });

    const show = () => {
      queued = false;
      const places = model.stream.row(symbol).digits;
      if (places !== digits.current || all) {
        digits.current = places;
        drawing.candles.applyOptions({
          priceFormat: {
            type: "custom",
            minMove: 10 ** -places,
            formatter: (p: number) => fixed(Number(p.toFixed(9)), places),
          },
        });
      }
      if (all) {
        drawing.candles.setData(candles.all.map(stick));
        drawing.volume.setData(candles.all.map(column));
        all = false;
      } else if (candles.last) {
        drawing.candles.update(stick(candles.last));
        drawing.volume.update(column(candles.last));
      }
    };
    const later = () => {
      if (!queued) timer = setTimeout(show, drawEvery);
      queued = true;
    };

    const fetch = async (first: boolean) => {
      if (!which.history) {
        notice.value = "Drawn from trades since this page was opened";
        later();
        return;
      }
      const r = await model.rest.bars(symbol, which.id, first ? history : 3, stop.signal);
      if (stop.signal.aborted) return;
      if (r.ok) {
        candles.load(first ? r.value : [...candlesAsBars(candles, r.value[0]?.t), ...r.value]);
        if (first && r.value.length < 3 && !model.chosen.value) model.interval.value = "5Sec"; // a market that has just begun
        notice.value = "";
      } else if (first) {
        notice.value =
          r.failure.kind === "missing"
            ? "This gateway has no history: the chart begins now"
            : `No history: ${r.failure.detail}`;
        model.failed(r.failure);
        if (!model.chosen.value) model.interval.value = "5Sec";
      }
      all = true;
      later();
    };

    const off = model.follow((events) => {
      let again = false;
      for (const e of events) {
        const redraw =
          e.T === "t" && !e.snap
            ? candles.trade(Date.parse(e.t) / 1000, e.p, e.s)
            : e.T === "b" || e.T === "u"
              ? candles.bar(e)
              : e.T === "d"
                ? candles.day(e)
                : "none";
        if (redraw === "all") all = true;
        if (redraw !== "none") later();
        again ||= e.T === "u" || (e.T === "b" && which.seconds > 60 && which.seconds < 86_400);
      }
      if (again) void fetch(false);
    });
    const recovered = model.recovered.subscribe((n) => {
      if (n > 0) void fetch(true);
    });
    const themed = dark.subscribe((d) => {
      if (d === inks) return;
      inks = d;
      paintInks(drawing);
      all = true;
      later();
    });
    drawing.chart.subscribeCrosshairMove((p) => {
      hover.value = p.time === undefined ? undefined : candles.all.find((c) => c.time === (p.time as number));
    });
    void fetch(true);
    return () => {
      stop.abort();
      clearTimeout(timer);
      off();
      recovered();
      themed();
      hover.value = undefined;
      drawing.chart.remove();
    };
  }, [symbol, interval, model]);

  const h = hover.value;
  return (
    <section class="panel chart" aria-label="Chart">
      <header class="chart-head">
        <Headline />
        <div class="intervals" role="radiogroup" aria-label="Interval of the candles">
          {intervals.map((i, n) => (
            <button
              key={i.id}
              type="button"
              role="radio"
              aria-checked={i.id === interval}
              aria-label={i.name}
              title={`${i.name} (${n + 1})`}
              onClick={() => model.choose(i.id)}
            >
              {i.label}
            </button>
          ))}
        </div>
      </header>
      <div class="chart-place" ref={place} role="img" aria-label={`Candles of ${symbol}`} />
      <p class="chart-note">
        {h ? (
          <span class="num">
            O {fixed(h.open, digits.current)} H {fixed(h.high, digits.current)} L {fixed(h.low, digits.current)} C{" "}
            {fixed(h.close, digits.current)} V {compact(h.volume)}
          </span>
        ) : (
          notice.value
        )}
      </p>
    </section>
  );
}

/** candlesAsBars gives what was drawn before a time, so that a newer end can be put behind it. */
function candlesAsBars(candles: Candles, before: string | undefined) {
  const end = before ? Date.parse(before) / 1000 : 0;
  return candles.all
    .filter((c) => c.time < end)
    .map((c) => ({
      t: new Date(c.time * 1000).toISOString(),
      o: c.open,
      h: c.high,
      l: c.low,
      c: c.close,
      v: c.volume,
    }));
}
