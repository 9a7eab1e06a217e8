import { useRef, useState } from "preact/hooks";
import type { Drain } from "./data.ts";
import { clock } from "./format.ts";

/** Takes the process out of service, once somebody has said that this is meant. */
export function DrainButton({ drain, title, lost }: { drain: Drain | undefined; title: string; lost: boolean }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [error, setError] = useState("");
  if (!drain) return null;
  if (drain.state !== "serving") {
    const until =
      drain.state === "draining" && drain.deadline ? `, at most until ${clock(Date.parse(drain.deadline))}` : "";
    return (
      <output class="drained">
        {drain.state}: {drain.left} left{until}
      </output>
    );
  }
  const begin = async () => {
    try {
      // The header is what other pages cannot send: without it the server refuses.
      const resp = await fetch("/drain", { method: "POST", headers: { "X-Lzstock": "page" } });
      if (!resp.ok) throw new Error(`${resp.status}: ${await resp.text()}`);
      dialog.current?.close();
    } catch (e) {
      setError(`It was not drained: ${e instanceof Error ? e.message : e}`);
    }
  };
  return (
    <>
      <button
        type="button"
        class="danger"
        disabled={lost}
        onClick={() => {
          setError("");
          dialog.current?.showModal();
        }}
      >
        Drain…
      </button>
      <dialog ref={dialog} aria-labelledby="drain-title">
        <h2 id="drain-title">Take this {title} out of service?</h2>
        <p>
          {title === "monitor"
            ? "It ends its streams, and gateways move to another monitor."
            : `It refuses new clients from then on, and its ${drain.left} clients are told to move, evenly over the drain window.`}{" "}
          The process stays until it is stopped. This cannot be taken back: the process must be started anew.
        </p>
        {error && <p role="alert">{error}</p>}
        <p class="buttons">
          <button type="button" autofocus onClick={() => dialog.current?.close()}>
            Leave it in service
          </button>
          <button type="button" class="danger" onClick={begin}>
            Drain it
          </button>
        </p>
      </dialog>
    </>
  );
}
