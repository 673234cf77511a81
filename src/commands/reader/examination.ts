// The checks of the reader: the size, the bytes and the checksum of each frame.

import type { Log } from "../../cli/log.ts";
import type { LoopClock } from "../../cli/timing.ts";
import { STAMP_SIZE } from "../../core/index.ts";
import { type Pattern, PatternFrames } from "../../frames/patterns.ts";
import { PIECE_SIZE } from "../../frames/transforms.ts";
import type { ReaderDocument } from "../../schemas/reader.ts";

/** The most checksums in a result; the log has all of them. */
export const MAX_CHECKSUMS = 100;

/** What to check. */
export interface ExaminationOptions {
  /** The expected size of each frame, if it is checked. */
  readonly size: number | undefined;
  readonly verify: "none" | Pattern;
  readonly checksum: boolean;
}

/** Checks frames, and adds errors and checksums to the document. */
export class Examination {
  readonly #options: ExaminationOptions;
  readonly #document: ReaderDocument;
  readonly #log: Log | undefined;
  readonly #clock: LoopClock;
  readonly #expected: PatternFrames | undefined;

  constructor(options: ExaminationOptions, document: ReaderDocument, log: Log | undefined, clock: LoopClock) {
    this.#options = options;
    this.#document = document;
    this.#log = log;
    this.#clock = clock;
    this.#expected = options.verify === "none" ? undefined : new PatternFrames(options.verify);
  }

  /** Whether there is anything to check. */
  get isWanted(): boolean {
    const { verify, size, checksum } = this.#options;
    return verify !== "none" || size !== undefined || checksum;
  }

  /** Counts a frame that is too short for its stamp. */
  refuse(number: number, data: Uint8Array): void {
    this.#countError(number, `it has ${data.length} bytes, and a stamp has ${STAMP_SIZE}`);
  }

  /** Checks a frame, numbered from 0. Returns a promise for a large one, which takes turns with the event loop. */
  check(number: number, sequence: number, data: Uint8Array): Promise<void> | undefined {
    if (data.length > PIECE_SIZE) return this.#checkInPieces(number, sequence, data);
    const expected = this.#expected;
    if (this.#checkSize(number, data) && expected?.matches(sequence - 1, data) === false) {
      this.#countMismatch(number, sequence);
    }
    if (this.#options.checksum) this.#addChecksum(number, new Bun.CryptoHasher("md5").update(data));
    return undefined;
  }

  async #checkInPieces(number: number, sequence: number, data: Uint8Array): Promise<void> {
    const expected = this.#expected;
    if (this.#checkSize(number, data) && expected !== undefined) {
      while (!expected.prepare(sequence - 1, data.length)) await this.#clock.turn();
      const isRight = await this.#everyPiece(data, (start, end) =>
        expected.matches(sequence - 1, data, start, end),
      );
      if (!isRight) this.#countMismatch(number, sequence);
    }
    if (!this.#options.checksum) return;
    const hasher = new Bun.CryptoHasher("md5");
    await this.#everyPiece(data, (start, end) => {
      hasher.update(data.subarray(start, end));
      return true;
    });
    this.#addChecksum(number, hasher);
  }

  /** Whether `holds` is true for every piece of a frame. */
  async #everyPiece(data: Uint8Array, holds: (start: number, end: number) => boolean): Promise<boolean> {
    for (let start = 0; start < data.length; start += PIECE_SIZE) {
      if (!holds(start, Math.min(data.length, start + PIECE_SIZE))) return false;
      await this.#clock.turn();
    }
    return true;
  }

  #checkSize(number: number, data: Uint8Array): boolean {
    const { size = data.length } = this.#options;
    if (data.length !== size) this.#countError(number, `it has ${data.length} bytes, not ${size}`);
    return data.length === size;
  }

  #countMismatch(number: number, sequence: number): void {
    this.#countError(
      number,
      `it does not match the ${this.#expected?.pattern} pattern of sequence ${sequence}`,
    );
  }

  #countError(number: number, reason: string): void {
    this.#document.verification_errors++;
    this.#document.first_error_frame ??= number;
    this.#log?.warn(`Frame ${number} failed verification: ${reason}.`);
  }

  #addChecksum(frame: number, hasher: Bun.CryptoHasher): void {
    const checksum = hasher.digest("hex");
    if (frame < MAX_CHECKSUMS) this.#document.checksums.push({ frame, checksum });
    this.#log?.info(`Frame ${frame} has MD5 ${checksum}.`);
  }
}
