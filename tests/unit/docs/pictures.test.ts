// The pictures of the pages: what the scripts draw, and what they have drawn.

import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../../scripts/build-native.ts";
import { chartOf } from "../../../scripts/pictures/speed.ts";
import { svgOf } from "../../../scripts/pictures/svg.ts";
import type { BenchDocument } from "../../../src/schemas/bench.ts";
import { textOf } from "../../support/pages.ts";

test.each(readdirSync(join(root, "docs")).filter((file) => file.endsWith(".svg")))(
  "docs/%s is a picture with a title",
  (file) => {
    const text = textOf(`docs/${file}`);
    expect(text).toMatch(/^<svg [^>]*viewBox="0 0 [\d.]+ [\d.]+"[^>]*>\n<title>[^<]+<\/title>/);
    expect(text).toEndWith("</svg>\n");
    expect(text).not.toMatch(/NaN|undefined/);
  },
);

test("the chart has a bar for each transport, as long as its rate, and says what was measured", () => {
  const rates = { zerobuffer: 12_000_000, pipe: 1_500_000, socket: 750_000 };
  const measurements = [64, 65_536, 3_110_416].flatMap((frame_size) =>
    Object.entries(rates).map(([transport, median]) => ({
      ...{ work: "throughput", transport, frame_size },
      frames_per_second: { median },
    })),
  ) as BenchDocument["measurements"];
  const machine = { cpu: "A & B", processors: 2, kernel: "Linux 6.1-x", bun: "1.4.5", version: "1.0.0" };
  const chart = chartOf({ machine: machine as BenchDocument["machine"], measurements });
  const widths = [...chart.matchAll(/<rect x="190" y="\d+" width="([\d.]+)"/g)].map(([, width]) =>
    Number(width),
  );
  expect(widths).toEqual([420, 52.5, 26.3, 420, 52.5, 26.3, 420, 52.5, 26.3]);
  expect(chart).toContain(">12,000,000 (732.4 MiB/s)<");
  expect(chart).toContain(">A &amp; B, 2 processors, Linux 6.1<");
});

test("terminals are drawn side by side, with their headings and colours", async () => {
  const left = { output: "$ one\n\x1b[32mlive\x1b[39m", columns: 10, rows: 2, heading: "terminal 1" };
  const drawn = await svgOf([left, { ...left, output: "two", column: 12 }], "two terminals");
  expect(drawn).toContain("<title>two terminals</title>");
  expect(drawn.match(/>terminal 1</g)).toHaveLength(2);
  expect(drawn).toMatch(/fill="#8fc379">live</);
  expect(drawn).toMatch(/<g transform="translate\(100\.8 18\)">\n<text [^>]*>two</);
});
