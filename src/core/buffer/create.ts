// Creates buffers (docs/protocol.md, sections 5.2, 5.3 and 5.6).

import { Code } from "../../native/codes.ts";
import { OiebFlag, Role, SharedMemory } from "../../native/memory.ts";
import { sleep } from "../../native/process.ts";
import { Semaphore } from "../../native/semaphore.ts";
import { watchSignals } from "../../native/signals.ts";
import { type BufferConfig, OIEB_SIZE, resolveConfig } from "../config.ts";
import {
  CorruptBufferError,
  PermissionDeniedError,
  ReaderAlreadyConnectedError,
  type ZeroBufferError,
} from "../errors.ts";
import { checkHelper, checkSharedMemory, failure, leftByAnother, outOfSharedMemory } from "../failures.ts";
import { checkMemoryLimit } from "../memory-limit.ts";
import { alreadyOwned, BufferLocks } from "./locks.ts";
import { checkName } from "./names.ts";
import { isOurs, removalAdvice, semaphorePath, statusOf } from "./objects.ts";
import { decodeOieb, faultOfOieb, type Oieb } from "./oieb.ts";
import { Peer } from "./presence.ts";
import { closeSemaphores, openSemaphores, type SemaphorePair, SharedBuffer } from "./shared-buffer.ts";
import { obstacleToRemoval, removeStaleBuffers } from "./stale.ts";

/** The shared memory that a semaphore needs, in bytes: a page. */
const SEMAPHORE_SIZE = 4096;

/** The pause between two attempts, in milliseconds: nobody announces that a name is free. */
const POLL_MS = 5;

/**
 * On Windows a name exists until the last process has closed its object. The next reader waits this long for the writer to
 * notice that its reader has left, in milliseconds.
 */
const NAME_LINGERS_MS = process.platform === "win32" ? 1000 : 0;

/**
 * Creates the buffer for its reader, which is this process, or adopts one that its writer has created (docs/protocol.md,
 * sections 5.2 and 5.3).
 *
 * @param flags of {@link OiebFlag}, for a new buffer.
 * @throws InvalidNameError, RangeError, ReaderAlreadyConnectedError, ResourceExhaustedError, PermissionDeniedError,
 *   CorruptBufferError. Nothing is left behind then.
 */
export function createForReader(name: string, config?: BufferConfig, flags = 0n): SharedBuffer {
  checkName(name);
  checkHelper();
  checkSharedMemory(name);
  watchSignals();
  const resolved = resolveConfig(config);
  removeStaleBuffers();
  const locks = takeLocks(name);
  const deadline = performance.now() + NAME_LINGERS_MS;
  for (;;) {
    try {
      return adoptOrReplace(name, locks) ?? create(name, resolved, Role.READER, flags, locks);
    } catch (error) {
      if (performance.now() < deadline && sleep(POLL_MS)) continue;
      locks.release({ remove: true });
      throw error;
    }
  }
}

/**
 * Creates a buffer without a reader, for its writer, which is this process: a reader adopts it later. Replaces what dead
 * processes left of it. Never waits.
 *
 * @returns undefined if the buffer exists, or another process is creating it.
 * @throws as {@link createForReader}.
 */
export function createForWriter(name: string, config: BufferConfig): SharedBuffer | undefined {
  const resolved = resolveConfig(config);
  let locks: BufferLocks | undefined;
  let remove = true;
  try {
    locks = BufferLocks.take(name, 0);
    remove = removeIfDead(name);
    if (!remove) return undefined;
    const buffer = create(name, resolved, Role.WRITER, OiebFlag.CREATED_BY_WRITER);
    // The lock files of a buffer without a reader stay: a cleanup finds it by them.
    remove = false;
    return buffer;
  } catch (error) {
    if (error instanceof ReaderAlreadyConnectedError) return undefined;
    throw error;
  } finally {
    locks?.release({ remove });
  }
}

/** With the locks held: removes memory that no process uses. False if there is memory that must stay. */
function removeIfDead(name: string): boolean {
  const memory = SharedMemory.open(name);
  if (memory === Code.NOT_FOUND) return true;
  if (memory === Code.AGAIN) return SharedMemory.discard(name);
  if (typeof memory === "number") throw failure(memory, name, `The shared memory of buffer "${name}"`);
  try {
    if (obstacleToRemoval(memory) !== undefined) return false;
    memory.unlink();
    return true;
  } finally {
    memory.close();
  }
}

function takeLocks(name: string): BufferLocks {
  try {
    return BufferLocks.take(name);
  } catch (error) {
    if (!(error instanceof ReaderAlreadyConnectedError)) throw error;
    const memory = SharedMemory.open(name);
    if (typeof memory === "number") throw error;
    const { readerPid } = decodeOieb(memory.loadOieb());
    memory.close();
    throw alreadyOwned(name, readerPid === 0n ? undefined : Number(readerPid));
  }
}

/**
 * Creates all objects of a buffer for this process, which has `role`. What was created is removed again if a step fails.
 *
 * The memory is allocated and filled before it has its name, and `oieb_size` is stored last. So no peer waits for the
 * allocation, and none finds a complete OIEB without semaphores (docs/protocol.md, section 5.2).
 */
function create(
  name: string,
  { metadataSize, payloadSize, mode }: ReturnType<typeof resolveConfig>,
  role: Role,
  flags: bigint,
  locks?: BufferLocks,
): SharedBuffer {
  const size = OIEB_SIZE + metadataSize + payloadSize;
  const refusal = (code: Code, what: string): ZeroBufferError => {
    if (code === Code.NO_SPACE) return outOfSharedMemory(name, size + 2 * SEMAPHORE_SIZE);
    return code === Code.EXISTS ? alreadyOwned(name) : failure(code, name, `${what} of buffer "${name}"`);
  };
  checkMemoryLimit(name, size + 2 * SEMAPHORE_SIZE);
  const memory = SharedMemory.create(name, size, mode);
  if (typeof memory === "number") throw refusal(memory, "The shared memory");
  let buffer: SharedBuffer | undefined;
  try {
    memory.fillOieb(metadataSize, payloadSize, role, process.pid, flags);
    const linked = memory.link();
    if (linked !== Code.OK) throw refusal(linked, "The shared memory");
    const semaphores = createSemaphores(name, mode);
    if (typeof semaphores === "number")
      throw foreignSemaphore(name, semaphores) ?? refusal(semaphores, "A semaphore");
    memory.publishOieb();
    buffer = new SharedBuffer(name, { metadataSize, payloadSize }, memory, semaphores, locks);
    return buffer;
  } finally {
    if (buffer === undefined) {
      memory.unlink();
      memory.close();
    }
  }
}

function createSemaphores(name: string, mode: number | undefined): SemaphorePair | Code {
  // The memory of this name is new, and this process holds the locks: semaphores of the name are leftovers.
  Semaphore.remove(name, Role.WRITER);
  Semaphore.remove(name, Role.READER);
  const written = Semaphore.create(name, Role.WRITER, mode);
  if (typeof written === "number") return written;
  const released = Semaphore.create(name, Role.READER, mode);
  if (typeof released === "number") {
    written.unlink();
    written.close();
    return released;
  }
  return { written, released };
}

/** A leftover semaphore of another user cannot be removed and keeps the name. */
function foreignSemaphore(name: string, code: Code): PermissionDeniedError | undefined {
  const paths = [semaphorePath(name, Role.WRITER), semaphorePath(name, Role.READER)];
  const path = paths.find((path) => path !== undefined && statusOf(path) !== undefined && !isOurs(path));
  if (code !== Code.EXISTS || path === undefined) return undefined;
  return new PermissionDeniedError(`A semaphore of buffer "${name}" belongs to another user: ${path}.`, {
    buffer: name,
    hint: "Use another name, or have its owner remove that file.",
  });
}

/** With the locks held: adopts a buffer that a writer has created, removes a stale one, refuses one that is alive. */
function adoptOrReplace(name: string, locks: BufferLocks): SharedBuffer | undefined {
  const memory = SharedMemory.open(name);
  if (memory === Code.NOT_FOUND) return undefined;
  if (memory === Code.AGAIN && SharedMemory.discard(name)) return undefined;
  // Its lock was free: it has no reader any more.
  if (memory === Code.PERMISSION) throw leftByAnother(name);
  if (typeof memory === "number") throw failure(memory, name, `The shared memory of buffer "${name}"`);
  let adopted: SharedBuffer | undefined;
  try {
    const oieb = decodeOieb(memory.loadOieb());
    if (oieb.readerPid !== 0n && new Peer(memory, Role.READER).isAlive(oieb.readerPid)) {
      throw alreadyOwned(name, Number(oieb.readerPid));
    }
    adopted = adopt(name, memory, oieb, locks);
    if (adopted !== undefined) return adopted;
    const obstacle = obstacleToRemoval(memory);
    if (obstacle?.code === "PERMISSION_DENIED") throw leftByAnother(name);
    if (obstacle !== undefined) {
      throw new CorruptBufferError(`Buffer "${name}" exists and cannot be replaced: ${obstacle.reason}.`, {
        buffer: name,
        hint: `Use another name, or ${removalAdvice(name)}.`,
      });
    }
    memory.unlink();
    return undefined;
  } finally {
    if (adopted === undefined) memory.close();
  }
}

function adopt(name: string, memory: SharedMemory, oieb: Oieb, locks: BufferLocks): SharedBuffer | undefined {
  if ((oieb.flags & OiebFlag.CREATED_BY_WRITER) === 0n || oieb.readerPid !== 0n) return undefined;
  if (faultOfOieb(oieb, memory.size) !== undefined) return undefined;
  if (!new Peer(memory, Role.WRITER).isAlive(oieb.writerPid)) return undefined;
  const semaphores = openSemaphores(name);
  if (typeof semaphores === "number") return undefined;
  if (!memory.claim(Role.READER, 0, process.pid)) {
    closeSemaphores(semaphores);
    return undefined;
  }
  return new SharedBuffer(name, oieb, memory, semaphores, locks);
}
