// Frames on their way to a file or to stdout: small ones gathered, large ones written where they lie.

import { raceAbort } from "../core/abort.ts";
import { FrameJoiner, type Framing } from "../core/framing.ts";
import type { ByteOutput } from "./streams.ts";

/** Frames up to this size are worth a copy: it lets the reader go on while the thread pool writes. */
const MAX_COPIED_SIZE = 256 * 1024;

/** Joins frames into a byte stream; a piece of it is being written while the next one fills. */
export class FrameOutput {
  readonly #output: ByteOutput;
  readonly #signal: AbortSignal;
  readonly #joiner: FrameJoiner;
  #writing: Promise<void> = Promise.resolve();

  constructor(output: ByteOutput, framing: Framing, signal: AbortSignal) {
    this.#output = output;
    this.#signal = signal;
    this.#joiner = new FrameJoiner(framing);
  }

  /** Copies the frame if there is room at once; `write` takes it otherwise. */
  append(frame: Uint8Array): boolean {
    return frame.length <= MAX_COPIED_SIZE && this.#joiner.append(frame);
  }

  /**
   * Takes the frame, waiting for as long as the stream is stalled. The frame is no longer needed afterwards.
   *
   * @throws CommandError IO_ERROR; DownstreamClosed; the signal's reason once it is aborted.
   */
  async write(frame: Uint8Array): Promise<void> {
    await raceAbort(this.#writing, this.#signal);
    if (frame.length > MAX_COPIED_SIZE) {
      for (const piece of this.#joiner.takeWith(frame)) await raceAbort(this.#output.write(piece), this.#signal);
      return;
    }
    this.#startWriting();
    this.#joiner.append(frame);
  }

  /**
   * Writes all that was taken.
   *
   * @throws As `write` does.
   */
  async flush(signal = this.#signal): Promise<void> {
    await raceAbort(this.#writing, signal);
    if (this.#joiner.size === 0) return;
    this.#startWriting();
    await raceAbort(this.#writing, signal);
  }

  #startWriting(): void {
    this.#writing = this.#output.write(this.#joiner.take());
    // It is awaited by the next call, which may never come.
    this.#writing.catch(() => {});
  }
}
