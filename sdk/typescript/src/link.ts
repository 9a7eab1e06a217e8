import { Book, type Track, track } from "./book.ts";
import { adviceFor, type Channel, channels, letters } from "./codes.ts";
import type { Core } from "./core.ts";
import { ClientError } from "./errors.ts";
import { isEvent, type Message, parsePosition, read } from "./message.ts";
import { maxMessage, type Receiver, serverSentEvents, type Transport, webSocket } from "./transport.ts";
import type { Feed, MarketEvent, Rejection } from "./types.ts";

const commandRoom = 300; // what a command needs beside its topics, at most

interface Command {
  text: string;
  id: number;
}

interface Pending {
  topics: string[];
  subscribe: boolean;
  since: number;
}

export const now = (): number => performance.now();

/** One connection. Two of them live side by side while the client moves. */
export class Link implements Receiver {
  opened = false; // the transport was, before anything was said
  greeted = 0; // when; 0: not yet
  begun = false; // the gateway takes commands
  restored = false; // it has what earlier connections had
  over = false;
  feed: Feed | undefined;
  throttled = false;
  epoch = 0; // of the positions that come; 0 while it is not known
  book = new Book();
  asked = new Set<string>(); // what the gateway was asked for
  chain = new Map<string, number>(); // the position that came last, by topic
  fresh = new Set<string>(); // was asked for anew: positions before it may be 0
  awaits = false; // it was opened without a position: what the one in use has is left to that one

  #wire: Transport | undefined;
  #stop: AbortController | undefined;
  #heard = now();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #due = 0;
  #renewal: ReturnType<typeof setTimeout> | undefined;
  #limits = { bytes: 16_384, rate: 10 };
  #tokens = 10;
  #filled = now();
  #turn: ReturnType<typeof setTimeout> | undefined;
  #queue: Command[] = [];
  #pending = new Map<number, Pending>();
  #restoring = 0; // commands that ask for what earlier connections had, without an answer
  #lastId = 0;
  #byMessage = false; // credentials go in a message
  #inURL = false; // the address says where to resume
  #refused: ClientError | undefined; // the last in-band error that no command caused

  readonly core: Core;
  readonly url: URL;
  readonly sse: boolean;

  constructor(core: Core, url: URL, sse: boolean) {
    this.core = core;
    this.url = url;
    this.sse = sse;
  }

  /** Makes the connection. */
  start(): void {
    this.#watch(this.core.set.connectTimeoutMs);
    this.#connect().catch((cause: unknown) => this.fail(new ClientError("no connection", "backoff", { cause })));
  }

  async #connect(): Promise<void> {
    const { set } = this.core;
    let token = "";
    try {
      token = typeof set.token === "function" ? await set.token() : (set.token ?? "");
    } catch (cause) {
      return this.fail(new ClientError("no token", "backoff", { cause }));
    }
    if (this.over) return;
    const url = this.#address();
    if (this.sse) {
      const headers: Record<string, string> = {};
      if (token) headers.Authorization = `Bearer ${token}`;
      if (set.key && set.secret) {
        headers["APCA-API-KEY-ID"] = set.key;
        headers["APCA-API-SECRET-KEY"] = set.secret;
      }
      this.#wire = serverSentEvents(set.sse as typeof fetch, url, headers, this);
      return;
    }
    // A refusal before the upgrade tells a page nothing, so after one the token
    // goes in a message, whose refusal says why.
    const protocols = ["lzstock.v1.json"];
    this.#byMessage = !!set.key || (!!token && (this.core.unopened > 0 || !/^[\w.~+-]+$/.test(token)));
    if (token && !this.#byMessage) protocols.push(`bearer.${token}`);
    this.#auth = this.#byMessage ? (token ? { token } : { key: set.key, secret: set.secret }) : undefined;
    this.#wire = webSocket(set.webSocket as never, url, protocols, this);
  }

  #auth: object | undefined;

  /** Where to connect to, and for server-sent events what for. */
  #address(): URL {
    const { core } = this;
    const { set, book } = core;
    const url = new URL(this.url);
    const q = url.searchParams;
    const held = q.has("session_id");
    let since = held && book ? book.least : 0;
    if (this.sse) {
      url.protocol = url.protocol.replace("ws", "http");
      url.pathname = url.pathname.replace(/stream$/, "events");
      const plan = (book ?? this.book).plan(core.wanted());
      if (!plan.has(0)) since = Math.min(...plan.keys(), Number.MAX_SAFE_INTEGER);
      this.awaits = !since && !!core.cur;
    }
    if (!held) {
      q.set("hb_ms", `${set.heartbeatMs}`);
      q.set("delivery", set.delivery);
      if (set.intervalMs) q.set("interval_ms", `${set.intervalMs}`);
      if (this.sse) for (const [c, list] of Object.entries(byChannel(core.wanted()))) q.set(c, list.join());
    }
    if (since && since < Number.MAX_SAFE_INTEGER && book?.epoch) {
      q.set("since", `${book.epoch}-${since}`);
      this.#inURL = true;
      this.#epoch(book.epoch);
      this.book.at = since;
    }
    return url;
  }

  #epoch(epoch: number): void {
    this.epoch = this.book.epoch = epoch;
  }

  /** Ends the connection. The first reason counts. */
  fail(why: ClientError): void {
    if (this.over) return;
    this.close();
    this.core.ended(this, why);
  }

  /** Ends the connection without a word to the core. */
  close(): void {
    this.over = true;
    this.#stop?.abort();
    for (const t of [this.#timer, this.#renewal, this.#turn]) clearTimeout(t);
    this.#queue = [];
    this.#pending.clear();
    this.#wire?.close();
  }

  // What the transport tells.

  open(): void {
    if (this.over) return;
    this.opened = true;
    this.core.opened(this);
    if (this.sse) this.#begin();
  }

  end(why: ClientError | { close: number; reason: string }): void {
    if (why instanceof ClientError) {
      this.fail(why);
      return;
    }
    const { close, reason } = why;
    const was = this.#refused;
    const message = reason || was?.message || (this.opened ? "connection lost" : "no connection");
    this.fail(new ClientError(message, adviceFor(close), { code: was?.code ?? 0, close }));
  }

  text(data: string): void {
    if (this.over) return;
    const { core } = this;
    this.#heard = now();
    core.stats.frames++;
    core.stats.bytes += data.length;
    let list: unknown;
    try {
      list = data.length <= maxMessage && JSON.parse(data);
    } catch {
      // it makes no sense
    }
    if (!Array.isArray(list)) {
      this.#nonsense();
      return;
    }
    const events: MarketEvent[] = [];
    for (const m of list) {
      if (typeof m !== "object" || !m || typeof m.T !== "string") {
        this.#nonsense();
        return;
      }
      if (m.T.length === 1 && letters.includes(m.T)) {
        if (!isEvent(m)) {
          this.#nonsense();
          return;
        }
        events.push(m);
      } else this.#news(read(m));
      if (this.over) return;
    }
    if (events.length) core.take(this, events);
    else core.update();
  }

  #nonsense(): void {
    this.fail(new ClientError("the gateway makes no sense", "backoff"));
  }

  // Liveness.

  #watch(ms: number): void {
    this.#due = now() + ms;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const at = now();
      const left = this.begun ? this.#heard + this.#patience - at : 0;
      if (left > 0) this.#watch(left);
      else if (at - this.#due > 1000 && this.begun) {
        this.#heard = at + 1000 - this.#patience; // we slept, and what came meanwhile was not read yet
        this.#watch(1000);
      } else this.fail(new ClientError("the gateway is silent", "backoff"));
    }, ms);
  }

  get #patience(): number {
    // A session's heartbeat is the gateway's own until a command has asked for another.
    const beat = this.url.searchParams.has("session_id") ? 15_000 : 0;
    return 2 * Math.max(beat, this.core.set.heartbeatMs);
  }

  // What the gateway says.

  #news(m: Message): void {
    const { core } = this;
    switch (m.T) {
      case "success":
        if (m.msg === "connected") this.#greet(m);
        else if (m.msg === "authenticated" && this.greeted) this.#begin();
        break;
      case "subscription":
        this.#answer(m.id, m.rejected);
        break;
      case "error":
        this.#complain(m.id, m.code, m.msg, m.retry);
        break;
      case "feed":
        if (m.epoch && !this.epoch) {
          this.#epoch(m.epoch);
          core.ledger.epoch ||= m.epoch;
        }
        this.feed = m.feed;
        core.fed(this);
        break;
      case "gap":
        this.#gap(m.reason, m.from, m.to);
        break;
      case "throttle":
        if (this.throttled !== m.on) {
          this.throttled = m.on;
          core.throttled(this);
        }
        break;
      case "hb":
        if (m.q) this.book.beat(m.q);
        core.settle();
        break;
      case "reconnect":
        core.move(this, m.reason, m.delay, m.deadline);
        break;
      case "expiring":
        this.#renew();
        break;
    }
  }

  #greet(m: Extract<Message, { T: "success" }>): void {
    if (this.greeted) {
      this.sse ? undefined : this.fail(new ClientError("the gateway greets twice", "backoff"));
      return;
    }
    this.greeted = now();
    if (m.epoch) this.#epoch(m.epoch);
    if (m.bytes) this.#limits.bytes = Math.max(m.bytes, 1024);
    if (m.rate) this.#limits.rate = this.#tokens = Math.min(m.rate, 10);
    if (this.#auth) this.#say({ action: "auth", ...this.#auth });
    else this.#begin();
  }

  /** Asks for all that earlier connections had, behind what has come from them. */
  #begin(): void {
    if (this.begun) return;
    this.begun = true;
    this.greeted ||= now();
    this.#watch(this.#patience);
    const { core } = this;
    const old = core.book ?? new Book();
    const plan = old.plan(core.wanted());
    if (!this.#inURL && !this.epoch && plan.size - Number(plan.has(0)) === 0 && core.ledger.last.size) {
      core.ledger.restart(0); // nobody knows what the positions to come compare with
    }
    if (this.sse) {
      const at = this.book.at;
      for (const topic of core.wanted()) this.#note([topic], at, true);
      if (!this.#inURL && !core.cur) this.#doubt(old, core.wanted());
    } else this.ask(plan, old);
    this.#restoring = this.#pending.size;
    core.began(this);
    this.#check();
  }

  #check(): void {
    if (this.#restoring || this.restored || this.over) return;
    this.restored = true;
    this.core.restored(this);
  }

  /** Topics that were had before and are asked for anew may have lost something. */
  #doubt(old: Book, topics: string[]): void {
    const { doubt } = this.core.ledger;
    for (const topic of topics) {
      const t = old.tracks.get(topic);
      if (!t?.acked) continue;
      const before = doubt.get(topic);
      this.core.ledger.suspect([topic]);
      if (before === undefined && old.epoch === this.epoch) doubt.set(topic, t.from);
    }
  }

  // Commands.

  /** Subscribes by plan: topics by where they are resumed, 0 for anew. */
  ask(plan: Map<number, string[]>, old: Book): void {
    const anew = plan.get(0);
    plan.delete(0);
    for (const [at, topics] of [...plan].sort(([a], [b]) => a - b)) this.#enqueue(true, topics, at, old.epoch);
    if (!anew) return;
    if (!this.core.cur) this.#doubt(old, anew);
    this.#enqueue(true, anew, 0, 0);
    for (const topic of anew) {
      const t = old.tracks.get(topic);
      const mine = this.book.tracks.get(topic) as Track;
      if (t?.acked) Object.assign(mine, { acked: true, from: t.from });
    }
  }

  drop(topics: string[]): void {
    this.#enqueue(false, topics, 0, 0);
  }

  configure(): void {
    const { delivery, intervalMs } = this.core.set;
    this.#command(
      { action: "subscribe", delivery, ...(delivery === "latest" && { interval_ms: intervalMs }) },
      [],
      true,
      0,
    );
  }

  get busy(): boolean {
    return this.#queue.length > 0;
  }

  /** Writes topics as one command or more, each small enough for the gateway. */
  #enqueue(subscribe: boolean, topics: string[], since: number, epoch: number): void {
    const { set } = this.core;
    const most = this.#limits.bytes - commandRoom;
    for (let i = 0; i < topics.length; ) {
      const from = i;
      for (let size = 0; i < topics.length; i++) {
        size += 3 * (topics[i] as string).length + 3; // in UTF-8, at most
        if (size > most && i > from) break;
      }
      const part = topics.slice(from, i);
      const command = subscribe
        ? {
            action: "subscribe",
            ...byChannel(part),
            hb_ms: set.heartbeatMs,
            delivery: set.delivery,
            ...(set.intervalMs && { interval_ms: set.intervalMs }),
            ...(since && { since: `${epoch}-${since}` }),
          }
        : { action: "unsubscribe", ...byChannel(part) };
      if (since && !this.epoch) this.#epoch(epoch);
      this.#note(part, since, false, subscribe);
      this.#command(command, part, subscribe, since);
    }
  }

  /** Keeps account of what the gateway is asked for. */
  #note(topics: string[], since: number, acked: boolean, subscribe = true): void {
    const group = since ? { at: since, acked, kept: false } : undefined;
    for (const topic of topics) {
      if (!subscribe) {
        this.asked.delete(topic);
        this.book.tracks.delete(topic);
        continue;
      }
      this.asked.add(topic);
      if (group) this.book.tracks.set(topic, track({ acked: true, settled: true, group }));
      else if (!this.book.tracks.has(topic)) {
        this.book.tracks.set(topic, track({ acked }));
        this.fresh.add(topic);
      }
    }
  }

  #command(command: object, topics: string[], subscribe: boolean, since: number): void {
    const id = ++this.#lastId;
    this.#pending.set(id, { topics, subscribe, since });
    this.#queue.push({ id, text: JSON.stringify({ ...command, id }) });
    this.#drain();
  }

  /** Sends what waits, as fast as the gateway takes commands. */
  #drain(): void {
    clearTimeout(this.#turn);
    const { rate } = this.#limits;
    const at = now();
    this.#tokens = Math.min(rate, this.#tokens + ((at - this.#filled) / 1000) * rate);
    this.#filled = at;
    while (this.#queue.length && this.#tokens >= 1) {
      this.#tokens--;
      this.#write((this.#queue.shift() as Command).text);
    }
    if (this.#queue.length) this.#turn = setTimeout(() => this.#drain(), ((1 - this.#tokens) / rate) * 1000 + 1);
    else if (this.core.cur === this) this.core.sync();
  }

  #say(command: object): void {
    this.#write(JSON.stringify(command));
  }

  #write(text: string): void {
    try {
      this.#wire?.send(text);
    } catch {
      // it is closing, and will say so
    }
  }

  #answer(id: unknown, rejected: Rejection[], refused?: ClientError): void {
    const { core } = this;
    const command = this.#pending.get(id as number);
    this.#pending.delete(id as number);
    this.#reject(rejected);
    if (!command) return;
    if (refused?.retry === "backoff" && refused.code !== 503) {
      if (this.#restoring) {
        this.fail(refused);
        return;
      }
      this.#note(command.topics, 0, false, !command.subscribe);
      core.again();
    } else if (refused && refused.code !== 503) {
      this.#reject(command.subscribe ? rejections(command.topics, refused) : []);
      if (!command.topics.length) core.complain(refused);
    } else if (command.subscribe) this.#taken(command);
    else core.ledger.forget(command.topics, (t) => this.book.of(t) !== undefined && this.asked.has(`${t[0]}*`));
    if (this.#restoring) {
      this.#restoring--;
      this.#check();
    }
  }

  #reject(list: Rejection[]): void {
    for (const { channel, symbol } of list) {
      const topic = topicOf(channel, symbol);
      this.#note([topic], 0, false, false);
      this.core.refused.add(topic);
    }
    if (list.length) this.core.tell("rejected", list);
  }

  #taken({ topics }: Pending): void {
    for (const topic of topics) {
      const t = this.book.tracks.get(topic);
      if (!t) continue; // it was unsubscribed meanwhile
      if (!t.acked) t.from = this.book.at;
      t.acked = true;
      if (t.group) t.group.acked = true;
    }
  }

  #complain(id: unknown, code: number, msg: string, retry: boolean): void {
    const error = new ClientError(msg || `error ${code}`, retry ? "backoff" : "never", { code });
    if (!this.begun || code === 401) {
      if (code !== 503 || !this.begun) {
        this.fail(error);
        return;
      }
    }
    if (id === undefined && code === 429) id = this.#pending.keys().next().value; // which it was, it does not say
    if (id !== undefined) {
      this.#answer(id, [], error);
      return;
    }
    this.#refused = error;
  }

  /** Takes note of events that will not come, and of current values that will. */
  #gap(reason: "expired" | "epoch", from: string, to: string): void {
    const { core } = this;
    const at = parsePosition(to);
    if (at && at.epoch !== this.epoch) {
      this.#epoch(at.epoch);
      this.book.at = 0;
    }
    this.chain.clear();
    if (!core.cur || core.cur === this) {
      const { ledger } = core; // else the one in use may well have had what this one cannot have
      if (this.epoch !== ledger.epoch) ledger.restart(this.epoch);
      ledger.suspect(ledger.last.keys());
      ledger.suspect(this.book.tracks.keys());
    }
    this.book.lose();
    core.lost({ reason, from, to });
  }

  /** Sends a newer token before the present one expires, or has the connection made anew with one. */
  #renew(): void {
    const { set } = this.core;
    if (typeof set.token !== "function" || this.#renewal) return;
    if (this.sse) {
      this.core.move(this, "token", 0, 0);
      return;
    }
    const { token } = set;
    this.#renewal = setTimeout(() => {}, 0);
    const fetch = async () => {
      try {
        const fresh = await token();
        if (this.over) return;
        this.#say({ action: "auth", token: fresh });
        this.#renewal = undefined;
      } catch {
        if (!this.over) this.#renewal = setTimeout(fetch, 10_000);
      }
    };
    void fetch();
  }
}

export const topicOf = (channel: Channel, symbol: string): string => letters[channels.indexOf(channel)] + symbol;
export const channelOf = (topic: string): Channel => channels[letters.indexOf(topic[0] as string)] as Channel;

function byChannel(topics: string[]): Record<string, string[]> {
  const out: Record<string, string[]> = {};
  for (const topic of topics) {
    out[channelOf(topic)] ??= [];
    out[channelOf(topic)]?.push(topic.slice(1));
  }
  return out;
}

function rejections(topics: string[], why: ClientError): Rejection[] {
  return topics.map((t) => ({ channel: channelOf(t), symbol: t.slice(1), code: why.code, message: why.message }));
}
