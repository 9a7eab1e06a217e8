import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import type { Values } from "./data.ts";
import { clock, figure, type Unit } from "./format.ts";

export interface Line {
  label: string;
  values: Values;
}

interface Props {
  label: string; // for those who do not see it
  times: number[];
  lines: Line[];
  unit: Unit;
  theme: string;
  onCursor(index: number | null): void;
}

const height = 96;

/** Where the lines of a grid may stand: bytes go by powers of two, and half a yes is none. */
function steps(unit: Unit): number[] | undefined {
  switch (unit) {
    case "bytes":
    case "bytes/s":
      return Array.from({ length: 50 }, (_, i) => 2 ** i);
    case "yes":
      return [1];
    default:
      return undefined;
  }
}

/** The colors are the page's, and change with its theme. */
function color(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function Chart({ label, times, lines, unit, theme, onCursor }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const told = useRef(onCursor);
  told.current = onCursor;
  const shape = lines.map((l) => l.label).join("|");
  const data: uPlot.AlignedData = [times, ...lines.map((l) => l.values)];
  const newest = useRef(data);
  newest.current = data;

  // A plot is made anew when its lines or the colors change.
  useEffect(() => {
    const at = box.current;
    if (!at) return;
    const axis = {
      stroke: color("--faint"),
      grid: { stroke: color("--grid"), width: 1 },
      ticks: { show: false },
      font: "11px system-ui",
    };
    const grid = steps(unit);
    const u = new uPlot(
      {
        width: at.clientWidth || 300,
        height,
        padding: [6, 4, 0, 0],
        legend: { show: false },
        cursor: { sync: { key: "ops" }, y: false, points: { size: 6 }, drag: { x: false, y: false } },
        scales: { y: { range: (_u, least, most) => [Math.min(0, least ?? 0), most ? most * 1.08 : 1] } },
        axes: [
          {
            ...axis,
            size: 20,
            space: 70,
            values: (u, ticks) =>
              ticks.map((t) => clock(t * 1000, (u.scales.x?.max ?? 0) - (u.scales.x?.min ?? 0) > 240)),
          },
          {
            ...axis,
            size: 62,
            space: 26,
            ...(grid && { incrs: grid }),
            values: (_u, ticks) => ticks.map((v) => figure(v, unit)),
          },
        ],
        series: [
          {},
          ...lines.map((l, i) => ({
            label: l.label,
            stroke: color(`--line${i % 6}`),
            width: 1.5,
            points: { show: false },
          })),
        ],
        hooks: { setCursor: [(u) => told.current(u.cursor.idx ?? null)] },
      },
      newest.current,
      at,
    );
    plot.current = u;
    const watch = new ResizeObserver(() => u.setSize({ width: at.clientWidth, height }));
    watch.observe(at);
    return () => {
      watch.disconnect();
      u.destroy();
      plot.current = null;
    };
  }, [shape, unit, theme]);

  useEffect(() => plot.current?.setData(data));

  return <div class="chart" role="img" aria-label={label} ref={box} />;
}
