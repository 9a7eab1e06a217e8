import type { Bar } from "./candles";
import type { Credentials } from "./credentials";

/** Failure says why REST gave nothing, so that the page can say so. */
export interface Failure {
  kind: "missing" | "denied" | "unavailable" | "refused" | "unreachable";
  status: number; // 0 where nothing answered
  detail: string;
}

export type Result<T> = { ok: true; value: T } | { ok: false; failure: Failure };

export interface Trade {
  t: string;
  p: number;
  s: number;
  x?: string;
}

export interface Quote {
  t: string;
  bp: number;
  ap: number;
  bs: number;
  as: number;
  bx?: string;
}

/** Snapshot is what is known of a symbol at once; each part may be absent. */
export interface Snapshot {
  latestTrade?: Trade | null;
  latestQuote?: Quote | null;
  minuteBar?: Bar | null;
  dailyBar?: Bar | null;
  prevDailyBar?: Bar | null;
}

export interface Named {
  symbol: string;
  name?: string;
}

/** Rest asks the gateway that the page came from. */
export class Rest {
  constructor(
    private readonly credentials: () => Credentials | undefined,
    private readonly ask: typeof fetch = (...a) => fetch(...a),
  ) {}

  async bars(symbol: string, timeframe: string, limit: number, signal?: AbortSignal): Promise<Result<Bar[]>> {
    const start = new Date(Date.now() - 3650 * 86_400_000).toISOString().slice(0, 10);
    const r = await this.get<{ bars: Record<string, Bar[]> | null }>(
      "/v2/stocks/bars",
      { symbols: symbol, timeframe, limit, start, sort: "desc" },
      signal,
    );
    return r.ok ? { ok: true, value: [...(r.value.bars?.[symbol] ?? [])].reverse() } : r;
  }

  async snapshots(symbols: readonly string[], signal?: AbortSignal): Promise<Result<Record<string, Snapshot>>> {
    return this.get("/v2/stocks/snapshots", { symbols: symbols.join(",") }, signal);
  }

  async symbols(prefix: string, limit: number, signal?: AbortSignal): Promise<Result<Named[]>> {
    const r = await this.get<{ symbols: Named[] | null }>("/v1/symbols", { prefix, limit }, signal);
    return r.ok ? { ok: true, value: r.value.symbols ?? [] } : r;
  }

  private async get<T>(path: string, query: Record<string, string | number>, signal?: AbortSignal): Promise<Result<T>> {
    const params = Object.entries(query).map(([k, v]) => `${k}=${encodeURIComponent(v).replaceAll("%2C", ",")}`);
    const c = this.credentials();
    const headers: Record<string, string> = { Accept: "application/json" };
    if (c?.token) headers.Authorization = `Bearer ${c.token}`;
    else if (c?.key) Object.assign(headers, { "APCA-API-KEY-ID": c.key, "APCA-API-SECRET-KEY": c.secret ?? "" });
    let response: Response;
    try {
      response = await this.ask(`${path}?${params.join("&")}`, { headers, signal: signal ?? null, cache: "no-store" });
    } catch (e) {
      return {
        ok: false,
        failure: { kind: "unreachable", status: 0, detail: e instanceof Error ? e.message : String(e) },
      };
    }
    try {
      if (response.ok) return { ok: true, value: (await response.json()) as T };
    } catch {
      return {
        ok: false,
        failure: {
          kind: "refused",
          status: response.status,
          detail: `${path} answered with something that is not JSON`,
        },
      };
    }
    return { ok: false, failure: await failure(path, response) };
  }
}

async function failure(path: string, response: Response): Promise<Failure> {
  let detail = `${path} answered ${response.status}`;
  try {
    const problem = (await response.json()) as { detail?: string; title?: string; message?: string };
    detail = problem.detail ?? problem.message ?? problem.title ?? detail;
  } catch {
    // The status says enough.
  }
  const kind =
    response.status === 401 || response.status === 403
      ? "denied"
      : response.status === 404 || response.status === 426
        ? "missing"
        : response.status >= 500 || response.status === 429
          ? "unavailable"
          : "refused";
  return { kind, status: response.status, detail };
}
