import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { useModel } from "./context";
import { Cross } from "./icons";

function Dialog({ label, onClose, children }: { label: string; onClose: () => void; children: ComponentChildren }) {
  const el = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    el.current?.showModal();
  }, []);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes a dialog by itself
    <dialog
      ref={el}
      aria-label={label}
      onClose={onClose}
      onClick={(e) => {
        if (e.target === el.current) el.current?.close();
      }}
    >
      <div class="dialog">
        <header>
          <h2>{label}</h2>
          <button type="button" class="quiet-button" aria-label="Close" onClick={() => el.current?.close()}>
            <Cross />
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}

const keys: [string[], string][] = [
  [["/"], "add a symbol"],
  [["↑", "↓"], "choose a row, in the watchlist"],
  [["Alt", "↑"], "move the row up, or down with ↓"],
  [["Delete"], "remove the row"],
  [["Enter"], "show the row's chart, on a phone"],
  [["j", "k"], "next and previous symbol, anywhere"],
  [["1", "…", "6"], "interval of the candles"],
  [["t"], "light or dark"],
  [["p"], "pull the plug"],
  [["?"], "this help"],
];

export function Help() {
  const model = useModel();
  return (
    <Dialog
      label="Keys"
      onClose={() => {
        model.helping.value = false;
      }}
    >
      <dl class="keys">
        {keys.map(([names, what]) => (
          <div key={what}>
            <dt>
              {names.map((n) => (
                <kbd key={n}>{n}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <p>
        The watchlist is in the page's address: copy it to share what you see. Dimmed prices are not current; a row
        without news for half a minute says how old its price is.
      </p>
      <p class="credit">
        Charts by{" "}
        <a href="https://www.tradingview.com/" rel="noreferrer" target="_blank">
          TradingView
        </a>{" "}
        Lightweight Charts™, © 2025 TradingView, Inc.
      </p>
    </Dialog>
  );
}

/** SignIn asks who the reader is; what it is told stays in this tab. */
export function SignIn() {
  const model = useModel();
  const way = useSignal<"key" | "token">("key");
  const key = useSignal("");
  const secret = useSignal("");
  const token = useSignal("");
  const ready = way.value === "token" ? token.value.trim() !== "" : key.value.trim() !== "" && secret.value !== "";
  return (
    <Dialog
      label="Sign in"
      onClose={() => {
        model.asking.value = "";
      }}
    >
      <form
        onSubmit={(e) => {
          e.preventDefault();
          if (ready)
            model.signIn(
              way.value === "token" ? { token: token.value.trim() } : { key: key.value.trim(), secret: secret.value },
            );
        }}
      >
        <p role="alert">{model.asking.value}</p>
        <fieldset class="ways">
          <legend>Prove it with</legend>
          <label>
            <input type="radio" name="way" checked={way.value === "key"} onChange={() => (way.value = "key")} /> an API
            key
          </label>
          <label>
            <input type="radio" name="way" checked={way.value === "token"} onChange={() => (way.value = "token")} /> a
            token
          </label>
        </fieldset>
        {way.value === "key" ? (
          <>
            <label class="field">
              <span>Key</span>
              <input
                type="text"
                name="key"
                autofocus
                autocomplete="off"
                spellcheck={false}
                value={key.value}
                onInput={(e) => (key.value = e.currentTarget.value)}
              />
            </label>
            <label class="field">
              <span>Secret</span>
              <input
                type="password"
                name="secret"
                autocomplete="off"
                value={secret.value}
                onInput={(e) => (secret.value = e.currentTarget.value)}
              />
            </label>
          </>
        ) : (
          <label class="field">
            <span>Token</span>
            <input
              type="password"
              name="token"
              autocomplete="off"
              value={token.value}
              onInput={(e) => (token.value = e.currentTarget.value)}
            />
          </label>
        )}
        <p class="hint">Kept in this tab until it is closed, and sent to this gateway alone.</p>
        <button type="submit" class="primary" disabled={!ready}>
          Connect
        </button>
      </form>
    </Dialog>
  );
}
