// biome-ignore-all lint/a11y/useSemanticElements: a datalist cannot show names, nor what went wrong
// biome-ignore-all lint/a11y/useFocusableInteractive: the input keeps the focus, as a combobox does

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Named } from "../data/rest";
import { useModel } from "./context";
import { Plus } from "./icons";

const patience = 120; // ms without a key before the gateway is asked

/** AddSymbol finds symbols while one types. */
export function AddSymbol() {
  const model = useModel();
  const text = useSignal("");
  const found = useSignal<Named[]>([]);
  const marked = useSignal(0);
  const open = useSignal(false);
  const hint = useSignal("");
  const input = useRef<HTMLInputElement>(null);
  const asking = useRef<{ timer: ReturnType<typeof setTimeout>; stop: AbortController } | undefined>(undefined);

  useEffect(() => () => cancel(), []);

  const cancel = () => {
    if (!asking.current) return;
    clearTimeout(asking.current.timer);
    asking.current.stop.abort();
    asking.current = undefined;
  };

  const look = (value: string) => {
    text.value = value.replace(/^\//, ""); // the key that led here
    hint.value = "";
    cancel();
    const prefix = text.value.trim().toUpperCase();
    if (!prefix) {
      open.value = false;
      found.value = [];
      return;
    }
    const stop = new AbortController();
    const timer = setTimeout(async () => {
      const r = await model.rest.symbols(prefix, 8, stop.signal);
      if (stop.signal.aborted) return;
      marked.value = 0;
      if (r.ok) {
        found.value = r.value;
        model.learn(r.value);
        hint.value = r.value.length === 0 ? `Nothing begins with ${prefix}. Press Enter to watch it all the same.` : "";
      } else {
        found.value = [];
        hint.value =
          r.failure.kind === "missing"
            ? "This gateway cannot look symbols up: type the whole symbol and press Enter."
            : `Symbols cannot be looked up now: ${r.failure.detail}`;
        if (r.failure.kind === "denied") model.failed(r.failure);
      }
      open.value = true;
    }, patience);
    asking.current = { timer, stop };
  };

  const add = (symbol: string) => {
    cancel();
    if (!model.add(symbol)) {
      hint.value = "A symbol has 1 to 32 letters, digits or . / - : _ ^";
      open.value = true;
      return;
    }
    text.value = "";
    found.value = [];
    open.value = false;
  };

  const keys = (e: KeyboardEvent) => {
    const n = found.value.length;
    if (e.key === "ArrowDown" || e.key === "ArrowUp") {
      e.preventDefault();
      if (n > 0) marked.value = (marked.value + (e.key === "ArrowDown" ? 1 : n - 1)) % n;
    } else if (e.key === "Enter") {
      e.preventDefault();
      const exact = text.value.trim().toUpperCase();
      const choice =
        open.value && found.value.some((s) => s.symbol.startsWith(exact))
          ? found.value[marked.value]?.symbol
          : undefined;
      add(choice ?? exact);
    } else if (e.key === "Escape") {
      if (open.value) open.value = false;
      else input.current?.blur();
      e.stopPropagation();
    }
  };

  const showing = open.value && (found.value.length > 0 || hint.value !== "");
  return (
    <div class="add">
      <Plus />
      <input
        ref={input}
        id="add"
        type="text"
        role="combobox"
        aria-label="Add a symbol"
        aria-expanded={showing}
        aria-controls="found"
        aria-autocomplete="list"
        aria-activedescendant={showing && found.value.length > 0 ? `found-${marked.value}` : undefined}
        placeholder="Add a symbol"
        autocomplete="off"
        autocapitalize="characters"
        spellcheck={false}
        maxLength={32}
        value={text.value}
        onInput={(e) => look(e.currentTarget.value)}
        onKeyDown={keys}
        onBlur={() => {
          open.value = false;
        }}
      />
      <span class="key" title="Press / to begin">
        /
      </span>
      <div class="found" id="found" hidden={!showing}>
        <div role="listbox" aria-label="Symbols">
          {found.value.map((s, i) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: the input that it belongs to has the keys
            <div
              key={s.symbol}
              id={`found-${i}`}
              role="option"
              aria-selected={i === marked.value}
              tabIndex={-1}
              onPointerDown={(e) => e.preventDefault()}
              onClick={() => add(s.symbol)}
            >
              <b>{s.symbol}</b>
              <span>{s.name ?? ""}</span>
              {model.symbols.value.includes(s.symbol) && <em>watched</em>}
            </div>
          ))}
        </div>
        {hint.value && <p role="status">{hint.value}</p>}
      </div>
    </div>
  );
}
