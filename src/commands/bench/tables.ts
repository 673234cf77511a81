// The result of a benchmark as text: a table for each work and rate, with bars.

import { bytesText, count, grouped } from "../../cli/format.ts";
import { type Cell, tableLines } from "../../cli/table.ts";
import type { Style } from "../../cli/terminal.ts";
import { timeText } from "../../cli/values.ts";
import type { BenchDocument, BenchMeasurement } from "../../schemas/bench.ts";
import type { Work } from "../../schemas/words.ts";
import { machineText } from "./machine.ts";
import type { Spread } from "./outcome.ts";
import { PICTURE_SIZE } from "./plan.ts";

/** Longest bar, in characters. */
const BAR_WIDTH = 12;

/** What each work measures. */
export const MEANINGS: Readonly<Record<Work, string>> = {
  throughput: "frames from one process to another",
  latency: "round trips to another process and back",
  relay: "round trips through the loop of zerobuffer relay",
  fanout: "frames through that loop to three processes",
  duplex: "requests and their responses, one at a time",
};

/** The names of the transports. */
export const NAMES: Readonly<Record<BenchMeasurement["transport"], string>> = {
  zerobuffer: "zerobuffer",
  pipe: "pipe",
  socket: "Unix socket",
};

/** The measurements in groups of one work and rate, in the order in which they were taken. */
export function tablesOf({ measurements }: Pick<BenchDocument, "measurements">): BenchMeasurement[][] {
  return [...Map.groupBy(measurements, ({ work, rate }) => `${work} ${rate}`).values()];
}

/** The title of such a group. */
export function titleOf({ work, rate }: BenchMeasurement): string {
  return `${work}, ${rate === null ? "as fast as possible" : `at ${count(rate, "frames")}/s`}`;
}

/** The lines of the whole result. */
export function summaryOf(document: BenchDocument, style: Style): string[] {
  const { report, settings, machine } = document;
  const lines = [style.dim(machineText(machine)), style.dim(settingsText(settings))];
  for (const table of tablesOf(document)) {
    const [first] = table;
    if (first === undefined) continue;
    const roles = first.processes.map(({ role }) => role).join(" + ");
    lines.push("", `${style.bold(titleOf(first))}: ${MEANINGS[first.work]} (CPU and memory: ${roles})`);
    const rows = first.latency_us === null ? throughputRows(table) : latencyRows(table);
    lines.push(...tableLines(rows, style));
  }
  if (report !== null) lines.push("", `Wrote ${report}.`);
  return lines;
}

/** The settings in one line. */
export function settingsText(settings: BenchDocument["settings"]): string {
  const { batch_size, buffer_size, duration_ms, frames, repeat, wait } = settings;
  const length = frames === null ? `${grouped(duration_ms ?? 0)} ms` : count(frames, "frames");
  const parts = [
    `Medians of ${count(repeat, "samples")} of ${length} each`,
    `rings of ${bytesText(buffer_size)}`,
    `waiting: ${wait}`,
  ];
  if (settings.sharing) parts.push("relays share");
  if (batch_size > 1) parts.push(`${batch_size} frames per call`);
  return parts.join(", ");
}

function throughputRows(table: readonly BenchMeasurement[]): Cell[][] {
  const best = bestOf(table, ({ throughput_mbps }) => throughput_mbps);
  return rowsOf(["FRAMES/S", "", "BYTES/S", ""], table, (measurement) => [
    right(rateText(measurement.frames_per_second)),
    spreadCell(measurement, measurement.frames_per_second),
    right(`${bytesText((measurement.throughput_mbps?.median ?? 0) * 2 ** 20)}/s`),
    bar(measurement.throughput_mbps, best(measurement)),
  ]);
}

function latencyRows(table: readonly BenchMeasurement[]): Cell[][] {
  const longest = bestOf(table, ({ latency_us }) => latency_us?.p50);
  const titles = ["P50", "", "", "P90", "P99", "P99.9", "P99.99", "FRAMES/S"];
  return rowsOf(titles, table, (measurement) => {
    const { frames_per_second, latency_us: us } = measurement;
    const time = (spread?: Spread | null) => right(spread == null ? "-" : timeText(spread.median));
    return [
      ...[time(us?.p50), spreadCell(measurement, us?.p50), bar(us?.p50, longest(measurement))],
      ...[time(us?.p90), time(us?.p99), time(us?.p999), time(us?.p9999), right(rateText(frames_per_second))],
    ];
  });
}

/** The rows of a table: size and transport, the figures, and the costs of the two processes. */
function rowsOf(
  titles: readonly string[],
  table: readonly BenchMeasurement[],
  figures: (measurement: BenchMeasurement) => Cell[],
): Cell[][] {
  const rows = table.map((measurement, i): Cell[] => [
    right(table[i - 1]?.frame_size === measurement.frame_size ? "" : sizeText(measurement.frame_size)),
    { text: NAMES[measurement.transport] },
    ...figures(measurement),
    right(
      bothText(
        measurement.processes.map(({ cpu_percent }) => cpu_percent),
        "%",
      ),
    ),
    right(
      bothText(
        measurement.processes.map(({ peak_memory_bytes }) => peak_memory_bytes),
        "MiB",
        2 ** 20,
      ),
    ),
  ]);
  const head = ["SIZE", "OVER", ...titles, "CPU", "MEMORY"].map(
    (text, column): Cell => ({ text, paint: "bold", ...(isRight(rows, column) && { alignment: "right" }) }),
  );
  return [head, ...rows];
}

/** A figure of both processes: `95 + 97 %`. */
function bothText(spreads: readonly (Spread | null)[], unit: string, divisor = 1): string {
  const texts = spreads.map((spread) => (spread === null ? "-" : grouped(spread.median / divisor)));
  return `${texts.join(" + ")} ${unit}`;
}

/** A frame size with its unit; the picture by its name. */
export function sizeText(bytes: number): string {
  return bytes === PICTURE_SIZE ? "1080p" : bytesText(bytes).replace(".0 ", " ").replace("bytes", "B");
}

function isRight(rows: readonly Cell[][], column: number): boolean {
  return rows[0]?.[column]?.alignment === "right";
}

/** The greatest median to compare with: of the other transports at this size, or else of the other sizes. */
function bestOf(
  table: readonly BenchMeasurement[],
  figure: (measurement: BenchMeasurement) => Spread | null | undefined,
): (measurement: BenchMeasurement) => number {
  const isContest = table.some(({ transport }) => transport !== table[0]?.transport);
  return ({ frame_size }) =>
    Math.max(
      ...table
        .filter((other) => !isContest || other.frame_size === frame_size)
        .map((other) => figure(other)?.median ?? 0),
    );
}

function bar(spread: Spread | null | undefined, longest: number): Cell {
  const length = longest > 0 ? ((spread?.median ?? 0) / longest) * BAR_WIDTH : 0;
  return { text: barText(length), paint: "green" };
}

/** A bar, exact to an eighth of a character and never empty. */
function barText(length: number): string {
  const eighths = Math.max(1, Math.round(length * 8));
  return "█".repeat(eighths >> 3) + ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths & 7];
}

/** Half the range in percent of the median; empty for a single sample. */
function spreadCell({ samples }: BenchMeasurement, spread: Spread | null | undefined): Cell {
  if (spread == null || spread.median === 0 || samples.length === 1) return { text: "" };
  const percent = (100 * (spread.max - spread.min)) / 2 / spread.median;
  return { text: `±${percent.toFixed(0)} %`, paint: "dim", alignment: "right" };
}

function rateText(spread: Spread | null): string {
  return spread === null ? "-" : grouped(spread.median, spread.median < 100 ? 1 : 0);
}

function right(text: string): Cell {
  return { text, alignment: "right" };
}
