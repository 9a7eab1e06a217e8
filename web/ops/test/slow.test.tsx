import { render } from "preact";
import { describe, expect, it } from "vitest";
import { Slow } from "../src/app.tsx";

describe("slow clients", () => {
  it("are a table, with what is known of each", () => {
    const at = document.createElement("div");
    render(
      <Slow
        list={[
          {
            conn: "K7QX",
            user: "1a2b3c4d",
            transport: "events",
            delivery: "every",
            age_ms: 90_000,
            oldest_ms: 1500,
            queued: 12_000,
            conflated: 0,
            bytes: 1536,
            busy: true,
          },
          {
            conn: "M4PZ",
            transport: "websocket",
            delivery: "latest",
            age_ms: 500,
            oldest_ms: 0,
            queued: 0,
            conflated: 7,
            bytes: 10,
            busy: false,
          },
        ]}
      />,
      at,
    );
    const rows = [...at.querySelectorAll("tbody tr")].map((tr) =>
      [...tr.querySelectorAll("td")].map((td) => td.textContent?.replaceAll("\u202f", " ")),
    );
    expect(rows).toEqual([
      ["K7QX", "1a2b3c4d", "events", "every", "90 s", "1.5 s", "12k", "0", "1.5 KiB", "busy"],
      ["M4PZ", "–", "websocket", "latest", "500 ms", "–", "0", "7", "10 B", ""],
    ]);
  });
  it("are none where all keep up", () => {
    const at = document.createElement("div");
    render(<Slow list={[]} />, at);
    expect(at.textContent).toContain("All clients keep up.");
  });
});
