import { render } from "preact";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { App } from "../src/app.tsx";
import { DrainButton } from "../src/drain.tsx";

let at: HTMLElement;
beforeEach(() => {
  at = document.createElement("div");
  document.body.append(at);
});
afterEach(() => {
  render(null, at);
  at.remove();
  vi.unstubAllGlobals();
});

const drain = { state: "serving" as const, left: 12, stops: false };

function button(name: string): HTMLButtonElement {
  const found = [...at.querySelectorAll("button")].find((b) => b.textContent?.trim() === name);
  if (!found) throw new Error(`no button ${name} in ${at.innerHTML}`);
  return found;
}

describe("the drain", () => {
  it("happens only once it was confirmed, with the header that other pages cannot send", async () => {
    const fetched = vi.fn().mockResolvedValue(new Response("{}"));
    vi.stubGlobal("fetch", fetched);
    render(<DrainButton drain={drain} title="gateway" lost={false} />, at);
    const dialog = at.querySelector("dialog") as HTMLDialogElement;
    button("Drain…").click();
    expect(dialog.open).toBe(true);
    expect(fetched).not.toHaveBeenCalled();
    button("Leave it in service").click();
    expect(dialog.open).toBe(false);
    expect(fetched).not.toHaveBeenCalled();
    button("Drain…").click();
    button("Drain it").click();
    await vi.waitFor(() => expect(dialog.open).toBe(false));
    expect(fetched).toHaveBeenCalledExactlyOnceWith("/drain", { method: "POST", headers: { "X-Lzstock": "page" } });
  });
  it("says what went wrong", async () => {
    vi.stubGlobal("fetch", vi.fn().mockResolvedValue(new Response("no", { status: 403 })));
    render(<DrainButton drain={drain} title="gateway" lost={false} />, at);
    button("Drain…").click();
    button("Drain it").click();
    await vi.waitFor(() => expect(at.querySelector('[role="alert"]')?.textContent).toBe("It was not drained: 403: no"));
  });
  it("shows how far it is, and cannot be begun again", () => {
    render(<DrainButton drain={{ ...drain, state: "draining", left: 3 }} title="gateway" lost={false} />, at);
    expect(at.textContent).toContain("draining: 3 left");
    expect(at.querySelector("button")).toBe(null);
  });
  it("cannot be begun where the server is gone", () => {
    render(<DrainButton drain={drain} title="gateway" lost={true} />, at);
    expect(button("Drain…").disabled).toBe(true);
  });
});

describe("a server that is gone", () => {
  it("is told, with since when and why", async () => {
    vi.stubGlobal("fetch", vi.fn().mockRejectedValue(new TypeError("refused")));
    render(<App />, at);
    await vi.waitFor(() =>
      expect(at.querySelector('[role="alert"]')?.textContent).toMatch(
        /does not answer since \d\d:\d\d:\d\d: the server cannot be reached/,
      ),
    );
    expect(at.querySelector(".live")?.textContent).toMatch(/^lost since /);
    expect(document.title).toMatch(/^LOST/);
  });
  it("is told also where it answers nonsense", async () => {
    vi.stubGlobal("fetch", vi.fn().mockResolvedValue(new Response("", { status: 500 })));
    render(<App />, at);
    await vi.waitFor(() => expect(at.querySelector('[role="alert"]')?.textContent).toContain("the server answers 500"));
  });
});
