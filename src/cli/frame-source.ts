// The frames to send: those of a pattern, or of a byte stream.

import { FrameTooLargeError } from "../core/index.ts";
import { FrameSplitter, type Framing, type SplitterSizes } from "../frames/framing.ts";
import { type Pattern, PatternFrames } from "../frames/patterns.ts";
import type { Video } from "../frames/video.ts";
import { TurnKeeper } from "../runtime/turn.ts";
import type { ByteInput } from "./streams.ts";

/** Sizes of frames, in bytes. */
interface FrameSizes {
  /** Of the frames to send. */
  readonly frameSize: number;
  /** Of the largest frame that fits the buffer. */
  readonly maxFrameSize: number;
}

/** Provides frames, several at once if they are stored end to end. */
export interface FrameSource {
  /**
   * Returns 1 to `most` frames from number `index` on, which are lent until the next call. Returns `undefined` if `more`
   * has to be called first.
   */
  next(index: number, most: number): FrameRun | undefined;
  /** Waits for more frames; returns false at the end. */
  more(): Promise<boolean>;
  /** Empty lines skipped so far: they are no frames. */
  readonly emptyLines: number;
}

/** Which frames to send. */
interface SourceOptions {
  /** Default: `sequential`. */
  readonly pattern: Pattern | undefined;
  readonly framing: Framing;
  /** Bytes of a frame. */
  readonly size: number;
  /** Whose frames they are, if they are raw video: then they are end to end, and the last one is whole, too. */
  readonly video: Video | undefined;
}

/**
 * The frames of the input, or of a pattern if there is none.
 *
 * @throws FrameTooLargeError if `size` exceeds `maxFrameSize`.
 */
export function sourceOf(
  input: ByteInput | undefined,
  { pattern = "sequential", framing, size: frameSize, video }: SourceOptions,
  maxFrameSize: number,
  signal: AbortSignal,
): FrameSource {
  const sizes = { frameSize, maxFrameSize };
  if (input === undefined) return new PatternSource(pattern, sizes);
  return video === undefined
    ? new StreamSource(input, framing, sizes, signal)
    : new StreamSource(input, "fixed", { ...sizes, isWhole: true }, signal);
}

/** Frames, end to end. */
export interface FrameRun {
  readonly bytes: Uint8Array;
  /** Bytes of each frame. */
  readonly frameSize: number;
}

/** Endless frames of one pattern and one size. */
class PatternSource implements FrameSource {
  readonly emptyLines = 0;
  readonly #frames: PatternFrames;
  readonly #size: number;
  readonly #turns = new TurnKeeper();

  /** @throws FrameTooLargeError if a frame exceeds `maxFrameSize`. */
  constructor(pattern: Pattern, { frameSize, maxFrameSize }: FrameSizes) {
    if (frameSize > maxFrameSize) {
      throw new FrameTooLargeError(
        `Frames of ${frameSize} bytes do not fit the buffer, which takes up to ${maxFrameSize}.`,
        { hint: "Lower --size, or give the reader a larger --buffer-size." },
      );
    }
    this.#frames = new PatternFrames(pattern);
    this.#size = frameSize;
  }

  next(index: number, most: number): FrameRun | undefined {
    if (!this.#frames.prepare(index, this.#size)) return undefined;
    return { bytes: this.#frames.run(index, this.#size, most), frameSize: this.#size };
  }

  /** Takes a turn of the event loop between the pieces of a large frame. */
  async more(): Promise<boolean> {
    await this.#turns.turn();
    return true;
  }
}

/** The frames of a byte stream. */
class StreamSource implements FrameSource {
  readonly #input: ByteInput;
  readonly #splitter: FrameSplitter;
  /** The size of all frames, if they have one size. */
  readonly #frameSize: number | undefined;
  readonly #signal: AbortSignal;
  #ended = false;

  /** @throws FrameTooLargeError if `frameSize` exceeds `maxFrameSize`. */
  constructor(input: ByteInput, framing: Framing, sizes: FrameSizes & SplitterSizes, signal: AbortSignal) {
    this.#input = input;
    this.#splitter = new FrameSplitter(framing, sizes);
    this.#frameSize = framing === "fixed" ? sizes.frameSize : undefined;
    this.#signal = signal;
  }

  get emptyLines(): number {
    return this.#splitter.emptyLines;
  }

  /** @throws ZeroBufferError IO_ERROR at a line or record that cannot be a frame. */
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
