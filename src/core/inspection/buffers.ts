// What anybody can see of the buffers on this machine: their processes, control blocks, semaphores and metadata. Only reads.

import { Code, codeDescriptions } from "../../native/codes.ts";
import { Role, SharedMemory } from "../../native/memory.ts";
import { Semaphore } from "../../native/semaphore.ts";
import { BufferLocks, lockFilesOf, namesOfLocks } from "../buffer/locks.ts";
import { checkName } from "../buffer/names.ts";
import { memoryPath, namesInSharedMemory, semaphorePath, statusOf } from "../buffer/objects.ts";
import { decodeOieb, faultOfOieb, type Oieb } from "../buffer/oieb.ts";
import type { Presence } from "../buffer/presence.ts";
import { type BufferState, beginsAsBuffer, type Judgement, judge } from "../buffer/stale.ts";
import { OIEB_SIZE } from "../config.ts";
import { checkHelper, checkSharedMemory, notListed } from "../failures.ts";
import { type BufferFile, filesOf } from "./buffer-files.ts";
import { Places, type Sought } from "./places.ts";
import { type RecentFrames, recentFramesOf } from "./recent-frames.ts";
import { type SharingState, sharingOf } from "./sharing.ts";

/** A preview of metadata has up to this many bytes. */
const PREVIEW_SIZE = 256;

/** Length of the prefix in front of the metadata, in bytes. */
const METADATA_PREFIX_SIZE = 8;

/** The writer or the reader of a buffer, as its control block names it. */
export interface Participant {
  /**
   * Its process id, exact up to 2^53, in the pid namespace that it is in. 0 if it has not stored its pid yet, or somebody has
   * overwritten that.
   */
  readonly pid: number;
  /** Its process id here: another one if it is in another container. Null if it is dead, or cannot be seen from here. */
  readonly localPid: number | null;
  /** Its command line, without control characters, at most 200 characters; null if it cannot be read. */
  readonly command: string | null;
  /** Whether that process takes part in this buffer and is alive, or cannot be told to be dead. */
  readonly alive: boolean;
}

/** A buffer at one moment. */
export interface BufferSnapshot {
  /** Its name. */
  readonly name: string;
  /** Its state; null if its shared memory may not be read. */
  readonly state: BufferState | null;
  /** Why it is corrupt or cannot be read, as half a sentence; null if neither is so. */
  readonly fault: string | null;
  /** The size of its shared memory in bytes; null if there is none. */
  readonly size: number | null;
  /** Its control block; null if there is none that can be read. */
  readonly oieb: Oieb | null;
  /** Its writer; null if its control block names none. */
  readonly writer: Participant | null;
  /** How frames are shared through it, or of it; null without a control block that is right. */
  readonly sharing: SharingState | null;
  /** Its reader; null if its control block names none and no process holds the lock of the buffer. */
  readonly reader: Participant | null;
}

/** The beginning of a writer's metadata. */
export interface MetadataPreview {
  /** The size of the whole metadata, in bytes. */
  readonly size: number;
  /** The first bytes of the metadata, at most 256, in this encoding. */
  readonly preview: string;
  /** `text` if these bytes are printable UTF-8, otherwise `hex`. */
  readonly encoding: "text" | "hex";
  /** Whether the metadata has more bytes than the preview. */
  readonly isTruncated: boolean;
}

/** How many tokens the semaphores of a buffer have; null for one that is missing or cannot be read. */
export interface SemaphoreValues {
  /** One token for each frame that was written and that the reader has not waited for. */
  readonly written: number | null;
  /** One token for each frame that was released and that the writer has not waited for. */
  readonly released: number | null;
}

/**
 * Whether a side sleeps until the other one has done something; null if the system does not tell, or the semaphore cannot be
 * read. A process that was killed while it slept stays counted, as in libc.
 */
export interface Waits {
  /** The writer waits for room. */
  readonly writer: boolean | null;
  /** The reader waits for a frame. */
  readonly reader: boolean | null;
}

/**
 * The names of the buffers on this machine, sorted. On Linux these are the names of lock files and of semaphores, which some
 * implementations never remove, and of files of shared memory that begin as a buffer does; elsewhere those of lock files.
 * Other programs' shared memory is left out.
 *
 * @throws PermissionDeniedError, ResourceExhaustedError if the helper cannot be loaded, or shared memory not be listed.
 */
export function listBuffers(): string[] {
  checkHelper();
  const { memories, semaphores } = findNames();
  const names = new Set([...namesOfLocks(), ...semaphores]);
  return [...names, ...memories.filter((name) => !names.has(name) && beginsAsBuffer(name))].sort();
}

function findNames(): ReturnType<typeof namesInSharedMemory> {
  checkSharedMemory();
  try {
    return namesInSharedMemory();
  } catch (error) {
    throw notListed(error as NodeJS.ErrnoException);
  }
}

/**
 * A buffer to look at. That never disturbs its reader and its writer: its memory is opened for each look, and not mapped.
 *
 * @param places what is known of the processes of buffers, for those who look at many, or again and again.
 * @returns undefined if there is neither shared memory nor a semaphore or a lock file of that name.
 * @throws InvalidNameError; PermissionDeniedError if the helper cannot be loaded.
 */
export function inspectBuffer(name: string, places = new Places()): InspectedBuffer | undefined {
  checkName(name);
  checkHelper();
  checkSharedMemory(name);
  const buffer = new InspectedBuffer(name, places);
  return buffer.exists ? buffer : undefined;
}

/** A buffer that is looked at. */
export class InspectedBuffer {
  /** Its name. */
  readonly name: string;
  /** When its memory was made, in milliseconds since 1970; null if the system does not tell. */
  readonly createdMs: number | null;
  readonly #places: Places;
  /** The file of its memory, where memory is a file. */
  readonly #inode: number | undefined;

  /** @internal Use {@link inspectBuffer}. */
  constructor(name: string, places: Places) {
    const status = statusOf(memoryPath(name));
    this.name = name;
    this.createdMs = status?.birthtimeMs || null;
    this.#places = places;
    this.#inode = status?.ino;
  }

  /** Whether the name still means the buffer that {@link inspectBuffer} has found. */
  get exists(): boolean {
    const inode = statusOf(memoryPath(this.name))?.ino;
    if (inode !== undefined || this.#inode !== undefined) return inode === this.#inode;
    if (this.#look((memory) => memory !== Code.NOT_FOUND) || lockFilesOf(this.name).length > 0) return true;
    return [Role.WRITER, Role.READER].some((role) => statusOf(semaphorePath(this.name, role)) !== undefined);
  }

  /** The buffer as it is now. */
  snapshot(): BufferSnapshot {
    return this.#look((memory) =>
      typeof memory === "number" ? this.#snapshotWithoutMemory(memory) : this.#snapshotOf(memory),
    );
  }

  /** The state alone, which is cheaper than a {@link snapshot}: nobody looks for its processes. */
  state(): BufferState | null {
    return this.#look((memory) => {
      const hasOieb = typeof memory !== "number" && memory.size >= OIEB_SIZE;
      return hasOieb ? this.#judge(memory).state : this.snapshot().state;
    });
  }

  #judge(memory: SharedMemory): Judgement {
    return judge(memory, () => BufferLocks.areHeld(this.name));
  }

  #snapshotOf(memory: SharedMemory): BufferSnapshot {
    const { name } = this;
    const { size } = memory;
    if (size === 0) return this.#snapshotWithoutMemory(Code.NOT_FOUND);
    if (size < OIEB_SIZE) {
      const fault = `its ${size} bytes have no room for a control block`;
      return { name, state: "corrupt", fault, size, oieb: null, sharing: null, writer: null, reader: null };
    }
    const { state, fault = null, oieb, writer, reader } = this.#judge(memory);
    const sought = { isTwice: oieb.writerPid === oieb.readerPid, inode: this.#inode };
    const { writerPid, readerPid } = oieb;
    return {
      name,
      state,
      fault,
      size,
      oieb,
      sharing: faultOfOieb(oieb, size) === undefined ? sharingOf(memory, oieb) : null,
      writer: this.#participant(memory, writer, { pid: Number(writerPid), role: Role.WRITER, ...sought }),
      reader: this.#participant(memory, reader, { pid: Number(readerPid), role: Role.READER, ...sought }),
    };
  }

  #participant(memory: SharedMemory, presence: Presence, sought: Sought): Participant | null {
    const { pid } = sought;
    if (pid === 0) return presence === "dead" ? null : STARTING;
    const alive = presence !== "dead";
    // A process that is not alive in this buffer may have got the pid of one that was.
    const place = alive ? this.#places.locate(memory, sought) : { localPid: null, command: null };
    return { pid, ...place, alive };
  }

  /** How many frames were written so far, wrap markers included; null if there is no control block. */
  framesWritten(): number | null {
    return this.#look((memory) =>
      typeof memory === "number" ? null : decodeOieb(memory.loadOieb()).payloadWrittenCount,
    );
  }

  /** What the newest frames are like; undefined if there are none, or no control block that is right. */
  recentFrames(): RecentFrames | undefined {
    return this.#look((memory) => {
      if (typeof memory === "number" || memory.size < OIEB_SIZE) return undefined;
      const oieb = decodeOieb(memory.loadOieb());
      return faultOfOieb(oieb, memory.size) === undefined ? recentFramesOf(memory, oieb) : undefined;
    });
  }

  /** Which sides sleep until the other one has done something. */
  waits(): Waits {
    return { writer: hasWaiters(this.name, Role.READER), reader: hasWaiters(this.name, Role.WRITER) };
  }

  /** The tokens in both semaphores. */
  semaphores(): SemaphoreValues {
    return { written: tokens(this.name, Role.WRITER), released: tokens(this.name, Role.READER) };
  }

  /** The files of the buffer, with their owners and permissions. */
  files(): BufferFile[] {
    return filesOf(this.name);
  }

  /** The metadata of the writer; null if there is none, if it is being written, or if the buffer is corrupt. */
  metadata(): MetadataPreview | null {
    return this.#look((memory) => (typeof memory === "number" ? null : previewOf(memory)));
  }

  /** Opens the memory for one look, or says why it cannot be opened. */
  #look<T>(show: (memory: SharedMemory | Code) => T): T {
    const memory = SharedMemory.look(this.name, "read");
    try {
      return show(memory);
    } finally {
      if (typeof memory !== "number") memory.close();
    }
  }

  #snapshotWithoutMemory(code: Code): BufferSnapshot {
    const { name } = this;
    const size = statusOf(memoryPath(name))?.size ?? null;
    const snapshot = { name, fault: null, size, oieb: null, sharing: null, writer: null, reader: null };
    if (code !== Code.NOT_FOUND) {
      return { ...snapshot, state: code === Code.UNSAFE ? "corrupt" : null, fault: codeDescriptions[code] };
    }
    return BufferLocks.areHeld(name)
      ? { ...snapshot, state: "idle", reader: STARTING }
      : { ...snapshot, state: "stale" };
  }
}

/** A reader that has no pid yet. */
const STARTING: Participant = { pid: 0, localPid: null, command: null, alive: true };

function previewOf(memory: SharedMemory): MetadataPreview | null {
  const { state, oieb } = judge(memory);
  const size = oieb.metadataWrittenBytes - METADATA_PREFIX_SIZE;
  if (state === "corrupt" || size < 0 || oieb.metadataWrittenBytes > oieb.metadataSize) return null;
  const length = Math.min(size, PREVIEW_SIZE);
  const block = Buffer.alloc(METADATA_PREFIX_SIZE + length);
  memory.copy(OIEB_SIZE, block.length, block);
  // A writer that replaces it meanwhile has set the field to 0 first.
  const after = decodeOieb(memory.loadOieb()).metadataWrittenBytes;
  if (after !== oieb.metadataWrittenBytes || block.readBigUInt64LE() !== BigInt(size)) return null;
  const isTruncated = length < size;
  return { size, ...textOrHex(block.subarray(METADATA_PREFIX_SIZE), isTruncated), isTruncated };
}

function tokens(name: string, role: Role): number | null {
  return lookAt(name, role, ({ value }) => value);
}

/** Whether a thread sleeps until the side of this role posts a token. */
function hasWaiters(name: string, role: Role): boolean | null {
  const waiters = lookAt(name, role, ({ waiters }) => waiters ?? null);
  return waiters === null ? null : waiters > 0;
}

function lookAt(name: string, role: Role, show: (semaphore: Semaphore) => number | null): number | null {
  const semaphore = Semaphore.view(name, role);
  if (typeof semaphore === "number") return null;
  const shown = show(semaphore);
  semaphore.close();
  return shown;
}

function textOrHex(bytes: Buffer, isTruncated: boolean): { preview: string; encoding: "text" | "hex" } {
  try {
    // A character that is cut at the end is left out.
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: isTruncated });
    if (!/[^\P{C}\t\n\r]/u.test(text)) return { preview: text, encoding: "text" };
  } catch {
    // These bytes are not text.
  }
  return { preview: bytes.toString("hex"), encoding: "hex" };
}
