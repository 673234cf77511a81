// Where the writer's frames come from: a pattern, or a byte stream.

import { FrameTooLargeError } from "../core/index.ts";
import { FrameSplitter, type Framing } from "../frames/framing.ts";
import { type Pattern, PatternFrames } from "../frames/patterns.ts";
import { TurnKeeper } from "../runtime/turn.ts";
import type { ByteInput } from "./streams.ts";

/** Sizes of frames, in bytes. */
interface FrameSizes {
  /** As asked for. */
  readonly frameSize: number;
  /** As the buffer allows. */
  readonly maxFrameSize: number;
}

/** Hands out frames, several at once where they lie end to end. */
export interface FrameSource {
  /**
   * 1 to `most` frames from number `index` on, lent until the next call. `undefined` where more has to arrive or to be made
   * first, or at the end.
   */
  next(index: number, most: number): FrameRun | undefined;
  /** Waits for more; false at the end. */
  more(): Promise<boolean>;
  /** Empty lines skipped so far, which make no frames. */
  readonly emptyLines: number;
}

/** What to take frames from. */
interface SourceOptions {
  /** Default: `sequential`. */
  readonly pattern: Pattern | undefined;
  readonly framing: Framing;
  /** Bytes of a frame. */
  readonly size: number;
}

/**
 * The frames of the input, or of a pattern if there is none.
 *
 * @throws FrameTooLargeError if frames of the size asked for exceed `maxFrameSize`.
 */
export function sourceOf(
  input: ByteInput | undefined,
  { pattern = "sequential", framing, size: frameSize }: SourceOptions,
  maxFrameSize: number,
  signal: AbortSignal,
): FrameSource {
  const sizes = { frameSize, maxFrameSize };
  return input === undefined
    ? new PatternSource(pattern, sizes)
    : new StreamSource(input, framing, sizes, signal);
}

/** Frames that lie end to end. */
export interface FrameRun {
  readonly bytes: Uint8Array;
  /** Bytes of each. */
  readonly frameSize: number;
}

/** Frames of one pattern and one size, without end. */
class PatternSource implements FrameSource {
  readonly emptyLines = 0;
  readonly #frames: PatternFrames;
  readonly #size: number;
  readonly #turns = new TurnKeeper();

  /** @throws FrameTooLargeError if a frame exceeds `maxFrameSize`. */
  constructor(pattern: Pattern, { frameSize, maxFrameSize }: FrameSizes) {
    if (frameSize > maxFrameSize) {
      throw new FrameTooLargeError(
        `Frames of ${frameSize} bytes are larger than the ${maxFrameSize} bytes a frame can have.`,
        { hint: "Use smaller frames (--size), or give the reader a larger buffer (--buffer-size)." },
      );
    }
    this.#frames = new PatternFrames(pattern);
    this.#size = frameSize;
  }

  next(index: number, most: number): FrameRun | undefined {
    if (!this.#frames.prepare(index, this.#size)) return undefined;
    return { bytes: this.#frames.run(index, this.#size, most), frameSize: this.#size };
  }

  /** A large frame is made in pieces, with a turn of the event loop after each. */
  async more(): Promise<boolean> {
    await this.#turns.turn();
    return true;
  }
}

/** The frames of a byte stream. */
class StreamSource implements FrameSource {
  readonly #input: ByteInput;
  readonly #splitter: FrameSplitter;
  /** Where all frames have one. */
  readonly #frameSize: number | undefined;
  readonly #signal: AbortSignal;
  #ended = false;

  /** @throws FrameTooLargeError if `frameSize` exceeds `maxFrameSize`. */
  constructor(input: ByteInput, framing: Framing, sizes: FrameSizes, signal: AbortSignal) {
    this.#input = input;
    this.#splitter = new FrameSplitter(framing, sizes);
    this.#frameSize = framing === "fixed" ? sizes.frameSize : undefined;
    this.#signal = signal;
  }

  get emptyLines(): number {
    return this.#splitter.emptyLines;
  }

  /** @throws ZeroBufferError IO_ERROR at a record that cannot be a frame. */
  next(_index: number, most: number): FrameRun | undefined {
    const bytes = this.#splitter.nextRun(most);
    if (bytes === undefined) return undefined;
    return { bytes, frameSize: Math.min(this.#frameSize ?? bytes.length, bytes.length) };
  }

  /** @throws CommandError IO_ERROR; the signal's reason once it is aborted. */
  async more(): Promise<boolean> {
    if (this.#ended) return false;
    const chunk = await this.#input.next(this.#signal);
    if (chunk.length > 0) {
      this.#splitter.push(chunk);
    } else {
      this.#splitter.end();
      this.#ended = true;
    }
    return true;
  }
}
