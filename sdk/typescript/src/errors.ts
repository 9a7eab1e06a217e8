/** Whether and how to try again: not unchanged, after a random wait that grows, or at once. */
export type Retry = "never" | "backoff" | "now";

/** What the gateway, or the way to it, said no with. */
export class ClientError extends Error {
  override readonly name = "ClientError";
  /** What the client does, or would have to do. */
  declare readonly retry: Retry;
  /** The protocol's error code, or the HTTP status of a refusal; 0 where there is none. */
  declare readonly code: number;
  /** The code of the close frame; 0 where there was none. */
  declare readonly close: number;
  /** The gateway asked not to come back earlier. */
  declare readonly afterMs: number;

  constructor(message: string, retry: Retry, code = 0, close = 0, afterMs = 0, cause?: unknown) {
    super(message, { cause });
    Object.assign(this, { retry, code, close, afterMs });
  }
}
