// Against the real binary: a market, and two gateways of its own that can be
// killed and drained. A second client, which nobody disturbs, has what is right.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { Client, type ClientEvents, type MarketEvent, type Options, type Topics } from "../src/index.ts";
import { build, freePort, hasGo, Process, until } from "./processes.ts";

const topics: Topics = {
  trades: ["*"],
  quotes: ["AAPL", "MSFT", "NVDA"],
  bars: ["*"],
  dailyBars: ["AAPL"],
  statuses: ["*"],
};
if (!hasGo) console.warn("there is no Go: the client is NOT tested against the real gateway");

/** A client that keeps what it got. */
class Watcher {
  readonly client: Client;
  readonly events: MarketEvent[] = [];
  readonly told: { [K in keyof ClientEvents]?: ClientEvents[K][] } = {};
  readonly states: string[] = [];

  constructor(options: Options) {
    this.client = new Client({ WebSocket, heartbeatMs: 1000, delivery: "every", ...options });
    for (const type of ["gap", "error", "reconnect", "closed", "rejected", "feed"] as const) {
      this.client.on(type, (e) => {
        this.told[type] ??= [];
        (this.told[type] as unknown[]).push(e);
      });
    }
    this.client.on("state", (e) => this.states.push(e.state));
    this.client.subscribe(topics, (list) => this.events.push(...list));
  }

  get last(): number {
    return Math.max(0, ...this.events.slice(-500).map((e) => e.q));
  }

  /** What came between two positions, by topic. */
  ledger(from: number, to: number): Map<string, number[]> {
    const out = new Map<string, number[]>();
    for (const e of this.events) {
      if (e.q <= from || e.q > to) continue;
      const list = out.get(e.T + e.S) ?? [];
      list.push(e.q);
      out.set(e.T + e.S, list);
    }
    return out;
  }

  /** The greatest position of a current value: before that, clients may differ. */
  get beginning(): number {
    return Math.max(0, ...this.events.filter((e) => e.snap).map((e) => e.q));
  }
}

describe.skipIf(!hasGo)("the real gateway", () => {
  let binary: string;
  let remove = () => {};
  let market: Process;
  let grpc: string;
  let quiet: string; // the gateway that nobody disturbs
  const running: Process[] = [];

  const start = async (...args: string[]): Promise<Process> => {
    const p = new Process(binary, args, await freePort());
    running.push(p);
    return p.ready();
  };
  const gateway = (port: number, ...more: string[]) =>
    start("gateway", "--listen", `127.0.0.1:${port}`, "--monitor", grpc, ...more);

  beforeAll(async () => {
    ({ binary, remove } = build());
    const port = await freePort();
    const services = await freePort();
    grpc = `127.0.0.1:${services}`;
    quiet = `http://127.0.0.1:${port}`;
    market = await start("up", "--listen", `127.0.0.1:${port}`, "--grpc", grpc);
  });
  afterAll(async () => {
    for (const p of running) await p.kill();
    remove();
  });

  /** Runs two clients, disturbs one, and has both end with the same. */
  const compare = async (urls: string[], disturb: (w: Watcher) => Promise<void>, options: Options = {}) => {
    const right = new Watcher({ url: quiet });
    const w = new Watcher({ url: urls, ...options });
    try {
      await until("both have prices", () => right.events.length > 300 && w.events.length > 300);
      const begin = Math.max(right.beginning, w.beginning);
      await disturb(w);
      const mark = right.last;
      await until("both go on", () => w.last > mark + 5000 && right.last > mark + 5000);
      const end = Math.min(w.last, right.last) - 2000;
      const want = right.ledger(begin, end);
      expect(want.size).toBeGreaterThan(5);
      expect(w.events.filter((e) => e.broken)).toEqual([]);
      expect(w.told.gap).toBeUndefined();
      expect(w.client.stats).toMatchObject({ losses: 0, gaps: 0, resnapshots: 0 });
      expect(w.ledger(begin, end)).toEqual(want);
    } finally {
      right.client.close();
      w.client.close();
    }
    expect(w.client.state).toBe("closed");
    return w;
  };

  it("brings prices, current values first, and says how it is", async () => {
    const w = new Watcher({ url: market ? quiet : "" });
    await until("events", () => w.events.length > 100);
    expect(w.events.find((e) => e.T === "q" && e.S === "AAPL")).toMatchObject({ snap: true, broken: false });
    await until("the feed is live", () => w.client.state === "live"); // at first it may be stale
    expect(w.client.feed).toMatchObject({ state: "live", sources: [{ name: "sim", state: "live" }] });
    expect(w.client.ageMs).toBeLessThan(5000);
    expect(w.client.position).toMatch(/^\d+-\d+$/);
    expect(w.client.stats).toMatchObject({ transport: "websocket", losses: 0, throttled: false });
    w.client.close();
    expect(w.states.filter((s) => s !== "stale" && s !== "live")).toEqual(["closed"]);
  });

  it("is cut, and resumes without a gap", async () => {
    const w = await compare([quiet], async (w) => {
      for (let i = 1; i <= 3; i++) {
        w.client.cut();
        await until("it is back", () => w.client.stats.reconnects === i);
        const at = w.last;
        await until("it goes on", () => w.last > at + 1000);
      }
    });
    expect(w.client.stats.moves).toBe(0);
    expect(w.states).toContain("reconnecting");
  });

  it("survives a gateway that is killed and started again", async () => {
    const port = await freePort();
    const first = await gateway(port);
    await compare([`http://127.0.0.1:${port}`], async (w) => {
      await first.kill();
      await until("it notices", () => w.client.state === "reconnecting");
      await gateway(port);
      await until("it is back", () => w.client.state === "live");
    });
  });

  it("moves before a drained gateway ends, and nobody sees it", async () => {
    const [a, b] = [await freePort(), await freePort()];
    const drain = ["--drain-grace", "100ms", "--drain-window", "8s"];
    const gateways = [await gateway(a, ...drain), await gateway(b, ...drain)];
    const opened: string[] = [];
    class Noted extends WebSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols);
        opened.push(url);
      }
    }
    const disturb = async (w: Watcher) => {
      expect(opened.length).toBe(1);
      const used = gateways[opened[0]?.includes(`:${a}/`) ? 0 : 1];
      used?.child.kill("SIGTERM");
      await until("it has moved", () => w.client.stats.moves === 1).catch((e) => {
        throw new Error(`${e.message}: ${JSON.stringify([w.client.stats, w.states, w.told, opened])}\n${used?.output}`);
      });
      await used?.ended;
    };
    const w = await compare([`http://127.0.0.1:${a}`, `http://127.0.0.1:${b}`], disturb, { WebSocket: Noted });
    expect(opened.length).toBe(2);
    expect(opened[0]?.split("/")[2]).not.toBe(opened[1]?.split("/")[2]);
    expect(w.told.reconnect).toEqual([{ moved: true, reason: "drain", downMs: 0 }]);
    expect(w.states.filter((s) => s !== "stale" && s !== "live")).toEqual(["closed"]);
  });

  it("subscribes and unsubscribes as subscriptions come and go, also through a cut", async () => {
    const client = new Client({ WebSocket, url: quiet, heartbeatMs: 1000 });
    const seen = new Set<string>();
    const all = client.subscribe({ quotes: ["AAPL", "MSFT"] }, (list) => {
      for (const e of list) seen.add(e.S);
    });
    await until("both", () => seen.size === 2);
    const again: MarketEvent[] = [];
    const over = client.subscribe({ quotes: ["AAPL"] }, (list) => again.push(...list));
    await until("an overlapping one has the current value at once", () => again.length > 0);
    expect(again[0]).toMatchObject({ T: "q", S: "AAPL", snap: true });
    all.close();
    client.cut();
    seen.clear();
    const n = again.length;
    await until("the other goes on", () => again.length > n + 20);
    expect(seen.size).toBe(0);
    over.update({ trades: ["NVDA"] });
    await until("updated", () => again.at(-1)?.S === "NVDA");
    const refused: unknown[] = [];
    client.on("rejected", (list) => refused.push(...list));
    client.subscribe({ trades: ["no such"] });
    await until("refused", () => refused.length > 0);
    expect(refused).toEqual([
      { channel: "trades", symbol: "no such", code: 412, message: expect.stringContaining("unknown symbol") },
    ]);
    for await (const e of client.subscribe({ dailyBars: ["*"] })) {
      expect(e.T).toBe("d");
      break;
    }
    client.close();
  });

  it("falls back to server-sent events, and sees the same", async () => {
    const disturb = async (w: Watcher) => {
      expect(w.client.stats.transport).toBe("sse");
      for (let i = 1; i <= 2; i++) {
        w.client.cut();
        await until("it is back", () => w.client.stats.reconnects === i);
      }
      // More subscriptions are another request, and no gap.
      const more: MarketEvent[] = [];
      const sub = w.client.subscribe({ quotes: ["AMZN"] }, (list) => more.push(...list));
      await until("its current value", () => more.length > 0);
      expect(more[0]).toMatchObject({ T: "q", S: "AMZN", snap: true });
      sub.close();
      await until("without it again", () => w.client.stats.moves >= 2);
    };
    await compare([quiet], disturb, { transport: "sse" });
  });

  it("says who it is with a token, renews it in time, and learns why a wrong one is refused", async () => {
    const dir = mkdtempSync(join(tmpdir(), "lzstock-sdk-"));
    const secret = join(dir, "secret");
    writeFileSync(secret, "5".repeat(64));
    const token = (...more: string[]) =>
      execFileSync(binary, ["token", "--secret-file", secret, "--user", "alice", ...more], { encoding: "utf8" }).trim();
    const port = await freePort();
    await gateway(port, "--auth", "jwt", "--jwt-secret-file", secret);
    const url = `http://127.0.0.1:${port}`;

    let asked = 0;
    const w = new Watcher({
      url,
      token: async () => {
        asked++;
        return token("--expires", asked === 1 ? "31s" : "1h"); // the gateway grants 30 s, and tells a minute before
      },
    });
    await until("prices", () => w.events.length > 10);
    await until("it renews", () => asked === 2);
    const n = w.events.length;
    await until("it goes on", () => w.events.length > n + 100);
    expect(w.client.stats.reconnects).toBe(0);
    expect(w.told.error).toBeUndefined();
    w.client.close();

    for (const wrong of [token().slice(0, -4), "nonsense"]) {
      const bad = new Watcher({ url, token: wrong, transport: "websocket" });
      await until("it is told", () => bad.client.state === "closed");
      expect(bad.told.closed?.[0]?.error).toMatchObject({ code: 402, retry: "never" });
    }
    const nobody = new Watcher({ url });
    await until("it is told", () => nobody.client.state === "closed");
    expect(nobody.told.closed?.[0]?.error).toMatchObject({ code: 401, retry: "never" });
    rmSync(dir, { recursive: true });
  });

  it("uses a session that somebody else has made", async () => {
    const answer = await fetch(`${quiet}/v1/sessions`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ quotes: ["AAPL"] }),
    });
    const { session_id } = (await answer.json()) as { session_id: string };
    const client = new Client({ WebSocket, url: quiet, sessionId: session_id, heartbeatMs: 1000 });
    const events: MarketEvent[] = [];
    client.subscribe({ quotes: ["AAPL"] }, (list) => events.push(...list));
    await until("events", () => events.length > 10);
    client.cut();
    const n = events.length;
    await until("events again", () => events.length > n + 10);
    expect(events.filter((e) => e.broken)).toEqual([]);
    client.close();
  });
});
