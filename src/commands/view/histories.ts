// The rates of the last five minutes, as the server and the page keep them.

import type { TopEntry } from "../../schemas/top.ts";

/** How many looks are kept: five minutes of them. */
export const KEPT_LOOKS = 300;

/** The figures of a buffer, a number for each look; null where nothing was measured. */
export interface History {
  readonly frames: (number | null)[];
  readonly bytes: (number | null)[];
  readonly fill: (number | null)[];
  readonly size: (number | null)[];
}

/** The histories of all buffers, by their names. */
export class Histories {
  readonly #times: number[];
  #all: Map<string, History>;

  /** Goes on with what another one has kept. */
  constructor(times: readonly number[] = [], all: Readonly<Record<string, History>> = {}) {
    this.#times = [...times];
    this.#all = new Map(Object.entries(all));
  }

  /** When the looks were, in milliseconds since 1970. */
  get times(): readonly number[] {
    return this.#times;
  }

  get all(): ReadonlyMap<string, History> {
    return this.#all;
  }

  /** Notes a look. Buffers that are gone are forgotten, and looks of more than five minutes ago. */
  note(atMs: number, entries: readonly TopEntry[]): void {
    const before = this.#times.length;
    this.#times.push(atMs);
    const all = new Map<string, History>();
    for (const entry of entries) {
      const history = this.#all.get(entry.buffer_name) ?? blank(before);
      history.frames.push(entry.frames_per_second);
      history.bytes.push(entry.bytes_per_second);
      history.fill.push(entry.used_percent);
      history.size.push(entry.frame_size);
      all.set(entry.buffer_name, history);
    }
    this.#all = all;
    if (before < KEPT_LOOKS) return;
    this.#times.shift();
    for (const history of all.values()) for (const values of Object.values(history)) values.shift();
  }
}

/** The history of a buffer that was not there at the looks so far. */
function blank(looks: number): History {
  const none = () => new Array<null>(looks).fill(null);
  return { frames: none(), bytes: none(), fill: none(), size: none() };
}
