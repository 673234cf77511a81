// One frame, lent by a reader.

import type { RingReader, SharedMemory } from "../native/handles.ts";
import { ClosedError } from "./errors.ts";

/** What a frame needs of the reader that lent it: one object for all its frames, with plain fields for speed. */
export class Lender {
  isClosed = false;

  constructor(
    readonly name: string,
    readonly memory: SharedMemory,
    readonly ring: RingReader,
  ) {}
}

/**
 * A frame in shared memory, valid until it is released. Frames may be held for as long as needed, many at once, and
 * released in any order; their space returns to the writer in the order of reading.
 */
export class Frame implements Disposable {
  /** The outcome of a read that found no frame: `isValid` is false, size and sequence are 0, data is empty. */
  static readonly invalid: Frame = new Frame(undefined, 0, 0, 0, 0);

  /** Number of bytes, at least 1. */
  readonly size: number;
  /** 1 for the first frame of a writer, then one more each. */
  readonly sequence: number;

  #lender: Lender | undefined;
  readonly #index: number;
  readonly #offset: number;
  #data: Uint8Array | undefined;

  /** @internal Frames are made by readers. */
  constructor(lender: Lender | undefined, index: number, offset: number, size: number, sequence: number) {
    this.#lender = lender;
    this.#index = index;
    this.#offset = offset;
    this.size = size;
    this.sequence = sequence;
  }

  /** False for the outcome of a read that timed out. It stays true after the release. */
  get isValid(): boolean {
    return this.size > 0;
  }

  /**
   * The frame's bytes in shared memory, not copied. A view kept beyond the release may change, and has length 0 once
   * the reader is closed.
   *
   * @throws ClosedError after the frame was released or its reader closed.
   */
  get data(): Uint8Array {
    const lender = this.#lender;
    if (lender === undefined || lender.isClosed) return this.#lateData();
    this.#data ??= lender.memory.bytes(this.#offset, this.size);
    return this.#data;
  }

  #lateData(): Uint8Array {
    if (!this.isValid) return new Uint8Array(0);
    const end = this.#lender === undefined ? "frame was released" : "reader was closed";
    throw new ClosedError(`The bytes of frame ${this.sequence} were asked for after its ${end}.`, {
      buffer: this.#lender?.name,
      hint: "Copy what is needed later with toArray() before the release.",
    });
  }

  /** The same bytes as {@link data}, to be changed in place. They are this reader's until the release. */
  getMutableSpan(): Uint8Array {
    return this.data;
  }

  /**
   * Copies the bytes to the start of `target`: the fastest way to take a small frame, without a view of it.
   *
   * @throws RangeError if `target` is smaller than the frame; otherwise as {@link data}.
   */
  copyTo(target: Uint8Array): void {
    const lender = this.#lender;
    if (lender === undefined || lender.isClosed) {
      this.#lateData();
    } else if (target instanceof Uint8Array && target.length >= this.size) {
      lender.memory.copy(this.#offset, this.size, target);
    } else {
      this.#refuseTarget();
    }
  }

  #refuseTarget(): never {
    throw new RangeError(`A frame of ${this.size} bytes is copied to a Uint8Array of at least that length.`);
  }

  /** A copy of the bytes. Throws as {@link data}. */
  toArray(): Uint8Array {
    return this.data.slice();
  }

  /** Gives the frame back. Does nothing the second time, or after its reader was closed. */
  release(): void {
    const lender = this.#lender;
    if (lender === undefined || lender.isClosed) return;
    this.#lender = undefined;
    this.#data = undefined;
    lender.ring.release(this.#index);
  }

  /** As {@link release}. */
  [Symbol.dispose](): void {
    this.release();
  }
}
