// Through a real WebSocket server, as bytes: what only the wire can do wrong.
import { createServer, type Socket as TCP } from "node:net";
import { afterEach, expect, it } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { Client, type MarketEvent, type Options } from "../src/index.ts";
import { brief, trade } from "./fake.ts";
import { until } from "./processes.ts";

const ends: (() => void)[] = [];
const unhandled: unknown[] = [];
process.on("unhandledRejection", (e) => unhandled.push(e));
afterEach(() => {
  for (const end of ends.splice(0)) end();
  expect(unhandled.splice(0)).toEqual([]);
});

/** A server that does something to each connection, the nth in turn, and honest ones after those. */
async function serve(...acts: ((ws: WebSocket) => void)[]): Promise<string> {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  ends.push(() => {
    for (const c of server.clients) c.terminate();
    server.close();
  });
  let n = 0;
  server.on("connection", (ws) => {
    ws.on("error", () => {});
    const act = acts[n++];
    if (act) return act(ws);
    say(ws, { T: "success", msg: "connected", epoch: 7 });
    ws.on("message", (data) => {
      const { id, action } = JSON.parse(String(data));
      say(ws, { T: "subscription", id });
      if (action === "subscribe") say(ws, trade("A", 9, 0, { snap: true }));
    });
  });
  await new Promise<void>((done) => server.once("listening", () => done()));
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
}

const say = (ws: WebSocket, ...messages: unknown[]) => ws.send(JSON.stringify(messages));
const raw = (ws: WebSocket) => (ws as unknown as { _socket: TCP })._socket;
const greet = (ws: WebSocket) => say(ws, { T: "success", msg: "connected", epoch: 7 });

function connect(url: string, options: Options = {}): { c: Client; got: MarketEvent[] } {
  const c = new Client({
    url,
    WebSocket,
    transport: "websocket",
    heartbeatMs: 1000,
    minBackoffMs: 1,
    maxBackoffMs: 20,
    ...options,
  });
  ends.push(() => c.close());
  const got: MarketEvent[] = [];
  c.subscribe({ trades: ["A"] }, (e) => got.push(...e));
  return { c, got };
}

it.each<[string, (ws: WebSocket) => void]>([
  ["a close without a code", (ws) => ws.close()],
  ["a close at once", (ws) => ws.close(4200, "drain")],
  ["a cut at once", (ws) => ws.terminate()],
  ["a reset", (ws) => raw(ws).resetAndDestroy()],
  ["half a frame, then nothing", (ws) => greet(ws) ?? raw(ws).write(Buffer.from([0x81, 0x7e, 0x10, 0x00, 0x5b]))],
  ["half a frame, then the end", (ws) => greet(ws) ?? raw(ws).end(Buffer.from([0x81, 0x7e, 0x10, 0x00, 0x5b]))],
  ["a reserved opcode", (ws) => greet(ws) ?? raw(ws).write(Buffer.from([0x83, 0x00]))],
  ["text that is no UTF-8", (ws) => greet(ws) ?? raw(ws).write(Buffer.from([0x81, 0x02, 0xc3, 0x28]))],
  ["binary data", (ws) => greet(ws) ?? ws.send(Buffer.from([0x90]))],
  ["no JSON", (ws) => greet(ws) ?? ws.send("{{{")],
  ["a huge frame", (ws) => greet(ws) ?? ws.send(`["${"x".repeat(17 << 20)}"]`)],
  ["bytes that are no WebSocket", (ws) => raw(ws).end("HTTP/1.1 200 OK\r\n\r\nhello")],
])("after %s the next connection is of use", async (_, act) => {
  const { c, got } = connect(await serve(act, act));
  await until("an event", () => got.length > 0);
  expect(brief(got)).toEqual(["tA9*"]);
  expect(c.state).toBe("live");
});

it("fragments and many frames at once are one stream", async () => {
  const url = await serve((ws) => {
    greet(ws);
    for (let q = 1; q <= 500; q++) {
      const text = JSON.stringify([trade("A", q, q - 1)]);
      ws.send(text.slice(0, 20), { fin: false });
      ws.send(text.slice(20), { fin: true });
    }
  });
  const { got } = connect(url);
  await until("all", () => got.length === 500);
  expect(got.map((e) => e.q)).toEqual(Array.from({ length: 500 }, (_, i) => i + 1));
});

it("a server that hangs up at once is tried again, without haste, and left alone after close", async () => {
  let n = 0;
  const server = createServer((s) => {
    n++;
    s.on("error", () => {});
    s.destroy();
  }).listen(0, "127.0.0.1");
  ends.push(() => server.close());
  await new Promise<void>((done) => server.once("listening", () => done()));
  const { c } = connect(`http://127.0.0.1:${(server.address() as { port: number }).port}`);
  await until("some attempts", () => n > 5);
  expect(c.state).toBe("connecting");
  c.close();
  const at = n;
  await new Promise((done) => setTimeout(done, 60)); // three times the longest wait
  expect(n).toBeLessThanOrEqual(at + 1);
});

it("closing while everything is under way leaves nothing", async () => {
  const url = await serve();
  for (let i = 0; i < 20; i++) {
    const { c } = connect(url, { token: i % 2 ? "t" : undefined } as Options);
    await new Promise((done) => setTimeout(done, i % 7));
    c.close();
    expect(c.state).toBe("closed");
  }
});
