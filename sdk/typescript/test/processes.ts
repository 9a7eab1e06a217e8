import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

/** The repository's root. */
const root = resolve(import.meta.dirname, "../../..");

export const hasGo = spawnSync("go", ["version"]).status === 0;

/** Builds lzstock into a folder that `remove` takes away, unless BINARY is one. */
export function build(): { binary: string; remove: () => void } {
  const given = process.env.BINARY;
  if (given) return { binary: given, remove: () => {} };
  const dir = mkdtempSync(join(tmpdir(), "lzstock-sdk-"));
  const binary = join(dir, "lzstock");
  const { status, stderr } = spawnSync("go", ["build", "-o", binary, "./cmd/lzstock"], { cwd: root, encoding: "utf8" });
  if (status !== 0) throw new Error(`go build: ${stderr}`);
  return { binary, remove: () => rmSync(dir, { recursive: true, force: true }) };
}

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((done) => {
    const s = createServer().listen(0, "127.0.0.1", () => {
      const { port } = s.address() as { port: number };
      s.close(() => done(port));
    });
  });
}

/** A process that a test started. */
export class Process {
  output = "";
  readonly child: ChildProcess;
  readonly admin: string;
  readonly ended: Promise<void>;

  constructor(binary: string, args: string[], adminPort: number) {
    this.admin = `127.0.0.1:${adminPort}`;
    this.child = spawn(binary, [...args, "--admin", this.admin], { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on("data", (d: Buffer) => {
        this.output += d;
      });
    }
    this.ended = new Promise((done) => this.child.on("exit", () => done()));
  }

  async ready(): Promise<this> {
    await until(`${this.child.spawnargs.slice(1, 3).join(" ")} is ready`, async () => {
      if (this.child.exitCode !== null) throw new Error(`it ended:\n${this.output}`);
      const answer = await fetch(`http://${this.admin}/readyz`).catch(() => undefined);
      return answer?.ok ?? false;
    });
    return this;
  }

  /** Ends the process at once, and only this one. */
  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.ended;
  }
}

/** Waits for a condition, with patience that is no measure. */
export async function until(what: string, test: () => boolean | Promise<boolean>, patience = 50_000): Promise<void> {
  const end = performance.now() + patience;
  while (!(await test())) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((done) => setTimeout(done, 10));
  }
}
