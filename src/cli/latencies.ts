// Latencies: percentiles and a histogram, as figures and as a picture.

import { build } from "hdr-histogram-js";
import type { Style } from "./terminal.ts";
import { timeText } from "./values.ts";

/** Percentiles in microseconds; null if nothing was measured. */
type LatencyUs = Record<"min" | "mean" | "p50" | "p90" | "p99" | "p999" | "max", number | null>;

/** How many latencies are below a time, and not below half of it. */
interface HistogramRange {
  readonly below_us: number;
  readonly count: number;
}

/** Values are kept to three digits. */
const SIGNIFICANT_DIGITS = 3;

/** Longest bar, in characters. */
const BAR_WIDTH = 40;

/** The figures if nothing was measured. */
export const noLatencies: LatencyUs = {
  min: null,
  mean: null,
  p50: null,
  p90: null,
  p99: null,
  p999: null,
  max: null,
};

/** The latencies of requests. */
export class Latencies {
  readonly #histogram = build({
    bitBucketSize: "packed",
    autoResize: true,
    numberOfSignificantValueDigits: SIGNIFICANT_DIGITS,
  });
  /** Requests that took from 2^i to less than 2^(i+1) nanoseconds. */
  readonly #octaves: number[] = [];

  /** Adds a time in milliseconds. */
  add(milliseconds: number): void {
    const nanoseconds = Math.max(1, Math.round(milliseconds * 1e6));
    this.#histogram.recordValue(nanoseconds);
    const octave = Math.floor(Math.log2(nanoseconds));
    this.#octaves[octave] = (this.#octaves[octave] ?? 0) + 1;
  }

  /** The figures in microseconds. */
  get summaryUs(): LatencyUs {
    const histogram = this.#histogram;
    if (histogram.totalCount === 0) return noLatencies;
    return {
      min: microseconds(histogram.minNonZeroValue),
      mean: microseconds(histogram.mean),
      p50: this.percentileUs(50),
      p90: this.percentileUs(90),
      p99: this.percentileUs(99),
      p999: this.percentileUs(99.9),
      max: microseconds(histogram.maxValue),
    };
  }

  /** The latency in microseconds that this percentage of the requests did not exceed. */
  percentileUs(percent: number): number {
    const histogram = this.#histogram;
    // The histogram returns the upper end of the range that holds the value.
    return microseconds(Math.min(histogram.getValueAtPercentile(percent), histogram.maxValue));
  }

  /** The number of requests in each range; each range ends at twice the latency of the one before. */
  get histogram(): HistogramRange[] {
    const first = Math.max(
      0,
      this.#octaves.findIndex((count) => count > 0),
    );
    return Array.from(this.#octaves.slice(first), (count = 0, i) => ({
      below_us: 2 ** (first + i + 1) / 1000,
      count,
    }));
  }
}

/** A line for each range, with a bar. */
export function picture(histogram: readonly HistogramRange[], style: Style): string[] {
  const most = Math.max(...histogram.map(({ count }) => count));
  return histogram.map(({ below_us, count }) => {
    const bar = "█".repeat(Math.ceil((BAR_WIDTH * count) / most));
    return `  < ${timeText(below_us).padStart(9)}  ${style.green(bar)}${bar && " "}${style.dim(count.toLocaleString("en-US"))}`;
  });
}

function microseconds(nanoseconds: number): number {
  return Math.round(nanoseconds) / 1000;
}
