import fs from "node:fs";
import { gzipSync } from "node:zlib";
import { build } from "vite";

const r = await build({
  configFile: false,
  logLevel: "silent",
  build: {
    write: false,
    target: "es2022",
    modulePreload: false,
    minify: "oxc",
    rollupOptions: { input: "src/index.ts", preserveEntrySignatures: "strict", output: { format: "es" } },
  },
});
const c = r.output[0].code;
console.log(c.length, gzipSync(c, { level: 9 }).length);
fs.writeFileSync("/tmp/min.js", c);
