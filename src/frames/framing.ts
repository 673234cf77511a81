// Frames in a byte stream: splits a stream into frames, and joins frames into a stream.

import {
  type FrameBatch,
  FrameTooLargeError,
  InvalidFrameSizeError,
  ZeroBufferError,
} from "../core/index.ts";

/**
 * How the frames of a stream are separated:
 * - `fixed`: all frames have the same size, except that the last one may be shorter; there is nothing between them.
 * - `lines`: each frame ends with a newline (0x0A), which is not part of it; a carriage return before it is.
 * - `length-prefixed`: each frame follows its length in bytes, an unsigned 32-bit little-endian number.
 */
export const FRAMINGS = ["fixed", "lines", "length-prefixed"] as const;

/** The name of one of the {@link FRAMINGS}. */
export type Framing = (typeof FRAMINGS)[number];

const NEWLINE = 0x0a;
const PREFIX_SIZE = 4;

/** The largest frame that a length prefix can announce, in bytes. */
export const MAX_PREFIXED_SIZE = 2 ** 32 - 1;

/** The sizes for a {@link FrameSplitter}, in bytes. */
export interface SplitterSizes {
  /** The largest frame to accept, at least 1. The splitter never collects more, whatever the stream says. */
  maxFrameSize: number;
  /** The size of every frame but the last, 1 to `maxFrameSize`. Required for `fixed`, ignored otherwise. */
  frameSize?: number;
  /** Whether the last frame of `fixed` must have that size, too. */
  isWhole?: boolean;
}

/**
 * Splits one byte stream into frames. For each chunk of the stream, in order:
 *
 *     splitter.push(chunk);
 *     for (let frame = splitter.next(); frame !== undefined; frame = splitter.next()) use(frame);
 *
 * and the same with `end()` instead of `push(chunk)` after the last chunk.
 *
 * A frame within one chunk is a view of that chunk. A frame across chunks is collected in a buffer that doubles as
 * bytes arrive, up to `maxFrameSize`. Do not change a chunk until `next()` returns `undefined`; reuse it afterwards. The
 * frames of a chunk are valid until then, too.
 */
export class FrameSplitter {
  readonly #framing: Framing;
  readonly #frameSize: number;
  readonly #maxFrameSize: number;
  readonly #isWhole: boolean;

  #chunk: Uint8Array = new Uint8Array(0);
  #position = 0;
  #ended = false;

  /** The bytes of an incomplete frame from earlier chunks. */
  #collected = new Uint8Array(0);
  #collectedSize = 0;

  /** How many bytes of a length prefix are read, and their value. */
  #prefixSize = 0;
  #prefix = 0;

  /** The offset in the stream of the next frame, or of its prefix if it has one. */
  #frameOffset = 0;
  #emptyLines = 0;

  /**
   * @throws InvalidFrameSizeError if `frameSize` is required and is not a whole number of at least 1.
   * @throws FrameTooLargeError if `frameSize` is required and exceeds `maxFrameSize`.
   */
  constructor(framing: Framing, { maxFrameSize, frameSize = 0, isWhole = false }: SplitterSizes) {
    if (framing === "fixed") requireFrameSize(frameSize, maxFrameSize);
    this.#framing = framing;
    this.#frameSize = frameSize;
    this.#maxFrameSize = maxFrameSize;
    this.#isWhole = isWhole;
  }

  /** The empty lines skipped so far; 0 unless the framing is `lines`. */
  get emptyLines(): number {
    return this.#emptyLines;
  }

  /**
   * Gives the splitter the next chunk of the stream, of any size.
   * @throws ZeroBufferError INTERNAL if frames of the chunk before are not taken yet, or after `end()`.
   */
  push(chunk: Uint8Array): void {
    this.#requireDrained();
    this.#chunk = chunk;
    this.#position = 0;
  }

  /**
   * Ends the stream, so that the remaining bytes can be taken as the last frame.
   * @throws ZeroBufferError INTERNAL if frames of the last chunk are not taken yet, or after `end()`.
   */
  end(): void {
    this.#requireDrained();
    this.#ended = true;
  }

  /**
   * The next frame, of 1 to `maxFrameSize` bytes, or `undefined` if it needs another chunk, or the end of the stream.
   * @throws ZeroBufferError IO_ERROR, with the byte offset in the stream, if a line or record is longer than
   *   `maxFrameSize`, or if a record, or a frame that must be whole, is empty or cut short by the end of the stream; on
   *   every later call as well.
   */
  next(): Uint8Array | undefined {
    switch (this.#framing) {
      case "fixed":
        return this.#nextFixed();
      case "lines":
        return this.#nextLine();
      case "length-prefixed":
        return this.#nextRecord();
    }
  }

  /**
   * The next frames, if they are end to end in the chunk: up to `most` with `fixed` framing, 1 otherwise. Otherwise as
   * {@link next}.
   */
  nextRun(most: number): Uint8Array | undefined {
    const frames = Math.min(most, Math.floor(this.#available / this.#frameSize));
    if (this.#framing !== "fixed" || this.#collectedSize > 0 || frames < 2) return this.next();
    return this.#take(frames * this.#frameSize);
  }

  #nextFixed(): Uint8Array | undefined {
    const missing = this.#frameSize - this.#collectedSize;
    if (missing <= this.#available) return this.#take(missing);
    this.#collectRest();
    if (this.#ended && this.#isWhole && this.#collectedSize > 0) throw this.#frameCutShort();
    return this.#ended ? this.#takeLast() : undefined;
  }

  #nextLine(): Uint8Array | undefined {
    for (;;) {
      const newline = this.#chunk.indexOf(NEWLINE, this.#position);
      const missing = newline === -1 ? this.#available : newline - this.#position;
      const size = this.#collectedSize + missing;
      if (size > this.#maxFrameSize) throw this.#lineTooLong();
      if (newline === -1) {
        this.#collectRest();
        return this.#ended ? this.#takeLast() : undefined;
      }
      this.#frameOffset += size + 1;
      if (size > 0) {
        const line = this.#take(missing);
        this.#position++;
        return line;
      }
      this.#position++;
      this.#emptyLines++;
    }
  }

  #nextRecord(): Uint8Array | undefined {
    this.#readPrefix();
    if (this.#prefixSize < PREFIX_SIZE) {
      if (this.#ended && this.#prefixSize > 0) throw this.#prefixCutShort();
      return undefined;
    }
    const size = this.#prefix >>> 0;
    if (size === 0 || size > this.#maxFrameSize) throw this.#badRecordSize(size);
    const missing = size - this.#collectedSize;
    if (missing <= this.#available) {
      this.#frameOffset += PREFIX_SIZE + size;
      this.#prefixSize = 0;
      this.#prefix = 0;
      return this.#take(missing);
    }
    this.#collectRest();
    if (this.#ended) throw this.#recordCutShort(size);
    return undefined;
  }

  #readPrefix(): void {
    while (this.#prefixSize < PREFIX_SIZE && this.#available > 0) {
      this.#prefix |= (this.#chunk[this.#position++] as number) << (8 * this.#prefixSize++);
    }
  }

  get #available(): number {
    return this.#chunk.length - this.#position;
  }

  /** Takes the frame that the next `size` bytes complete. */
  #take(size: number): Uint8Array {
    const start = this.#position;
    if (this.#collectedSize > 0) {
      this.#collect(size);
      return this.#takeCollected();
    }
    this.#position += size;
    return this.#chunk.subarray(start, this.#position);
  }

  #takeCollected(): Uint8Array {
    const frame = this.#collected.subarray(0, this.#collectedSize);
    this.#collectedSize = 0;
    return frame;
  }

  #takeLast(): Uint8Array | undefined {
    return this.#collectedSize > 0 ? this.#takeCollected() : undefined;
  }

  #collectRest(): void {
    this.#collect(this.#available);
  }

  /** Copies the next `size` bytes to the collected ones; the caller ensures `maxFrameSize`. */
  #collect(size: number): void {
    const needed = this.#collectedSize + size;
    if (needed > this.#collected.length) {
      const roomy = Math.max(needed, 2 * this.#collected.length);
      const grown = new Uint8Array(Math.min(roomy, this.#maxFrameSize));
      grown.set(this.#collected.subarray(0, this.#collectedSize));
      this.#collected = grown;
    }
    this.#collected.set(this.#chunk.subarray(this.#position, this.#position + size), this.#collectedSize);
    this.#collectedSize = needed;
    this.#position += size;
  }

  #requireDrained(): void {
    if (this.#ended) throw new ZeroBufferError("INTERNAL", "The stream has ended already.");
    if (this.#available > 0) {
      throw new ZeroBufferError("INTERNAL", `${this.#available} bytes of the last chunk are not split yet.`);
    }
  }

  #lineTooLong(): ZeroBufferError {
    return new ZeroBufferError(
      "IO_ERROR",
      `The line at byte offset ${this.#frameOffset} is longer than the maximum of ${this.#maxFrameSize} bytes.`,
      { hint: "Check that the stream is text in lines, or use a larger buffer." },
    );
  }

  #badRecordSize(size: number): ZeroBufferError {
    const record = `The record at byte offset ${this.#frameOffset}`;
    if (size === 0) {
      return new ZeroBufferError("IO_ERROR", `${record} has a length of 0; a frame has at least 1 byte.`, {
        hint: "Check that the stream is length-prefixed, and leave out empty records.",
      });
    }
    return new ZeroBufferError(
      "IO_ERROR",
      `${record} has a length of ${size}, more than the maximum of ${this.#maxFrameSize} bytes.`,
      { hint: "Check that the stream is length-prefixed (u32 little-endian), or use a larger buffer." },
    );
  }

  #prefixCutShort(): ZeroBufferError {
    return this.#cutShort(`after ${this.#prefixSize} of the ${PREFIX_SIZE} bytes of its length`);
  }

  #recordCutShort(size: number): ZeroBufferError {
    return this.#cutShort(`after ${this.#collectedSize} of its ${size} bytes`);
  }

  #frameCutShort(): ZeroBufferError {
    const where = `after ${this.#collectedSize} of the ${this.#frameSize} bytes of a frame`;
    return new ZeroBufferError("IO_ERROR", `The stream ends ${where}.`, {
      hint: "Check that the stream is complete, and that its frames have that size.",
    });
  }

  #cutShort(where: string): ZeroBufferError {
    return new ZeroBufferError(
      "IO_ERROR",
      `The record at byte offset ${this.#frameOffset} is truncated: the stream ends ${where}.`,
      { hint: "Check that the stream is length-prefixed and complete." },
    );
  }
}

function requireFrameSize(frameSize: number, maxFrameSize: number): void {
  if (!Number.isSafeInteger(frameSize) || frameSize < 1) {
    throw new InvalidFrameSizeError(`A frame size must be a whole number of at least 1, not ${frameSize}.`);
  }
  if (frameSize > maxFrameSize) {
    throw new FrameTooLargeError(
      `Frames of ${frameSize} bytes do not fit the buffer, which takes up to ${maxFrameSize}.`,
      { hint: "Use smaller frames, or a larger buffer." },
    );
  }
}

/** How many bytes a {@link FrameJoiner} gathers by default: 1 MiB. */
const JOINER_CAPACITY = 1024 * 1024;

/**
 * Joins frames into one byte stream, gathering many small ones into one write:
 *
 *     if (!joiner.append(frame)) for (const piece of joiner.takeWith(frame)) write(piece);
 *     …
 *     write(joiner.take());
 *
 * It has two buffers: one is written while the other fills.
 * Frames are not changed: with `lines`, a frame that contains a newline becomes several lines.
 */
export class FrameJoiner {
  readonly #framing: Framing;
  readonly #overhead: number;
  #filling: Uint8Array;
  #taken: Uint8Array;
  #size = 0;

  /** @param capacity The most bytes to gather, framing included; both buffers have this size. */
  constructor(framing: Framing, capacity = JOINER_CAPACITY) {
    this.#framing = framing;
    this.#overhead = prefixOf(framing, 0).length + suffixOf(framing).length;
    this.#filling = new Uint8Array(capacity);
    this.#taken = new Uint8Array(capacity);
  }

  /** The number of bytes appended and not taken yet. */
  get size(): number {
    return this.#size;
  }

  /**
   * Copies a frame, with its framing, after the frames before it.
   * @returns False if it does not fit; nothing was copied then. `take()` makes room; `takeWith(frame)` also takes a
   *   frame that is larger than the capacity.
   */
  append(frame: Uint8Array): boolean {
    const size = this.#size + frame.length + this.#overhead;
    if (size > this.#filling.length) return false;
    if (this.#framing === "length-prefixed") {
      putLength(this.#filling, this.#size, frame.length);
      this.#size += PREFIX_SIZE;
    }
    this.#filling.set(frame, this.#size);
    if (this.#framing === "lines") this.#filling[size - 1] = NEWLINE;
    this.#size = size;
    return true;
  }

  /**
   * Copies frames, as {@link append} does each.
   * @returns False if they do not all fit, or each needs its framing; nothing was copied then.
   */
  appendBatch(frames: FrameBatch): boolean {
    const size = this.#size + frames.size;
    if (this.#overhead > 0 || size > this.#filling.length) return false;
    frames.copyTo(this.#filling.subarray(this.#size));
    this.#size = size;
    return true;
  }

  /**
   * Takes the bytes that were appended since the last call.
   * @returns A view, empty if there are none, that is valid until `take()` or `takeWith()` is called again: it must be
   *   written by then.
   */
  take(): Uint8Array {
    const bytes = this.#filling.subarray(0, this.#size);
    [this.#filling, this.#taken] = [this.#taken, this.#filling];
    this.#size = 0;
    return bytes;
  }

  /**
   * Takes the bytes that were appended since the last call and, without a copy, one more frame.
   * @returns What to write, in this order: the bytes of `take()`, the frame's prefix, the frame, its suffix. None of
   *   them is empty: an empty part is left out. The frame must not change until it is written.
   * @throws FrameTooLargeError, before anything is taken, if a length prefix cannot hold the size: it holds up to
   *   2^32 - 1.
   */
  takeWith(frame: Uint8Array): Uint8Array[] {
    const prefix = prefixOf(this.#framing, frame.length);
    const pieces = [this.take(), prefix, frame, suffixOf(this.#framing)];
    return pieces.filter((piece) => piece.length > 0);
  }
}

/**
 * The length prefix of a frame.
 *
 * @throws FrameTooLargeError if it does not hold `size`.
 */
export function lengthPrefix(size: number): Uint8Array {
  if (size > MAX_PREFIXED_SIZE) {
    throw new FrameTooLargeError(
      `A frame of ${size} bytes does not fit a 32-bit length prefix, which holds up to ${MAX_PREFIXED_SIZE}.`,
      { hint: "Use smaller frames, or a framing without length prefixes." },
    );
  }
  const prefix = new Uint8Array(PREFIX_SIZE);
  putLength(prefix, 0, size);
  return prefix;
}

function prefixOf(framing: Framing, size: number): Uint8Array {
  return framing === "length-prefixed" ? lengthPrefix(size) : new Uint8Array(0);
}

function suffixOf(framing: Framing): Uint8Array {
  return framing === "lines" ? Uint8Array.of(NEWLINE) : new Uint8Array(0);
}

function putLength(target: Uint8Array, offset: number, length: number): void {
  target[offset] = length;
  target[offset + 1] = length >>> 8;
  target[offset + 2] = length >>> 16;
  target[offset + 3] = length >>> 24;
}
