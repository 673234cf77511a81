// The shared memory of a buffer: its control block (OIEB), its metadata, and views of its bytes.

import { Code } from "./codes.ts";
import { cString, Handle, type Mode, modeArgument, openHandle } from "./handle.ts";
import { native } from "./library.ts";
import type { Address } from "./symbols.ts";
import { MemoryViews } from "./views.ts";

/**
 * The two sides of a buffer. Each has a pid in the OIEB, and a semaphore to which it posts: one token for each frame
 * that is written, one for each frame that is released.
 */
export const Role = { WRITER: 0, READER: 1 } as const;
export type Role = (typeof Role)[keyof typeof Role];

/** Flags of the OIEB (docs/protocol.md, section 1). */
export const OiebFlag = {
  CREATED_BY_WRITER: 1n,
  ANY_SEQUENCE: 2n,
  SHARING: 4n,
  CANCELLATION: 8n,
  LOCKED_ROLES: 16n,
} as const;

/**
 * The shared memory of a buffer, open in this process and usually mapped into it. The process that has created it removes
 * its name. All offsets and sizes are in bytes, and offsets count from the start of the memory.
 */
export class SharedMemory extends Handle {
  readonly size: number;
  /** Made for the first view: a writer that copies its frames needs none. */
  #views: MemoryViews | undefined;

  private constructor(address: Address) {
    super(address);
    this.size = native.zb_memory_size(address);
  }

  /**
   * Creates `size` bytes of zeros, all of them allocated. On Linux no other process sees the memory before {@link
   * link}; on other systems it has its name at once. EXISTS, NO_SPACE, PERMISSION.
   */
  static create(name: string, size: number, mode: Mode): SharedMemory | Code {
    return openHandle(
      (result) => native.zb_memory_create(cString(name), size, modeArgument(mode), result),
      (address) => new SharedMemory(address),
    );
  }

  /** Gives new memory its name, if it has none yet. EXISTS if something else has that name. */
  link(): Code {
    return native.zb_memory_link(this.address) as Code;
  }

  /**
   * Opens the memory of a name, or whatever file has its place, without mapping it. Until {@link map} it can be looked at,
   * locked and removed. NOT_FOUND, UNSAFE, PERMISSION.
   *
   * @param access `write` to take a role, or to remove it; `read` needs only permission to read.
   */
  static look(name: string, access: "read" | "write"): SharedMemory | Code {
    return openHandle(
      (result) => native.zb_memory_look(cString(name), access === "write" ? 1 : 0, result),
      (address) => new SharedMemory(address),
    );
  }

  /** Opens and maps the memory of a name. As {@link look} and {@link map}. */
  static open(name: string): SharedMemory | Code {
    const memory = SharedMemory.look(name, "write");
    if (typeof memory === "number") return memory;
    const code = memory.map();
    if (code === Code.OK) return memory;
    memory.close();
    return code;
  }

  /**
   * Opens the source of the attachment that a reader has read, for reading, and locks it as shared. It is not mapped yet.
   * NOT_FOUND: the name does not mean that memory. UNSAFE, PERMISSION, UNSUPPORTED: zb_reader_open_source.
   */
  static openSource(reader: { readonly address: Address }): SharedMemory | Code {
    return openHandle(
      (result) => native.zb_reader_open_source(reader.address, result),
      (address) => new SharedMemory(address),
    );
  }

  /** Maps memory, to write if it was opened for that. AGAIN: it is smaller than an OIEB. NO_MEMORY. */
  map(): Code {
    return native.zb_memory_map(this.address) as Code;
  }

  // ---- the bytes ---------------------------------------------------------------------------------------------------

  /**
   * A view of `size` bytes, up to 4 GiB, at `offset`. The caller guarantees that they are inside the memory. The view
   * has length 0 once the memory is closed. The next call for the same bytes usually returns the same view.
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

  /**
   * Copies bytes to the start of `target` without a view. The caller guarantees the range, and the room in `target`. Bytes
   * past the end of memory that is not mapped are 0.
   */
  copy(offset: number, size: number, target: Uint8Array): void {
    native.zb_memory_copy(this.address, offset, size, target);
  }

  /** As {@link copy}, for `count` frames of {@link RingReader.places}: copies their bytes one after the other. */
  copyFrames(places: Float64Array, count: number, target: Uint8Array): void {
    native.zb_memory_copy_frames(this.address, places, count, target);
  }

  // ---- the OIEB ----------------------------------------------------------------------------------------------------

  /** The sixteen 8-byte words of the OIEB, each loaded once. */
  loadOieb(): BigUint64Array {
    const words = new BigUint64Array(16);
    native.zb_oieb_load(this.address, words);
    return words;
  }

  /**
   * Fills the OIEB of new memory except `oieb_size`: peers wait for {@link publishOieb}. This mapping holds `role`
   * for the process `pid` from now on.
   *
   * @param flags of {@link OiebFlag}.
   */
  fillOieb(metadataSize: number, payloadSize: number, role: Role, pid: number, flags: bigint): void {
    native.zb_oieb_fill(this.address, metadataSize, payloadSize, role, pid, flags);
  }

  /** Stores `oieb_size`. That is the last step of a creation. */
  publishOieb(): void {
    native.zb_oieb_publish(this.address);
  }

  /** Adds flags of {@link OiebFlag}, atomically. */
  addFlags(flags: bigint): void {
    native.zb_oieb_add_flags(this.address, flags);
  }

  /**
   * Replaces the pid of a role by compare-and-swap. If `pid` is not 0, this object holds the role afterwards; if it
   * is 0, it does not. With the lock of the writer's role, the mark follows its pid. False if the field does not hold
   * `expected`, or if this process holds the role through another object.
   */
  claim(role: Role, expected: bigint | number, pid: number): boolean {
    return native.zb_oieb_claim(this.address, role, expected, pid) === Code.OK;
  }

  /** Puts the pid of a role back if somebody has overwritten it with 0. Whether the field holds it now. */
  restore(role: Role, pid: bigint | number): boolean {
    return native.zb_oieb_restore(this.address, role, pid) === 1;
  }

  /** Whether this process holds the role through another object. */
  isHeldHere(role: Role): boolean {
    return native.zb_memory_held_here(this.address, role) === 1;
  }

  // ---- locks and liveness -------------------------------------------------------------------------------------------

  /**
   * Takes the lock of a role, which a peer in any namespace sees as long as this object is open. LOCKED: somebody else
   * has it. UNSUPPORTED: this system has no such locks.
   */
  lockRole(role: Role): Code {
    return native.zb_role_lock(this.address, role) as Code;
  }

  /** Gives the lock of a role up, if this object has it. */
  unlockRole(role: Role): void {
    native.zb_role_unlock(this.address, role);
  }

  /** Whether somebody else has the lock of a role; undefined if this system has no such locks. */
  isRoleLocked(role: Role): boolean | undefined {
    const answer = native.zb_role_locked(this.address, role);
    return answer < 0 ? undefined : answer === 1;
  }

  /** Whether nobody else has the memory open, in any process; undefined if that cannot be asked. */
  isAlone(): boolean | undefined {
    const answer = native.zb_memory_alone(this.address);
    return answer < 0 ? undefined : answer === 1;
  }

  /** Whether a reader has it mapped that reads its frames through another buffer; undefined if that cannot be asked. */
  isShared(): boolean | undefined {
    const answer = native.zb_memory_shared(this.address);
    return answer < 0 ? undefined : answer === 1;
  }

  // ---- the metadata ------------------------------------------------------------------------------------------------

  /** Publishes the metadata of this writer. TOO_LARGE, BAD_CONTROL. */
  writeMetadata(data: Uint8Array): Code {
    return native.zb_metadata_write(this.address, data, data.length) as Code;
  }

  /**
   * Copies the metadata to the start of `target`, and returns its size; 0 if there is none. AGAIN: the metadata is just
   * changing, or contradicts its size. BAD_CONTROL. TOO_LARGE: `target` is too small.
   */
  readMetadata(target: Uint8Array): number {
    return native.zb_metadata_read(this.address, target, target.length);
  }

  /** Removes the metadata, between two writers. */
  clearMetadata(): void {
    native.zb_metadata_clear(this.address);
  }

  // ---- cancelled requests ------------------------------------------------------------------------------------------

  /** Stores the number of a request that is taken back. `table` is the offset of the table, which lies in the memory. */
  storeCancellation(table: number, sequence: number): void {
    native.zb_cancellation_store(this.address, table, sequence);
  }

  /** Whether the number of a request is in that table. */
  hasCancellation(table: number, sequence: number): boolean {
    return native.zb_cancellation_stored(this.address, table, sequence) === 1;
  }

  // ---- its name, and its end ---------------------------------------------------------------------------------------

  /** Whether the buffer's name still means this memory. */
  get isNamed(): boolean {
    return native.zb_memory_named(this.address) === Code.OK;
  }

  /** Whether the user of this process owns the memory, or is root. */
  get isOwned(): boolean {
    return native.zb_memory_owned(this.address) === 1;
  }

  /** Whether it belongs to the effective user of this process, and not everybody may write to it. */
  get isTrusted(): boolean {
    return native.zb_memory_trusted(this.address) === 1;
  }

  /** Whether it was truncated under its mapping. */
  get isBroken(): boolean {
    return native.zb_memory_broken(this.address) === 1;
  }

  /** How often the process maps this memory, counted up to 2; undefined if that cannot be read. */
  mappingsOf(pid: number): number | undefined {
    const answer = native.zb_process_maps(pid, this.address);
    return answer < 0 ? undefined : answer;
  }

  /** Removes the name if it still means this memory. */
  unlink(): void {
    native.zb_memory_unlink(this.address);
  }

  /** Gives up the roles and their locks as a death does: the pids stay. */
  resign(): void {
    native.zb_memory_resign(this.address);
  }

  /**
   * Detaches all views, so that they have length 0, and unmaps the memory. A view cannot be detached while an
   * asynchronous operation works on it, or after the program has transferred its buffer: the memory then stays mapped
   * until nothing can reach that view any more.
   *
   * @returns whether it is unmapped.
   */
  close(): boolean {
    let isUnmapped = true;
    this.end((address) => {
      try {
        this.detachViews();
      } finally {
        isUnmapped = native.zb_memory_close(address) === 0;
      }
    });
    return isUnmapped;
  }

  /** Detaches all views, as {@link close}, but leaves the memory open. */
  detachViews(): void {
    const views = this.#views;
    this.#views = undefined;
    views?.detach();
  }
}
