// The rates of the last minute, and their picture of one line.

/** How long rates are kept. */
export const HISTORY_MS = 60_000;

const BARS = "▁▂▃▄▅▆▇█";

/** The rates that were measured, each over the time since the one before. */
export class History {
  #rates: { readonly at: number; readonly rate: number | null }[] = [];

  /** Notes a rate; null if none was measured. Forgets what is older than a minute. */
  note(rate: number | null, at: number): void {
    this.#rates.push({ at, rate });
    // The rate at the start of the minute was measured up to a later time.
    while ((this.#rates[0]?.at ?? at) < at - HISTORY_MS) this.#rates.shift();
  }

  /** The highest rate; null without any. */
  get highest(): number | null {
    const rates = this.#rates.flatMap(({ rate }) => rate ?? []);
    return rates.length === 0 ? null : Math.max(...rates);
  }

  /**
   * The rates of the last minute as a line of bars, the newest on the right. A bar is the highest rate of its time; blank
   * where none was measured.
   */
  spark(width: number): string {
    const highest = this.highest ?? 0;
    const bars = new Array<number | null>(width).fill(null);
    const start = (this.#rates.at(-1)?.at ?? 0) - HISTORY_MS;
    const barAt = (time: number) => ((time - start) * width) / HISTORY_MS;
    for (const [at, { at: end, rate }] of this.#rates.entries()) {
      if (rate === null) continue;
      // The first rate of all was measured since a look that had none, which is in the list as well.
      const begin = this.#rates[at - 1]?.at ?? end;
      for (let bar = Math.max(0, Math.floor(barAt(begin))); bar < Math.ceil(barAt(end)); bar++) {
        bars[bar] = Math.max(bars[bar] ?? 0, rate);
      }
    }
    return bars.map((rate) => (rate === null ? " " : barOf(rate, highest))).join("");
  }
}

function barOf(rate: number, highest: number): string {
  const step = highest === 0 ? 0 : Math.ceil((rate / highest) * (BARS.length - 1));
  return BARS[step] ?? " ";
}
