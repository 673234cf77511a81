// Connects writers to buffers (docs/protocol.md, section 5.4).

import { Code } from "../../native/codes.ts";
import { Role, SharedMemory } from "../../native/memory.ts";
import { sleep } from "../../native/process.ts";
import { Walk } from "../../native/ring.ts";
import { watchSignals } from "../../native/signals.ts";
import { raceAbort } from "../../runtime/abort.ts";
import { takeAllSteps } from "../../runtime/steps.ts";
import { type BufferConfig, type BufferSizes, maxFrameSize, resolveConfig } from "../config.ts";
import {
  BufferNotFoundError,
  CorruptBufferError,
  PeerTimeoutError,
  SequenceError,
  WriterAlreadyConnectedError,
} from "../errors.ts";
import { checkHelper, checkSharedMemory, failure } from "../failures.ts";
import { wrongFrameSize, wrongMetadataSize } from "../writer-errors.ts";
import { createForWriter } from "./create.ts";
import { PROBE_PATIENCE_MS } from "./locks.ts";
import { checkName } from "./names.ts";
import { decodeOieb, faultOfOieb } from "./oieb.ts";
import { type Obstacle, Patience, POLL_MS } from "./patience.ts";
import { areRolesLocked, Peer } from "./presence.ts";
import { closeSemaphores, openSemaphores, SharedBuffer } from "./shared-buffer.ts";
import { forceAdvice } from "./stale.ts";

/** How long a writer waits at least while the writer before it is leaving, in milliseconds. */
const CHANGE_MS = 20;

/** How long a writer waits at most if it cannot tell the reader from a writer in the same process, in milliseconds. */
const UNCLEAR_MS = 1000;

/** A buffer that this process has connected to as its writer. */
export interface Connection {
  readonly buffer: SharedBuffer;
  /** As it stood in the OIEB; 0 if the writer created the buffer and no reader has come yet. */
  readonly readerPid: bigint;
  /** Sequence number of this writer's first frame. */
  readonly sequence: number;
}

/** What a writer wants of a buffer. */
export interface Wishes {
  /** Creates the buffer if there is none. */
  readonly create?: BufferConfig | undefined;
  /** The largest frame that has to fit, in bytes. */
  readonly frameSize?: number | undefined;
  /** Metadata that has to fit. */
  readonly metadata?: Uint8Array | undefined;
  /** The one reader to connect to: a buffer that has another one is not ready. */
  readonly readerPid?: bigint | undefined;
}

/**
 * Connects to a buffer as its writer, blocking the thread for up to `timeoutMs` (docs/protocol.md, section 5.4).
 *
 * @throws InvalidNameError, BufferNotFoundError, PeerTimeoutError, WriterAlreadyConnectedError, FrameTooLargeError,
 *   MetadataTooLargeError, CorruptBufferError, SequenceError, PermissionDeniedError. Of a dead writer the pid may have been
 *   taken away then; nothing else has changed.
 */
export function connect(name: string, timeoutMs: number, wishes: Wishes): Connection {
  checkName(name);
  checkHelper();
  watchSignals();
  const patience = new Patience(timeoutMs);
  for (;;) {
    const result = tryConnect(name, wishes);
    if ("buffer" in result) {
      const walk = walkFor(result);
      while (walk?.step()) {}
      return follow(result, walk);
    }
    patience.check(result);
    // A signal ends the wait.
    if (!sleep(POLL_MS)) throw result.error;
  }
}

/** {@link connect} without blocking the event loop. Rejects with the signal's reason when it is aborted. */
export async function connectAsync(
  name: string,
  timeoutMs: number,
  wishes: Wishes,
  signal?: AbortSignal,
): Promise<Connection> {
  checkName(name);
  checkHelper();
  watchSignals();
  const patience = new Patience(timeoutMs);
  signal?.throwIfAborted();
  for (;;) {
    const result = tryConnect(name, wishes);
    if ("buffer" in result) {
      const walk = walkFor(result);
      while (walk?.step()) await Bun.sleep(0);
      return follow(result, walk);
    }
    patience.check(result);
    await raceAbort(Bun.sleep(POLL_MS), signal);
  }
}

/** One attempt, without any wait. Throws what waiting cannot change. */
function tryConnect(name: string, wishes: Wishes): Connection | Obstacle {
  const result = tryJoin(name, wishes);
  const { create } = wishes;
  if ("buffer" in result || create === undefined || !result.isAbandoned) return result;
  checkSizes(name, resolveConfig(create), wishes);
  const buffer = createForWriter(name, create);
  if (buffer !== undefined) return { buffer, readerPid: 0n, sequence: 1 };
  const isMissing = result.error instanceof BufferNotFoundError;
  const obstacle = isMissing ? notReady(name, "another process is creating it") : result;
  // A process that only asks whether a lock is held has it for an instant.
  return { ...obstacle, leastMs: PROBE_PATIENCE_MS };
}

/** One attempt to connect to a buffer that exists. */
function tryJoin(name: string, wishes: Wishes): Connection | Obstacle {
  const memory = SharedMemory.look(name, "write");
  if (memory === Code.NOT_FOUND) {
    checkSharedMemory(name);
    return { error: notFound(name), isAbandoned: true };
  }
  if (typeof memory === "number") throw failure(memory, name, `The shared memory of buffer "${name}"`);
  let isJoined = false;
  try {
    // Without the lock of the role the memory is only looked at, so that nobody takes this process for a writer.
    const obstacle = obstacleToJoining(name, memory, wishes) ?? takeRole(name, memory);
    if (obstacle !== undefined) return obstacle;
    const result = joinAsWriter(name, memory, wishes);
    isJoined = "buffer" in result;
    return result;
  } finally {
    if (!isJoined) memory.close();
  }
}

/** What the control block says against joining: the buffer is not complete, or has not the right reader. */
function obstacleToJoining(
  name: string,
  memory: SharedMemory,
  { readerPid: wantedReaderPid }: Wishes,
): Obstacle | undefined {
  const oieb = decodeOieb(memory.loadOieb());
  if (oieb.oiebSize === 0) return unfinished(name);
  const fault = faultOfOieb(oieb, memory.size);
  if (fault !== undefined)
    throw new CorruptBufferError(`Buffer "${name}" is corrupt: ${fault}.`, { buffer: name });
  if (wantedReaderPid !== undefined && oieb.readerPid !== wantedReaderPid) {
    return notReady(name, `its reader is not process ${wantedReaderPid}`);
  }
  return undefined;
}

/** Locks the writer's role, and maps the memory. */
function takeRole(name: string, memory: SharedMemory): Obstacle | undefined {
  const locked = memory.lockRole(Role.WRITER);
  if (locked === Code.LOCKED) {
    const { writerPid, mark } = decodeOieb(memory.loadOieb());
    // Somebody who connects, or takes the place of a dead writer, has the lock for an instant.
    if (writerPid === 0n || mark !== writerPid) return takenRole(name);
    return { error: writerAlreadyConnected(name, writerPid), leastMs: CHANGE_MS, mostMs: CHANGE_MS };
  }
  const mapped = memory.map();
  if (mapped !== Code.OK) throw failure(mapped, name, `The shared memory of buffer "${name}"`);
  return undefined;
}

function joinAsWriter(name: string, memory: SharedMemory, wishes: Wishes): Connection | Obstacle {
  const obstacle = obstacleToJoining(name, memory, wishes);
  if (obstacle !== undefined) return obstacle;
  const lastWriterPid = findLastWriter(name, memory);
  if (typeof lastWriterPid !== "bigint") return lastWriterPid;
  const oieb = decodeOieb(memory.loadOieb());
  const { readerPid } = oieb;
  if (readerPid === 0n) return { ...notReady(name, "it has no reader"), isAbandoned: true };
  if (new Peer(memory, Role.READER).judge(oieb) === "dead") return readerIsDead(name, readerPid);
  // Before the pid is stored: the reader would see a writer come and go.
  checkSizes(name, oieb, wishes);
  const semaphores = openSemaphores(name);
  if (typeof semaphores === "number") {
    if (semaphores === Code.NOT_FOUND || semaphores === Code.AGAIN)
      return notReady(name, "its semaphores are missing");
    throw failure(semaphores, name, `A semaphore of buffer "${name}"`);
  }
  let result: Connection | Obstacle | undefined;
  try {
    result = claimForWriter(name, memory, lastWriterPid) ?? {
      buffer: new SharedBuffer(name, oieb, memory, semaphores, undefined),
      readerPid,
      sequence: 1,
    };
    return result;
  } finally {
    if (result === undefined || !("buffer" in result)) closeSemaphores(semaphores);
  }
}

/** Throws if a buffer of these sizes is too small: waiting does not change that. */
function checkSizes(name: string, sizes: BufferSizes, { frameSize, metadata }: Wishes): void {
  const largest = maxFrameSize(sizes.payloadSize);
  if (frameSize !== undefined && frameSize > largest) throw wrongFrameSize(name, frameSize, largest);
  const wrongMetadata = metadata && wrongMetadataSize(name, metadata.length, sizes);
  if (wrongMetadata !== undefined) throw wrongMetadata;
}

/**
 * Takes the writer's place once the ring is empty. Returns what has to change first; throws if another writer has it.
 *
 * @param lastWriterPid 0, or a pid that was seen to be no living writer's: only that may be taken away.
 */
function claimForWriter(name: string, memory: SharedMemory, lastWriterPid: bigint): Obstacle | undefined {
  // The reader still has to read what a dead writer left. Until then the buffer has no writer.
  if (lastWriterPid !== 0n) memory.claim(Role.WRITER, lastWriterPid, 0);
  if (!isEmpty(memory)) return notReady(name, "the frames of its last writer are still unread");
  if (!memory.claim(Role.WRITER, 0, process.pid)) {
    const holder = findLastWriter(name, memory);
    return typeof holder === "bigint" ? changingWriters(name) : holder;
  }
  const oieb = decodeOieb(memory.loadOieb());
  // This process is the writer now. Any other process that has the memory open is the reader, visible from here or not.
  const isTaken = oieb.writerPid !== BigInt(process.pid) && oieb.writerPid !== 0n;
  const isDead = new Peer(memory, Role.READER, { isHolder: true }).judge(oieb) === "dead";
  if (!isTaken && !isDead && isEmpty(memory) && memory.isNamed) return undefined;
  memory.claim(Role.WRITER, process.pid, 0);
  return isDead ? readerIsDead(name, oieb.readerPid) : notReady(name, "it is changing");
}

function isEmpty(memory: SharedMemory): boolean {
  const oieb = decodeOieb(memory.loadOieb());
  return oieb.payloadFreeBytes === oieb.payloadSize;
}

/**
 * The pid in the writer's place if that is no living writer's, or 0; otherwise why the place is not free just now.
 *
 * @throws WriterAlreadyConnectedError if there is a living writer.
 */
function findLastWriter(name: string, memory: SharedMemory): bigint | Obstacle {
  const oieb = decodeOieb(memory.loadOieb());
  const { writerPid, readerPid } = oieb;
  const presence = new Peer(memory, Role.WRITER).judge(oieb);
  if (presence === "dead") return writerPid;
  // It may have left since.
  if (decodeOieb(memory.loadOieb()).writerPid !== writerPid) return changingWriters(name);
  // Its reader, which sees more, takes the pid of a dead one away.
  if (presence === "unknown") return { error: hiddenWriter(name, writerPid) };
  const error = writerAlreadyConnected(name, writerPid);
  if (writerPid !== readerPid) throw error;
  // Between two writers the reader takes the writer's place for an instant. It maps the memory once, and a writer in the
  // same process maps it a second time.
  const mappings = writerPid === BigInt(process.pid) ? 2 : memory.mappingsOf(Number(writerPid));
  if (mappings === 1) return changingWriters(name);
  return { error, leastMs: CHANGE_MS, mostMs: mappings === undefined ? UNCLEAR_MS : CHANGE_MS };
}

// ---- the number of the first frame ---------------------------------------------------------------------------------

/** The search for the number with which the writer has to go on: a v1 reader counts on when another writer comes. */
function walkFor({ buffer }: Connection): Walk | undefined {
  return areRolesLocked(buffer.loadOieb()) ? undefined : new Walk(buffer.memory);
}

/** The connection with the number that the walk, once it has ended, has found. Undoes it if it has found none. */
function follow(connection: Connection, walk: Walk | undefined): Connection {
  if (walk === undefined) return connection;
  const { sequence } = walk;
  if (sequence !== undefined) return { ...connection, sequence };
  const { buffer } = connection;
  takeAllSteps(
    () => buffer.memory.claim(Role.WRITER, process.pid, 0),
    () => buffer.close(),
  );
  throw new SequenceError(
    `Buffer "${buffer.name}" does not show the number of the last frame that its reader has read, after which it wants the next.`,
    { buffer: buffer.name, hint: "Restart the reader: it counts on from an earlier writer." },
  );
}

// ---- obstacles and errors ------------------------------------------------------------------------------------------

/** The error of a second writer. */
export function writerAlreadyConnected(name: string, pid: bigint): WriterAlreadyConnectedError {
  return new WriterAlreadyConnectedError(`Buffer "${name}" has a writer already (process ${pid}).`, {
    buffer: name,
    hint: "A buffer has one writer: end the other one, or use another name.",
  });
}

function hiddenWriter(name: string, pid: bigint): WriterAlreadyConnectedError {
  return new WriterAlreadyConnectedError(
    `Buffer "${name}" has a writer already, or has had one: process ${pid}, which is not visible from here.`,
    {
      buffer: name,
      hint: forceAdvice(name),
    },
  );
}

function readerIsDead(name: string, pid: bigint): Obstacle {
  return { ...notReady(name, `its reader (process ${pid}) is dead`), isAbandoned: true };
}

function takenRole(name: string): Obstacle {
  const error = new WriterAlreadyConnectedError(
    `Another process is becoming the writer of buffer "${name}".`,
    {
      buffer: name,
      hint: "A buffer has one writer: end the other one, or use another name.",
    },
  );
  return { error, leastMs: CHANGE_MS };
}

function notFound(name: string): BufferNotFoundError {
  return new BufferNotFoundError(`There is no buffer "${name}".`, {
    buffer: name,
    hint: "Start its reader first, or wait longer for it (`connectTimeoutMs`).",
  });
}

function notReady(name: string, why: string): Obstacle {
  return {
    error: new PeerTimeoutError(`Buffer "${name}" is not ready: ${why}.`, {
      buffer: name,
      hint: "Start its reader, or wait longer for it (`connectTimeoutMs`).",
    }),
  };
}

function unfinished(name: string): Obstacle {
  return { ...notReady(name, "its reader is still creating it"), isAbandoned: true };
}

function changingWriters(name: string): Obstacle {
  return { ...notReady(name, "its reader is going on from one writer to the next"), leastMs: CHANGE_MS };
}
