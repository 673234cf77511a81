// How a buffer comes into being, is connected to, and goes.

import { Code } from "../../native/codes.ts";
import { OiebFlag, Role, SharedMemory } from "../../native/memory.ts";
import { sleep } from "../../native/process.ts";
import { Semaphore } from "../../native/semaphore.ts";
import { type BufferConfig, type BufferSizes, OIEB_SIZE, resolveConfig } from "../config.ts";
import {
  BufferNotFoundError,
  CorruptBufferError,
  PeerTimeoutError,
  PermissionDeniedError,
  ReaderAlreadyConnectedError,
  WriterAlreadyConnectedError,
  ZeroBufferError,
} from "../errors.ts";
import { checkHelper, failure, outOfSharedMemory } from "../failures.ts";
import { alreadyOwned, BufferLocks } from "./locks.ts";
import { checkName } from "./names.ts";
import { howToRemove } from "./objects.ts";
import { decodeOieb, faultOfOieb, type Oieb } from "./oieb.ts";
import { Peer } from "./presence.ts";
import { obstacleToRemoval, removeStaleBuffers } from "./stale.ts";

/** A semaphore takes a page of shared memory, in bytes. */
const SEMAPHORE_SIZE = 4096;

/** How often a buffer's state is looked at while something in it has to change and nobody announces it. */
const POLL_MS = 5;

/** How often creation starts again when other processes make and remove objects of the name meanwhile. */
const CREATE_ATTEMPTS = 10;

/**
 * On Windows a name lasts until the last process has closed what it means: how long a writer may take to notice that its
 * reader has left, before the next reader gives up.
 */
const NAME_LINGERS_MS = process.platform === "win32" ? 1000 : 0;

/** How long a writer pid that equals the reader's may be the reader's own, on its way to the next writer. */
const HANDOVER_MS = 20;

/** The operating-system objects of one buffer, opened by this process; without locks they belong to the peer. */
export class SharedBuffer {
  readonly name: string;
  readonly sizes: BufferSizes;
  readonly memory: SharedMemory;
  /** One token a frame written. */
  readonly written: Semaphore;
  /** One token a frame released. */
  readonly released: Semaphore;
  readonly #locks: BufferLocks | undefined;

  constructor(
    name: string,
    sizes: BufferSizes,
    memory: SharedMemory,
    semaphores: SemaphorePair,
    locks: BufferLocks | undefined,
  ) {
    this.name = name;
    this.sizes = { metadataSize: sizes.metadataSize, payloadSize: sizes.payloadSize };
    this.memory = memory;
    this.written = semaphores.written;
    this.released = semaphores.released;
    this.#locks = locks;
  }

  /** The OIEB as it is now. */
  loadOieb(): Oieb {
    return decodeOieb(this.memory.loadOieb());
  }

  /** Removes the names of the memory and the semaphores, as far as they still mean them. */
  unlink(): void {
    this.memory.unlink();
    this.written.unlink();
    this.released.unlink();
  }

  /** Removes a buffer that this process made for a reader that never came, lock files included. */
  abandon(): void {
    this.unlink();
    BufferLocks.takeAbandoned(this.name)?.release({ remove: true });
  }

  /** Closes everything; the locks, if they are ours, last of all. */
  close(): void {
    this.memory.close();
    this.written.close();
    this.released.close();
    this.#locks?.release({ remove: true });
  }
}

interface SemaphorePair {
  readonly written: Semaphore;
  readonly released: Semaphore;
}

// ---- creating ------------------------------------------------------------------------------------------------------

/**
 * Makes the buffer for its reader, which is this process, or adopts one that its writer made (PROTOCOL.md, section 5).
 *
 * @param flags of {@link OiebFlag}, for a buffer that is made.
 * @throws InvalidNameError, RangeError, ReaderAlreadyConnectedError, ResourceExhaustedError, PermissionDeniedError,
 *   CorruptBufferError. Nothing is left behind then.
 */
export function createForReader(name: string, config?: BufferConfig, flags = 0n): SharedBuffer {
  checkName(name);
  checkHelper();
  const resolved = resolveConfig(config);
  removeStaleBuffers();
  const locks = takeLocks(name);
  const deadline = performance.now() + NAME_LINGERS_MS;
  for (;;) {
    try {
      return adoptOrReplace(name, locks) ?? create(name, resolved, locks, process.pid, flags);
    } catch (error) {
      if (performance.now() < deadline && sleep(POLL_MS)) continue;
      locks.release({ remove: true });
      throw error;
    }
  }
}

/**
 * Makes a buffer without a reader, for its writer, which is this process: a reader adopts it later.
 *
 * @returns undefined if the buffer exists, or somebody is making it.
 * @throws as {@link createForReader}.
 */
function createForWriter(name: string, config: BufferConfig): SharedBuffer | undefined {
  const resolved = resolveConfig(config);
  let locks: BufferLocks;
  try {
    locks = BufferLocks.take(name);
  } catch (error) {
    if (error instanceof ReaderAlreadyConnectedError) return undefined;
    throw error;
  }
  let remove = true;
  try {
    const existing = SharedMemory.open(name);
    if (typeof existing !== "number") {
      const stale = obstacleToRemoval(existing) === undefined;
      if (stale) existing.unlink();
      existing.close();
      if (!stale) {
        remove = false;
        return undefined;
      }
    }
    const buffer = create(name, resolved, undefined, 0, OiebFlag.CREATED_BY_WRITER);
    buffer.memory.claim(Role.WRITER, 0, process.pid);
    remove = false;
    return buffer;
  } finally {
    locks.release({ remove });
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

/** Makes all objects; whatever was made is removed again if one of them cannot be. */
function create(
  name: string,
  { metadataSize, payloadSize, mode }: ReturnType<typeof resolveConfig>,
  locks: BufferLocks | undefined,
  readerPid: number,
  flags: bigint,
): SharedBuffer {
  const size = OIEB_SIZE + metadataSize + payloadSize;
  const neededBytes = size + 2 * SEMAPHORE_SIZE;
  const semaphores = createSemaphores(name, mode);
  if (semaphores === Code.NO_SPACE) throw outOfSharedMemory(name, neededBytes);
  if (typeof semaphores === "number") throw semaphoreFailure(semaphores, name);
  const memory = persist(() => SharedMemory.create(name, size, mode));
  if (typeof memory === "number") {
    for (const semaphore of [semaphores.written, semaphores.released]) {
      semaphore.unlink();
      semaphore.close();
    }
    if (memory === Code.NO_SPACE) throw outOfSharedMemory(name, neededBytes);
    if (memory === Code.EXISTS) throw alreadyOwned(name);
    throw failure(memory, name, `The shared memory of buffer "${name}"`);
  }
  memory.createOieb(metadataSize, payloadSize, readerPid, flags);
  return new SharedBuffer(name, { metadataSize, payloadSize }, memory, semaphores, locks);
}

function createSemaphores(name: string, mode: number | undefined): SemaphorePair | Code {
  // With the locks held and no shared memory, semaphores of the name are leftovers.
  Semaphore.remove(name, Role.WRITER);
  Semaphore.remove(name, Role.READER);
  const written = persist(() => Semaphore.create(name, Role.WRITER, mode));
  if (typeof written === "number") return written;
  const released = persist(() => Semaphore.create(name, Role.READER, mode));
  if (typeof released === "number") {
    written.unlink();
    written.close();
    return released;
  }
  return { written, released };
}

function semaphoreFailure(code: Code, name: string): ZeroBufferError {
  if (code === Code.EXISTS) return alreadyOwned(name);
  return failure(code, name, `A semaphore of buffer "${name}"`);
}

/** Tries again when a signal cut the attempt short. */
function persist<T>(attempt: () => T | Code): T | Code {
  for (let count = 1; ; count++) {
    const result = attempt();
    if (result !== Code.INTERRUPTED || count === CREATE_ATTEMPTS) return result;
  }
}

/** With the locks held: adopts what a writer made for us, removes what is stale, refuses what lives. */
function adoptOrReplace(name: string, locks: BufferLocks): SharedBuffer | undefined {
  const memory = SharedMemory.open(name);
  if (memory === Code.NOT_FOUND) return undefined;
  if (memory === Code.AGAIN && SharedMemory.discard(name)) return undefined;
  if (memory === Code.PERMISSION) {
    // Its lock was free: no reader has it any more.
    throw new PermissionDeniedError(`Buffer "${name}" is there already, and belongs to another user.`, {
      buffer: name,
      hint: `Use another name, or have its owner remove it: zerobuffer clean ${name}.`,
    });
  }
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
    if (obstacle !== undefined) {
      throw new CorruptBufferError(
        `Buffer "${name}" exists and is not ours to replace: ${obstacle.reason}.`,
        {
          buffer: name,
          hint: `Use another name, or ${howToRemove(name)}.`,
        },
      );
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

function openSemaphores(name: string): SemaphorePair | Code {
  const written = Semaphore.open(name, Role.WRITER);
  if (typeof written === "number") return written;
  const released = Semaphore.open(name, Role.READER);
  if (typeof released === "number") {
    written.close();
    return released;
  }
  return { written, released };
}

function closeSemaphores({ written, released }: SemaphorePair): void {
  written.close();
  released.close();
}

// ---- connecting ----------------------------------------------------------------------------------------------------

/** A buffer that this process has connected to as its writer. */
export interface Connection {
  readonly buffer: SharedBuffer;
  /** As it stood in the OIEB; 0 where the writer made the buffer and no reader has come yet. */
  readonly readerPid: bigint;
}

/**
 * Connects to a buffer as its writer, blocking the thread for up to `timeoutMs` (PROTOCOL.md, section 5).
 *
 * @param config makes the buffer where there is none.
 * @throws InvalidNameError, BufferNotFoundError, PeerTimeoutError, WriterAlreadyConnectedError, CorruptBufferError,
 *   PermissionDeniedError. Nothing has been changed then.
 */
export function connect(name: string, timeoutMs: number, config?: BufferConfig): Connection {
  checkName(name);
  checkHelper();
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const result = tryConnect(name, config);
    if (!(result instanceof ZeroBufferError)) return result;
    if (performance.now() >= deadline || !sleep(POLL_MS)) throw result;
  }
}

interface ConnectOptions {
  /** Makes the buffer where there is none. */
  readonly config?: BufferConfig | undefined;
  /** The one reader to connect to: a buffer that has another one is not ready. */
  readonly readerPid?: bigint | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** {@link connect} without blocking the event loop. Rejects with the signal's reason when it is aborted. */
export async function connectAsync(
  name: string,
  timeoutMs: number,
  { config, readerPid, signal }: ConnectOptions = {},
): Promise<Connection> {
  checkName(name);
  checkHelper();
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    signal?.throwIfAborted();
    const result = tryConnect(name, config, readerPid);
    if (!(result instanceof ZeroBufferError)) return result;
    if (performance.now() >= deadline) throw result;
    await Bun.sleep(POLL_MS);
  }
}

/** One attempt. Returns the error to report if nothing changes until the timeout; throws what waiting cannot mend. */
function tryConnect(name: string, config?: BufferConfig, readerPid?: bigint): Connection | ZeroBufferError {
  const memory = SharedMemory.open(name);
  if (typeof memory === "number") {
    if (memory === Code.AGAIN) return notReady(name, "its reader is still making it");
    if (memory !== Code.NOT_FOUND) throw failure(memory, name, `The shared memory of buffer "${name}"`);
    if (config === undefined) return notFound(name);
    const buffer = createForWriter(name, config);
    if (buffer === undefined) return notReady(name, "somebody is making it");
    return { buffer, readerPid: 0n };
  }
  let buffer: SharedBuffer | undefined;
  try {
    const result = joinAsWriter(name, memory, readerPid);
    if (result instanceof ZeroBufferError) return result;
    buffer = result.buffer;
    return result;
  } finally {
    if (buffer === undefined) memory.close();
  }
}

function joinAsWriter(
  name: string,
  memory: SharedMemory,
  wantedReaderPid?: bigint,
): Connection | ZeroBufferError {
  const oieb = decodeOieb(memory.loadOieb());
  const { readerPid } = oieb;
  if (oieb.oiebSize === 0) return notReady(name, "its reader is still making it");
  const fault = faultOfOieb(oieb, memory.size);
  if (fault !== undefined)
    throw new CorruptBufferError(`Buffer "${name}" is corrupt: ${fault}.`, { buffer: name });
  if (wantedReaderPid !== undefined && readerPid !== wantedReaderPid) {
    return notReady(name, `its reader is not process ${wantedReaderPid}`);
  }
  const lastWriterPid = refuseIfTaken(name, memory);
  if (readerPid === 0n) return notReady(name, "it has no reader");
  if (!new Peer(memory, Role.READER).isAlive(readerPid)) {
    return notReady(name, describeAbsentReader(name, readerPid));
  }
  const semaphores = openSemaphores(name);
  if (typeof semaphores === "number") {
    if (semaphores === Code.NOT_FOUND || semaphores === Code.AGAIN)
      return notReady(name, "its semaphores are missing");
    throw semaphoreFailure(semaphores, name);
  }
  let obstacle: ZeroBufferError | undefined;
  let joined = false;
  try {
    obstacle = claimForWriter(name, memory, lastWriterPid);
    joined = obstacle === undefined;
  } finally {
    if (!joined) closeSemaphores(semaphores);
  }
  return obstacle ?? { buffer: new SharedBuffer(name, oieb, memory, semaphores, undefined), readerPid };
}

/**
 * Takes the writer's pid once the ring is empty. Returns what has to change first; throws if another writer has it.
 *
 * @param lastWriterPid 0, or a pid that was seen to be no living writer's: only that may be taken away.
 */
function claimForWriter(
  name: string,
  memory: SharedMemory,
  lastWriterPid: bigint,
): ZeroBufferError | undefined {
  // What a dead writer left is still its reader's to see: until it has all been read, nobody is the writer.
  if (lastWriterPid !== 0n) memory.claim(Role.WRITER, lastWriterPid, 0);
  if (!isEmpty(memory)) return notReady(name, "the frames of its last writer are still unread");
  if (!memory.claim(Role.WRITER, 0, process.pid)) {
    refuseIfTaken(name, memory);
    return notReady(name, "its writer is changing");
  }
  if (isEmpty(memory) && memory.isNamed) return undefined;
  memory.claim(Role.WRITER, process.pid, 0);
  return notReady(name, "it is changing");
}

function isEmpty(memory: SharedMemory): boolean {
  const oieb = decodeOieb(memory.loadOieb());
  return oieb.payloadFreeBytes === oieb.payloadSize;
}

/** Throws if there is a living writer; otherwise returns the pid that is none's, or 0. */
function refuseIfTaken(name: string, memory: SharedMemory): bigint {
  for (let waitedMs = 0; ; waitedMs += POLL_MS) {
    const { writerPid, readerPid } = decodeOieb(memory.loadOieb());
    if (!new Peer(memory, Role.WRITER).isAlive(writerPid)) return writerPid;
    if (writerPid !== readerPid || waitedMs >= HANDOVER_MS) {
      throw new WriterAlreadyConnectedError(`Buffer "${name}" has a writer already (process ${writerPid}).`, {
        buffer: name,
        hint: "A buffer has one writer: end the other one, or use another name.",
      });
    }
    sleep(POLL_MS);
  }
}

/** Why a reader's process is not there: it died, or it cannot be seen from this container. */
export function describeAbsentReader(name: string, readerPid: bigint): string {
  return BufferLocks.areHeld(name)
    ? `its reader (process ${readerPid}) holds its lock but cannot be seen from here: it runs in another pid namespace, ` +
        "so share that (docker run --pid=container:…)"
    : `its reader (process ${readerPid}) is dead`;
}

function notFound(name: string): BufferNotFoundError {
  return new BufferNotFoundError(`There is no buffer "${name}".`, {
    buffer: name,
    hint: "Start its reader first, or wait longer for it (--connect-timeout-ms).",
  });
}

function notReady(name: string, why: string): PeerTimeoutError {
  return new PeerTimeoutError(`Buffer "${name}" is there, but ${why}.`, {
    buffer: name,
    hint: "Start its reader, or wait longer for it (--connect-timeout-ms).",
  });
}
