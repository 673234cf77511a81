// What anybody can see of the buffers on this machine: their processes, control blocks, semaphores and metadata. Only reads.

import { Code, codeDescriptions } from "../../native/codes.ts";
import { Role, SharedMemory } from "../../native/memory.ts";
import { Semaphore } from "../../native/semaphore.ts";
import { files } from "../../runtime/files.ts";
import { BufferLocks, lockFilesOf, namesOfLocks } from "../buffer/locks.ts";
import { checkName } from "../buffer/names.ts";
import { memoryPath, namesInSharedMemory, statusOf } from "../buffer/objects.ts";
import { decodeOieb, type Oieb } from "../buffer/oieb.ts";
import { type BufferState, beginsAsBuffer, judge } from "../buffer/stale.ts";
import { OIEB_SIZE } from "../config.ts";
import { checkHelper, checkSharedMemory } from "../failures.ts";

/** A preview of metadata has up to this many bytes. */
const PREVIEW_SIZE = 256;

/** Length of the prefix in front of the metadata, in bytes. */
const METADATA_PREFIX_SIZE = 8;

/** Longest command line that a snapshot has, in characters. */
const MAX_COMMAND_LENGTH = 200;

/** The writer or the reader of a buffer, as its control block names it. */
export interface Participant {
  /** Its process id, exact up to 2^53. 0 if it is a reader that has not stored its pid yet. */
  readonly pid: number;
  /** Its command line, without control characters, at most 200 characters; null if it cannot be read. */
  readonly command: string | null;
  /** Whether that process is alive and takes part in this buffer. */
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
 * The names of the buffers on this machine, sorted. On Linux these are the names of lock files, and of files of shared
 * memory that begin as a buffer does or have a semaphore or a lock of their name; elsewhere those of lock files. Other
 * programs' shared memory is left out.
 *
 * @throws PermissionDeniedError if the helper cannot be loaded.
 */
export function listBuffers(): string[] {
  checkHelper();
  checkSharedMemory();
  const { memories, semaphores } = namesInSharedMemory();
  const locks = namesOfLocks();
  const buffers = memories.filter((name) => locks.has(name) || semaphores.has(name) || beginsAsBuffer(name));
  return [...new Set([...locks, ...buffers])].sort();
}

/**
 * The names of buffers of which only semaphores are left, sorted: some implementations never remove them.
 * {@link cleanBuffer} does. Empty on other systems than Linux.
 */
export function listLeftoverSemaphores(): string[] {
  const { memories, semaphores } = namesInSharedMemory();
  const others = new Set([...memories, ...namesOfLocks()]);
  return [...semaphores].filter((name) => !others.has(name)).sort();
}

/**
 * Opens a buffer for looking at it. That never disturbs its reader and its writer: its memory is mapped for reading only.
 *
 * @returns undefined if there is neither shared memory nor a lock file of that name.
 * @throws InvalidNameError; PermissionDeniedError if the helper cannot be loaded.
 */
export function inspectBuffer(name: string): InspectedBuffer | undefined {
  checkName(name);
  checkHelper();
  checkSharedMemory(name);
  // Opening a FIFO would wake the process that waits for its reader.
  const isFile = statusOf(memoryPath(name))?.isFile() ?? true;
  const memory = isFile ? SharedMemory.view(name) : Code.UNSAFE;
  if (memory === Code.NOT_FOUND && lockFilesOf(name).length === 0) return undefined;
  return new InspectedBuffer(name, memory);
}

/** A buffer that is looked at, from {@link inspectBuffer} to {@link close}. */
export class InspectedBuffer implements Disposable {
  /** Its name. */
  readonly name: string;
  /** Its memory, or why there is none to read. */
  readonly #memory: SharedMemory | Code;

  /** @internal Use {@link inspectBuffer}. */
  constructor(name: string, memory: SharedMemory | Code) {
    this.name = name;
    this.#memory = memory;
  }

  /** Whether the name still means the buffer that was opened. */
  get exists(): boolean {
    if (typeof this.#memory !== "number") return this.#memory.isNamed;
    return statusOf(memoryPath(this.name)) !== undefined || lockFilesOf(this.name).length > 0;
  }

  /** The buffer as it is now. */
  snapshot(): BufferSnapshot {
    const { name } = this;
    const memory = this.#memory;
    if (typeof memory === "number") return this.#snapshotWithoutOieb(memory);
    const judgement = judge(memory, () => BufferLocks.areHeld(name));
    const { state, fault = null, oieb, writerAlive, readerAlive, isReaderHidden } = judgement;
    return {
      name,
      state,
      fault,
      size: memory.size,
      oieb,
      writer: participant(oieb.writerPid, writerAlive),
      reader: isReaderHidden ? hiddenReader(oieb.readerPid) : participant(oieb.readerPid, readerAlive),
    };
  }

  /** How many frames were written so far, wrap markers included; null if there is no control block. */
  framesWritten(): number | null {
    return typeof this.#memory === "number" ? null : decodeOieb(this.#memory.loadOieb()).payloadWrittenCount;
  }

  /** The tokens in both semaphores. */
  semaphores(): SemaphoreValues {
    return { written: tokens(this.name, Role.WRITER), released: tokens(this.name, Role.READER) };
  }

  /** The metadata of the writer; null if there is none, if it is being written, or if the buffer is corrupt. */
  metadata(): MetadataPreview | null {
    const memory = this.#memory;
    if (typeof memory === "number") return null;
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

  #snapshotWithoutOieb(code: Code): BufferSnapshot {
    const { name } = this;
    const size = statusOf(memoryPath(name))?.size ?? null;
    const snapshot = { name, fault: null, size, oieb: null, writer: null, reader: null };
    if (code === Code.NOT_FOUND || (code === Code.AGAIN && size === 0)) {
      const isBeingCreated = BufferLocks.areHeld(name);
      return {
        ...snapshot,
        state: isBeingCreated ? "idle" : "stale",
        reader: isBeingCreated ? hiddenReader(0n) : null,
      };
    }
    if (code === Code.AGAIN) {
      return { ...snapshot, state: "corrupt", fault: `its ${size} bytes have no room for a control block` };
    }
    return { ...snapshot, state: code === Code.UNSAFE ? "corrupt" : null, fault: codeDescriptions[code] };
  }

  /** Ends the looking. The buffer stays as it is. */
  close(): void {
    if (typeof this.#memory !== "number") this.#memory.close();
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}

function participant(pid: bigint, alive: boolean): Participant | null {
  // A process that is not alive in this buffer may have got the pid of one that was.
  return pid === 0n ? null : { pid: Number(pid), command: alive ? commandOf(pid) : null, alive };
}

/** A reader that only its lock shows: its pid is not visible here, or not stored yet. */
function hiddenReader(pid: bigint): Participant {
  return { pid: Number(pid), command: null, alive: true };
}

function commandOf(pid: bigint): string | null {
  let text: string;
  try {
    text = files().readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return null;
  }
  const words = text.replaceAll("\0", " ").trim();
  return words === "" ? null : words.replace(/\p{C}/gu, "?").slice(0, MAX_COMMAND_LENGTH);
}

function tokens(name: string, role: Role): number | null {
  const semaphore = Semaphore.view(name, role);
  if (typeof semaphore === "number") return null;
  const { value } = semaphore;
  semaphore.close();
  return value;
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
