// Whether a buffer is still in use, and the removal of what dead processes left (docs/protocol.md, section 6).

import { Code, codeDescriptions } from "../../native/codes.ts";
import { Role, SharedMemory } from "../../native/memory.ts";
import { sleep } from "../../native/process.ts";
import { Semaphore } from "../../native/semaphore.ts";
import { type ErrorCode, ZeroBufferError } from "../errors.ts";
import { checkHelper, checkSharedMemory } from "../failures.ts";
import { advice, faultOfWriting, opening } from "../machine.ts";
import { BufferLocks, lockFilesOf, namesOfLocks, PROBE_PATIENCE_MS } from "./locks.ts";
import { checkName } from "./names.ts";
import { hasEvidence, isOurs, memoryPath, semaphorePath, statusOf } from "./objects.ts";
import { beginsAsOieb, decodeOieb, faultOfOieb, faultOfUnfinishedOieb, type Oieb } from "./oieb.ts";
import { pauseMs } from "./patience.ts";
import { areRolesLocked, Peer, type Presence } from "./presence.ts";

/**
 * How long a process that removes or replaces a buffer keeps looking again, in milliseconds. Another process that has the
 * memory open may only be looking at it, and a v1 reader removes its names a moment after it has stored 0 for its pid.
 */
export const SECOND_LOOK_MS = 1000;

const IS_LINUX = process.platform === "linux";

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
export interface Judgement {
  readonly state: BufferState;
  readonly oieb: Oieb;
  /** Why the OIEB is refused, as half a sentence; undefined unless the state is `corrupt`. */
  readonly fault: string | undefined;
  readonly writer: Presence;
  readonly reader: Presence;
}

/**
 * Judges a buffer by its OIEB and by the processes that it names. A process that is not known to be dead counts as alive.
 *
 * @param isBeingCreated whether a process that is about to create the buffer has its lock. Asked only without a reader.
 */
export function judge(memory: SharedMemory, isBeingCreated: () => boolean = () => false): Judgement {
  const oieb = decodeOieb(memory.loadOieb());
  const fault = oieb.oiebSize === 0 ? faultOfUnfinishedOieb(oieb) : faultOfOieb(oieb, memory.size);
  const writer = new Peer(memory, Role.WRITER).judge(oieb);
  let reader = new Peer(memory, Role.READER).judge(oieb);
  if (reader === "dead" && oieb.readerPid === 0n && isBeingCreated()) reader = "alive";
  const state = fault === undefined ? stateOf(writer !== "dead", reader !== "dead") : "corrupt";
  return { state, oieb, fault, writer, reader };
}

function stateOf(hasWriter: boolean, hasReader: boolean): BufferState {
  if (hasReader) return hasWriter ? "live" : "idle";
  return hasWriter ? "orphan" : "stale";
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
  /** The obstacle may be gone within this time, in milliseconds: a process that only looks at the memory is in the way, too. */
  readonly patienceMs?: number;
  /** Whether `force` removes the buffer all the same: nothing shows that its processes live. */
  readonly isForceable?: boolean;
}

const foreign = (reason: string): CleanupObstacle => ({ code: "PERMISSION_DENIED", reason });

/**
 * Why the memory of a name must not be removed (docs/protocol.md, section 6). It is opened to write, and not by the caller a
 * second time. Locks both roles: they stay locked until the memory is closed. Undefined: nobody uses it, and its name still
 * means it.
 *
 * @param lockFiles those that the name had before the caller made any.
 * @param options.hasWaited whether the first look was {@link SECOND_LOOK_MS} ago.
 */
export function obstacleToRemoval(
  name: string,
  memory: SharedMemory,
  lockFiles: readonly string[],
  { force = false, hasWaited = false }: RemovalOptions = {},
): CleanupObstacle | undefined {
  if (!memory.isOwned) return foreign("it belongs to another user");
  const { readerPid, writerPid } = decodeOieb(memory.loadOieb());
  if (memory.lockRole(Role.READER) === Code.LOCKED) return inUse(Role.READER, readerPid);
  if (memory.lockRole(Role.WRITER) === Code.LOCKED) return inUse(Role.WRITER, writerPid);
  if (!memory.isNamed)
    return { code: "BUFFER_NOT_FOUND", reason: "it has just been removed", patienceMs: SECOND_LOOK_MS };
  const { state, fault, oieb, reader, writer } = judge(memory);
  if (!hasWaited && fault === undefined && isOfV1ReaderThatLeaves(oieb)) return leaving;
  const isAlone = memory.isAlone();
  // Other content may be any program's, and so may zeros.
  const isUnfinished = oieb.oiebSize === 0 && fault === undefined && hasEvidence(name, lockFiles);
  const isBuffer = beginsAsOieb(oieb) || isUnfinished;
  if (isAlone === true) return isBuffer ? undefined : unlikeABuffer;
  if (force && isBuffer && reader !== "alive" && writer !== "alive") return undefined;
  const isOpen = isAlone === false;
  const byForce = { isForceable: isBuffer, hint: forceAdvice(name) };
  if (state === "corrupt") {
    return {
      code: "CORRUPT_BUFFER",
      reason: fault ?? "",
      patienceMs: isOpen ? SECOND_LOOK_MS : 0,
      ...(isOpen && byForce),
    };
  }
  for (const [role, pid, presence] of [
    [Role.READER, oieb.readerPid, reader],
    [Role.WRITER, oieb.writerPid, writer],
  ] as const) {
    if (presence === "alive") return inUse(role, pid);
    if (presence === "unknown")
      return { ...mayBeInUse(role, pid), patienceMs: isOpen ? SECOND_LOOK_MS : 0, ...byForce };
  }
  // Its creator may be alive if the system does not tell. Other systems than Linux never tell.
  if (!isOpen) return beginsAsOieb(oieb) || (isBuffer && !IS_LINUX) ? undefined : unlikeABuffer;
  const reason = "a process that is neither its reader nor its writer has it open";
  return { code: "READER_ALREADY_CONNECTED", reason, patienceMs: SECOND_LOOK_MS, ...byForce };
}

/** How a user can remove a buffer that may be in use by a process that is not visible, as a sentence. */
export function forceAdvice(name: string): string {
  return `If the process is gone, remove the buffer: \`cleanBuffer("${name}", { force: true })\`.`;
}

interface RemovalOptions {
  readonly force?: boolean;
  readonly hasWaited?: boolean;
}

function isOfV1ReaderThatLeaves(oieb: Oieb): boolean {
  return oieb.oiebSize !== 0 && oieb.readerPid === 0n && !areRolesLocked(oieb);
}

const leaving: CleanupObstacle = {
  code: "READER_ALREADY_CONNECTED",
  reason: "its reader is about to remove it",
  patienceMs: SECOND_LOOK_MS,
};

const unlikeABuffer: CleanupObstacle = { code: "CORRUPT_BUFFER", reason: "it does not look like a buffer" };

function inUse(role: Role, pid: bigint): CleanupObstacle {
  const isReader = role === Role.READER;
  const who = isReader ? "reader" : "writer";
  return {
    code: isReader ? "READER_ALREADY_CONNECTED" : "WRITER_ALREADY_CONNECTED",
    reason: pid === 0n ? `a process is becoming its ${who}` : `its ${who} (process ${pid}) is alive`,
    patienceMs: PROBE_PATIENCE_MS,
  };
}

function mayBeInUse(role: Role, pid: bigint): CleanupObstacle {
  const { code } = inUse(role, pid);
  const who = role === Role.READER ? "reader" : "writer";
  return { code, reason: `its ${who} (process ${pid}) is not visible from here, and may be alive` };
}

/** Removes the buffers of readers that have died. Leaves alone what may belong to anybody else. Never waits. */
export function removeStaleBuffers(): void {
  for (const name of namesOfLocks()) {
    const lockFiles = lockFilesOf(name);
    const locks = BufferLocks.takeAbandoned(name);
    if (locks !== undefined) removeWith(name, locks, lockFiles);
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
  /** Whether it was removed only because of `force`: a process that cannot be seen from here may have been using it. */
  readonly isForced: boolean;
}

/** Options of {@link cleanBuffer}. All optional. */
export interface CleanupOptions {
  /** Only says what would be removed. Default false. */
  readonly dryRun?: boolean;
  /**
   * Removes also what may be in use by a process that cannot be seen from here, such as one of another container: that loses
   * its buffer if it lives. Never removes what a lock or a mapping shows to be alive. Default false.
   */
  readonly force?: boolean;
}

/**
 * Removes a buffer of this user, or as root of any user, whose processes are dead: its shared memory, its semaphores and its
 * lock files. A buffer that is in use, corrupt or another user's stays, and the result says why. Blocks the thread for up to
 * a second while somebody else has the memory open who may only look at it.
 *
 * @throws InvalidNameError; PermissionDeniedError if the helper cannot be loaded.
 */
export function cleanBuffer(name: string, options: CleanupOptions = {}): Cleanup {
  checkName(name);
  checkHelper();
  checkSharedMemory(name);
  const objects = objectsOf(name).filter(({ path }) => isOurs(path));
  const kept = (obstacle: CleanupObstacle) => ({ paths: [], bytes: 0, obstacle, isForced: false });
  const start = performance.now();
  let isForced = false;
  for (;;) {
    const waitedMs = performance.now() - start;
    const how = { force: isForced, hasWaited: waitedMs >= SECOND_LOOK_MS };
    const obstacle = options.dryRun ? obstacleTo(name, how) : takeAndRemove(name, how);
    if (waitedMs < (obstacle?.patienceMs ?? 0) && sleep(pauseMs())) continue;
    if (obstacle?.isForceable && options.force && !isForced) {
      isForced = true;
      continue;
    }
    if (obstacle !== undefined) return kept(obstacle);
    const removed = options.dryRun ? objects : objects.filter(({ path }) => statusOf(path) === undefined);
    if (removed.length === 0 && objects.length > 0) return kept(unremovable(objects[0]?.path));
    const bytes = removed.reduce((sum, { size }) => sum + size, 0);
    return { paths: removed.map(({ path }) => path), bytes, obstacle, isForced };
  }
}

/** The obstacle if a file stays that could be removed. */
function unremovable(path: string | undefined): CleanupObstacle {
  const directory = path?.slice(0, path.lastIndexOf("/"));
  const denied = directory && faultOfWriting(directory);
  if (!denied) return foreign("the system keeps it");
  return { ...foreign(`${directory} ${denied}`), hint: advice(opening(directory)) };
}

/** The pid of a reader of the name that is not known to be dead; 0: it is about to store it. Undefined: there is none. */
export function readerOf(name: string): bigint | undefined {
  const memory = SharedMemory.look(name, "read");
  if (typeof memory === "number") return undefined;
  try {
    const { oieb, reader } = judge(memory);
    return reader === "dead" ? undefined : oieb.readerPid;
  } finally {
    memory.close();
  }
}

/** Removes a buffer that dead processes have left, at once or not at all. */
export function removeStaleBuffer(name: string): void {
  takeAndRemove(name, {});
}

/** Whether shared memory of the name begins as a buffer's does, even if it is corrupt. */
export function beginsAsBuffer(name: string): boolean {
  const memory = SharedMemory.look(name, "read");
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

/** Why a buffer would not be removed. */
function obstacleTo(name: string, options: RemovalOptions): CleanupObstacle | undefined {
  const memory = SharedMemory.look(name, "write");
  if (typeof memory === "number") return obstacleWithoutMemory(name, memory) ?? heldLock(name);
  try {
    return obstacleToRemoval(name, memory, lockFilesOf(name), options) ?? heldLock(name);
  } finally {
    memory.close();
  }
}

/** Why nothing of the name must be removed, if it has no shared memory that can be opened. */
function obstacleWithoutMemory(name: string, code: Code): CleanupObstacle | undefined {
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
  return { code: "RESOURCE_EXHAUSTED", reason: codeDescriptions[code] };
}

function heldLock(name: string): CleanupObstacle | undefined {
  if (!BufferLocks.areHeld(name)) return undefined;
  return {
    code: "READER_ALREADY_CONNECTED",
    reason: "its lock is held: a reader is starting, or is being started",
    patienceMs: PROBE_PATIENCE_MS,
  };
}

function takeAndRemove(name: string, options: RemovalOptions): CleanupObstacle | undefined {
  // Without any object of its own there is nothing to lock.
  const lockFiles = lockFilesOf(name);
  if (lockFiles.length === 0 && objectsOf(name).length === 0)
    return obstacleWithoutMemory(name, Code.NOT_FOUND);
  let locks: BufferLocks | undefined;
  try {
    locks = BufferLocks.takeAbandoned(name) ?? BufferLocks.take(name);
  } catch (error) {
    if (!(error instanceof ZeroBufferError)) throw error;
    const reason = `its lock cannot be taken: ${error.message.replace(/\.$/, "")}`;
    return { ...foreign(reason), hint: error.hint };
  }
  if (locks === undefined) return obstacleTo(name, options) ?? heldLock(name) ?? justHeld;
  return removeWith(name, locks, lockFiles, options);
}

/** A lock that was held a moment ago, and is not any more. */
const justHeld: CleanupObstacle = {
  code: "READER_ALREADY_CONNECTED",
  reason: "its lock was held by another process",
  patienceMs: SECOND_LOOK_MS,
};

/** Removes what is stale and ours, with its lock files, and gives the locks back. Returns why it removed nothing. */
function removeWith(
  name: string,
  locks: BufferLocks,
  lockFiles: readonly string[],
  options: RemovalOptions = {},
): CleanupObstacle | undefined {
  const memory = SharedMemory.look(name, "write");
  let isRemoved = false;
  try {
    const obstacle =
      typeof memory === "number"
        ? obstacleWithoutMemory(name, memory)
        : obstacleToRemoval(name, memory, lockFiles, options);
    if (obstacle !== undefined) return obstacle;
    for (const role of [Role.WRITER, Role.READER]) {
      const path = semaphorePath(name, role);
      if (path === undefined || isOurs(path)) Semaphore.remove(name, role);
    }
    if (memory instanceof SharedMemory) {
      memory.unlink();
      if (memory.isNamed) return unremovable(memoryPath(name));
    }
    isRemoved = lockFilesOf(name).every(isOurs);
    return undefined;
  } finally {
    // First the locks: freeing the memory takes long, and other processes may wait for the locks.
    locks.release(isRemoved ? "all" : "new");
    if (memory instanceof SharedMemory) memory.close();
  }
}
