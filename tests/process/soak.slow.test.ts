// Many frames through a small ring: every frame is checked, and memory and descriptors of both sides are sampled.
//
// ZB_FRAMES says how many (default 5,000,000; 100000000 takes about six minutes), ZB_SEED varies the sizes, ZB_SECONDS
// ends it earlier.

import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { uniqueName } from "../support/buffers.ts";
import { Child } from "../support/process.ts";
import { option } from "../support/slow-options.ts";

const frames = option("ZB_FRAMES", 5_000_000);
const seconds = option("ZB_SECONDS", 480);
const seed = option("ZB_SEED", (Math.random() * 2 ** 32) >>> 0);
const SAMPLES = 40;
/** What a process may grow by in the second half of the run: noise of the runtime's own memory. */
const MAX_GROWTH_MIB = 8;

interface Sample {
  readonly frames: number;
  readonly memoryMiB: number;
  readonly descriptors: number;
}

function sampleOf(pid: number, frames: number): Sample {
  const resident = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1];
  return {
    frames,
    memoryMiB: Number(resident) / 1024,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  };
}

/** By least squares: how much `value` grows from the first to the last sample. */
function growth(samples: readonly Sample[], value: (sample: Sample) => number): number {
  const meanX = samples.reduce((sum, { frames }) => sum + frames, 0) / samples.length;
  const meanY = samples.reduce((sum, sample) => sum + value(sample), 0) / samples.length;
  let covariance = 0;
  let variance = 0;
  for (const sample of samples) {
    covariance += (sample.frames - meanX) * (value(sample) - meanY);
    variance += (sample.frames - meanX) ** 2;
  }
  return (covariance / variance) * (samples.at(-1)!.frames - samples[0]!.frames);
}

test(
  "a long stream is whole to its end, and neither side grows",
  async () => {
    console.log(`seed ${seed}, ${frames} frames`);
    const name = uniqueName();
    const fixture = join(import.meta.dir, "fixtures", "soak-stream.ts");
    const start = performance.now();
    await using reader = Child.program([process.execPath, fixture, "reader", name, `${seed}`, `${frames}`]);
    await reader.receive("ready");
    await using writer = Child.program([
      process.execPath,
      fixture,
      "writer",
      name,
      `${seed}`,
      `${frames}`,
      `${seconds}`,
    ]);
    await writer.receive("ready");
    const samples = { reader: [] as Sample[], writer: [] as Sample[] };
    let read = 0;
    for (;;) {
      const progress = await reader.receiveAny();
      read = progress.frames;
      if (progress.event === "end") break;
      expect(progress.event).toBe("progress");
      samples.reader.push(sampleOf(reader.pid, read));
      samples.writer.push(sampleOf(writer.pid, read));
    }
    const durationS = (performance.now() - start) / 1000;
    expect((await writer.receive("end")).frames).toBe(read);
    await reader.succeed();
    await writer.succeed();
    console.log(
      `${read} frames in ${durationS.toFixed(1)} s, ${(read / durationS).toFixed(0)} a second (seed ${seed})`,
    );
    for (const [side, all] of Object.entries(samples)) {
      const settled = all.slice(Math.floor(all.length / 2));
      const memory = growth(settled, ({ memoryMiB }) => memoryMiB);
      const descriptors = growth(settled, (sample) => sample.descriptors);
      const last = settled.at(-1)!;
      console.log(
        `${side}: ${last.memoryMiB.toFixed(1)} MiB, growth ${memory.toFixed(2)} MiB; ` +
          `${last.descriptors} descriptors, growth ${descriptors.toFixed(2)} (${settled.length} samples)`,
      );
      expect(memory).toBeLessThan(MAX_GROWTH_MIB);
      expect(descriptors).toBeLessThan(0.5);
    }
    expect(samples.reader.length).toBeGreaterThan(SAMPLES / 4);
  },
  (seconds + 60) * 1000,
);
