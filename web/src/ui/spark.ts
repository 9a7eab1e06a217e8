import type { Spark } from "../data/ring";

/** Colours are read from the page's tokens once, and again when the theme changes. */
export interface Inks {
  up: string;
  down: string;
  flat: string;
  grid: string;
  ground: string;
  text: string;
  accent: string;
}

let inks: Inks | undefined;

export function readInks(): Inks {
  if (!inks) {
    const style = getComputedStyle(document.documentElement);
    const v = (name: string) => style.getPropertyValue(name).trim();
    inks = {
      up: v("--up"),
      down: v("--down"),
      flat: v("--ink-3"),
      grid: v("--line-soft"),
      ground: v("--panel"),
      text: v("--ink-2"),
      accent: v("--accent"),
    };
  }
  return inks;
}

export function forgetInks(): void {
  inks = undefined;
}

/** fit gives a canvas as many pixels as the screen shows of it; width and height are in CSS pixels. */
export function fit(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D | null {
  const ratio = Math.min(3, devicePixelRatio || 1);
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
  }
  const g = canvas.getContext("2d");
  g?.setTransform(ratio, 0, 0, ratio, 0, 0);
  return g;
}

const fewest = 30; // points that fill the width

/** drawSpark draws the way of a price, newest at the right. */
export function drawSpark(canvas: HTMLCanvasElement, spark: Spark, width: number, height: number): void {
  const g = fit(canvas, width, height);
  if (!g) return;
  g.clearRect(0, 0, width, height);
  const { points } = spark;
  const n = points.length;
  if (n < 2) return;
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < n; i++) {
    const v = points.at(i) as number;
    if (v < low) low = v;
    if (v > high) high = v;
  }
  const pad = 2.5;
  const span = high - low || 1;
  const step = (width - 2 * pad) / Math.min(points.capacity - 1, Math.max(n - 1, fewest));
  const x = (i: number) => width - pad - (n - 1 - i) * step;
  const y = (v: number) => (high === low ? height / 2 : height - pad - ((v - low) / span) * (height - 2 * pad));
  const first = points.at(0) as number;
  const last = points.at(-1) as number;
  const { up, down, flat, grid } = readInks();
  g.strokeStyle = grid;
  g.lineWidth = 1;
  g.beginPath();
  g.moveTo(pad, Math.round(y(first)) + 0.5);
  g.lineTo(width - pad, Math.round(y(first)) + 0.5);
  g.stroke();
  g.strokeStyle = last > first ? up : last < first ? down : flat;
  g.lineWidth = 1.4;
  g.lineJoin = "round";
  g.beginPath();
  for (let i = 0; i < n; i++) g.lineTo(x(i), y(points.at(i) as number));
  g.stroke();
  g.fillStyle = g.strokeStyle;
  g.beginPath();
  g.arc(x(n - 1), y(last), 1.8, 0, 7);
  g.fill();
}
