import type { Core } from "./core.ts";

/** Has a client pause while the page is hidden, after some milliseconds. */
export function watch(core: Core, ms: number): void {
  const page = globalThis.document as Document | undefined;
  let timer: ReturnType<typeof setTimeout>;
  const look = () => {
    clearTimeout(timer);
    if (!page?.hidden) core.pause(false);
    else timer = setTimeout(() => core.pause(true), ms);
  };
  page?.addEventListener("visibilitychange", look);
  core.on("closed", () => {
    clearTimeout(timer);
    page?.removeEventListener("visibilitychange", look);
  });
  look();
}
