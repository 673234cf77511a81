// What --from and --to say: moments, or times from the first frame on.

import { MAX_DURATION_MS, parseDuration } from "../../cli/values.ts";
import type { TimeRange } from "./mcap-reader.ts";

const NS_PER_MS = 1_000_000n;

/** A moment, or a time after the first frame, in nanoseconds. */
export interface Moment {
  readonly isOffset: boolean;
  readonly ns: bigint;
}

/** What a text of a moment may be. */
export const MOMENT_TAKES = `a time from the first frame on, in milliseconds up to ${MAX_DURATION_MS} or with us, ms, s or m, or a date such as 2026-11-26T08:30:00Z`;

/** A duration or a date with a time of day; undefined if it is neither. */
export function parseMoment(text: string): Moment | undefined {
  const milliseconds = parseDuration(text);
  if (milliseconds !== undefined) return { isOffset: true, ns: BigInt(Math.round(milliseconds * 1e6)) };
  if (!/^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?$/.test(text))
    return undefined;
  const time = Date.parse(text);
  return Number.isNaN(time) ? undefined : { isOffset: false, ns: BigInt(time) * NS_PER_MS };
}

/** The messages from one moment up to another. Offsets count from the first message or chunk that it is asked about. */
export class Moments implements TimeRange {
  readonly #from: Moment | undefined;
  readonly #to: Moment | undefined;
  #first: bigint | undefined;

  constructor(from: Moment | undefined, to: Moment | undefined) {
    this.#from = from;
    this.#to = to;
  }

  excludes(first: bigint, last: bigint): boolean {
    this.#first ??= first;
    const from = this.#resolve(this.#from);
    const to = this.#resolve(this.#to);
    return (from !== undefined && last < from) || (to !== undefined && first > to);
  }

  #resolve(moment: Moment | undefined): bigint | undefined {
    if (moment === undefined) return undefined;
    return moment.isOffset ? (this.#first ?? 0n) + moment.ns : moment.ns;
  }
}
