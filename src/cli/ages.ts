// The ages of stamped frames.

import { ageUs, readStamp } from "../core/index.ts";
import type { Latencies } from "./latencies.ts";

/** A stamp's time counts as one of the system's clock if it lies in this range before now, in microseconds. */
const LEAST_US = -1e6;
const MOST_US = 3600e6;

/** Measures how old frames are when they come. */
export class Ages {
  /** Frames whose stamps have no time of the system's clock. */
  withoutAge = 0;
  readonly #latencies: Latencies;

  private constructor(latencies: Latencies) {
    this.#latencies = latencies;
  }

  /** Only this loads the library for histograms. */
  static async open(): Promise<Ages> {
    const { Latencies } = await import("./latencies.ts");
    return new Ages(new Latencies());
  }

  /** Notes the age of a frame with a stamp, and returns it in microseconds; undefined if it has none. */
  note(frame: Uint8Array): number | undefined {
    return this.noteAge(ageUs(readStamp(frame)));
  }

  /** Notes an age in microseconds, and returns it; undefined if it cannot be one. */
  noteAge(age: number): number | undefined {
    if (age < LEAST_US || age > MOST_US) {
      this.withoutAge++;
      return undefined;
    }
    this.#latencies.add(Math.max(0, age) / 1000);
    return age;
  }

  /** What is known of all ages, in microseconds. */
  get summaryUs() {
    return figures(this.#latencies.summaryUs);
  }
}

function figures({ min, p50, p99, max }: Latencies["summaryUs"]) {
  return { min, p50, p99, max };
}

/** {@link Ages.summaryUs} of no frames. */
export const noAges: Ages["summaryUs"] = { min: null, p50: null, p99: null, max: null };
