export { Client, parseTime } from "./client.ts";
export type { Channel } from "./codes.ts";
export { channels } from "./codes.ts";
export { ClientError, type Retry } from "./errors.ts";
export type { ClientEvents } from "./events.ts";
export type { Options } from "./options.ts";
export type { IteratorOptions, Listener, Subscription } from "./subscription.ts";
export type {
  Bar,
  DailyBar,
  Delivery,
  Feed,
  Gap,
  MarketEvent,
  Quote,
  Rejection,
  State,
  Stats,
  Status,
  Topics,
  Trade,
  UpdatedBar,
} from "./types.ts";
