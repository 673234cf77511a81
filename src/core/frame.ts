// Frames, lent by a reader: one, or several at once.

import type { SharedMemory } from "../native/memory.ts";
import { FIELDS_PER_FRAME, type RingReader, type RingWriter } from "../native/ring.ts";
import { MAX_VIEW_SIZE } from "./config.ts";
import { ClosedError, FrameTooLargeError } from "./errors.ts";
import type { SharingSource } from "./sharing/source.ts";
import type { WriterWatch } from "./writer-watch.ts";

/** What a frame needs of the reader that lent it: one object for all its frames, with plain fields for speed. */
export class Lender {
  isClosed = false;
  /** Through which the frames can be passed on without a copy. */
  source: SharingSource | undefined;

  /**
   * @param memory where the frames are: the buffer's own, or that of a source, which can only be read.
   * @param watch settles what the last writer left half done, once no frame is held.
   */
  constructor(
    readonly name: string,
    readonly memory: SharedMemory,
    readonly ring: Pick<RingReader, "release" | "hold" | "drop">,
    readonly watch: Pick<WriterWatch, "settle">,
    readonly isShared = false,
  ) {}

  /** The bytes of a frame in shared memory. */
  view(offset: number, size: number): Uint8Array {
    if (size <= MAX_VIEW_SIZE) return this.memory.bytes(offset, size);
    throw new FrameTooLargeError(
      `A frame of buffer "${this.name}" has ${size} bytes. A view has at most ${MAX_VIEW_SIZE}.`,
      { buffer: this.name, hint: "Let the writer send smaller frames." },
    );
  }
}

/** Where a frame can be passed on to, or many at once. */
export interface FrameTaker {
  /** Through which {@link RingReader.forward} passes frames on. */
  readonly ring: RingWriter;
  /** Notes what that has passed on. */
  noteForwarded(frames: number, bytes: number, shared: number): void;
  /** Passes on a frame of the lender. Returns what {@link RingTarget.pass} does. */
  pass(lender: Lender, index: number, offset: number, size: number, waitUs: number): number;
  /** Writes bytes as a frame: 1, or a negative code. */
  copy(data: Uint8Array, waitUs: number): number;
}

/** Added to the index of a frame that was passed on: others may read its bytes. */
const PASSED_ON = 2 ** 32;
/** Added to the index of a frame whose `data` is a private copy. */
const COPIED = 2 ** 33;

/** The fields of a frame that only its reader changes. */
type Writable = { -readonly [key in "size" | "sequence"]: number };

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
  /** Its number among the frames of its lender, modulo 2^32, and {@link PASSED_ON} or {@link COPIED}: one more field costs 2 %. */
  #index: number;
  #offset: number;
  #data: Uint8Array | undefined;

  /** @internal Frames are made by readers. */
  constructor(lender: Lender | undefined, index: number, offset: number, size: number, sequence: number) {
    this.#lender = lender;
    this.#index = index;
    this.#offset = offset;
    this.size = size;
    this.sequence = sequence;
  }

  /** @internal Makes an object whose frame was released stand for another one, so that nothing is allocated. */
  become(lender: Lender, index: number, offset: number, size: number, sequence: number): this {
    this.#lender = lender;
    this.#index = index;
    this.#offset = offset;
    (this as Writable).size = size;
    (this as Writable).sequence = sequence;
    return this;
  }

  /** False for the outcome of a read that timed out. It stays true after the release. */
  get isValid(): boolean {
    return this.size > 0;
  }

  /**
   * The frame's bytes in shared memory, not copied. A view kept beyond the release may change, and has length 0 once
   * the reader is closed.
   *
   * @throws ClosedError after the frame was released or its reader closed. FrameTooLargeError for more than 4 GiB, which
   *   other implementations can write.
   */
  get data(): Uint8Array {
    const lender = this.#lender;
    if (lender === undefined || lender.isClosed) return this.#lateData();
    this.#data ??= lender.view(this.#offset, this.size);
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

  /**
   * Whether the bytes lie in another buffer than the reader's, which its writer shares. Its view can only be read: a change
   * through {@link data} ends the process. False after the release.
   */
  get isShared(): boolean {
    return this.#lender?.isShared === true;
  }

  /**
   * The same bytes as {@link data}, to be changed in place. They are this reader's until the release. Of a frame that others
   * may read, because it {@link isShared} or has been passed on, it makes a private copy, which is its `data` from then on.
   */
  getMutableSpan(): Uint8Array {
    const lender = this.#lender;
    if (lender === undefined || lender.isClosed) return this.#lateData();
    if (this.#index < COPIED && (lender.isShared || this.#index >= PASSED_ON)) {
      this.#data = this.data.slice();
      this.#index = (this.#index >>> 0) + COPIED;
    }
    return this.data;
  }

  /** @internal Passes it on, as {@link FrameTaker.pass}. Throws as {@link data}. */
  passOn(taker: FrameTaker, waitUs: number): number {
    const lender = this.#lender;
    if (lender === undefined || lender.isClosed) return taker.copy(this.#lateData(), waitUs);
    if (this.#index >= COPIED) return taker.copy(this.data, waitUs);
    const index = this.#index >>> 0;
    const code = taker.pass(lender, index, this.#offset, this.size, waitUs);
    if (code > 0) this.#index = index + PASSED_ON;
    return code;
  }

  /**
   * @internal An attempt to pass it on that can be made again and again, also after it is released, until `done` is called.
   * Throws as {@link data}.
   */
  passOnLater(taker: FrameTaker): { attempt: (waitUs: number) => number; done: () => void } {
    const lender = this.#lender;
    if (lender === undefined || lender.isClosed || this.#index >= COPIED) {
      const { data } = this;
      return { attempt: (waitUs) => taker.copy(data, waitUs), done: () => {} };
    }
    const [index, offset, size] = [this.#index >>> 0, this.#offset, this.size];
    lender.ring.hold(index);
    this.#index = index + PASSED_ON;
    return {
      attempt: (waitUs) => {
        if (lender.isClosed) throw readerClosed(lender.name);
        return taker.pass(lender, index, offset, size, waitUs);
      },
      done: () => {
        if (!lender.isClosed && lender.ring.drop(index)) lender.watch.settle();
      },
    };
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
      if (this.#index >= COPIED) target.set(this.data);
      else lender.memory.copy(this.#offset, this.size, target);
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
    if (lender.ring.release(this.#index >>> 0, 1)) lender.watch.settle();
  }

  /** As {@link release}. */
  [Symbol.dispose](): void {
    this.release();
  }
}

function readerClosed(buffer: string): ClosedError {
  return new ClosedError(`The reader of buffer "${buffer}" was closed while a frame of it was passed on.`, {
    buffer,
  });
}

/** What a batch keeps of each frame, after the place of the one before. */
const OFFSET = 0;
const SIZE = 1;
const SEQUENCE = 2;

/**
 * Frames that were read one after another, to be looked at and released together: it costs less than a {@link Frame}
 * for each. They are numbered from 0. Views and releases are as those of a frame.
 */
export class FrameBatch implements Disposable {
  /** The outcome of a read that found no frames. */
  static readonly empty: FrameBatch = new FrameBatch(undefined, 0, new Float64Array(0));

  /** Number of frames: 0 after a timeout. */
  readonly length: number;
  /** Number of bytes of all frames. */
  readonly size: number;

  readonly #lender: Lender | undefined;
  readonly #first: number;
  readonly #places: Float64Array;
  #released = 0;

  /** @internal Batches are made by readers. */
  constructor(lender: Lender | undefined, first: number, places: Float64Array) {
    this.#lender = lender;
    this.#first = first;
    this.#places = places;
    this.length = places.length / FIELDS_PER_FRAME;
    let size = 0;
    for (let i = SIZE; i < places.length; i += FIELDS_PER_FRAME) size += places[i] as number;
    this.size = size;
  }

  /** Whether the frames lie in another buffer than the reader's, as {@link Frame.isShared}. */
  get isShared(): boolean {
    return this.#lender?.isShared === true;
  }

  /** Number of bytes of one frame, at least 1. RangeError if there is no frame of that number. */
  sizeOf(index: number): number {
    return this.#field(index, SIZE);
  }

  /** Sequence number of one frame. RangeError if there is no frame of that number. */
  sequenceOf(index: number): number {
    return this.#field(index, SEQUENCE);
  }

  /**
   * The bytes of one frame in shared memory, not copied.
   *
   * @throws ClosedError after the release or once the reader is closed; RangeError if there is no frame of that number;
   *   FrameTooLargeError for more than 4 GiB.
   */
  dataOf(index: number): Uint8Array {
    const offset = this.#field(index, OFFSET);
    return this.#open(index).view(offset, this.#field(index, SIZE));
  }

  /**
   * Copies the bytes of all frames, end to end, to the start of `target`.
   *
   * @throws RangeError if `target` has fewer than {@link size} bytes; ClosedError as {@link dataOf}.
   */
  copyTo(target: Uint8Array): void {
    if (!(target instanceof Uint8Array) || target.length < this.size) {
      throw new RangeError(
        `Frames of ${this.size} bytes are copied to a Uint8Array of at least that length.`,
      );
    }
    if (this.length > 0) this.#open(0).memory.copyFrames(this.#places, this.length, target);
  }

  /** Who lends the frames from `index` on, if they have not been given back. */
  #open(index: number): Lender {
    const lender = this.#lender;
    if (lender !== undefined && !lender.isClosed && index >= this.#released) return lender;
    const end = lender?.isClosed ? "their reader was closed" : "they were released";
    throw new ClosedError(`The bytes of frames were asked for after ${end}.`, {
      buffer: lender?.name,
      hint: "Copy what is needed later with copyTo() before the release.",
    });
  }

  #field(index: number, field: number): number {
    const value = this.#places[index * FIELDS_PER_FRAME + field];
    if (value !== undefined && Number.isInteger(index) && index >= 0) return value;
    throw new RangeError(`There is no frame ${index} in a batch of ${this.length}.`);
  }

  /**
   * Gives the first `count` frames back, or all. Those that were before are left out; does nothing after the reader was
   * closed.
   *
   * @throws RangeError if `count` is not a whole number from 0 on.
   */
  release(count = this.length): void {
    if (!Number.isInteger(count) || count < 0) {
      throw new RangeError(`count is ${count}: it takes a whole number from 0.`);
    }
    const lender = this.#lender;
    const more = Math.min(count, this.length) - this.#released;
    if (lender === undefined || lender.isClosed || more <= 0) return;
    if (lender.ring.release((this.#first + this.#released) >>> 0, more)) lender.watch.settle();
    this.#released += more;
  }

  /** As {@link release}. */
  [Symbol.dispose](): void {
    this.release();
  }
}
