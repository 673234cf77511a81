// The two ends of a ring.

import { Code } from "./codes.ts";
import { Handle, openHandle } from "./handle.ts";
import { native } from "./library.ts";
import type { SharedMemory } from "./memory.ts";
import type { Semaphore } from "./semaphore.ts";
import { type Address, viewMemory } from "./symbols.ts";

/** Flags of {@link RingReader.next}. */
export const Look = { FOR_TOKENS: 0, WITHOUT_TOKEN: 1, NEW_WRITER: 2, UNLESS_SURPLUS: 4 } as const;

/** How an end of a ring waits: enum zb_wait. */
export const Wait = { adaptive: 0, spin: 1, block: 2 } as const;
export type Wait = (typeof Wait)[keyof typeof Wait];

/** The most frames that one {@link RingReader.next} reads: ZB_READER_LOOKAHEAD. */
export const READER_LOOKAHEAD = 64;

/** What a release returns when {@link RingReader.settle} is due: ZB_SETTLE_DUE. */
export const SETTLE_DUE = 1;

// Where struct zb_reader_view has its fields, in numbers of 8 bytes.
const FAULT_POSITION = 0;
const FAULT_EXPECTED = 1;
const FAULT_FOUND = 2;
const SURPLUS_TOKENS = 3;
const SURPLUS_SEEN = 4;
const FORWARDED = 5;
const FORWARDED_BYTES = 6;
const FORWARDED_SHARED = 7;
const IS_SETTLE_DUE = 8;
const LEFT_FIRST = 9;
const LEFT_END = 10;
const FRAMES = 11;
/** zb_reader_next returns this plus the number of frames that lie in the memory of the source: ZB_READ_SHARED. */
export const READ_SHARED = 128;
/** zb_reader_next returns this for an attachment: ZB_READ_ATTACHMENT. */
export const READ_ATTACHMENT = 256;

/** Numbers per frame in {@link RingReader.places}: offset, size, sequence number. */
export const FIELDS_PER_FRAME = 3;
const READER_NUMBERS = FRAMES + FIELDS_PER_FRAME * READER_LOOKAHEAD;
/** ZB_NAME_MAX and a zero. */
const SOURCE_NAME_BYTES = 246;

// Where struct zb_writer_view has its fields.
const WRITER_OFFSET = 0;
const WRITER_WAITS = 1;
const WRITER_SEQUENCE = 2;
const WRITER_VIEW_BYTES = 24;

/** How far {@link RingReader.forward} goes. */
export interface ForwardLimits {
  /** Frames, up to 2^31 - 1. */
  readonly most: number;
  /** Bytes of those that come without a pause, about; a larger frame is not passed on. */
  readonly mostBytes: number;
  /** How long to wait for the first frame, in milliseconds. */
  readonly waitMs: number;
  /** How long to wait for others, counted from the call. */
  readonly sliceMs: number;
}

/** The reading end of a ring. Its memory and semaphores belong to the caller, and must stay open as long as it is. */
export class RingReader extends Handle {
  readonly #view: Float64Array;

  private constructor(address: Address) {
    super(address);
    const view = viewMemory(address, 0, 8 * READER_NUMBERS + SOURCE_NAME_BYTES);
    this.#view = new Float64Array(view, 0, READER_NUMBERS);
  }

  /**
   * Starts at the read position of the OIEB. The first frame must have the number `sequence`, or 1; with 0, frames
   * may have any numbers. BAD_CONTROL, NO_MEMORY.
   */
  static open(
    memory: SharedMemory,
    written: Semaphore,
    released: Semaphore,
    sequence: number,
    wait: Wait,
  ): RingReader | Code {
    return openHandle(
      (result) =>
        native.zb_reader_open(memory.address, written.address, released.address, sequence, wait, result),
      (address) => new RingReader(address),
    );
  }

  /**
   * Reads up to {@link READER_LOOKAHEAD} frames, and waits up to `waitUs` microseconds for the first one. Returns their
   * number. AGAIN: there is none, or a token came for which there is none. INTERRUPTED, NO_MEMORY, BROKEN. BAD_CONTROL,
   * BAD_FRAME, BAD_SEQUENCE and BAD_DESCRIPTOR come again at every call. An end that takes descriptors may return READ_SHARED
   * plus a number, or READ_ATTACHMENT.
   *
   * @param flags of {@link Look}.
   */
  next(waitUs: number, flags: number): number {
    return native.zb_reader_next(this.address, waitUs, flags);
  }

  /** Where frame `i` of the last {@link next} is, in bytes from the start of the memory. `i` counts from 0. */
  offset(i: number): number {
    return this.#view[FRAMES + FIELDS_PER_FRAME * i] as number;
  }

  /** Size of frame `i` in bytes, at least 1. */
  size(i: number): number {
    return this.#view[FRAMES + FIELDS_PER_FRAME * i + 1] as number;
  }

  /** Sequence number of frame `i`. */
  sequence(i: number): number {
    return this.#view[FRAMES + FIELDS_PER_FRAME * i + 2] as number;
  }

  /**
   * A copy of the offsets, sizes and sequence numbers of `count` frames of the last {@link next}, from frame `i` on.
   */
  places(i: number, count: number): Float64Array {
    const start = FRAMES + FIELDS_PER_FRAME * i;
    return this.#view.slice(start, start + FIELDS_PER_FRAME * count);
  }

  /**
   * Releases `count` frames from frame `first` on. Frames count from 0, the first one that this end has read, modulo
   * 2^32. True if {@link settle} is due: it has found frames held before, and these were the last ones.
   */
  release(first: number, count: number): boolean {
    return native.zb_reader_release(this.address, first, count) === SETTLE_DUE;
  }

  /**
   * Completes what a writer has left half done: zb_reader_settle. The caller holds the role of that writer, which is
   * gone.
   */
  settle(): void {
    native.zb_reader_settle(this.address);
  }

  // ---- passing frames on ------------------------------------------------------------------------------------------

  /**
   * Passes frames on through `writer`, those for which there is room at once, and releases them. Goes on with those that the last
   * call has left, `first` to `end`; otherwise waits for the first one, and returns as {@link next} with UNLESS_SURPLUS. Stops
   * before a frame with number 1.
   */
  forward(writer: RingWriter, first: number, end: number, limits: ForwardLimits): number {
    const { most, mostBytes, waitMs, sliceMs } = limits;
    const { zb_reader_forward: forward } = native;
    const [waitUs, sliceUs] = [Math.ceil(1000 * waitMs), Math.ceil(1000 * sliceMs)];
    return forward(this.address, writer.address, first, end, most, mostBytes, waitUs, sliceUs);
  }

  /**
   * What the last {@link forward} has passed on; whether {@link settle} is due; and which frames of the last {@link next} in it are
   * left.
   */
  get forwarded(): {
    frames: number;
    bytes: number;
    shared: number;
    isSettleDue: boolean;
    leftFirst: number;
    leftEnd: number;
  } {
    const view = this.#view;
    return {
      frames: view[FORWARDED] as number,
      bytes: view[FORWARDED_BYTES] as number,
      shared: view[FORWARDED_SHARED] as number,
      isSettleDue: view[IS_SETTLE_DUE] === 1,
      leftFirst: view[LEFT_FIRST] as number,
      leftEnd: view[LEFT_END] as number,
    };
  }

  // ---- sharing -----------------------------------------------------------------------------------------------------

  /** From now on this end takes descriptors and attachments. */
  takeDescriptors(): void {
    native.zb_reader_take_descriptors(this.address);
  }

  /** The name in the attachment that {@link next} has read; empty if it takes the last one back. */
  get sourceName(): string {
    const bytes = Buffer.from(this.#view.buffer as ArrayBuffer, 8 * READER_NUMBERS, SOURCE_NAME_BYTES);
    return bytes.toString("latin1", 0, bytes.indexOf(0));
  }

  /**
   * Answers that attachment with the memory of its source, mapped, and its payload; without, refuses it or accepts that it is
   * taken back. BAD_CONTROL: the payload is not inside the memory.
   */
  answer(source?: { memory: SharedMemory; payloadOffset: number; payloadSize: number }): Code {
    const { memory, payloadOffset = 0, payloadSize = 0 } = source ?? {};
    return native.zb_reader_answer(this.address, memory?.address ?? 0, payloadOffset, payloadSize) as Code;
  }

  /** Takes the last answer back: nothing is attached any more. */
  detach(): void {
    native.zb_reader_detach(this.address);
  }

  /** Holds a lent frame once more than its holder does. False if it is not lent. */
  hold(index: number): boolean {
    return native.zb_reader_hold(this.address, index) === Code.OK;
  }

  /** Ends a {@link hold}. True if {@link settle} is due. */
  drop(index: number): boolean {
    return native.zb_reader_drop(this.address, index) === SETTLE_DUE;
  }

  /**
   * Notes which of the frames that were passed on have been released. True if {@link settle} is due.
   *
   * @param takesTokens before a sleep until a target posts more of them.
   */
  collect(takesTokens: boolean): boolean {
    return native.zb_reader_collect(this.address, takesTokens ? 1 : 0) === SETTLE_DUE;
  }

  /**
   * What was wrong with the frame that was refused: its position, in bytes from the start of the payload, and the
   * number or size that was expected and found.
   */
  get fault(): { position: number; expected: number; found: number } {
    const [position, expected, found] = [FAULT_POSITION, FAULT_EXPECTED, FAULT_FOUND].map(
      (i) => this.#view[i] as number,
    ) as [number, number, number];
    return { position, expected, found };
  }

  /** The number of tokens so far for which there was no frame. */
  get surplusTokens(): number {
    return this.#view[SURPLUS_TOKENS] as number;
  }

  /** How many of them the caller has dealt with: with UNLESS_SURPLUS, {@link next} does not wait while there are others. */
  get surplusSeen(): number {
    return this.#view[SURPLUS_SEEN] as number;
  }

  set surplusSeen(tokens: number) {
    this.#view[SURPLUS_SEEN] = tokens;
  }

  close(): void {
    this.end((address) => {
      (this.#view.buffer as ArrayBuffer).transfer(0);
      native.zb_reader_close(address);
    });
  }
}

/** How long a {@link Walk} goes on at a time, in microseconds. */
const WALK_SLICE_US = 5000;

/** Finds the number that the next frame must have for a reader that goes on counting when another writer comes. */
export class Walk {
  readonly #memory: SharedMemory;
  /** struct zb_walk */
  readonly #state = new Float64Array(2);
  #result: Code = Code.AGAIN;

  /** @param memory with an empty ring, whose writer's place this process has. */
  constructor(memory: SharedMemory) {
    this.#memory = memory;
  }

  /** Goes on for some milliseconds. False once it has ended. */
  step(): boolean {
    if (this.#result === Code.AGAIN) {
      this.#result = native.zb_ring_follow(this.#memory.address, this.#state, WALK_SLICE_US) as Code;
    }
    return this.#result === Code.AGAIN;
  }

  /** The number, once the walk has ended; undefined if it cannot be found. */
  get sequence(): number | undefined {
    return this.#result === Code.OK ? this.#state[1] : undefined;
  }
}

/** The writing end of a ring. Its memory and semaphores belong to the caller, and must stay open as long as it is. */
export class RingWriter extends Handle {
  readonly #view: Float64Array;

  private constructor(address: Address) {
    super(address);
    this.#view = new Float64Array(viewMemory(address, 0, WRITER_VIEW_BYTES));
  }

  /**
   * Starts at the write position of the OIEB with the number `sequence`, for the reader `readerPid`. BAD_CONTROL,
   * NO_MEMORY.
   */
  static open(
    memory: SharedMemory,
    written: Semaphore,
    released: Semaphore,
    { readerPid, sequence, wait }: { readerPid: bigint; sequence: number; wait: Wait },
  ): RingWriter | Code {
    const { zb_writer_open: open } = native;
    return openHandle(
      (result) => open(memory.address, written.address, released.address, readerPid, sequence, wait, result),
      (address) => new RingWriter(address),
    );
  }

  /**
   * Writes one frame, and waits up to `waitUs` microseconds for room. AGAIN: there is none. INTERRUPTED, TOO_LARGE,
   * BAD_CONTROL, BROKEN. PEER_CHECK: the caller has to check the reader and {@link confirmPeer} it.
   */
  write(data: Uint8Array, waitUs: number): number {
    return native.zb_writer_write(this.address, data, data.length, waitUs);
  }

  /**
   * Writes the bytes of `data` from `offset` on as frames of `frameSize` bytes; the last one may be shorter. It
   * writes as many as there is room for, up to 64, and waits up to `waitUs` microseconds for the first one. Returns
   * their number, or a code as {@link write}.
   */
  writeFrames(data: Uint8Array, offset: number, frameSize: number, waitUs: number): number {
    const length = data.length - offset;
    return native.zb_writer_write_frames(this.address, data, offset, length, frameSize, waitUs);
  }

  /** Finds room for a frame of `size` bytes at {@link offset}. Waits, and returns codes, as {@link write}. */
  acquire(size: number, waitUs: number): number {
    return native.zb_writer_acquire(this.address, size, waitUs);
  }

  /** Where the acquired frame is, in bytes from the start of the memory. */
  get offset(): number {
    return this.#view[WRITER_OFFSET] as number;
  }

  /** Sequence number of the next frame, up to 2^53. */
  get sequence(): number {
    return this.#view[WRITER_SEQUENCE] as number;
  }

  set sequence(sequence: number) {
    this.#view[WRITER_SEQUENCE] = sequence;
  }

  /** Publishes the acquired frame. ALREADY: none is acquired. */
  commit(): Code {
    return native.zb_writer_commit(this.address) as Code;
  }

  /** Gives the acquired frame up. Its sequence number is not used. */
  cancel(): void {
    native.zb_writer_cancel(this.address);
  }

  /** Before the writer gives its place up: puts back what it has moved in an empty ring and not used. */
  leave(): void {
    native.zb_writer_leave(this.address);
  }

  /** How many writes have found too little room. */
  get waits(): number {
    return this.#view[WRITER_WAITS] as number;
  }

  /** Says that the reader `readerPid` lives, after a PEER_CHECK. */
  confirmPeer(readerPid: bigint): void {
    native.zb_writer_peer(this.address, readerPid);
  }

  close(): void {
    this.end((address) => {
      (this.#view.buffer as ArrayBuffer).transfer(0);
      native.zb_writer_close(address);
    });
  }
}
