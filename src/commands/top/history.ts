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

  /** The rates of the last minute as a line of bars, the newest on the right; blank where none was measured. */
  spark(width: number): string {
    const highest = this.highest;
    const end = this.#rates.at(-1)?.at;
    if (highest === null || end === undefined) return " ".repeat(width);
    let next = 0;
    const bars = Array.from({ length: width }, (_, at) => {
      const time = end - ((width - at - 0.5) * HISTORY_MS) / width;
      while ((this.#rates[next]?.at ?? end) < time) next++;
      const rate = this.#rates[next]?.rate ?? null;
      return rate === null || this.#startsAfter(time, next) ? " " : barOf(rate, highest);
    });
    return bars.join("");
  }

  /** Whether a time is before all that was measured. */
  #startsAfter(time: number, next: number): boolean {
    return next === 0 && time < (this.#rates[0]?.at ?? time);
  }
}

function barOf(rate: number, highest: number): string {
  const step = highest === 0 ? 0 : Math.ceil((rate / highest) * (BARS.length - 1));
  return BARS[step] ?? " ";
}
