// Whether a buffer is still in use, and the removal of what dead processes left (docs/protocol.md, section 6).

import { Code, codeDescriptions } from "../../native/codes.ts";
import { Role, SharedMemory } from "../../native/memory.ts";
import { Semaphore } from "../../native/semaphore.ts";
import { type ErrorCode, ZeroBufferError } from "../errors.ts";
import { checkHelper, checkSharedMemory } from "../failures.ts";
import { advice, faultOfWriting, opening } from "../machine.ts";
import { BufferLocks, lockFilesOf, namesOfLocks } from "./locks.ts";
import { checkName } from "./names.ts";
import { isOurs, memoryPath, semaphorePath, statusOf } from "./objects.ts";
import { beginsAsOieb, decodeOieb, faultOfOieb, faultOfUnfinishedOieb, type Oieb } from "./oieb.ts";
import { Peer } from "./presence.ts";

/**
 * The state of a buffer.
 * - `live`: its writer and its reader are alive.
 * - `idle`: its reader is alive, and it has no writer.
 * - `orphan`: its writer is alive, and its reader is not.
 * - `stale`: neither is alive; {@link cleanBuffer} removes it.
 * - `corrupt`: its control block holds impossible values.
 */
export type BufferState = "live" | "idle" | "orphan" | "stale" | "corrupt";

/** What the shared memory says about its buffer at one moment. */
interface Judgement {
  readonly state: BufferState;
  readonly oieb: Oieb;
  /** Why the OIEB is refused, as half a sentence; undefined unless the state is `corrupt`. */
  readonly fault: string | undefined;
  readonly writerAlive: boolean;
  /** True also if a process holds a lock of the buffer and the reader's pid is not a visible process. */
  readonly readerAlive: boolean;
  /** Whether only that lock shows that there is a reader. */
  readonly isReaderHidden: boolean;
}

/**
 * Judges a buffer by its OIEB and by the processes that it names.
 *
 * @param hasOwner whether a process holds a lock of the buffer. Asked only if its reader is not visible: that may run in
 *   another pid namespace, or be creating the buffer.
 */
export function judge(memory: SharedMemory, hasOwner: () => boolean = () => false): Judgement {
  const oieb = decodeOieb(memory.loadOieb());
  const fault = oieb.oiebSize === 0 ? faultOfUnfinishedOieb(oieb) : faultOfOieb(oieb, memory.size);
  const writerAlive = new Peer(memory, Role.WRITER).isAlive(oieb.writerPid);
  const isReaderSeen = new Peer(memory, Role.READER).isAlive(oieb.readerPid);
  const isReaderHidden = !isReaderSeen && hasOwner();
  const readerAlive = isReaderSeen || isReaderHidden;
  const state = fault === undefined ? stateOf(writerAlive, readerAlive) : "corrupt";
  return { state, oieb, fault, writerAlive, readerAlive, isReaderHidden };
}

function stateOf(writerAlive: boolean, readerAlive: boolean): BufferState {
  if (readerAlive) return writerAlive ? "live" : "idle";
  return writerAlive ? "orphan" : "stale";
}

/** Why a buffer is not removed. */
export interface CleanupObstacle {
  /** The code of the error that a command reports. */
  readonly code: Extract<
    ErrorCode,
    | "BUFFER_NOT_FOUND"
    | "READER_ALREADY_CONNECTED"
    | "WRITER_ALREADY_CONNECTED"
    | "PERMISSION_DENIED"
    | "RESOURCE_EXHAUSTED"
    | "CORRUPT_BUFFER"
  >;
  /** What is in the way, as half a sentence whose subject is the buffer. */
  readonly reason: string;
  /** What the user can do, as one sentence; undefined if the code says enough. */
  readonly hint?: string | undefined;
}

/** Why shared memory must not be removed; undefined if it is ours and stale: then a process that holds its locks may. */
export function obstacleToRemoval(memory: SharedMemory): CleanupObstacle | undefined {
  if (!memory.isOwned) return foreign("it belongs to another user");
  const { state, fault, oieb } = judge(memory);
  switch (state) {
    case "stale":
      return undefined;
    case "corrupt":
      return { code: "CORRUPT_BUFFER", reason: fault ?? "" };
    case "orphan":
      return { code: "WRITER_ALREADY_CONNECTED", reason: `its writer (process ${oieb.writerPid}) is alive` };
    default:
      return { code: "READER_ALREADY_CONNECTED", reason: `its reader (process ${oieb.readerPid}) is alive` };
  }
}

const foreign = (reason: string): CleanupObstacle => ({ code: "PERMISSION_DENIED", reason });

/** Removes the buffers of readers that have died. Leaves alone what may belong to anybody else. */
export function removeStaleBuffers(): void {
  for (const name of namesOfLocks()) {
    const locks = BufferLocks.takeAbandoned(name);
    if (locks !== undefined) removeWith(name, locks);
  }
}

/** What a cleanup has done with one buffer. */
export interface Cleanup {
  /** The files that were removed; with `dryRun`, those that would be. */
  readonly paths: readonly string[];
  /** The size of these files, in bytes. */
  readonly bytes: number;
  /** Why nothing was removed; undefined if something was. */
  readonly obstacle: CleanupObstacle | undefined;
}

/**
 * Removes a buffer of this user whose processes are dead: its shared memory, its semaphores and its lock files. A buffer
 * that is in use, corrupt or another user's stays, and the result says why.
 *
 * @param options.dryRun only says what would be removed. Default false.
 * @throws InvalidNameError; PermissionDeniedError if the helper cannot be loaded.
 */
export function cleanBuffer(name: string, { dryRun = false }: { dryRun?: boolean } = {}): Cleanup {
  checkName(name);
  checkHelper();
  checkSharedMemory(name);
  const objects = objectsOf(name).filter(({ path }) => isOurs(path));
  const obstacle =
    obstacleTo(name) ?? lacksEvidence(name, objects) ?? (dryRun ? heldLock(name) : takeAndRemove(name));
  if (obstacle !== undefined) return { paths: [], bytes: 0, obstacle };
  const removed = dryRun ? objects : objects.filter(({ path }) => statusOf(path) === undefined);
  if (removed.length === 0 && objects.length > 0)
    return { paths: [], bytes: 0, obstacle: unremovable(objects[0]?.path) };
  const bytes = removed.reduce((sum, { size }) => sum + size, 0);
  return { paths: removed.map(({ path }) => path), bytes, obstacle };
}

/** The obstacle if a file stays that could be removed. */
function unremovable(path: string | undefined): CleanupObstacle {
  const directory = path?.slice(0, path.lastIndexOf("/"));
  const denied = directory && faultOfWriting(directory);
  if (!denied) return foreign("the system keeps it");
  return { ...foreign(`${directory} ${denied}`), hint: advice(opening(directory)) };
}

/** Whether shared memory of the name begins as a buffer's does, even if it is corrupt. */
export function beginsAsBuffer(name: string): boolean {
  const memory = SharedMemory.view(name);
  if (typeof memory === "number") return false;
  const oieb = decodeOieb(memory.loadOieb());
  memory.close();
  return beginsAsOieb(oieb);
}

function objectsOf(name: string): { path: string; size: number }[] {
  const semaphores = [semaphorePath(name, Role.WRITER), semaphorePath(name, Role.READER)];
  return [memoryPath(name), ...semaphores, ...lockFilesOf(name)].flatMap((path) => {
    const size = statusOf(path)?.size;
    return path === undefined || size === undefined ? [] : [{ path, size }];
  });
}

function obstacleTo(name: string): CleanupObstacle | undefined {
  const memory = SharedMemory.view(name);
  if (typeof memory === "number") return obstacleWithoutOieb(name, memory);
  try {
    return obstacleToRemoval(memory);
  } finally {
    memory.close();
  }
}

/** Why nothing of the name must be removed, if it has no shared memory that can be read. */
function obstacleWithoutOieb(name: string, code: Code): CleanupObstacle | undefined {
  if (code === Code.NOT_FOUND) {
    const objects = objectsOf(name);
    if (objects.length === 0) return { code: "BUFFER_NOT_FOUND", reason: "no object of that name exists" };
    const isForeign = objects.every(({ path }) => !isOurs(path));
    return isForeign ? foreign("its remaining files belong to another user") : undefined;
  }
  const path = memoryPath(name);
  const isForeign = path !== undefined && !isOurs(path);
  if (code === Code.PERMISSION || isForeign) return foreign("it belongs to another user");
  if (code === Code.UNSAFE) return { code: "CORRUPT_BUFFER", reason: codeDescriptions[code] };
  if (code !== Code.AGAIN) return { code: "RESOURCE_EXHAUSTED", reason: codeDescriptions[code] };
  // A creation that was killed leaves an empty file. On systems without such files the removal looks at the size.
  return path === undefined || statusOf(path)?.size === 0
    ? undefined
    : { code: "CORRUPT_BUFFER", reason: "it is too small to be a buffer" };
}

/** Memory without an OIEB may be any program's. A semaphore or a lock of its name shows that it is a buffer's. */
function lacksEvidence(name: string, objects: { path: string }[]): CleanupObstacle | undefined {
  if (objects.some(({ path }) => path !== memoryPath(name)) || beginsAsBuffer(name)) return undefined;
  return { code: "CORRUPT_BUFFER", reason: "it does not look like a buffer" };
}

function heldLock(name: string): CleanupObstacle | undefined {
  if (!BufferLocks.areHeld(name)) return undefined;
  return {
    code: "READER_ALREADY_CONNECTED",
    reason: "its lock is held, by a reader that is starting or that runs in another pid namespace",
  };
}

function takeAndRemove(name: string): CleanupObstacle | undefined {
  try {
    return removeWith(name, BufferLocks.takeAbandoned(name) ?? BufferLocks.take(name));
  } catch (error) {
    if (!(error instanceof ZeroBufferError)) throw error;
    const reason = `its lock cannot be taken: ${error.message.replace(/\.$/, "")}`;
    return heldLock(name) ?? { ...foreign(reason), hint: error.hint };
  }
}

/** Removes what is stale and ours, with its lock files, and gives the locks back. Returns why it removed nothing. */
function removeWith(name: string, locks: BufferLocks): CleanupObstacle | undefined {
  const memory = SharedMemory.view(name);
  let remove = false;
  try {
    const obstacle =
      typeof memory === "number" ? obstacleWithoutOieb(name, memory) : obstacleToRemoval(memory);
    if (obstacle !== undefined) return obstacle;
    for (const role of [Role.WRITER, Role.READER]) {
      const path = semaphorePath(name, role);
      if (path === undefined || isOurs(path)) Semaphore.remove(name, role);
    }
    if (typeof memory !== "number") memory.unlink();
    const isRemoved =
      typeof memory === "number" ? memory !== Code.AGAIN || SharedMemory.discard(name) : !memory.isNamed;
    if (!isRemoved) return unremovable(memoryPath(name));
    remove = lockFilesOf(name).every(isOurs);
    return undefined;
  } finally {
    if (typeof memory !== "number") memory.close();
    locks.release({ remove });
  }
}
