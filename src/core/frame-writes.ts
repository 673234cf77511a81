// Frames on their way into the ring: what each kind of write does at one attempt, and how much has been written.

import { Code } from "../native/codes.ts";
import type { RingWriter } from "../native/ring.ts";
import type { Attempt } from "./write-queue.ts";

/** Writes frames that fit, and prepares the attempts for those that have to wait. Counts what has been written. */
export class FrameWrites {
  framesWritten = 0;
  bytesWritten = 0;
  readonly #ring: RingWriter;

  constructor(ring: RingWriter) {
    this.#ring = ring;
  }

  /** Writes a frame if there is room now. */
  tryFrame(data: Uint8Array): boolean {
    if (this.#ring.write(data, 0) !== Code.OK) return false;
    this.count(data.length, 1);
    return true;
  }

  // Attempts are made by functions of their own: a closure makes each call of the function around it allocate what it
  // captures.

  frame(data: Uint8Array): Attempt {
    return (waitUs) => {
      const code = this.#ring.write(data, waitUs);
      if (code === Code.OK) this.count(data.length, 1);
      return code;
    };
  }

  /**
   * Writes frames of `frameSize` bytes, the last one perhaps shorter, with one call: up to 64 of those that follow the
   * first `done` bytes, as many as there is room for now. Returns how many bytes.
   */
  tryFrames(data: Uint8Array, frameSize: number, done: number): number {
    const frames = this.#ring.writeFrames(data, done, frameSize, 0);
    return frames > 0 ? this.#countFrames(frames, frameSize, data.length - done) : 0;
  }

  /** Writes all that follows the first `done` bytes, with as many attempts as it takes. */
  frames(data: Uint8Array, frameSize: number, done: number): Attempt {
    let left = data.length - done;
    return (waitUs) => {
      const frames = this.#ring.writeFrames(data, data.length - left, frameSize, waitUs);
      if (frames <= 0) return frames;
      left -= this.#countFrames(frames, frameSize, left);
      return left;
    };
  }

  /** Finds room for a frame of `size` bytes. */
  place(size: number): Attempt {
    return (waitUs) => this.#ring.acquire(size, waitUs);
  }

  /** Counts frames that were written of the `left` bytes, and returns their bytes. */
  #countFrames(frames: number, frameSize: number, left: number): number {
    const size = Math.min(frames * frameSize, left);
    this.count(size, frames);
    return size;
  }

  count(size: number, frames: number): void {
    this.framesWritten += frames;
    this.bytesWritten += size;
  }
}
