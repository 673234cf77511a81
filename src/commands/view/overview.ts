// What all buffers do, and the rates of the last five minutes.

import { Sampler } from "../../cli/sampling.ts";
import type { TopEntry } from "../../schemas/top.ts";
import { topEntryOf } from "../top/entry.ts";
import { type History, KEPT_LOOKS } from "./protocol.ts";

/** Looks at all buffers, and remembers. */
export class Overview {
  readonly #sampler = new Sampler();
  readonly #times: number[] = [];
  #histories = new Map<string, History>();
  #buffers: readonly TopEntry[] = [];

  /** All buffers at the last look. */
  get buffers(): readonly TopEntry[] {
    return this.#buffers;
  }

  /** When the looks were, in milliseconds since 1970. */
  get times(): readonly number[] {
    return this.#times;
  }

  /** The rates at these times. */
  get histories(): Readonly<Record<string, History>> {
    return Object.fromEntries(this.#histories);
  }

  /** Looks at all buffers. Those that are gone are forgotten. */
  look(): readonly TopEntry[] {
    this.#buffers = this.#sampler.look().map(topEntryOf);
    const looks = this.#times.push(Date.now());
    const histories = new Map<string, History>();
    for (const entry of this.#buffers) {
      const history = this.#histories.get(entry.buffer_name) ?? historyOf(looks - 1);
      note(history, entry);
      histories.set(entry.buffer_name, history);
    }
    this.#histories = histories;
    if (looks > KEPT_LOOKS) this.#forgetOldest();
    return this.#buffers;
  }

  #forgetOldest(): void {
    this.#times.shift();
    for (const history of this.#histories.values())
      for (const values of Object.values(history)) values.shift();
  }
}

/** The history of a buffer that was not there at the looks so far. */
function historyOf(looks: number): History {
  const none = () => new Array<null>(looks).fill(null);
  return { frames: none(), bytes: none(), fill: none(), size: none() };
}

function note(history: History, entry: TopEntry): void {
  history.frames.push(entry.frames_per_second);
  history.bytes.push(entry.bytes_per_second);
  history.fill.push(entry.used_percent);
  history.size.push(entry.frame_size);
}
