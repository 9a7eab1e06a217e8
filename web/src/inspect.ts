import type { Entry } from "./data/ledger";
import type { Model } from "./model";
import type { Status } from "./status";

/** Inspection is for tests and for support: it looks, and changes nothing. */
export interface Inspection {
  status(): Status;
  ledger(): { topics: Record<string, Entry>; repeats: number };
  journal(): string[];
  price(symbol: string): number | undefined;
}

declare global {
  interface Window {
    readonly lzstock?: Inspection;
  }
}

/** inspect lets whoever has the page's console see its account. */
export function inspect(model: Model): void {
  const look: Inspection = {
    status: () => ({ ...model.status.value }),
    ledger: () => ({ topics: model.stream.ledger.report(), repeats: model.stream.ledger.repeats }),
    journal: () => {
      const { journal } = model.stream;
      return Array.from({ length: journal.length }, (_, i) => journal.at(i)?.text ?? "");
    },
    price: (symbol) => model.stream.rows.get(symbol)?.last,
  };
  Object.defineProperty(window, "lzstock", { value: Object.freeze(look) });
}
