import { fileURLToPath } from "node:url";
import { defaultClientConditions, defineConfig } from "vite";

// The build is committed and embedded by the binary: the same sources must give
// the same bytes in any folder. What the gateway serves needs no inline script or
// style.
export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  resolve: { conditions: ["source", ...defaultClientConditions] }, // the SDK as it is written: it needs no build first
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    target: "es2022",
    outDir: "dist",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    host: "127.0.0.1",
    proxy: { "/v1": { target: "http://127.0.0.1:8080", ws: true }, "/v2": "http://127.0.0.1:8080" },
  },
  test: { environment: "happy-dom", include: ["test/**/*.test.ts", "test/**/*.test.tsx"] },
} as Parameters<typeof defineConfig>[0]);
