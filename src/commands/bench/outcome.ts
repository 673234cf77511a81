// The result of a measurement as the document has it: its samples, their medians and ranges.

import { mebibytesPerSecond, median, perSecond } from "../../cli/format.ts";
import type { BenchMeasurement } from "../../schemas/bench.ts";
import { batchSizeOf, type Case, comesBack } from "./plan.ts";
import type { Results } from "./processes.ts";

type Sample = BenchMeasurement["samples"][number];
/** Median, least and greatest of a figure over the samples. */
export type Spread = NonNullable<BenchMeasurement["frames_per_second"]>;

/** The figures of one run, as the receiver counted them; for round trips, as their initiator did. */
export function sampleOf({ frameSize, work }: Case, results: Results): Sample {
  const counting = results.at(comesBack(work) ? 0 : -1);
  const { frames = 0, seconds = 0, latencyUs } = counting?.result ?? {};
  return {
    frames,
    duration_seconds: microseconds(seconds),
    frames_per_second: perSecond(frames, seconds),
    throughput_mbps: mebibytesPerSecond(frames * frameSize, seconds),
    latency_us: latencyUs === undefined ? null : { ...latencyUs },
    processes: results.map(({ role, result }) => ({
      role,
      cpu_seconds: microseconds(result.cpuSeconds),
      cpu_percent: result.seconds > 0 ? hundredths((100 * result.cpuSeconds) / result.seconds) : null,
      peak_memory_bytes: result.peakMemoryBytes,
    })),
  };
}

/** A measurement with all its samples. */
export function measurementOf(
  { work, transport, frameSize, rate }: Case,
  samples: Sample[],
  batchSize: number,
): BenchMeasurement {
  const latencies = samples.flatMap(({ latency_us }) => latency_us ?? []);
  const latency = (key: keyof (typeof latencies)[number]) => spreadOf(latencies.map((us) => us[key]));
  return {
    work,
    transport,
    frame_size: frameSize,
    rate: rate > 0 ? rate : null,
    batch_size: batchSizeOf({ work, rate }, batchSize),
    frames_per_second: spreadOf(samples.map((sample) => sample.frames_per_second)),
    throughput_mbps: spreadOf(samples.map((sample) => sample.throughput_mbps)),
    latency_us:
      latencies.length === 0
        ? null
        : {
            min: latency("min"),
            mean: latency("mean"),
            p50: latency("p50"),
            p90: latency("p90"),
            p99: latency("p99"),
            p999: latency("p999"),
            p9999: latency("p9999"),
            max: latency("max"),
          },
    processes: (samples[0]?.processes ?? []).map(({ role }, i) => {
      const ofProcess = samples.flatMap(({ processes }) => processes[i] ?? []);
      return {
        role,
        cpu_percent: spreadOf(ofProcess.map(({ cpu_percent }) => cpu_percent)),
        peak_memory_bytes: spreadOf(ofProcess.map(({ peak_memory_bytes }) => peak_memory_bytes)),
      };
    }),
    samples,
  };
}

function spreadOf(figures: readonly (number | null)[]): Spread | null {
  const known = figures.filter((figure) => figure !== null);
  if (known.length === 0) return null;
  return { median: median(known), min: Math.min(...known), max: Math.max(...known) };
}

function microseconds(seconds: number): number {
  return Math.round(seconds * 1e6) / 1e6;
}

function hundredths(value: number): number {
  return Math.round(value * 100) / 100;
}
