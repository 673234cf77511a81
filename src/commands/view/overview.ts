// What all buffers do, and the rates of the last five minutes.

import { Sampler } from "../../cli/sampling.ts";
import type { TopEntry } from "../../schemas/top.ts";
import { topEntryOf } from "../top/entry.ts";
import { Histories } from "./histories.ts";

/** Looks at all buffers, and remembers. */
export class Overview {
  readonly #sampler = new Sampler();
  readonly histories = new Histories();
  #buffers: readonly TopEntry[] = [];

  /** All buffers at the last look. */
  get buffers(): readonly TopEntry[] {
    return this.#buffers;
  }

  /** When the last look was, in milliseconds since 1970; undefined before the first one. */
  get lookedAtMs(): number | undefined {
    return this.histories.times.at(-1);
  }

  /** Looks at all buffers. Throws as `listBuffers`. */
  look(): readonly TopEntry[] {
    this.#buffers = this.#sampler.look().map(topEntryOf);
    this.histories.note(Date.now(), this.#buffers);
    return this.#buffers;
  }
}
