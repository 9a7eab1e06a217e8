import { expect, it } from "vitest";
import { Rest } from "../src/data/rest";

function rest(answer: () => Response | Promise<Response>, credentials = {}) {
  const asked: { url: string; headers: Record<string, string> }[] = [];
  const r = new Rest(
    () => credentials,
    async (url, init) => {
      asked.push({ url: String(url), headers: init?.headers as Record<string, string> });
      return answer();
    },
  );
  return { r, asked };
}

it("asks for the newest bars and gives them oldest first", async () => {
  const bars = [{ t: "2026-01-05T15:01:00Z" }, { t: "2026-01-05T15:00:00Z" }];
  const { r, asked } = rest(() => Response.json({ bars: { "BTC/USD": bars }, next_page_token: null }));
  const got = await r.bars("BTC/USD", "1Min", 500);
  expect(got.ok && got.value.map((b) => b.t)).toEqual(["2026-01-05T15:00:00Z", "2026-01-05T15:01:00Z"]);
  expect(asked[0]?.url).toMatch(
    /^\/v2\/stocks\/bars\?symbols=BTC%2FUSD&timeframe=1Min&limit=500&start=\d{4}-\d\d-\d\d&sort=desc$/,
  );
});

it("says who asks in headers, never in the URL", async () => {
  for (const [c, want] of [
    [{ token: "secret-1" }, { Authorization: "Bearer secret-1" }],
    [
      { key: "id", secret: "secret-2" },
      { "APCA-API-KEY-ID": "id", "APCA-API-SECRET-KEY": "secret-2" },
    ],
  ] as const) {
    const { r, asked } = rest(() => Response.json({ symbols: [] }), c);
    await r.symbols("AA", 5);
    expect(asked[0]?.headers).toMatchObject(want);
    expect(asked[0]?.url).not.toContain("secret");
  }
});

it("tells apart what is missing, denied, unavailable and wrong", async () => {
  for (const [status, kind] of [
    [404, "missing"],
    [426, "missing"],
    [401, "denied"],
    [503, "unavailable"],
    [429, "unavailable"],
    [400, "refused"],
  ] as const) {
    const { r } = rest(() => Response.json({ title: "No", detail: `because of ${status}` }, { status }));
    expect(await r.snapshots(["AAPL"])).toEqual({
      ok: false,
      failure: { kind, status, detail: `because of ${status}` },
    });
  }
  const broken = await rest(() => new Response("<html>")).r.snapshots(["AAPL"]);
  expect(broken).toMatchObject({ ok: false, failure: { kind: "refused" } });
  const gone = await rest(() => Promise.reject(new TypeError("no route"))).r.snapshots(["AAPL"]);
  expect(gone).toEqual({ ok: false, failure: { kind: "unreachable", status: 0, detail: "no route" } });
  expect(await rest(() => new Response("nothing", { status: 404 })).r.symbols("A", 1)).toMatchObject({
    failure: { kind: "missing" },
  });
});
