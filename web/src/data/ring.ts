/** Ring keeps the newest values, at most capacity; the oldest give way. */
export class Ring<T> {
  private readonly items: T[] = [];
  private first = 0;

  constructor(readonly capacity: number) {}

  get length(): number {
    return this.items.length;
  }

  push(v: T): void {
    if (this.items.length < this.capacity) {
      this.items.push(v);
      return;
    }
    this.items[this.first] = v;
    this.first = (this.first + 1) % this.capacity;
  }

  /** at gives the value number i from the oldest; negative ones count from the newest. */
  at(i: number): T | undefined {
    const n = this.items.length;
    const k = i < 0 ? n + i : i;
    return k < 0 || k >= n ? undefined : this.items[(this.first + k) % n];
  }

  setLast(v: T): void {
    const n = this.items.length;
    if (n > 0) this.items[(this.first + n - 1) % n] = v;
  }

  clear(): void {
    this.items.length = 0;
    this.first = 0;
  }
}

/** Spark samples a price: at most one point in every ms, of which it keeps the newest. */
export class Spark {
  readonly points: Ring<number>;
  private slot = Number.NEGATIVE_INFINITY;

  constructor(
    capacity: number,
    readonly every: number,
  ) {
    this.points = new Ring(capacity);
  }

  /** add takes a price at a time in ms, and reports whether a point was begun. */
  add(price: number, now: number): boolean {
    const slot = Math.floor(now / this.every);
    if (slot === this.slot) {
      this.points.setLast(price);
      return false;
    }
    this.slot = slot;
    this.points.push(price);
    return true;
  }
}
