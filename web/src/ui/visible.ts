type Told = (visible: boolean) => void;

const told = new WeakMap<Element, Told>();
let observer: IntersectionObserver | undefined;

/** whileVisible tells whether an element can be seen, whenever that changes. One observer serves all. */
export function whileVisible(el: Element, f: Told): () => void {
  observer ??= new IntersectionObserver((entries) => {
    for (const e of entries) told.get(e.target)?.(e.isIntersecting);
  });
  told.set(el, f);
  observer.observe(el);
  return () => {
    observer?.unobserve(el);
    told.delete(el);
  };
}
