// When nobody uses a buffer any more, and how what is left of it is removed (docs/protocol.md, section 6).

import { Code, codeDescriptions } from "../../native/codes.ts";
import { Role, SharedMemory } from "../../native/memory.ts";
import { Semaphore } from "../../native/semaphore.ts";
import { type ErrorCode, ZeroBufferError } from "../errors.ts";
import { checkHelper } from "../failures.ts";
import { BufferLocks, lockFilesOf, namesOfLocks } from "./locks.ts";
import { checkName } from "./names.ts";
import { isOurs, memoryPath, semaphorePath, statusOf } from "./objects.ts";
import { beginsAsOieb, decodeOieb, faultOfOieb, faultOfUnfinishedOieb, type Oieb } from "./oieb.ts";
import { Peer } from "./presence.ts";

/**
 * `live`: writer and reader live. `idle`: the reader alone does. `orphan`: the writer alone does. `stale`: neither.
 * `corrupt`: what stands in its OIEB cannot be.
 */
export type BufferState = "live" | "idle" | "orphan" | "stale" | "corrupt";

/** What shared memory tells about its buffer at one moment. */
interface Judgement {
  readonly state: BufferState;
  readonly oieb: Oieb;
  /** Why the OIEB is refused, as half a sentence; undefined unless the state is `corrupt`. */
  readonly fault: string | undefined;
  readonly writerAlive: boolean;
  /** Also where somebody holds a lock of the buffer and nobody is seen behind the reader's pid. */
  readonly readerAlive: boolean;
  /** Whether it is only that lock that tells of a reader. */
  readonly isReaderHidden: boolean;
}

/**
 * Judges a buffer by its OIEB and by the processes that it names.
 *
 * @param hasOwner whether somebody holds a lock of the buffer: asked only where its reader cannot be seen, which may
 *   then live in another pid namespace, or be making the buffer.
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

/** Why something is not removed. */
interface Obstacle {
  readonly code: Extract<
    ErrorCode,
    | "BUFFER_NOT_FOUND"
    | "READER_ALREADY_CONNECTED"
    | "WRITER_ALREADY_CONNECTED"
    | "PERMISSION_DENIED"
    | "RESOURCE_EXHAUSTED"
    | "CORRUPT_BUFFER"
  >;
  /** Half a sentence. */
  readonly reason: string;
}

/** Why shared memory must not be removed; undefined if it is ours and stale, which with its locks held permits it. */
export function obstacleToRemoval(memory: SharedMemory): Obstacle | undefined {
  if (!memory.isOwned) return foreign("it belongs to another user");
  const { state, fault, oieb } = judge(memory);
  switch (state) {
    case "stale":
      return undefined;
    case "corrupt":
      return { code: "CORRUPT_BUFFER", reason: fault ?? "" };
    case "orphan":
      return { code: "WRITER_ALREADY_CONNECTED", reason: `its writer (process ${oieb.writerPid}) lives` };
    default:
      return { code: "READER_ALREADY_CONNECTED", reason: `its reader (process ${oieb.readerPid}) lives` };
  }
}

const foreign = (reason: string): Obstacle => ({ code: "PERMISSION_DENIED", reason });

/** Removes what readers that died have left, as far as it is surely nobody else's. */
export function removeStaleBuffers(): void {
  for (const name of namesOfLocks()) {
    const locks = BufferLocks.takeAbandoned(name);
    if (locks !== undefined) removeWith(name, locks);
  }
}

/** What became of the objects of one name. */
interface Removal {
  /** The files removed, or that would be. */
  readonly paths: readonly string[];
  /** Their size, in bytes. */
  readonly bytes: number;
  /** Why nothing was removed. */
  readonly obstacle: Obstacle | undefined;
}

/**
 * Removes what is left of one buffer, semaphores and lock files included, with all its locks held.
 *
 * @param dryRun changes nothing, and tells what would be removed.
 * @throws InvalidNameError; PermissionDeniedError if the helper cannot be loaded.
 */
export function removeIfStale(name: string, { dryRun }: { dryRun: boolean }): Removal {
  checkName(name);
  checkHelper();
  const objects = objectsOf(name).filter(({ path }) => isOurs(path));
  const obstacle =
    obstacleTo(name) ?? doubt(name, objects) ?? (dryRun ? heldLock(name) : takeAndRemove(name));
  if (obstacle !== undefined) return { paths: [], bytes: 0, obstacle };
  const removed = dryRun ? objects : objects.filter(({ path }) => statusOf(path) === undefined);
  const bytes = removed.reduce((sum, { size }) => sum + size, 0);
  return { paths: removed.map(({ path }) => path), bytes, obstacle };
}

/** Whether there is shared memory of the name that looks like a buffer's, be it one that is corrupt. */
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

function obstacleTo(name: string): Obstacle | undefined {
  const memory = SharedMemory.view(name);
  if (typeof memory === "number") return obstacleWithoutOieb(name, memory);
  try {
    return obstacleToRemoval(memory);
  } finally {
    memory.close();
  }
}

/** Why nothing of the name must be removed although it has no shared memory that can be looked at. */
function obstacleWithoutOieb(name: string, code: Code): Obstacle | undefined {
  if (code === Code.NOT_FOUND) {
    const objects = objectsOf(name);
    if (objects.length === 0) return { code: "BUFFER_NOT_FOUND", reason: "there is nothing of it" };
    const isForeign = objects.every(({ path }) => !isOurs(path));
    return isForeign ? foreign("what is left of it belongs to another user") : undefined;
  }
  const path = memoryPath(name);
  const isForeign = path !== undefined && !isOurs(path);
  if (code === Code.PERMISSION || isForeign) return foreign("it belongs to another user");
  if (code === Code.UNSAFE) return { code: "CORRUPT_BUFFER", reason: codeDescriptions[code] };
  if (code !== Code.AGAIN) return { code: "RESOURCE_EXHAUSTED", reason: codeDescriptions[code] };
  // A creation that was killed leaves an empty file. Where there is none, the removal finds out whether it is empty.
  return path === undefined || statusOf(path)?.size === 0
    ? undefined
    : { code: "CORRUPT_BUFFER", reason: "it is too small to be a buffer" };
}

/** Memory without an OIEB may be any program's; a semaphore or a lock of its name tells that it is a buffer's. */
function doubt(name: string, objects: { path: string }[]): Obstacle | undefined {
  if (objects.some(({ path }) => path !== memoryPath(name)) || beginsAsBuffer(name)) return undefined;
  return { code: "CORRUPT_BUFFER", reason: "nothing in it tells that it is a buffer" };
}

function heldLock(name: string): Obstacle | undefined {
  if (!BufferLocks.areHeld(name)) return undefined;
  return {
    code: "READER_ALREADY_CONNECTED",
    reason: "somebody holds its lock: a reader that is just starting, or that runs in another pid namespace",
  };
}

function takeAndRemove(name: string): Obstacle | undefined {
  try {
    return removeWith(name, BufferLocks.takeAbandoned(name) ?? BufferLocks.take(name));
  } catch (error) {
    if (!(error instanceof ZeroBufferError)) throw error;
    return (
      heldLock(name) ?? { code: "PERMISSION_DENIED", reason: `its lock cannot be taken: ${error.message}` }
    );
  }
}

/** Removes what is stale and ours, and gives the locks back, whose files go with it. Returns why it did not. */
function removeWith(name: string, locks: BufferLocks): Obstacle | undefined {
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
    else if (memory === Code.AGAIN) SharedMemory.discard(name);
    remove = lockFilesOf(name).every(isOurs);
    return undefined;
  } finally {
    if (typeof memory !== "number") memory.close();
    locks.release({ remove });
  }
}
