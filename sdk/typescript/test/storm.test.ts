// A gateway with a thousand clients dies: they come back spread as full jitter says.
import { expect, it } from "vitest";
import { Client } from "../src/index.ts";
import { fakeTime, Net, pass } from "./fake.ts";

const context = fakeTime();
const clients = 1000;

/** Bounds a chi-square of `buckets` for a wrong alarm in a million runs (Wilson-Hilferty). */
function bound(buckets: number): number {
  const k = buckets - 1;
  return k * (1 - 2 / (9 * k) + 4.75 * Math.sqrt(2 / (9 * k))) ** 3;
}

function spread(times: number[], limit: number, buckets: number): void {
  const counts = new Array<number>(buckets).fill(0);
  for (const t of times) {
    expect(t).toBeGreaterThanOrEqual(0);
    expect(t).toBeLessThanOrEqual(limit + 1);
    const i = Math.min(buckets - 1, Math.floor((t / limit) * buckets));
    counts[i] = (counts[i] ?? 0) + 1;
  }
  const share = times.length / buckets;
  const chi = counts.reduce((sum, n) => sum + (n - share) ** 2 / share, 0);
  expect(chi, `${counts}`).toBeLessThan(bound(buckets));
  // No bucket has more than its share and six standard deviations.
  expect(Math.max(...counts), `${counts}`).toBeLessThan(share + 6 * Math.sqrt(share));
}

it("a thousand clients come back spread over each wait's whole limit", { timeout: 300_000 }, async () => {
  const nets = Array.from({ length: clients }, () => new Net());
  const serve = (f: Net["serve"]) => {
    for (const net of nets) net.serve = f;
  };
  const all = nets.map((net) => {
    const c = new Client({
      url: "http://gw.test",
      WebSocket: net.WebSocket,
      transport: "websocket",
      minBackoffMs: 1000,
      maxBackoffMs: 8000,
    });
    context.clients.push(c);
    c.subscribe({ trades: ["A"] });
    return c;
  });
  await pass(2);
  expect(all.every((c) => c.state === "live")).toBe(true);
  for (let i = 0; i < 3; i++) {
    await pass(4000);
    for (const net of nets) net.last.say({ T: "hb", q: 5 });
  }
  // It dies, and refuses whoever comes.
  serve((s) => s.end(1006));
  const died = performance.now();
  const waits: number[][] = all.map(() => []);
  all.forEach((c, i) => {
    c.on("state", (e) => e.retryMs !== undefined && waits[i]?.push(e.retryMs));
  });
  for (const net of nets) net.last.end(1006);
  expect(all.every((c) => c.state === "reconnecting")).toBe(true);
  await pass(23_500); // five waits at most take 23 s
  const first = nets.map((net) => (net.sockets[1]?.at ?? Number.NaN) - died);
  spread(first, 1000, 20);
  for (const [attempt, limit] of [1000, 2000, 4000, 8000, 8000].entries()) {
    spread(
      waits.map((w) => w[attempt] as number),
      limit,
      20,
    );
  }
  // It returns: everybody is there within the last limit, and nobody comes twice.
  serve((s) => s.greet());
  // One that is on its way at this moment is the one that finds it.
  const counts = nets.map((net) => net.sockets.filter((s) => s.over).length);
  await pass(8010);
  expect(all.every((c) => c.state === "live")).toBe(true);
  nets.forEach((net, i) => {
    expect(net.sockets.length).toBe((counts[i] ?? 0) + 1);
  });
});

it("a drain's delays are the gateway's, and nobody adds to them", async () => {
  const net = new Net();
  for (let i = 0; i < 200; i++) {
    context.clients.push(new Client({ url: "http://gw.test", WebSocket: net.WebSocket, transport: "websocket" }));
  }
  for (let i = 0; i < 3; i++) {
    await pass(4000);
    for (const s of net.sockets) s.say({ T: "hb", q: 5 });
  }
  const at = performance.now();
  net.sockets.forEach((s, i) => {
    s.say({ T: "reconnect", reason: "drain", delay_ms: i * 10, deadline_ms: 10_000 });
  });
  await pass(2100);
  expect(net.sockets.slice(200).map((s) => s.at - at)).toEqual(Array.from({ length: 200 }, (_, i) => i * 10));
});
