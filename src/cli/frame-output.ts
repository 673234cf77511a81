// Frames on their way to a file or to stdout: small ones gathered, large ones written where they lie.

import type { FrameBatch } from "../core/index.ts";
import { FrameJoiner, type Framing } from "../frames/framing.ts";
import type { ByteOutput } from "./streams.ts";

/** Frames up to this size are worth a copy: it lets the reader go on while the thread pool writes. */
const MAX_COPIED_SIZE = 256 * 1024;

/** Joins frames into a byte stream; a piece of it is being written while the next one fills. */
export class FrameOutput {
  readonly #output: ByteOutput;
  readonly #joiner: FrameJoiner;
  #writing: Promise<void> = Promise.resolve();

  constructor(output: ByteOutput, framing: Framing) {
    this.#output = output;
    this.#joiner = new FrameJoiner(framing);
  }

  /** Whether all frames have been written, or are being written. */
  get isEmpty(): boolean {
    return this.#joiner.size === 0;
  }

  /** Copies the frame if there is room at once; `write` takes it otherwise. */
  append(frame: Uint8Array): boolean {
    return frame.length <= MAX_COPIED_SIZE && this.#joiner.append(frame);
  }

  /** {@link append} for all frames of a batch; false, and none was taken, if they have to be appended one by one. */
  appendBatch(frames: FrameBatch): boolean {
    return this.#joiner.appendBatch(frames);
  }

  /**
   * Takes the frame, once the stream has taken what came before. It is no longer needed when the promise settles.
   *
   * @throws CommandError IO_ERROR; DownstreamClosed.
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
   * Settles once the stream has taken everything.
   *
   * @throws As `write` does.
   */
  async flush(): Promise<void> {
    await this.#idle();
    if (this.#joiner.size > 0) await this.#start([this.#joiner.take()]);
  }

  /** Settles once nothing is being written, also by a `write` whose caller has given up waiting for it. */
  async #idle(): Promise<void> {
    for (let awaited: Promise<void> | undefined; awaited !== this.#writing; ) {
      awaited = this.#writing;
      await awaited;
    }
  }

  #start(pieces: readonly Uint8Array[]): Promise<void> {
    const writing = this.#writeAll(pieces);
    // Whoever comes next awaits it, and perhaps nobody does.
    writing.catch(() => {});
    this.#writing = writing;
    return writing;
  }

  async #writeAll(pieces: readonly Uint8Array[]): Promise<void> {
    for (const piece of pieces) await this.#output.write(piece);
  }
}
