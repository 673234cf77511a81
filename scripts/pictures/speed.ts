// docs/speed.svg: a chart of zerobuffer, a pipe and a Unix socket, as `zerobuffer bench` measures them here.

import { join } from "node:path";
import { bytesText, grouped } from "../../src/cli/format.ts";
import { PICTURE_SIZE } from "../../src/commands/bench/plan.ts";
import type { BenchDocument } from "../../src/schemas/bench.ts";
import { root } from "../build-native.ts";
import { COLOURS, escaped, FOREGROUND, panel, rounded, svg } from "./svg.ts";

const MEASURED = ["bench", "throughput", "--sizes", "64,64KiB,1080p", "--baselines", "--json-output"];

/** Frame sizes in bytes, as they are named. */
const GROUPS = new Map([
  [64, "64 B"],
  [65_536, "64 KiB"],
  [PICTURE_SIZE, "1080p"],
]);

const BARS = [
  { transport: "zerobuffer", name: "zerobuffer", colour: COLOURS[2] },
  { transport: "pipe", name: "pipe", colour: COLOURS[3] },
  { transport: "socket", name: "Unix socket", colour: COLOURS[1] },
] as const;

/** In pixels. */
const [MARGIN, LINE, GAP, LABELS, LONGEST, RIGHT] = [16, 24, 14, 190, 420, 250];

/** Measures, and draws the chart. */
export async function drawSpeed(): Promise<string> {
  const bench = Bun.spawn([process.execPath, join(root, "src", "main.ts"), ...MEASURED], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  return chartOf(JSON.parse(await bench.stdout.text()));
}

/** The chart of a result of `bench throughput --baselines`. Each size has bars of its own scale. */
export function chartOf({ machine, measurements }: Pick<BenchDocument, "machine" | "measurements">): string {
  const shapes: string[] = [text(MARGIN, MARGIN + 13, "Frames per second from one process to another")];
  let y = MARGIN + LINE + GAP;
  for (const [size, name] of GROUPS) {
    const rates = BARS.map(({ transport }) => {
      const found = measurements.find((one) => one.frame_size === size && one.transport === transport);
      const rate = found?.frames_per_second?.median;
      if (rate === undefined) throw new Error(`no measurement of ${transport} with ${size} bytes`);
      return rate;
    });
    const most = Math.max(...rates);
    shapes.push(text(MARGIN, y + 15, name));
    for (const [at, { name: bar, colour }] of BARS.entries()) {
      const rate = rates[at] ?? 0;
      const length = rounded(Math.max(2, (rate / most) * LONGEST));
      const speed = `${grouped(Number(rate.toPrecision(3)))} (${bytesText(rate * size)}/s)`;
      shapes.push(
        text(MARGIN + 76, y + 15, bar),
        `<rect x="${LABELS}" y="${y + 3}" width="${length}" height="${LINE - 7}" rx="2" fill="${colour}"/>`,
        text(LABELS + length + 8, y + 15, speed),
      );
      y += LINE;
    }
    y += GAP;
  }
  const { cpu, processors, kernel, bun, version } = machine;
  const what = `Medians of bench throughput, zerobuffer ${version}, Bun ${bun}`;
  shapes.push(text(MARGIN, y + 15, what, 0.6));
  y += LINE;
  const where = `${cpu}, ${processors} processors, ${kernel.replace(/-.*/, "")}`;
  shapes.push(text(MARGIN, y + 15, where, 0.6));
  const [width, height] = [LABELS + LONGEST + RIGHT, y + LINE + MARGIN];
  const title = "Frames per second of zerobuffer, a pipe and a Unix socket";
  return svg(width, height, title, [panel(0, 0, width, height), ...shapes]);
}

function text(x: number, y: number, content: string, opacity = 1): string {
  return `<text x="${x}" y="${y}" fill="${FOREGROUND}" fill-opacity="${opacity}">${escaped(content)}</text>`;
}
