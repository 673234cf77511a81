// Frames on their way into the ring: what each kind of write does at one attempt, and how much has been written.

import { Code } from "../native/codes.ts";
import type { RingWriter } from "../native/ring.ts";
import type { Attempt } from "./write-queue.ts";

/**
 * The first attempt of a call that may block, in microseconds. With it the helper may wait for an empty ring to rewind, which
 * takes up to 4 ms and keeps the ring in the caches. A signal does not end so short a wait.
 */
export const BRIEFLY_US = 1;

/** The place of a frame that is being written. */
export interface AcquiredFrame {
  /** The sequence number it will carry. */
  readonly sequence: number;
  /** The frame's bytes in shared memory, to be filled. A lease until the commit or the cancellation. */
  readonly data: Uint8Array;
}

/** Writes frames that fit, and prepares the attempts for those that have to wait. Counts what has been written. */
export class FrameWrites {
  framesWritten = 0;
  bytesWritten = 0;
  readonly #ring: RingWriter;

  constructor(ring: RingWriter) {
    this.#ring = ring;
  }

  /** Writes a frame if there is room within `waitUs` microseconds: 0, or {@link BRIEFLY_US}. */
  tryFrame(data: Uint8Array, waitUs: number): boolean {
    if (this.#ring.write(data, waitUs) !== Code.OK) return false;
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
   * first `done` bytes, as many as there is room for as in {@link tryFrame}. Returns how many bytes.
   */
  tryFrames(data: Uint8Array, frameSize: number, done: number, waitUs: number): number {
    const frames = this.#ring.writeFrames(data, done, frameSize, waitUs);
    return frames > 0 ? this.#countFrames(frames, frameSize, data.length - done) : 0;
  }

  /** Writes frames as {@link tryFrames} while there is room for the next. Returns how many bytes. */
  whileRoom(data: Uint8Array, frameSize: number, waitUs: number): number {
    let done = 0;
    for (let size = 1; size > 0 && done < data.length; done += size) {
      size = this.tryFrames(data, frameSize, done, waitUs);
    }
    return done;
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
