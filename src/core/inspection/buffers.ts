// What can be seen of a buffer from outside: its processes, its OIEB, its semaphores. Everything here only reads.

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
import { checkHelper } from "../failures.ts";

/** Metadata is shown up to this many bytes. */
const PREVIEW_SIZE = 256;

/** The length before the metadata, in bytes. */
const METADATA_PREFIX_SIZE = 8;

/** Longest command line that is kept, in characters. */
const MAX_COMMAND_LENGTH = 200;

/** A writer or reader, as its buffer names it. */
export interface Participant {
  /** As it stands in the OIEB; exact up to 2^53. 0 where a reader is there that has not stored it yet. */
  readonly pid: number;
  /** Its command line, without control characters; null where it cannot be read. */
  readonly command: string | null;
  /** Whether that process lives and takes part in this buffer. */
  readonly alive: boolean;
}

/** A buffer at one moment. */
export interface Snapshot {
  readonly name: string;
  /** null where its shared memory may not be read. */
  readonly state: BufferState | null;
  /** Why it is corrupt or cannot be read, as half a sentence; null if it is neither. */
  readonly fault: string | null;
  /** Of its shared memory, in bytes; null where there is none. */
  readonly size: number | null;
  /** null where there is none to read. */
  readonly oieb: Oieb | null;
  /** null if its pid is 0. */
  readonly writer: Participant | null;
  /** null if its pid is 0, unless somebody holds the lock. */
  readonly reader: Participant | null;
}

/** The beginning of a writer's metadata. */
export interface MetadataPreview {
  /** Of all the metadata, in bytes. */
  readonly size: number;
  /** Its first bytes, as `encoding` says: as they are if they are printable, otherwise in hexadecimal. */
  readonly preview: string;
  readonly encoding: "text" | "hex";
  /** Whether there are more bytes than shown. */
  readonly isTruncated: boolean;
}

/**
 * The names of the buffers on this machine, sorted: lock files, and files of shared memory that begin as a buffer or
 * have a semaphore or a lock of their name. What other programs keep there is passed over.
 *
 * @throws PermissionDeniedError if the helper cannot be loaded.
 */
export function findBuffers(): string[] {
  checkHelper();
  const { memories, semaphores } = namesInSharedMemory();
  const locks = namesOfLocks();
  const buffers = memories.filter((name) => locks.has(name) || semaphores.has(name) || beginsAsBuffer(name));
  return [...new Set([...locks, ...buffers])].sort();
}

/** The names of semaphores that have no shared memory and no lock: some implementations leave them. Sorted. */
export function findForsakenSemaphores(): string[] {
  const { memories, semaphores } = namesInSharedMemory();
  const others = new Set([...memories, ...namesOfLocks()]);
  return [...semaphores].filter((name) => !others.has(name)).sort();
}

/** A buffer that is looked at. It never disturbs the peers: its memory is mapped for reading only. */
export class BufferView implements Disposable {
  readonly name: string;
  /** Or why there is none. */
  readonly #memory: SharedMemory | Code;

  private constructor(name: string, memory: SharedMemory | Code) {
    this.name = name;
    this.#memory = memory;
  }

  /**
   * Opens what there is of the name; undefined if there is neither shared memory nor a lock file.
   *
   * @throws InvalidNameError; PermissionDeniedError if the helper cannot be loaded.
   */
  static open(name: string): BufferView | undefined {
    checkName(name);
    checkHelper();
    // Opening a FIFO would wake who waits for its reader.
    const isFile = statusOf(memoryPath(name))?.isFile() ?? true;
    const memory = isFile ? SharedMemory.view(name) : Code.UNSAFE;
    if (memory === Code.NOT_FOUND && lockFilesOf(name).length === 0) return undefined;
    return new BufferView(name, memory);
  }

  /** Whether the name still means what was opened. */
  get isThere(): boolean {
    if (typeof this.#memory !== "number") return this.#memory.isNamed;
    return statusOf(memoryPath(this.name)) !== undefined || lockFilesOf(this.name).length > 0;
  }

  /** The buffer as it is now. */
  look(): Snapshot {
    const { name } = this;
    const memory = this.#memory;
    if (typeof memory === "number") return this.#lookWithoutOieb(memory);
    const judgement = judge(memory, () => BufferLocks.areHeld(name));
    const { state, fault = null, oieb, writerAlive, readerAlive, isReaderHidden } = judgement;
    return {
      name,
      state,
      fault,
      size: memory.size,
      oieb,
      writer: participant(oieb.writerPid, writerAlive),
      reader: isReaderHidden ? hidden(oieb.readerPid) : participant(oieb.readerPid, readerAlive),
    };
  }

  /** How many frames were written so far, the markers of wraps included. Null where there is no OIEB. */
  framesWritten(): number | null {
    return typeof this.#memory === "number" ? null : decodeOieb(this.#memory.loadOieb()).payloadWrittenCount;
  }

  /** How many tokens each semaphore has: frames written and not yet waited for, frames released likewise. */
  semaphores(): { written: number | null; released: number | null } {
    return { written: tokens(this.name, Role.WRITER), released: tokens(this.name, Role.READER) };
  }

  /** The metadata that the writer has sent; null if there is none, it is just being written, or the OIEB is corrupt. */
  metadata(): MetadataPreview | null {
    const memory = this.#memory;
    if (typeof memory === "number") return null;
    const { state, oieb } = judge(memory);
    const size = oieb.metadataWrittenBytes - METADATA_PREFIX_SIZE;
    if (state === "corrupt" || size < 0 || oieb.metadataWrittenBytes > oieb.metadataSize) return null;
    const shown = Math.min(size, PREVIEW_SIZE);
    const block = Buffer.alloc(METADATA_PREFIX_SIZE + shown);
    memory.copy(OIEB_SIZE, block.length, block);
    // A writer that replaces it meanwhile has set the field to 0 first.
    const after = decodeOieb(memory.loadOieb()).metadataWrittenBytes;
    if (after !== oieb.metadataWrittenBytes || block.readBigUInt64LE() !== BigInt(size)) return null;
    const isTruncated = shown < size;
    return { size, ...preview(block.subarray(METADATA_PREFIX_SIZE), isTruncated), isTruncated };
  }

  #lookWithoutOieb(code: Code): Snapshot {
    const { name } = this;
    const size = statusOf(memoryPath(name))?.size ?? null;
    const seen = { name, fault: null, size, oieb: null, writer: null, reader: null };
    if (code === Code.NOT_FOUND || (code === Code.AGAIN && size === 0)) {
      const isMade = BufferLocks.areHeld(name);
      return { ...seen, state: isMade ? "idle" : "stale", reader: isMade ? hidden(0n) : null };
    }
    if (code === Code.AGAIN) {
      return { ...seen, state: "corrupt", fault: `its ${size} bytes have no room for a control block` };
    }
    return { ...seen, state: code === Code.UNSAFE ? "corrupt" : null, fault: codeDescriptions[code] };
  }

  [Symbol.dispose](): void {
    if (typeof this.#memory !== "number") this.#memory.close();
  }
}

function participant(pid: bigint, alive: boolean): Participant | null {
  // The process behind a pid that is no peer's has nothing to do with the buffer.
  return pid === 0n ? null : { pid: Number(pid), command: alive ? commandOf(pid) : null, alive };
}

/** A reader that only its lock tells of: its pid is that of another process here, or not stored yet. */
function hidden(pid: bigint): Participant {
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

function preview(bytes: Buffer, isTruncated: boolean): { preview: string; encoding: "text" | "hex" } {
  try {
    // A character that the end cuts in two is left out.
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: isTruncated });
    if (!/[^\P{C}\t\n\r]/u.test(text)) return { preview: text, encoding: "text" };
  } catch {
    // It is no text.
  }
  return { preview: bytes.toString("hex"), encoding: "hex" };
}
