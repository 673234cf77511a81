// Writes frames to a file or to stdout: gathers small frames, writes large ones without a copy.

import type { FrameBatch } from "../core/index.ts";
import { FrameJoiner, type Framing } from "../frames/framing.ts";
import type { ByteOutput } from "./streams.ts";

/** Frames up to this size are copied, so that the reader can continue while the thread pool writes. */
const MAX_COPIED_SIZE = 256 * 1024;

/** Joins frames into a byte stream. One piece is written while the next one fills. */
export class FrameOutput {
  readonly #output: ByteOutput;
  readonly #joiner: FrameJoiner;
  #writing: Promise<void> = Promise.resolve();

  constructor(output: ByteOutput, framing: Framing) {
    this.#output = output;
    this.#joiner = new FrameJoiner(framing);
  }

  /** Whether no frame waits for a write. */
  get isEmpty(): boolean {
    return this.#joiner.size === 0;
  }

  /** Removes what the file held before; without a call, the first write does. */
  restart(): void {
    this.#output.restart();
  }

  /** {@link ByteOutput.checkReader} */
  checkReader(): void {
    this.#output.checkReader();
  }

  /** Copies a frame if there is room. If it returns false, use `write`. */
  append(frame: Uint8Array): boolean {
    return frame.length <= MAX_COPIED_SIZE && this.#joiner.append(frame);
  }

  /** Copies all frames of a batch if there is room. If it returns false, nothing was copied: append them one by one. */
  appendBatch(frames: FrameBatch): boolean {
    return this.#joiner.appendBatch(frames);
  }

  /**
   * Writes a frame after the frames before it. Its bytes are no longer needed when the promise settles.
   *
   * @throws CommandError IO_ERROR; DownstreamClosed; FrameTooLargeError if its length prefix cannot hold its size.
   */
  async write(frame: Uint8Array): Promise<void> {
    await this.#idle();
    if (frame.length > MAX_COPIED_SIZE) {
      await this.#start(this.#joiner.takeWith(frame));
    } else {
      this.#start([this.#joiner.take()]);
      this.#joiner.append(frame);
    }
  }

  /**
   * Writes the frames that are still gathered.
   *
   * @throws As `write` does.
   */
  async flush(): Promise<void> {
    await this.#idle();
    if (this.#joiner.size > 0) await this.#start([this.#joiner.take()]);
  }

  /** Waits for all writes, including those whose caller no longer waits. */
  async #idle(): Promise<void> {
    for (let awaited: Promise<void> | undefined; awaited !== this.#writing; ) {
      awaited = this.#writing;
      await awaited;
    }
  }

  #start(pieces: readonly Uint8Array[]): Promise<void> {
    const writing = this.#writeAll(pieces);
    // The next write awaits it; there may be none.
    writing.catch(() => {});
    this.#writing = writing;
    return writing;
  }

  async #writeAll(pieces: readonly Uint8Array[]): Promise<void> {
    for (const piece of pieces) await this.#output.write(piece);
  }
}
