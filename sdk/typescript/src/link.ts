import { Book } from "./book.ts";
import { channels, letters } from "./codes.ts";
import type { Core } from "./core.ts";
import { ClientError } from "./errors.ts";
import { maxMessage, type Receiver, serverSentEvents, type Transport, webSocket } from "./transport.ts";
import type { Feed, Gap, MarketEvent, Rejection } from "./types.ts";
import { byChannel, count, isEvent, type Json, now, refusals, str, topicOf } from "./wire.ts";

type Timer = ReturnType<typeof setTimeout>;

const connectTimeout = 10_000; // up to the gateway's greeting
const commandRoom = 300; // what a command needs beside its topics, at most
const sessionBeat = 15_000; // the gateway's own heartbeat, which a session has until a command asks for another
const renewAgain = 10_000; // before a new token is asked for again, while the present one is still good

/** One connection. Two of them live side by side while the client moves. */
export class Link implements Receiver {
  opened = false; // the transport was, before anything was said
  began = 0; // when the gateway took commands; 0: not yet
  restoring = 0; // commands without an answer that ask for what earlier connections had
  over = false;
  awaits = false; // it was opened without a position: what the one in use has is left to that one
  feed: Feed | undefined;
  throttled = false;
  notice: Json | undefined; // the gateway asks to move
  epoch = 0; // of the positions that come; 0 while it is not known
  book = new Book();
  chain = new Map<string, number>(); // the position that came last, by topic

  #wire: Transport | undefined;
  #auth: object | undefined; // credentials that go in a message
  #greeted = false;
  #heard = 0;
  #slept = false;
  #watchdog: Timer | undefined;
  #renewal: Timer | undefined;
  #turn: Timer | undefined;
  #bytes = 16_384; // of one command, at most
  #rate = 10; // commands a second
  #left = 10; // that may be sent before the next second
  #queue: string[] = [];
  #pending = new Map<unknown, { topics: string[]; subscribe: boolean }>();
  #lastId = 0;
  #refused: ClientError | undefined; // the last in-band error that no command caused

  declare readonly core: Core;
  declare readonly url: URL;
  declare readonly sse: boolean;

  constructor(core: Core, url: URL, sse: boolean) {
    Object.assign(this, { core, url, sse });
  }

  /** Makes the connection. */
  start(): void {
    this.#watch(connectTimeout);
    this.#connect().catch((why: unknown) => this.fail(new ClientError("no connection", "backoff", 0, 0, 0, why)));
  }

  async #connect(): Promise<void> {
    const { core } = this;
    const { token: source, key, secret, sse, webSocket: make } = core.set;
    const token = str(typeof source === "function" ? await source() : source);
    if (this.over) return;
    const url = this.#address();
    if (this.sse) {
      this.#wire = serverSentEvents(sse as typeof fetch, url, token, this);
      return;
    }
    const protocols = ["lzstock.v1.json"];
    // A refusal before the upgrade tells a page nothing. So after one the token goes
    // in a message, whose refusal says why.
    if (token && !core.unopened) protocols.push(`bearer.${token}`);
    else if (token) this.#auth = { token };
    else if (key) this.#auth = { key, secret };
    this.#wire = webSocket(make as never, url, protocols, this);
  }

  /** Where to connect to, and for server-sent events what for. */
  #address(): URL {
    const { core, sse } = this;
    const { book } = core;
    const url = new URL(this.url);
    const q = url.searchParams;
    const held = !!url.search;
    let since = held ? book.least : 0;
    const topics = sse ? core.wanted() : [];
    if (!held) {
      for (const [key, value] of Object.entries({ ...this.#options(), ...byChannel(topics) })) q.set(key, `${value}`);
    }
    if (sse) {
      url.protocol = url.protocol.replace("ws", "http");
      url.pathname = url.pathname.replace(/stream$/, "events");
      if (!book.plan(topics).has(0)) since = book.least;
      this.awaits = !since && !held && !!core.cur;
    }
    if (since && book.epoch) {
      q.set("since", `${book.epoch}-${since}`);
      this.#setEpoch(book.epoch);
      this.book.at = since;
    }
    return url;
  }

  #options(): Json {
    const { delivery, intervalMs, heartbeatMs } = this.core.set;
    return { delivery, interval_ms: intervalMs, hb_ms: heartbeatMs };
  }

  #setEpoch(epoch: number): void {
    this.epoch = this.book.epoch = epoch;
  }

  /** Ends the connection for a reason. The first one counts. */
  fail(why: ClientError): void {
    if (this.over) return;
    this.close();
    const { message, code } = this.#refused ?? why; // which says more than a close frame
    this.core.ended(this, Object.assign(why, why.close && { message, code }));
  }

  /** Whether it has all that the one in use has brought, or will bring it. */
  ready(used: Book): boolean {
    return this.awaits ? !!this.book.at && used.least >= this.book.at : !this.restoring;
  }

  /** Ends the connection without a word to the core. */
  close(): void {
    this.over = true;
    for (const t of [this.#watchdog, this.#renewal, this.#turn]) clearTimeout(t);
    this.#wire?.close();
  }

  open(): void {
    const { core, sse } = this;
    this.opened = true;
    core.unopened = sse ? 2 : 0;
    core.wsWorks ||= !sse;
    if (sse) this.#begin();
  }

  text(data: string, settled?: boolean): void {
    const { core } = this;
    this.#heard = now();
    core.counts.frames++;
    core.counts.bytes += data.length;
    const events: MarketEvent[] = [];
    try {
      if (data.length > maxMessage) throw 0;
      const list = JSON.parse(data);
      if (!Array.isArray(list)) throw 0;
      for (const m of list) {
        if (!str(m.T)) throw 0;
        if (m.T[1] || !letters.includes(m.T)) this.#news(m);
        else if (isEvent(m)) events.push(m);
        else throw 0;
        if (this.over) return;
      }
    } catch {
      this.fail(new ClientError("the gateway makes no sense", "backoff"));
      return;
    }
    core.take(this, events);
    if (settled) for (const t of this.book.tracks.values()) t.settled = settled;
  }

  /** Gives the connection up when nothing is heard for too long. */
  #watch(ms: number): void {
    const due = now() + ms;
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => {
      // Where the timer is late we slept, and what came meanwhile was not read yet.
      const slept = now() - due > 1000 && !this.#slept;
      this.#slept = slept;
      const left = slept ? 1000 : this.#heard + this.#patience - now();
      if (this.began && left > 0) this.#watch(left);
      else this.fail(new ClientError("the gateway is silent", "backoff"));
    }, ms);
  }

  get #patience(): number {
    return 2 * Math.max(this.url.search ? sessionBeat : 0, this.core.set.heartbeatMs);
  }

  #news(m: Json): void {
    const { core } = this;
    switch (m.T) {
      case "success":
        if (m.msg === "connected") this.#greet(m);
        else if (this.#greeted) this.#begin();
        break;
      case "subscription":
        this.#answer(m.id, m.rejected);
        break;
      case "error":
        this.#complain(m);
        break;
      case "feed":
        if (!this.epoch) {
          this.#setEpoch(count(m.epoch));
          core.ledger.epoch ||= this.epoch;
        }
        if (/^(live|stale|down)$/.test(str(m.state))) this.feed = m as unknown as Feed;
        break;
      case "gap":
        this.#gap(m);
        break;
      case "throttle":
        this.throttled = m.state === "on";
        break;
      case "hb":
        if (count(m.q)) this.book.beat(count(m.q));
        break;
      case "reconnect":
        this.notice ??= m;
        break;
      case "expiring":
        if (this.sse) core.move("token", 0);
        else if (!this.#renewal) this.#renew();
    }
  }

  #greet(m: Json): void {
    if (this.#greeted) return;
    this.#greeted = true;
    const { message_bytes, commands_per_s } = Object(m.limits);
    if (count(m.epoch)) this.#setEpoch(count(m.epoch));
    this.#bytes = Math.max(count(message_bytes) || this.#bytes, 1024);
    this.#rate = this.#left = Math.min(count(commands_per_s) || this.#rate, 10);
    if (this.#auth) this.#write({ action: "auth", ...this.#auth });
    else this.#begin();
  }

  /** Asks for all that earlier connections had, behind what has come from them. */
  #begin(): void {
    if (this.began || this.restoring) return;
    this.restoring = Number.POSITIVE_INFINITY; // until all has been asked for
    const { core } = this;
    const topics = core.wanted();
    const plan = core.book.plan(topics);
    if (!this.epoch && ![...plan.keys()].some(Boolean)) core.ledger.restart(0); // nobody knows what the positions to come compare with
    if (this.sse) this.#note(topics, this.book.at, true);
    else this.ask(plan, core.book);
    this.restoring = this.#pending.size;
    this.began = this.#heard = now() || 1;
    this.#watch(this.#patience);
    core.update();
  }

  /** Subscribes by plan: topics by where they are resumed, 0 for anew. */
  ask(plan: Map<number, string[]>, { epoch }: Book): void {
    for (const [at, topics] of plan) {
      if (at && !this.epoch) this.#setEpoch(epoch);
      this.command("subscribe", topics, at && { since: `${epoch}-${at}` }, at);
    }
  }

  /** Whether commands wait for their turn. */
  get busy(): boolean {
    return this.#queue.length > 0;
  }

  /** Writes topics as one command or more, each small enough for the gateway. */
  command(action: "subscribe" | "unsubscribe", topics: string[], more?: object | 0, at = 0): void {
    const subscribe = action === "subscribe";
    for (let i = 0; !i || i < topics.length; ) {
      const from = i;
      for (let size = commandRoom; i < topics.length; i++) {
        size += 3 * (topics[i] as string).length + 3; // in UTF-8, at most
        if (size > this.#bytes && i > from) break;
      }
      const part = topics.slice(from, i);
      this.#note(part, at, subscribe);
      this.#pending.set(++this.#lastId, { topics: part, subscribe });
      this.#queue.push(
        JSON.stringify({ action, id: this.#lastId, ...byChannel(part), ...(subscribe && this.#options()), ...more }),
      );
      if (!i) break;
    }
    this.#drain();
  }

  /** Keeps account of what the gateway is asked for. */
  #note(topics: string[], at: number, subscribe: boolean): void {
    const { core, book, chain } = this;
    const { tracks } = book;
    const group = at ? { at, acked: this.sse } : undefined;
    for (const topic of topics) {
      if (!subscribe) tracks.delete(topic);
      else if (group) tracks.set(topic, { acked: true, settled: true, group });
      else {
        const acked = core.book.tracks.get(topic)?.acked;
        if (acked && !core.cur) core.ledger.suspect([topic]); // what came since then is not asked for
        tracks.set(topic, { acked: acked || this.sse });
      }
    }
    if (!subscribe) for (const t of chain.keys()) if (!book.of(t)) chain.delete(t);
  }

  /** Sends what waits, as fast as the gateway takes commands. */
  #drain(): void {
    for (; this.busy && this.#left; this.#left--) this.#write(this.#queue.shift());
    if (!this.busy) this.core.sync();
    else
      this.#turn ??= setTimeout(() => {
        this.#turn = undefined;
        this.#left = this.#rate;
        this.#drain();
      }, 1000);
  }

  #write(command: unknown): void {
    try {
      this.#wire?.send(str(command) || JSON.stringify(command));
    } catch {
      // it is closing, and will say so
    }
  }

  /** Takes the answer to a command. */
  #answer(id: unknown, rejected: unknown, refused?: ClientError): void {
    const { core, book } = this;
    const { topics, subscribe } = this.#pending.get(id) ?? { topics: [] };
    this.#reject(Array.isArray(rejected) ? rejected : []);
    if (!this.#pending.delete(id)) return;
    if (refused) {
      core.tell("error", refused);
      if (subscribe) this.#reject(refusals(topics, refused));
    } else {
      for (const topic of topics) {
        const t = book.tracks.get(topic);
        if (t && subscribe) {
          t.acked = true;
          if (t.group) t.group.acked = true;
        }
        if (!subscribe) for (const t of core.ledger.known(topic)) if (!book.of(t)) core.ledger.last.delete(t);
      }
    }
    if (this.restoring) this.restoring--;
  }

  #reject(list: Json[]): void {
    const out: Rejection[] = [];
    for (const r of list) {
      const { ch, S, code, msg } = Object(r);
      if (!channels.includes(ch) || !str(S)) continue;
      const topic = topicOf(ch, S);
      this.#note([topic], 0, false);
      this.core.refused.add(topic);
      out.push({ channel: ch, symbol: S, code: count(code), message: str(msg) });
    }
    if (out[0]) this.core.tell("rejected", out);
  }

  #complain(m: Json): void {
    const code = count(m.code);
    const error = new ClientError(str(m.msg) || `error ${code}`, m.retry === true ? "backoff" : "never", code);
    const kept = code === 503 && this.began; // as the protocol says
    if (kept) this.#answer(m.id, []);
    else if (!this.began || code === 401 || (m.id && error.retry !== "never")) this.fail(error);
    else if (m.id) this.#answer(m.id, [], error);
    else this.#refused = error;
  }

  /** Takes note of events that will not come, and of current values that will. */
  #gap({ reason, from, to }: Json): void {
    const { core, book } = this;
    const { ledger } = core;
    const epoch = count(Number.parseInt(str(to), 10));
    if (epoch && epoch !== this.epoch) {
      this.#setEpoch(epoch);
      book.at = 0;
    }
    this.chain.clear();
    if (!core.cur || core.cur === this) {
      // Else the one in use may well have had what this one cannot have.
      if (this.epoch !== ledger.epoch) ledger.restart(this.epoch);
      ledger.suspect(book.tracks.keys());
    }
    book.lose();
    core.lost({ reason: str(reason) as Gap["reason"], from: str(from), to: str(to) });
  }

  /** Sends a newer token before the present one expires. */
  #renew(): void {
    const { token } = this.core.set;
    if (typeof token !== "function") return;
    this.#renewal = setTimeout(() => this.#renew(), renewAgain);
    Promise.resolve()
      .then(token)
      .then((fresh) => {
        if (this.over) return;
        clearTimeout(this.#renewal);
        this.#renewal = undefined;
        this.#write({ action: "auth", token: fresh });
      })
      .catch(() => {}); // it is asked for again, and when it never comes the gateway says so
  }
}
