/** drag follows a row from its grip to where it is let go, and calls drop with that place. */
export function drag(e: PointerEvent, body: HTMLElement, drop: (to: number) => void): void {
  const rows = [...body.children].filter(
    (c): c is HTMLElement => c instanceof HTMLElement && c.classList.contains("row"),
  );
  const from = rows.findIndex((r) => r.contains(e.target as Node));
  const own = rows[from];
  if (!own || (e.pointerType === "mouse" && e.button !== 0)) return;
  e.preventDefault();
  const height = own.offsetHeight; // read once: nothing is laid out while it moves
  const top = e.clientY;
  const scrolled = body.scrollTop;
  let to = from;
  own.classList.add("dragged");
  body.classList.add("dragging");

  const follow = (m: PointerEvent) => {
    const dy = m.clientY - top + body.scrollTop - scrolled;
    to = Math.max(0, Math.min(rows.length - 1, from + Math.round(dy / height)));
    own.style.transform = `translateY(${dy}px)`;
    rows.forEach((r, i) => {
      if (r === own) return;
      const by = i > from && i <= to ? -height : i < from && i >= to ? height : 0;
      r.style.transform = by ? `translateY(${by}px)` : "";
    });
  };
  const end = (m?: Event) => {
    window.removeEventListener("pointermove", follow);
    window.removeEventListener("pointerup", end);
    window.removeEventListener("pointercancel", end);
    window.removeEventListener("keydown", giveUp);
    own.classList.remove("dragged");
    body.classList.remove("dragging");
    for (const r of rows) r.style.transform = "";
    if (m?.type === "pointerup" && to !== from) drop(to);
  };
  const giveUp = (k: KeyboardEvent) => {
    if (k.key === "Escape") end();
  };
  window.addEventListener("pointermove", follow);
  window.addEventListener("pointerup", end);
  window.addEventListener("pointercancel", end);
  window.addEventListener("keydown", giveUp);
}
