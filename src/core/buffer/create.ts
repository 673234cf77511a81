// Creates buffers (docs/protocol.md, sections 5.2, 5.3 and 5.6).

import { Code } from "../../native/codes.ts";
import { OiebFlag, Role, SharedMemory } from "../../native/memory.ts";
import { sleep } from "../../native/process.ts";
import { Semaphore } from "../../native/semaphore.ts";
import { watchSignals } from "../../native/signals.ts";
import { raceAbort } from "../../runtime/abort.ts";
import { type BufferConfig, OIEB_SIZE, resolveConfig } from "../config.ts";
import {
  CorruptBufferError,
  PermissionDeniedError,
  ReaderAlreadyConnectedError,
  ResourceExhaustedError,
  type ZeroBufferError,
} from "../errors.ts";
import { checkHelper, checkSharedMemory, failure, leftByAnother, outOfSharedMemory } from "../failures.ts";
import { checkMemoryLimit } from "../memory-limit.ts";
import { CANCELLATION_TABLE_SIZE, cancellationOf } from "./cancellations.ts";
import { alreadyOwned, BufferLocks, lockFilesOf, PROBE_PATIENCE_MS } from "./locks.ts";
import { checkName } from "./names.ts";
import { hasNamelessMemory, isOurs, removalAdvice, semaphorePath, statusOf } from "./objects.ts";
import { decodeOieb, faultOfOieb, type Oieb } from "./oieb.ts";
import { type Obstacle, Patience, pauseMs } from "./patience.ts";
import { areRolesLocked, Peer } from "./presence.ts";
import { closeSemaphores, openSemaphores, type SemaphorePair, SharedBuffer } from "./shared-buffer.ts";
import { obstacleToRemoval, removeStaleBuffers, SECOND_LOOK_MS } from "./stale.ts";

type ResolvedConfig = ReturnType<typeof resolveConfig>;

/** The shared memory that a semaphore needs, in bytes: a page. */
const SEMAPHORE_SIZE = 4096;

/**
 * How long to wait for a held lock, in milliseconds, if its holder is no living reader. A process that makes a buffer for
 * another one, or removes one, holds the lock only briefly.
 */
const LOCK_PATIENCE_MS = 2000;

/**
 * On Windows a name exists until the last process has closed its object. The next reader waits this long for the writer to
 * notice that its reader has left, in milliseconds.
 */
const NAME_LINGERS_MS = process.platform === "win32" ? 1000 : 0;

/**
 * How long to wait, in milliseconds, for room that files without names take: readers that had frames of a killed forwarder let go
 * of its memory once they notice its death.
 */
const MEMORY_LINGERS_MS = 2000;

/**
 * Creates the buffer for its reader, which is this process, or adopts one that its writer has created (docs/protocol.md,
 * sections 5.2 and 5.3). Blocks the thread while somebody else is about to release the name.
 *
 * @param flags of {@link OiebFlag}, for a new buffer.
 * @throws InvalidNameError, RangeError, ReaderAlreadyConnectedError, ResourceExhaustedError, PermissionDeniedError,
 *   CorruptBufferError. Nothing is left behind then.
 */
export function createForReader(name: string, config?: BufferConfig, flags?: bigint): SharedBuffer {
  const creation = new Creation(name, config, flags);
  for (;;) {
    const result = creation.attempt();
    if (result instanceof SharedBuffer) return result;
    if (!sleep(pauseMs())) throw result.error;
  }
}

/** {@link createForReader} without blocking the event loop. Rejects with the signal's reason when it is aborted. */
export async function createForReaderAsync(
  name: string,
  config: BufferConfig | undefined,
  flags: bigint | undefined,
  signal: AbortSignal | undefined,
): Promise<SharedBuffer> {
  signal?.throwIfAborted();
  const creation = new Creation(name, config, flags);
  for (;;) {
    const result = creation.attempt();
    if (result instanceof SharedBuffer) return result;
    await raceAbort(Bun.sleep(pauseMs()), signal);
  }
}

/** The attempts of a reader to create its buffer. */
class Creation {
  readonly #name: string;
  readonly #config: ResolvedConfig;
  readonly #flags: bigint;
  readonly #start = performance.now();
  readonly #patience = new Patience(0);
  #wasFull = false;
  /** Whether files without names took room when there was too little. */
  #isMemoryHeld = false;

  constructor(name: string, config: BufferConfig | undefined, flags = 0n) {
    checkName(name);
    checkHelper();
    checkSharedMemory(name);
    watchSignals();
    this.#name = name;
    this.#config = resolveConfig(config);
    this.#flags = flags;
    removeStaleBuffers();
  }

  /** Makes one attempt, without any wait. Throws what waiting cannot change, and what has been in the way for too long. */
  attempt(): SharedBuffer | Obstacle {
    try {
      const result = this.#tryCreate();
      if (!(result instanceof SharedBuffer)) this.#patience.check(result);
      return result;
    } catch (error) {
      if (performance.now() - this.#start >= NAME_LINGERS_MS && !this.#mayFindRoom(error)) throw error;
      return { error: error as ZeroBufferError };
    }
  }

  /** Whether room that was missing may be there for the next attempt. */
  #mayFindRoom(error: unknown): boolean {
    if (!(error instanceof ResourceExhaustedError)) return false;
    const isFirst = !this.#wasFull;
    this.#wasFull = true;
    this.#isMemoryHeld ||= hasNamelessMemory();
    if (this.#isMemoryHeld) return performance.now() - this.#start < MEMORY_LINGERS_MS;
    // What was held when the attempt failed may have been let go of before this look.
    return isFirst;
  }

  #tryCreate(): SharedBuffer | Obstacle {
    const name = this.#name;
    // Before this process makes any: its own are no evidence of anything.
    const lockFiles = lockFilesOf(name);
    const locks = BufferLocks.take(name);
    if (locks === undefined) return heldLock(name);
    let result: SharedBuffer | Obstacle | undefined;
    try {
      const hasWaited = performance.now() - this.#start >= SECOND_LOOK_MS;
      result =
        adoptOrReplace(name, locks, lockFiles, hasWaited) ?? create(name, this.#config, this.#flags, locks);
      return result;
    } finally {
      // What is left of the name is found by the lock files that it had.
      if (!(result instanceof SharedBuffer)) locks.release("new");
    }
  }
}

/** Somebody has a lock of the name: the reader, or a process that is busy with it for a short time. */
function heldLock(name: string): Obstacle {
  const memory = SharedMemory.look(name, "read");
  if (typeof memory === "number") return { error: alreadyOwned(name), leastMs: LOCK_PATIENCE_MS };
  try {
    const oieb = decodeOieb(memory.loadOieb());
    const { readerPid } = oieb;
    const lives = readerPid !== 0n && new Peer(memory, Role.READER).judge(oieb) === "alive";
    return { error: alreadyOwned(name, readerPid), leastMs: lives ? PROBE_PATIENCE_MS : LOCK_PATIENCE_MS };
  } finally {
    memory.close();
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
  const lockFiles = lockFilesOf(name);
  // The locks are held while names are made, not while memory is allocated or freed. The lock files stay: a cleanup finds a
  // buffer without a reader by them.
  if (!withFreeName(name, lockFiles, () => true)) return undefined;
  let memory: SharedMemory | undefined;
  let buffer: SharedBuffer | undefined;
  try {
    const allocated = allocate(name, resolved, Role.WRITER, OiebFlag.CREATED_BY_WRITER);
    memory = allocated;
    buffer = withFreeName(name, lockFiles, () => publish(name, resolved, allocated), allocated);
    return buffer;
  } catch (error) {
    if (error instanceof ReaderAlreadyConnectedError) return undefined;
    throw error;
  } finally {
    if (buffer === undefined) {
      memory?.unlink();
      memory?.close();
      if (lockFiles.length === 0) BufferLocks.takeAbandoned(name)?.release("all");
    }
  }
}

/**
 * Acts with the locks of a name that nobody uses: what dead processes left of it is removed first.
 *
 * @param own memory that this process has made for the name, which may have it already.
 * @returns what `act` returns; undefined if somebody uses the name, or has a lock of it.
 */
function withFreeName<T>(
  name: string,
  lockFiles: readonly string[],
  act: () => T,
  own?: SharedMemory,
): T | undefined {
  const locks = BufferLocks.take(name);
  if (locks === undefined) return undefined;
  let existing: SharedMemory | Code = Code.NOT_FOUND;
  let result: T | undefined;
  try {
    if (own?.isNamed !== true) existing = SharedMemory.look(name, "write");
    if (existing instanceof SharedMemory) {
      if (obstacleToRemoval(name, existing, lockFiles) !== undefined) return undefined;
      existing.unlink();
    } else if (existing !== Code.NOT_FOUND) {
      throw failure(existing, name, `The shared memory of buffer "${name}"`);
    }
    result = act();
    return result;
  } finally {
    locks.release(result === undefined ? "new" : "none");
    if (existing instanceof SharedMemory) existing.close();
  }
}

/** Creates all objects of a buffer for its reader. What was created is removed again if a step fails. */
function create(name: string, config: ResolvedConfig, flags: bigint, locks: BufferLocks): SharedBuffer {
  const memory = allocate(name, config, Role.READER, flags);
  let buffer: SharedBuffer | undefined;
  try {
    buffer = publish(name, config, memory, locks);
    return buffer;
  } finally {
    if (buffer === undefined) memory.close();
  }
}

/**
 * Memory whose OIEB lacks only its size, and whose role this process has locked. It is allocated, filled and locked before it
 * has its name, so that no peer waits for that (docs/protocol.md, section 5.2).
 */
function allocate(
  name: string,
  { metadataSize, payloadSize, mode }: ResolvedConfig,
  role: Role,
  flags: bigint,
): SharedMemory {
  const size =
    OIEB_SIZE +
    metadataSize +
    payloadSize +
    (cancellationOf(flags) === "table" ? CANCELLATION_TABLE_SIZE : 0);
  checkMemoryLimit(name, size + 2 * SEMAPHORE_SIZE);
  const memory = SharedMemory.create(name, size, mode);
  if (memory === Code.NO_SPACE) throw outOfSharedMemory(name, size + 2 * SEMAPHORE_SIZE);
  if (typeof memory === "number") throw refusal(name, memory, "The shared memory");
  // On other systems the flag says only that the reader is one of this package.
  const isLocked = memory.lockRole(role) === Code.OK || process.platform !== "linux";
  // Nobody shares frames with a reader whose death is not certain to be seen.
  const allFlags = isLocked ? flags | OiebFlag.LOCKED_ROLES : flags & ~OiebFlag.SHARING;
  memory.fillOieb(metadataSize, payloadSize, role, process.pid, allFlags);
  return memory;
}

/**
 * Gives memory its name, makes the semaphores and completes the OIEB, in this order: no peer finds a complete OIEB without
 * semaphores. Removes what it has made if a step fails.
 */
function publish(
  name: string,
  { metadataSize, payloadSize, mode }: ResolvedConfig,
  memory: SharedMemory,
  locks?: BufferLocks,
): SharedBuffer {
  const linked = memory.link();
  if (linked !== Code.OK) throw refusal(name, linked, "The shared memory");
  let buffer: SharedBuffer | undefined;
  try {
    const semaphores = createSemaphores(name, mode);
    if (semaphores === Code.NO_SPACE) throw outOfSharedMemory(name, 2 * SEMAPHORE_SIZE);
    if (typeof semaphores === "number")
      throw foreignSemaphore(name, semaphores) ?? refusal(name, semaphores, "A semaphore");
    memory.publishOieb();
    buffer = new SharedBuffer(name, { metadataSize, payloadSize }, memory, semaphores, locks);
    return buffer;
  } finally {
    if (buffer === undefined) memory.unlink();
  }
}

function refusal(name: string, code: Code, what: string): ZeroBufferError {
  return code === Code.EXISTS ? alreadyOwned(name) : failure(code, name, `${what} of buffer "${name}"`);
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
function adoptOrReplace(
  name: string,
  locks: BufferLocks,
  lockFiles: readonly string[],
  hasWaited: boolean,
): SharedBuffer | Obstacle | undefined {
  const memory = SharedMemory.look(name, "write");
  if (memory === Code.NOT_FOUND) return undefined;
  // Its lock was free: it has no reader any more.
  if (memory === Code.PERMISSION) throw leftByAnother(name);
  if (typeof memory === "number") throw failure(memory, name, `The shared memory of buffer "${name}"`);
  let result: SharedBuffer | Obstacle | undefined;
  try {
    if (memory.lockRole(Role.READER) === Code.LOCKED) {
      // Its reader has its lock files in another /tmp.
      const { readerPid } = decodeOieb(memory.loadOieb());
      const leastMs = readerPid === 0n ? LOCK_PATIENCE_MS : PROBE_PATIENCE_MS;
      result = { error: alreadyOwned(name, readerPid), leastMs };
    } else {
      result = adopt(name, memory, locks) ?? obstacleToTakeover(name, memory, lockFiles, hasWaited);
      if (result === undefined) memory.unlink();
    }
    return result;
  } finally {
    if (!(result instanceof SharedBuffer)) memory.close();
  }
}

/** With the reader's role locked: why the memory of the name must not be replaced, also while its writer lives. */
function obstacleToTakeover(
  name: string,
  memory: SharedMemory,
  lockFiles: readonly string[],
  hasWaited: boolean,
): Obstacle | undefined {
  // A creation that was killed.
  if (memory.size === 0 && memory.isOwned && memory.isAlone()) return undefined;
  const oieb = decodeOieb(memory.loadOieb());
  const isWhole = memory.isOwned && faultOfOieb(oieb, memory.size) === undefined;
  if (isWhole && oieb.readerPid !== 0n) {
    const presence = new Peer(memory, Role.READER).judge(oieb);
    if (presence === "dead") return undefined;
    if (presence === "alive") throw alreadyOwned(name, oieb.readerPid);
  } else if (isWhole && areRolesLocked(oieb) && !isUnadopted(oieb)) {
    return undefined; // its reader was about to remove it
  }
  const obstacle = obstacleToRemoval(name, memory, lockFiles, { hasWaited });
  if (obstacle === undefined) return undefined;
  if (obstacle.code === "PERMISSION_DENIED") throw leftByAnother(name);
  const isUsed = obstacle.code !== "CORRUPT_BUFFER";
  const advice = isUsed ? "end the process that uses this one" : removalAdvice(name);
  const error = new CorruptBufferError(
    `Buffer "${name}" exists and cannot be replaced: ${obstacle.reason}.`,
    {
      buffer: name,
      hint: obstacle.hint ?? `Use another name, or ${advice}.`,
    },
  );
  return { error, leastMs: obstacle.patienceMs ?? 0 };
}

/** Whether its writer has created the buffer, and no reader has had it: the frames of one that has would be missing. */
function isUnadopted({ flags, readerPid, payloadReadCount }: Oieb): boolean {
  return (flags & OiebFlag.CREATED_BY_WRITER) !== 0n && readerPid === 0n && payloadReadCount === 0;
}

function adopt(name: string, memory: SharedMemory, locks: BufferLocks): SharedBuffer | undefined {
  const oieb = decodeOieb(memory.loadOieb());
  if (!isUnadopted(oieb)) return undefined;
  if (faultOfOieb(oieb, memory.size) !== undefined) return undefined;
  if (new Peer(memory, Role.WRITER).judge(oieb) !== "alive" || memory.map() !== Code.OK) return undefined;
  const semaphores = openSemaphores(name);
  if (typeof semaphores === "number") return undefined;
  if (!memory.isNamed || !memory.claim(Role.READER, 0, process.pid)) {
    closeSemaphores(semaphores);
    return undefined;
  }
  return new SharedBuffer(name, oieb, memory, semaphores, locks);
}
