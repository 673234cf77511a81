// One class for each thing the helper owns: it checks that the thing is open, and closes it once.

import { type Bell, openBell } from "./bell.ts";
import { Code } from "./codes.ts";
import { native } from "./library.ts";
import { type Address, viewMemory } from "./symbols.ts";

/** The two sides of a buffer; also which semaphore (writer: frames written, reader: frames released) and which pid. */
export const Role = { WRITER: 0, READER: 1 } as const;
export type Role = (typeof Role)[keyof typeof Role];

/** Flags of the OIEB (PROTOCOL.md, section 1). */
export const OiebFlag = { CREATED_BY_WRITER: 1n, ANY_SEQUENCE: 2n } as const;

/** Flags of {@link RingReader.next}. */
export const Look = { FOR_TOKENS: 0, WITHOUT_TOKEN: 1, NEW_WRITER: 2 } as const;

/** How the ends of a ring wait: enum zb_wait. */
export const Wait = { adaptive: 0, spin: 1, block: 2 } as const;
export type Wait = (typeof Wait)[keyof typeof Wait];

/** How many frames one {@link RingReader.next} brings at the most: ZB_READER_LOOKAHEAD. */
export const READER_LOOKAHEAD = 64;

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

/**
 * Windows onto the memory start at multiples of this and are up to twice as long, which is what a view can have. What
 * reaches beyond the end of its window has a window of its own.
 */
const WINDOW_STRIDE = 2 ** 31;
const WINDOW_LENGTH = 2 ** 32;

/** How many views are kept for use again: making one costs more than all else about a small frame. */
const VIEW_CACHE_SIZE = 2 ** 13;
const VIEW_CACHE_SHIFT = 32 - 13;

/** Permission bits for a new object; `undefined` means 0666 less the umask. */
type Mode = number | undefined;

const cString = (text: string): Buffer => Buffer.from(`${text}\0`);
const modeArgument = (mode: Mode): number => mode ?? -1;

/** Calls a function whose last parameter receives an address. */
function receive(call: (result: BigUint64Array) => number): Address | { code: Code } {
  const result = new BigUint64Array(1);
  const code = call(result);
  return code === Code.OK ? Number(result[0]) : { code: code as Code };
}

/** errno of the last {@link Code.SYSTEM}. */
export function systemError(): number {
  return native.zb_system_error();
}

/** Blocks the thread for up to `milliseconds`. False if a signal came first. */
export function sleep(milliseconds: number): boolean {
  return native.zb_sleep(Math.ceil(milliseconds * 1000)) === Code.OK;
}

/** Start time of a living process in a unit of the system's, 0 if unknown; -1 if it does not live. */
export function processStart(pid: number): number {
  return native.zb_process_start(pid);
}

/** Base of all handles: an address that is taken away when it is closed. */
abstract class Handle {
  #address: Address | undefined;

  protected constructor(address: Address) {
    this.#address = address;
  }

  /** The address, as long as the handle is open. */
  get address(): Address {
    if (this.#address === undefined) throw new Error(`${this.constructor.name} is closed`);
    return this.#address;
  }

  /** Ends the handle; `close` receives the address the first time only. */
  protected end(close: (address: Address) => void): void {
    const address = this.#address;
    this.#address = undefined;
    if (address !== undefined) close(address);
  }
}

/** A lock file that this process has locked. The lock ends with the process at the latest. */
export class LockFile extends Handle {
  /** Locks without waiting; `create` makes a missing file. LOCKED, NOT_FOUND, UNSAFE, PERMISSION. */
  static open(path: string, create: boolean): LockFile | Code {
    const opened = receive((result) => native.zb_lock_open(cString(path), create ? 1 : 0, result));
    return typeof opened === "number" ? new LockFile(opened) : opened.code;
  }

  /** Whether somebody holds the lock; false also if that cannot be found out. */
  static isHeld(path: string): boolean {
    return native.zb_lock_held(cString(path)) === 1;
  }

  /** Unlocks, and with `remove` takes the file away as well. */
  close({ remove }: { remove: boolean }): void {
    this.end((address) => native.zb_lock_close(address, remove ? 1 : 0));
  }
}

/** The shared memory of a buffer, mapped. Its creator unlinks it. */
export class SharedMemory extends Handle {
  /** By where they start, in bytes. */
  readonly #windows = new Map<number, ArrayBuffer>();
  readonly #views: (Uint8Array | undefined)[] = new Array(VIEW_CACHE_SIZE).fill(undefined);
  readonly #viewOffsets = new Float64Array(VIEW_CACHE_SIZE);
  /** In bytes. */
  readonly size: number;

  private constructor(address: Address) {
    super(address);
    this.size = native.zb_memory_size(address);
  }

  /** Makes `size` bytes of zeros, all allocated. EXISTS, NO_SPACE, PERMISSION. */
  static create(name: string, size: number, mode: Mode): SharedMemory | Code {
    const made = receive((result) =>
      native.zb_memory_create(cString(name), size, modeArgument(mode), result),
    );
    return typeof made === "number" ? new SharedMemory(made) : made.code;
  }

  /** Maps what is there. NOT_FOUND, AGAIN while it is smaller than an OIEB, UNSAFE, PERMISSION. */
  static open(name: string): SharedMemory | Code {
    const opened = receive((result) => native.zb_memory_open(cString(name), result));
    return typeof opened === "number" ? new SharedMemory(opened) : opened.code;
  }

  /** {@link open} for looking only: permission to read is enough. Whatever writes, {@link claim} too, would crash. */
  static view(name: string): SharedMemory | Code {
    const opened = receive((result) => native.zb_memory_view(cString(name), result));
    return typeof opened === "number" ? new SharedMemory(opened) : opened.code;
  }

  /**
   * Removes an empty file of the name that this user owns, what remains of a creation that was killed: only with the
   * locks of the buffer held. False if it is anything else.
   */
  static discard(name: string): boolean {
    return native.zb_memory_discard(cString(name)) === Code.OK;
  }

  /** A view of `size` bytes at `offset`; it has length 0 once the memory is closed. Up to 4 GiB. */
  bytes(offset: number, size: number): Uint8Array {
    // Fibonacci hashing spreads offsets that are multiples of a frame's size.
    const slot = Math.imul(offset, 0x9e3779b1) >>> VIEW_CACHE_SHIFT;
    const kept = this.#views[slot];
    if (kept !== undefined && this.#viewOffsets[slot] === offset && kept.length === size) return kept;
    return this.#openView(offset, size, slot);
  }

  /** Copies bytes to the start of `target`, which is large enough, without a view of them. */
  copy(offset: number, size: number, target: Uint8Array): void {
    native.zb_memory_copy(this.address, offset, size, target);
  }

  /** Copies the bytes of `count` frames, as {@link RingReader.places} gives them, end to end to `target`. */
  copyFrames(places: Float64Array, count: number, target: Uint8Array): void {
    native.zb_memory_copy_frames(this.address, places, count, target);
  }

  #openView(offset: number, size: number, slot: number): Uint8Array {
    let start = offset - (offset % WINDOW_STRIDE);
    if (offset + size > start + WINDOW_LENGTH) start = offset;
    const window = this.#windows.get(start) ?? this.#openWindow(start);
    const view = new Uint8Array(window, offset - start, size);
    this.#views[slot] = view;
    this.#viewOffsets[slot] = offset;
    return view;
  }

  #openWindow(start: number): ArrayBuffer {
    const length = Math.min(WINDOW_LENGTH, this.size - start);
    const window = viewMemory(native.zb_memory_address(this.address), start, length);
    this.#windows.set(start, window);
    return window;
  }

  /** The sixteen 8-byte words of the OIEB, each loaded once. */
  loadOieb(): BigUint64Array {
    const words = new BigUint64Array(16);
    native.zb_oieb_load(this.address, words);
    return words;
  }

  /** Fills the OIEB of new memory. Sizes in bytes. */
  createOieb(metadataSize: number, payloadSize: number, readerPid: number, flags: bigint): void {
    native.zb_oieb_create(this.address, metadataSize, payloadSize, readerPid, flags);
  }

  /** Compare-and-swap of a role's pid. False if the field did not hold `expected`. */
  claim(role: Role, expected: bigint | number, pid: number): boolean {
    return native.zb_oieb_claim(this.address, role, expected, pid) === Code.OK;
  }

  /** Whether another mapping in this process holds the role. */
  isHeldHere(role: Role): boolean {
    return native.zb_memory_held_here(this.address, role) === 1;
  }

  /** Whether the process maps this memory; undefined if that cannot be read. */
  isMappedBy(pid: number): boolean | undefined {
    const answer = native.zb_process_maps(pid, this.address);
    return answer < 0 ? undefined : answer === 1;
  }

  /** Whether the buffer's name still means this memory. */
  get isNamed(): boolean {
    return native.zb_memory_named(this.address) === Code.OK;
  }

  /** Whether this process's user owns the memory. */
  get isOwned(): boolean {
    return native.zb_memory_owned(this.address) === 1;
  }

  /** TOO_LARGE, BAD_CONTROL. */
  writeMetadata(data: Uint8Array): Code {
    return native.zb_metadata_write(this.address, data, data.length) as Code;
  }

  /** Copies the metadata to `target`; its length, 0 if there is none. AGAIN, BAD_CONTROL, TOO_LARGE. */
  readMetadata(target: Uint8Array): number {
    return native.zb_metadata_read(this.address, target, target.length);
  }

  clearMetadata(): void {
    native.zb_metadata_clear(this.address);
  }

  /** Removes the name if it still means this memory. */
  unlink(): void {
    native.zb_memory_unlink(this.address);
  }

  /**
   * Detaches every view, then unmaps: a view that the program kept reads nothing instead of unmapped memory. Where the
   * program has transferred the buffer of a view, as to a Worker, nobody can detach what it made of it: the memory stays
   * mapped.
   */
  close(): void {
    this.end((address) => {
      let isTransferred = false;
      for (const window of this.#windows.values()) {
        if (window.detached) isTransferred = true;
        else window.transfer();
      }
      this.#windows.clear();
      this.#views.length = 0;
      if (!isTransferred) native.zb_memory_close(address);
    });
  }
}

/** One of the two semaphores of a buffer. Its creator unlinks it. */
export class Semaphore extends Handle {
  /** Makes it with value 0. EXISTS, NO_SPACE, PERMISSION. */
  static create(name: string, role: Role, mode: Mode): Semaphore | Code {
    const made = receive((result) =>
      native.zb_semaphore_create(cString(name), role, modeArgument(mode), result),
    );
    return typeof made === "number" ? new Semaphore(made) : made.code;
  }

  /** NOT_FOUND, AGAIN while it is being made, UNSAFE, PERMISSION. */
  static open(name: string, role: Role): Semaphore | Code {
    const opened = receive((result) => native.zb_semaphore_open(cString(name), role, result));
    return typeof opened === "number" ? new Semaphore(opened) : opened.code;
  }

  /** {@link open} for {@link value} only: permission to read is enough. */
  static view(name: string, role: Role): Semaphore | Code {
    const opened = receive((result) => native.zb_semaphore_view(cString(name), role, result));
    return typeof opened === "number" ? new Semaphore(opened) : opened.code;
  }

  /** Removes a leftover; only with the locks of the buffer held. */
  static remove(name: string, role: Role): void {
    native.zb_semaphore_remove(cString(name), role);
  }

  get value(): number {
    return native.zb_semaphore_value(this.address);
  }

  post(count = 1): void {
    native.zb_semaphore_post(this.address, count);
  }

  /** Removes the name if it still means this semaphore. */
  unlink(): void {
    native.zb_semaphore_unlink(this.address);
  }

  close(): void {
    this.end((address) => native.zb_semaphore_close(address));
  }
}

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

  /** Releases `count` frames from the `first`th on that this ring has ever read, counted from 0 modulo 2^32. */
  release(first: number, count: number): void {
    native.zb_reader_release(this.address, first, count);
  }

  /** See zb_reader_settle: only after the writer has gone. */
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

  commit(): void {
    native.zb_writer_commit(this.address);
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

/** Waits for a semaphore in a thread of the helper's, so that the event loop keeps turning and idles at no cost. */
export class Waiter extends Handle {
  readonly #bell: Bell;
  #ring: Promise<void> | undefined;

  private constructor(address: Address, descriptor: number) {
    super(address);
    this.#bell = openBell(descriptor);
  }

  /** NO_MEMORY, NO_DESCRIPTORS. */
  static open(semaphore: Semaphore): Waiter | Code {
    const descriptor = new Int32Array(1);
    const opened = receive((result) => native.zb_waiter_open(semaphore.address, descriptor, result));
    return typeof opened === "number" ? new Waiter(opened, descriptor[0] as number) : opened.code;
  }

  /** Resolves when the semaphore has a token, which stays there, after `waitUs` microseconds, or when closed. */
  wait(waitUs: number): Promise<void> {
    // Somebody asked for a wait before and may have given up: this one lasts no longer for it.
    if (this.#ring !== undefined) return Promise.race([this.#ring, Bun.sleep(Math.ceil(waitUs / 1000))]);
    native.zb_waiter_arm(this.address, waitUs);
    this.#ring = this.#bell.next().then(() => {
      this.#ring = undefined;
    });
    return this.#ring;
  }

  close(): void {
    this.end((address) => {
      native.zb_waiter_close(address);
      this.#bell.close();
    });
  }
}
