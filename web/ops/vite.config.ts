import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// The build is committed and embedded by the binary: the same sources must give
// the same bytes in any folder. The page needs no inline script or style.
export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    target: "es2022",
    outDir: "dist",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: { host: "127.0.0.1", proxy: { "/ops.json": "http://127.0.0.1:9090", "/drain": "http://127.0.0.1:9090" } },
  test: { environment: "happy-dom", include: ["test/**/*.test.ts", "test/**/*.test.tsx"] },
});
