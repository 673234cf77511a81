// Frames as messages of a broker: their headers, frames in parts, and what a receiver makes of the messages that come. It
// knows no broker.

/** The largest message is this much smaller than what the broker takes, in bytes: its headers are never longer. */
export const HEADER_ROOM = 512;

/** The names of the headers. */
export const HEADERS = {
  /** Which run of a publisher: 32 hexadecimal digits, random. */
  run: "Zb-Run",
  /** Number of the frame, from 1; of other messages that of the last frame that was begun before them, or 0. */
  sequence: "Zb-Seq",
  /** Bytes of the whole frame. */
  size: "Zb-Size",
  /** `i/n`: which of how many parts, from 1. */
  part: "Zb-Part",
  /** When the frame was published, in nanoseconds since 1970. */
  time: "Zb-Time",
  /** Of the last message of a run: `left`, or `died` if it has failed. */
  end: "Zb-End",
} as const;

/** What every message says. */
export interface Mark {
  readonly run: string;
  readonly sequence: number;
}

/** What a message with frame bytes says. */
export interface PartMark extends Mark {
  /** Bytes of the whole frame, at least 1. */
  readonly size: number;
  /** From 1 to `parts`. */
  readonly part: number;
  /** At most `size`. */
  readonly parts: number;
  /** When the frame was published, in microseconds since 1970; NaN if that is not told, which costs only its age. */
  readonly timeUs: number;
}

/** Reads a header by its name; empty if it is missing. */
export type HeaderSource = (name: string) => string;

/** The name of a new run. */
export function newRun(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString("hex");
}

/** How many parts a frame needs if a message takes `room` bytes. */
export function partCount(size: number, room: number): number {
  return Math.max(1, Math.ceil(size / room));
}

/** The headers of a part, by their names. */
export function partHeaders({ run, sequence, size, part, parts, timeUs }: PartMark): Record<string, string> {
  return {
    [HEADERS.run]: run,
    [HEADERS.sequence]: `${sequence}`,
    [HEADERS.size]: `${size}`,
    [HEADERS.part]: `${part}/${parts}`,
    [HEADERS.time]: `${timeUs}000`,
  };
}

/** What the headers of any message say; undefined if they say nothing that is true of any. */
export function readMark(header: HeaderSource): Mark | undefined {
  const run = header(HEADERS.run);
  const sequence = wholeNumber(header(HEADERS.sequence));
  return /^[0-9a-f]{32}$/.test(run) && sequence !== undefined ? { run, sequence } : undefined;
}

/** What the headers of a part say; undefined if they contradict themselves or the `length` of its bytes. */
export function readPart(header: HeaderSource, length: number): PartMark | undefined {
  const mark = readMark(header);
  const size = wholeNumber(header(HEADERS.size));
  const [, partText = "", partsText = ""] = /^(\d+)\/(\d+)$/.exec(header(HEADERS.part)) ?? [];
  const part = wholeNumber(partText);
  const parts = wholeNumber(partsText);
  if (mark === undefined || size === undefined || part === undefined || parts === undefined) return undefined;
  if (mark.sequence < 1 || part < 1 || part > parts || parts > size) return undefined;
  if (length < 1 || (parts === 1 ? length !== size : length >= size)) return undefined;
  const time = header(HEADERS.time);
  // Nanoseconds of today are not exact in a number.
  const timeUs = /^\d{4,20}$/.test(time) ? Number(time.slice(0, -3)) : Number.NaN;
  return { ...mark, size, part, parts, timeUs };
}

function wholeNumber(text: string): number | undefined {
  return /^\d{1,16}$/.test(text) && Number(text) <= Number.MAX_SAFE_INTEGER ? Number(text) : undefined;
}

/** What to do with a part. */
export type Verdict =
  /** Put its bytes at `offset` of the frame's place, which is to be acquired before the first part; after the last one it is whole. */
  | { readonly kind: "put"; readonly offset: number; readonly isFirst: boolean; readonly isLast: boolean }
  /** The frame has been received already, or it is given up. */
  | { readonly kind: "skip" }
  /** The part contradicts those before it. */
  | { readonly kind: "refuse" };

const SKIP: Verdict = { kind: "skip" };
const REFUSE: Verdict = { kind: "refuse" };

/**
 * Puts the frames of one run together from their parts, which come in order: a part that is missing costs its frame. Notices
 * frames that are missing, and those that come twice.
 */
export class Assembly {
  /** Whether frames that are missing are counted as lost: not if others get some of them. */
  #seesAll: boolean;
  /** Number of the last frame that was received or given up; undefined: none is missing before the next one. */
  #last: number | undefined;
  /** The frame whose parts are coming. */
  #current: { sequence: number; size: number; parts: number; received: number; bytes: number } | undefined;
  /** The frame whose remaining parts are skipped. */
  #givenUp = 0;
  #lost = 0;
  #duplicates = 0;
  #torn = 0;

  /** @param last the number of the last frame before the first one to expect; undefined if that is not known. */
  constructor(last: number | undefined, { seesAll = true }: { seesAll?: boolean } = {}) {
    this.#last = last;
    this.#seesAll = seesAll;
    if (last !== undefined) this.#givenUp = last;
  }

  /** Frames that have not come, or not wholly. */
  get lost(): number {
    return this.#lost;
  }

  /** Those of them of which some parts have come. */
  get torn(): number {
    return this.#torn;
  }

  /** Frames that came more than once. */
  get duplicates(): number {
    return this.#duplicates;
  }

  /** From now on others get some of the frames. */
  share(): void {
    this.#seesAll = false;
  }

  /** Whether a frame has been begun and is not whole: its place is to be given back if the next part is not of it. */
  get isOpen(): boolean {
    return this.#current !== undefined;
  }

  /** Takes a part with `length` bytes. A frame that is open before and has another number is given up. */
  take(mark: PartMark, length: number): Verdict {
    const { sequence, size, part, parts } = mark;
    if (this.#current !== undefined && this.#current.sequence !== sequence) {
      // One that comes again belongs to a frame that is whole: the open one goes on after it.
      if (sequence < this.#current.sequence) return this.#duplicate(part);
      this.#tear();
    }
    const current = this.#current;
    if (current === undefined) return this.#begin(mark, length);
    if (size !== current.size || parts !== current.parts) return REFUSE;
    if (part <= current.received) return SKIP;
    if (part > current.received + 1) {
      this.#tear();
      return SKIP;
    }
    const offset = current.bytes;
    const isLast = part === parts;
    // Each part that is still to come has a byte at least.
    if (isLast ? offset + length !== size : offset + length + (parts - part) > size) {
      this.#tear();
      return REFUSE;
    }
    current.received = part;
    current.bytes += length;
    if (isLast) this.#finish(sequence);
    return { kind: "put", offset, isFirst: false, isLast };
  }

  #begin({ sequence, size, part, parts }: PartMark, length: number): Verdict {
    if (sequence === this.#givenUp) return SKIP;
    if (this.#last !== undefined && sequence <= this.#last) return this.#duplicate(part);
    if (part === 1 && parts > 1 && length + parts - 1 > size) return REFUSE;
    this.#noteGap(sequence);
    if (part > 1) {
      // Its first part is missing. Before the first frame of all, that part came too early to be seen.
      if (this.#last !== undefined) this.#count(1, 1);
      this.#finish(sequence);
      this.#givenUp = sequence;
      return SKIP;
    }
    const isLast = parts === 1;
    if (isLast) this.#finish(sequence);
    else this.#current = { sequence, size, parts, received: 1, bytes: length };
    return { kind: "put", offset: 0, isFirst: true, isLast };
  }

  /** Frames from number `first` to `last` are not wanted, of which `count` have come: they are not lost. */
  pass(first: number, last: number, count: number): void {
    if (this.#current !== undefined) this.#tear();
    const from = Math.max(first, (this.#last ?? 0) + 1);
    if (last < from) return;
    this.#noteGap(from);
    this.#count(Math.max(0, last - from + 1 - count), 0);
    this.#last = last;
    this.#givenUp = last;
  }

  /** Notes what a message says that comes after frame number `sequence`: nothing of that frame or of those before it comes any more. */
  noteLast(sequence: number): void {
    if (this.#current !== undefined && this.#current.sequence <= sequence) this.#tear();
    if (this.#last !== undefined && sequence > this.#last) this.#noteGap(sequence + 1);
    this.#last = Math.max(this.#last ?? sequence, sequence);
  }

  /** The frame whose first part was taken last is not wanted: its remaining parts are skipped, and it is not lost. */
  giveUp(): void {
    if (this.#current !== undefined) this.#finish(this.#current.sequence);
    this.#givenUp = this.#last ?? 0;
  }

  /** No more messages come: an open frame does not become whole. */
  abandon(): void {
    this.#tear();
  }

  #tear(): void {
    if (this.#current === undefined) return;
    this.#count(1, 1);
    this.#finish(this.#current.sequence);
    this.#givenUp = this.#last ?? 0;
  }

  #finish(sequence: number): void {
    this.#current = undefined;
    this.#last = sequence;
  }

  #noteGap(sequence: number): void {
    if (this.#last !== undefined && sequence > this.#last + 1) this.#count(sequence - this.#last - 1, 0);
  }

  #count(lost: number, torn: number): void {
    this.#torn += torn;
    if (this.#seesAll) this.#lost += lost;
  }

  #duplicate(part: number): Verdict {
    if (part === 1) this.#duplicates++;
    return SKIP;
  }
}

/** What a receiver does with a message of a run: `free`: it may adopt it; `undecided`: it asks again later. */
export type Standing = "current" | "free" | "undecided" | "refused";

/**
 * Which of the runs on a subject is received: the first one, until it has ended or is dead. Messages of another one wait until
 * it is known whether the first one lives, and are refused if it does.
 */
export class Runs {
  readonly #deadAfterMs: number;
  readonly #decideAfterMs: number;
  #current: string | undefined;
  /** How long nothing has been heard of it, in milliseconds. */
  #silentMs = 0;
  #challenger: string | undefined;
  /** How long nothing has been heard of the current run since the challenger came, in milliseconds. */
  #unansweredMs = 0;
  /** Whether the current run was heard since the challenger came. */
  #isChallengerRefused = false;

  /**
   * @param deadAfterMs a run of which nothing was heard for this long is dead.
   * @param decideAfterMs if another run has come, the first one counts as dead after this long.
   */
  constructor(deadAfterMs: number, decideAfterMs = deadAfterMs) {
    this.#deadAfterMs = deadAfterMs;
    this.#decideAfterMs = decideAfterMs;
  }

  /** The run that is received. */
  get current(): string | undefined {
    return this.#current;
  }

  /** Whether the run that is received is dead. */
  get isDead(): boolean {
    return this.#current !== undefined && this.#silentMs >= this.#deadAfterMs;
  }

  /** Notes a sign of life of a run. */
  hear(run: string): void {
    if (run !== this.#current) return;
    this.#silentMs = 0;
    if (this.#challenger !== undefined) this.#isChallengerRefused = true;
  }

  /** Notes that `milliseconds` have passed in which signs of life could have come. */
  pass(milliseconds: number): void {
    this.#silentMs += milliseconds;
    if (this.#challenger !== undefined) this.#unansweredMs += milliseconds;
  }

  /** Counts the silence anew, because signs of life could not come. */
  forgive(): void {
    this.#silentMs = 0;
    this.#unansweredMs = 0;
  }

  /** What to do with a message of a run. */
  standingOf(run: string): Standing {
    if (run === this.#current) return "current";
    if (this.#current === undefined || this.isDead) return "free";
    if (this.#challenger !== run) {
      this.#challenger = run;
      this.#isChallengerRefused = false;
      this.#unansweredMs = 0;
    }
    if (this.#isChallengerRefused) return "refused";
    return this.#unansweredMs >= this.#decideAfterMs ? "free" : "undecided";
  }

  /** Receives another run. */
  adopt(run: string): void {
    this.end();
    this.#current = run;
  }

  /** The current run has ended. */
  end(): void {
    this.#current = undefined;
    this.#silentMs = 0;
    this.#challenger = undefined;
  }
}
