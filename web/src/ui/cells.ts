import { signed, signedPercent } from "../data/change";
import { age, compact } from "../data/format";
import { type Row, trust } from "../data/row";
import { drawSpark } from "./spark";

// Cells writes a row's values straight into the page: a price that changes hundreds
// of times a second is no matter for a framework. Nothing here reads a layout.

const flashEvery = 250; // ms; more often nobody sees it

export const sparkWidth = 88;
export const sparkHeight = 26;

export class Cells {
  private readonly texts = new Map<string, Text>();
  private readonly canvas: HTMLCanvasElement | null;
  private moves = 0;
  private flashed = 0;
  private sparks = -1;
  private odd = false;
  visible = true;

  constructor(
    private readonly root: HTMLElement,
    private readonly feedLive: () => boolean,
  ) {
    for (const cell of root.querySelectorAll<HTMLElement>("[data-cell]")) {
      const text = document.createTextNode("");
      cell.replaceChildren(text);
      this.texts.set(cell.dataset.cell as string, text);
    }
    this.canvas = root.querySelector("canvas");
  }

  paint(row: Row): void {
    if (!this.visible) return;
    this.write("last", row.text(row.last));
    this.write("bid", row.text(row.bid));
    this.write("ask", row.text(row.ask));
    this.write("spread", row.spread);
    this.write("volume", row.volume === undefined ? "" : compact(row.volume));
    const c = row.change;
    this.write("change", c ? signed(c.amount, row.digits) : "");
    this.write("percent", c ? signedPercent(c.hundredths) : "");
    this.set("move", !c || c.amount === 0n ? "" : c.amount > 0n ? "up" : "down");
    this.set("basis", c?.basis ?? "");
    this.flash(row);
    this.judge(row, performance.now());
    this.spark(row);
  }

  /** judge marks how far the row can be trusted; it changes without an event, too. */
  judge(row: Row, now: number): void {
    const t = trust(row, this.feedLive(), now);
    this.set("trust", t);
    let note = "";
    if (t === "stale" || t === "quiet") note = row.heard ? age(now - row.heard) : "old";
    else if (t === "halted") note = "Halted";
    else if (t === "refused") note = row.refused;
    else if (t === "waiting") note = "no price";
    this.write("note", note);
    const title = t === "halted" ? row.halted : "";
    if (this.root.title !== title) this.root.title = title;
  }

  /** redraw draws the sparkline again, in other colours. */
  redraw(row: Row): void {
    this.sparks = -1;
    this.spark(row);
  }

  private spark(row: Row): void {
    const stamp =
      row.spark.points.length < row.spark.points.capacity
        ? row.spark.points.length
        : Math.floor(performance.now() / row.spark.every);
    if (!this.canvas || stamp === this.sparks) return;
    this.sparks = stamp;
    drawSpark(this.canvas, row.spark, sparkWidth, sparkHeight);
  }

  private flash(row: Row): void {
    if (row.moves === this.moves) return;
    const first = this.moves === 0 && row.moves > 1;
    this.moves = row.moves;
    const now = performance.now();
    if (first || now - this.flashed < flashEvery) return;
    this.flashed = now;
    this.odd = !this.odd; // two names for one animation: a change of name begins it anew
    this.set("flash", `${row.up ? "up" : "down"}-${this.odd ? "a" : "b"}`);
  }

  private write(cell: string, value: string): void {
    const text = this.texts.get(cell);
    if (text && text.data !== value) text.data = value;
  }

  private set(name: string, value: string): void {
    if ((this.root.dataset[name] ?? "") === value) return;
    if (value) this.root.dataset[name] = value;
    else delete this.root.dataset[name];
  }
}
