// The two ends of a ring.

import type { Code } from "./codes.ts";
import { Handle, receive } from "./handle.ts";
import { native } from "./library.ts";
import type { SharedMemory } from "./memory.ts";
import type { Semaphore } from "./semaphore.ts";
import { type Address, viewMemory } from "./symbols.ts";

/** Flags of {@link RingReader.next}. */
export const Look = { FOR_TOKENS: 0, WITHOUT_TOKEN: 1, NEW_WRITER: 2 } as const;

/** How the ends of a ring wait: enum zb_wait. */
export const Wait = { adaptive: 0, spin: 1, block: 2 } as const;
export type Wait = (typeof Wait)[keyof typeof Wait];

/** How many frames one {@link RingReader.next} brings at the most: ZB_READER_LOOKAHEAD. */
export const READER_LOOKAHEAD = 64;

/** What a release says after which {@link RingReader.settle} is due: ZB_SETTLE_DUE. */
const SETTLE_DUE = 1;

const FAULT_POSITION = 0;
const FAULT_EXPECTED = 1;
const FAULT_FOUND = 2;
const SURPLUS_TOKENS = 3;
const FRAMES = 4;
/** What {@link RingReader.places} holds of each frame: offset, size, sequence number. */
export const FIELDS_PER_FRAME = 3;
const READER_VIEW_BYTES = 8 * (FRAMES + FIELDS_PER_FRAME * READER_LOOKAHEAD);

const WRITER_OFFSET = 0;
const WRITER_WAITS = 1;
const WRITER_SEQUENCE = 2;
const WRITER_VIEW_BYTES = 24;

/** The reading end of a ring. Does not own the memory and semaphores it works on. */
export class RingReader extends Handle {
  readonly #view: Float64Array;

  private constructor(address: Address) {
    super(address);
    this.#view = new Float64Array(viewMemory(address, 0, READER_VIEW_BYTES));
  }

  /** Starts at the OIEB's read position; the first frame has to carry `sequence`, or 1. With 0 any numbers may come. */
  static open(
    memory: SharedMemory,
    written: Semaphore,
    released: Semaphore,
    sequence: number,
    wait: Wait,
  ): RingReader | Code {
    const opened = receive((result) =>
      native.zb_reader_open(memory.address, written.address, released.address, sequence, wait, result),
    );
    return typeof opened === "number" ? new RingReader(opened) : opened.code;
  }

  /**
   * Reads up to {@link READER_LOOKAHEAD} frames, waiting up to `waitUs` microseconds for the first. Returns their
   * number, or AGAIN, INTERRUPTED, BAD_CONTROL, BAD_FRAME, BAD_SEQUENCE, BROKEN, NO_MEMORY.
   */
  next(waitUs: number, flags: number): number {
    return native.zb_reader_next(this.address, waitUs, flags);
  }

  /** Bytes from the start of the memory to those of the `i`th frame of the last {@link next}. */
  offset(i: number): number {
    return this.#view[FRAMES + FIELDS_PER_FRAME * i] as number;
  }

  size(i: number): number {
    return this.#view[FRAMES + FIELDS_PER_FRAME * i + 1] as number;
  }

  sequence(i: number): number {
    return this.#view[FRAMES + FIELDS_PER_FRAME * i + 2] as number;
  }

  /** Offsets, sizes and sequence numbers of `count` frames from the `i`th of the last {@link next} on, copied. */
  places(i: number, count: number): Float64Array {
    const start = FRAMES + FIELDS_PER_FRAME * i;
    return this.#view.slice(start, start + FIELDS_PER_FRAME * count);
  }

  /**
   * Releases `count` frames from the `first`th on that this ring has ever read, counted from 0 modulo 2^32. True if they
   * were all that kept {@link settle} from its work: it is due now.
   */
  release(first: number, count: number): boolean {
    return native.zb_reader_release(this.address, first, count) === SETTLE_DUE;
  }

  /** Settles what a writer left half done, see zb_reader_settle: only in the place of a writer that is gone. */
  settle(): void {
    native.zb_reader_settle(this.address);
  }

  /** What was wrong with the frame that was refused. Position in bytes from the start of the payload. */
  get fault(): { position: number; expected: number; found: number } {
    const [position, expected, found] = [FAULT_POSITION, FAULT_EXPECTED, FAULT_FOUND].map(
      (i) => this.#view[i] as number,
    ) as [number, number, number];
    return { position, expected, found };
  }

  /** Tokens so far that stood for no frame. */
  get surplusTokens(): number {
    return this.#view[SURPLUS_TOKENS] as number;
  }

  close(): void {
    this.end((address) => {
      (this.#view.buffer as ArrayBuffer).transfer();
      native.zb_reader_close(address);
    });
  }
}

/** The writing end of a ring. Does not own the memory and semaphores it works on. */
export class RingWriter extends Handle {
  readonly #view: Float64Array;

  private constructor(address: Address) {
    super(address);
    this.#view = new Float64Array(viewMemory(address, 0, WRITER_VIEW_BYTES));
  }

  /** Starts at the OIEB's write position with sequence 1, for the reader `readerPid`. */
  static open(
    memory: SharedMemory,
    written: Semaphore,
    released: Semaphore,
    readerPid: bigint,
    wait: Wait,
  ): RingWriter | Code {
    const opened = receive((result) =>
      native.zb_writer_open(memory.address, written.address, released.address, readerPid, wait, result),
    );
    return typeof opened === "number" ? new RingWriter(opened) : opened.code;
  }

  /** Writes one frame, waiting up to `waitUs` microseconds. AGAIN, INTERRUPTED, PEER_CHECK, BAD_CONTROL, BROKEN. */
  write(data: Uint8Array, waitUs: number): number {
    return native.zb_writer_write(this.address, data, data.length, waitUs);
  }

  /**
   * Writes frames of `frameSize` bytes from those of `data` from `offset` on, the last one perhaps shorter: as many as
   * there is room for, up to 64, waiting up to `waitUs` microseconds for the first. Returns how many, or a code as
   * {@link write}.
   */
  writeFrames(data: Uint8Array, offset: number, frameSize: number, waitUs: number): number {
    const length = data.length - offset;
    return native.zb_writer_write_frames(this.address, data, offset, length, frameSize, waitUs);
  }

  /** Finds room for `size` bytes at {@link offset}. Codes as {@link write}. */
  acquire(size: number, waitUs: number): number {
    return native.zb_writer_acquire(this.address, size, waitUs);
  }

  /** Bytes from the start of the memory to the acquired region. */
  get offset(): number {
    return this.#view[WRITER_OFFSET] as number;
  }

  /** Sequence number of the next frame. */
  get sequence(): number {
    return this.#view[WRITER_SEQUENCE] as number;
  }

  set sequence(sequence: number) {
    this.#view[WRITER_SEQUENCE] = sequence;
  }

  /** Publishes the acquired frame. ALREADY: there is none. */
  commit(): Code {
    return native.zb_writer_commit(this.address) as Code;
  }

  cancel(): void {
    native.zb_writer_cancel(this.address);
  }

  /** How often too little room was found. */
  get waits(): number {
    return this.#view[WRITER_WAITS] as number;
  }

  /** The reader lives and is `readerPid`: ends a PEER_CHECK. */
  confirmPeer(readerPid: bigint): void {
    native.zb_writer_peer(this.address, readerPid);
  }

  close(): void {
    this.end((address) => {
      (this.#view.buffer as ArrayBuffer).transfer();
      native.zb_writer_close(address);
    });
  }
}
