// What a page pays for the client: all that the package exports, minified and compressed.
import { gzipSync } from "node:zlib";
import { build, type Rollup } from "vite";
import { expect, it } from "vitest";

const limit = 8192;

it(`is at most ${limit} bytes`, async () => {
  const result = (await build({
    root: `${import.meta.dirname}/..`,
    configFile: false,
    logLevel: "silent",
    build: {
      write: false,
      target: "es2022",
      minify: "oxc",
      modulePreload: false,
      rollupOptions: { input: "src/index.ts", preserveEntrySignatures: "strict", output: { format: "es" } },
    },
  })) as Rollup.RollupOutput;
  expect(result.output).toHaveLength(1);
  const { code } = result.output[0];
  const size = gzipSync(code, { level: 9 }).length;
  console.info(`@lzstock/client: ${code.length} bytes minified, ${size} bytes compressed`);
  for (const name of ["Client", "ClientError", "parseTime", "channels"])
    expect(code).toMatch(new RegExp(`export ?\\{[^}]*${name}`));
  expect(size).toBeLessThanOrEqual(limit);
});
