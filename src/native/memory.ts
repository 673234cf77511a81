// The shared memory of a buffer: its control block, its metadata, and views of its bytes.

import { Code } from "./codes.ts";
import { cString, Handle, type Mode, modeArgument, receive } from "./handle.ts";
import { native } from "./library.ts";
import type { Address } from "./symbols.ts";
import { MemoryViews } from "./views.ts";

/** The two sides of a buffer; also which semaphore (writer: frames written, reader: frames released) and which pid. */
export const Role = { WRITER: 0, READER: 1 } as const;
export type Role = (typeof Role)[keyof typeof Role];

/** Flags of the OIEB (docs/protocol.md, section 1). */
export const OiebFlag = { CREATED_BY_WRITER: 1n, ANY_SEQUENCE: 2n } as const;

/** The shared memory of a buffer, mapped. Its creator unlinks it. */
export class SharedMemory extends Handle {
  /** In bytes. */
  readonly size: number;
  /** From the first view on: a writer that copies its frames needs none. */
  #views: MemoryViews | undefined;

  private constructor(address: Address) {
    super(address);
    this.size = native.zb_memory_size(address);
  }

  /**
   * Makes `size` bytes of zeros, all allocated. On Linux nobody else sees them before {@link link}; elsewhere they have the
   * name from the beginning. EXISTS, NO_SPACE, PERMISSION.
   */
  static create(name: string, size: number, mode: Mode): SharedMemory | Code {
    const made = receive((result) =>
      native.zb_memory_create(cString(name), size, modeArgument(mode), result),
    );
    return typeof made === "number" ? new SharedMemory(made) : made.code;
  }

  /** Gives new memory its name, if it has none yet. EXISTS if something else has that name. */
  link(): Code {
    return native.zb_memory_link(this.address) as Code;
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

  /**
   * A view of `size` bytes, up to 4 GiB, from `offset` on, in bytes from the start of the memory: as a rule the same one each
   * time. It has length 0 once the memory is closed. The caller answers for the range.
   *
   * @throws Error once the memory is closed.
   */
  bytes(offset: number, size: number): Uint8Array {
    const views = this.#views ?? this.#openViews();
    return views.bytes(offset, size);
  }

  #openViews(): MemoryViews {
    this.#views = new MemoryViews(this.address, this.size);
    return this.#views;
  }

  /** Copies bytes to the start of `target`, which is large enough, without a view of them. */
  copy(offset: number, size: number, target: Uint8Array): void {
    native.zb_memory_copy(this.address, offset, size, target);
  }

  /** Copies the bytes of `count` frames, as {@link RingReader.places} gives them, end to end to `target`. */
  copyFrames(places: Float64Array, count: number, target: Uint8Array): void {
    native.zb_memory_copy_frames(this.address, places, count, target);
  }

  /** The sixteen 8-byte words of the OIEB, each loaded once. */
  loadOieb(): BigUint64Array {
    const words = new BigUint64Array(16);
    native.zb_oieb_load(this.address, words);
    return words;
  }

  /**
   * Fills the OIEB of new memory, all but `oieb_size`: peers wait for {@link publishOieb}. Sizes in bytes. The creator,
   * process `pid`, holds `role` from now on.
   */
  fillOieb(metadataSize: number, payloadSize: number, role: Role, pid: number, flags: bigint): void {
    native.zb_oieb_fill(this.address, metadataSize, payloadSize, role, pid, flags);
  }

  /** Stores `oieb_size`, the last step of a creation. */
  publishOieb(): void {
    native.zb_oieb_publish(this.address);
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
    const mappings = this.mappingsOf(pid);
    return mappings === undefined ? undefined : mappings > 0;
  }

  /** How often the process maps this memory, counted up to 2; undefined if that cannot be read. */
  mappingsOf(pid: number): number | undefined {
    const answer = native.zb_process_maps(pid, this.address);
    return answer < 0 ? undefined : answer;
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
   * Cuts off every view, then unmaps: a view that the program kept has length 0, instead of unmapped memory behind it. Some
   * views cannot be cut off, because an asynchronous operation works on them or the program has transferred their buffer, as
   * to a Worker: then the memory stays mapped until the last of them is gone.
   */
  close(): void {
    this.end((address) => {
      const views = this.#views;
      this.#views = undefined;
      try {
        views?.detach();
      } finally {
        native.zb_memory_close(address);
      }
    });
  }
}
