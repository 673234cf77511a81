// Contests: the contenders take turns, each ratio is formed within a turn, and its median over all turns counts.
//
// Machines differ and are noisy: only figures that were taken right after each other can be compared.

import { styleText } from "node:util";
import { median } from "../../src/cli/format.ts";
import type { Figures } from "./programs.ts";

/** What is measured in one turn, by contender. */
export type Turn = Readonly<Record<string, Figures>>;

/** How to let each contender run once. */
type Contenders = Readonly<Record<string, () => Promise<Figures>>>;

/** `ratio >= atLeast` or `ratio <= atMost` is wanted. */
export interface Target {
  readonly atLeast?: number;
  readonly atMost?: number;
}

export interface Comparison extends Target {
  /** What is put above and below the line. */
  readonly of: string;
  readonly to: string;
  readonly ratio: number;
  readonly range: readonly [number, number];
}

export interface Measurement {
  readonly title: string;
  /** Median and unit of each contender. */
  readonly contenders: Readonly<Record<string, string>>;
  readonly comparisons: readonly Comparison[];
  readonly turns: readonly Turn[];
}

/** Lets the contenders take turns, a different one first each time. */
export async function takeTurns(contenders: Contenders, count = 7): Promise<Turn[]> {
  const turns: Turn[] = [];
  const names = Object.keys(contenders);
  for (let turn = 0; turn < count; turn++) {
    const figures: Record<string, Figures> = {};
    for (let i = 0; i < names.length; i++) {
      const name = names[(turn + i) % names.length]!;
      figures[name] = await contenders[name]!();
    }
    turns.push(figures);
  }
  return turns;
}

/** The ratio of one figure between two contenders, over all turns. */
export function compare(
  turns: readonly Turn[],
  figure: string,
  of: string,
  to: string,
  target: Target = {},
): Comparison {
  const ratios = turns.map((turn) => turn[of]![figure]! / turn[to]![figure]!);
  return { of, to, ...medianAndRange(ratios), ...target };
}

/** The median of some values, and their range, as a {@link Comparison} has them. */
export function medianAndRange(values: readonly number[]): Pick<Comparison, "ratio" | "range"> {
  return { ratio: median(values), range: [Math.min(...values), Math.max(...values)] };
}

/** The median of one figure of each contender, as a text. */
export function medians(turns: readonly Turn[], figure: string, show: (value: number) => string) {
  return Object.fromEntries(
    Object.keys(turns[0]!).map((contender) => [
      contender,
      show(median(turns.map((turn) => turn[contender]![figure]!))),
    ]),
  );
}

export function sizeText(bytes: number): string {
  const [unit, size] = bytes >= 2 ** 20 ? ["MiB", 2 ** 20] : bytes >= 1024 ? ["KiB", 1024] : ["B", 1];
  return `${Number((bytes / size).toFixed(2))} ${unit}`;
}

export function framesText(framesPerSecond: number): string {
  const [divisor, unit] = framesPerSecond >= 1e6 ? [1e6, "M"] : [1e3, "k"];
  return `${(framesPerSecond / divisor).toFixed(2)} ${unit}/s`;
}

export function gibibytesText(bytesPerSecond: number): string {
  return `${(bytesPerSecond / 2 ** 30).toFixed(2)} GiB/s`;
}

export function nanosecondsText(nanoseconds: number): string {
  return nanoseconds >= 10_000
    ? `${(nanoseconds / 1000).toFixed(1)} µs`
    : `${(nanoseconds / 1000).toFixed(2)} µs`;
}

// ---- what is shown -------------------------------------------------------------------------------------------------

const colour = process.stdout.isTTY && !process.env.NO_COLOR;

/** Sets off text on a terminal. */
export function paint(style: "bold" | "dim" | "green" | "red", text: string): string {
  return colour ? styleText(style, text) : text;
}

/** Undefined where nothing in particular is wanted. */
function isMet({ ratio, atLeast, atMost }: Comparison): boolean | undefined {
  if (atLeast === undefined && atMost === undefined) return undefined;
  return ratio >= (atLeast ?? 0) && ratio <= (atMost ?? Number.POSITIVE_INFINITY);
}

/** Prints a measurement in a few lines. */
export function show({ title, contenders, comparisons }: Measurement): void {
  console.log(paint("bold", title));
  console.log(`  ${contendersText(contenders)}`);
  for (const comparison of comparisons) {
    const { of, to, ratio } = comparison;
    const met = isMet(comparison);
    const columns = [
      `  ${of} : ${to}`.padEnd(40),
      ratio.toFixed(3).padStart(8),
      paint("dim", `(${rangeText(comparison)})`.padEnd(20)),
      wantedText(comparison).padEnd(14),
      met === undefined ? "" : met ? paint("green", "ok") : paint("red", "miss"),
    ];
    console.log(columns.join("  ").trimEnd());
  }
}

/** Prints measurements as the table of docs/dev/performance.md. */
export function showMarkdown(measurements: readonly Measurement[]): void {
  console.log("| work | medians | of | to | ratio | range | wanted |\n| - | - | - | - | -: | - | - |");
  for (const { title, contenders, comparisons } of measurements) {
    for (const [i, comparison] of comparisons.entries()) {
      const [work, medians] = i === 0 ? [title, contendersText(contenders)] : ["", ""];
      const { of, to, ratio } = comparison;
      const wanted = `${wantedText(comparison)}${isMet(comparison) === false ? ", missed" : ""}`;
      const cells = [work, medians, of, to, ratio.toFixed(2), rangeText(comparison, 2), wanted];
      console.log(`| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`);
    }
  }
}

function contendersText(contenders: Measurement["contenders"]): string {
  return Object.entries(contenders)
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");
}

function rangeText({ range }: Comparison, decimals = 3): string {
  return range.map((value) => value.toFixed(decimals)).join(" to ");
}

function wantedText({ atLeast, atMost }: Comparison): string {
  if (atLeast !== undefined) return `at least ${digits(atLeast)}`;
  return atMost === undefined ? "" : `at most ${digits(atMost)}`;
}

function digits(value: number): string {
  return `${Number(value.toFixed(3))}`;
}
