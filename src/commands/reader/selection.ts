// Which of the frames that a reader takes it delivers, and what of them: the bytes after the stamp.

import { Ages, noAges } from "../../cli/ages.ts";
import { STAMP_SIZE } from "../../core/index.ts";

/** Which frames to deliver. */
export interface SelectionOptions {
  /** Deliver one of this many frames: the first one of each. */
  readonly every: number;
  /** Whether frames have stamps, which are taken off. */
  readonly stamp: boolean;
  /** Skip frames older than this, in milliseconds. A frame without an age is not. */
  readonly maxAge: number | undefined;
}

/** The outcome for a frame that has no room for a stamp. */
export const UNSTAMPED = "unstamped";

/** Chooses frames, and takes their stamps off. */
export class Selection {
  readonly #every: number;
  readonly #maxAgeUs: number;
  readonly #ages: Ages | undefined;
  #seen = 0;
  #skipped = 0;

  private constructor(
    { every, maxAge = Number.POSITIVE_INFINITY }: SelectionOptions,
    ages: Ages | undefined,
  ) {
    this.#every = every;
    this.#maxAgeUs = maxAge * 1000;
    this.#ages = ages;
  }

  /** A selection, if not all of every frame is delivered. */
  static async open(options: SelectionOptions): Promise<Selection | undefined> {
    if (!options.stamp && options.every === 1) return undefined;
    return new Selection(options, options.stamp ? await Ages.open() : undefined);
  }

  /** Frames skipped so far. */
  get skipped(): number {
    return this.#skipped;
  }

  /** The ages of the stamped frames, in microseconds. */
  get agesUs(): Ages["summaryUs"] {
    return this.#ages?.summaryUs ?? noAges;
  }

  /** Frames whose stamps have no time of the system's clock. */
  get withoutAge(): number {
    return this.#ages?.withoutAge ?? 0;
  }

  /** What to deliver of the next frame; undefined if it is skipped. */
  choose(frame: Uint8Array): Uint8Array | typeof UNSTAMPED | undefined {
    if (this.#seen++ % this.#every !== 0) return this.#skip();
    if (this.#ages === undefined) return frame;
    if (frame.length < STAMP_SIZE) return UNSTAMPED;
    const age = this.#ages.note(frame);
    if (age !== undefined && age > this.#maxAgeUs) return this.#skip();
    return frame.subarray(STAMP_SIZE);
  }

  #skip(): undefined {
    this.#skipped++;
  }
}
