import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Model } from "../model";

const Context = createContext<Model | undefined>(undefined);

export const Provide = Context.Provider;

/** useModel gives the page's model. */
export function useModel(): Model {
  const m = useContext(Context);
  if (!m) throw new Error("no model above");
  return m;
}
