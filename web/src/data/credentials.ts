/** Credentials prove who the reader is: a token, or a key with its secret. */
export interface Credentials {
  token?: string;
  key?: string;
  secret?: string;
}

const key = "lzstock.credentials";

/** recall gives what this tab was told: nothing outlives it, and nothing is in the URL. */
export function recall(storage: Pick<Storage, "getItem"> | undefined): Credentials | undefined {
  try {
    const c = JSON.parse(storage?.getItem(key) ?? "null") as Credentials | null;
    if (typeof c?.token === "string" && c.token) return { token: c.token };
    if (typeof c?.key === "string" && c.key) return { key: c.key, secret: String(c.secret ?? "") };
  } catch {
    // What is there may be anything.
  }
  return undefined;
}

/** keep remembers credentials until the tab is closed; nothing forgets them. */
export function keep(c: Credentials | undefined, storage: Pick<Storage, "setItem" | "removeItem"> | undefined): void {
  try {
    if (c) storage?.setItem(key, JSON.stringify(c));
    else storage?.removeItem(key);
  } catch {
    // Then they are asked for again.
  }
}
