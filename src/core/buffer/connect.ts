// Connects writers to buffers (docs/protocol.md, section 5.4).

import { Code } from "../../native/codes.ts";
import { Role, SharedMemory } from "../../native/memory.ts";
import { sleep } from "../../native/process.ts";
import { watchSignals } from "../../native/signals.ts";
import { raceAbort } from "../../runtime/abort.ts";
import type { BufferConfig } from "../config.ts";
import {
  BufferNotFoundError,
  CorruptBufferError,
  PeerTimeoutError,
  WriterAlreadyConnectedError,
  type ZeroBufferError,
} from "../errors.ts";
import { checkHelper, checkSharedMemory, failure } from "../failures.ts";
import { createForWriter } from "./create.ts";
import { BufferLocks, PROBE_PATIENCE_MS } from "./locks.ts";
import { checkName } from "./names.ts";
import { decodeOieb, faultOfOieb } from "./oieb.ts";
import { Peer } from "./presence.ts";
import { closeSemaphores, openSemaphores, SharedBuffer } from "./shared-buffer.ts";

/** The pause between two attempts, in milliseconds: nobody announces that a buffer is ready. */
const POLL_MS = 5;

/** How long a writer waits at least while the writer before it is leaving, in milliseconds. */
const CHANGE_MS = 20;

/** How long a writer waits at most if it cannot tell the reader from a writer in the same process, in milliseconds. */
const DOUBT_MS = 1000;

/** A buffer that this process has connected to as its writer. */
export interface Connection {
  readonly buffer: SharedBuffer;
  /** As it stood in the OIEB; 0 if the writer created the buffer and no reader has come yet. */
  readonly readerPid: bigint;
}

/** Why an attempt failed, if the next one may succeed. */
interface Obstacle {
  /** What to throw after the last attempt. */
  readonly error: ZeroBufferError;
  /** Attempts go on for at least this long, even if the timeout is shorter, in milliseconds. */
  readonly leastMs?: number;
  /** Attempts go on for at most this long, even if the timeout is longer, in milliseconds. */
  readonly mostMs?: number;
  /** Whether dead processes may have left the buffer. */
  readonly isAbandoned?: boolean;
}

/** How long to go on with attempts to connect. */
class Patience {
  readonly #deadline: number;
  /** Why the last attempt failed, and when attempts began to fail for that reason. */
  #reason: string | undefined;
  #since = 0;

  constructor(timeoutMs: number) {
    this.#deadline = performance.now() + timeoutMs;
  }

  /** Throws the obstacle's error if no time is left for another attempt. */
  check({ error, leastMs = 0, mostMs = Number.POSITIVE_INFINITY }: Obstacle): void {
    const now = performance.now();
    if (error.message !== this.#reason) {
      this.#reason = error.message;
      this.#since = now;
    }
    const elapsedMs = now - this.#since;
    if (elapsedMs >= mostMs || (now >= this.#deadline && elapsedMs >= leastMs)) throw error;
  }
}

/**
 * Connects to a buffer as its writer, blocking the thread for up to `timeoutMs` (docs/protocol.md, section 5.4).
 *
 * @param config creates the buffer if there is none.
 * @throws InvalidNameError, BufferNotFoundError, PeerTimeoutError, WriterAlreadyConnectedError, CorruptBufferError,
 *   PermissionDeniedError. Nothing has been changed then.
 */
export function connect(name: string, timeoutMs: number, config?: BufferConfig): Connection {
  checkName(name);
  checkHelper();
  watchSignals();
  const patience = new Patience(timeoutMs);
  for (;;) {
    const result = tryConnect(name, config);
    if ("buffer" in result) return result;
    patience.check(result);
    // A signal ends the wait.
    if (!sleep(POLL_MS)) throw result.error;
  }
}

interface ConnectOptions {
  /** Creates the buffer if there is none. */
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
  watchSignals();
  const patience = new Patience(timeoutMs);
  signal?.throwIfAborted();
  for (;;) {
    const result = tryConnect(name, config, readerPid);
    if ("buffer" in result) return result;
    patience.check(result);
    await raceAbort(Bun.sleep(POLL_MS), signal);
  }
}

/** One attempt, without any wait. Throws what waiting cannot change. */
function tryConnect(name: string, config?: BufferConfig, readerPid?: bigint): Connection | Obstacle {
  const result = tryJoin(name, readerPid);
  if ("buffer" in result || config === undefined || !result.isAbandoned) return result;
  const buffer = createForWriter(name, config);
  if (buffer !== undefined) return { buffer, readerPid: 0n };
  const isMissing = result.error instanceof BufferNotFoundError;
  const obstacle = isMissing ? notReady(name, "another process is creating it") : result;
  // A process that only asks whether a lock is held has it for an instant.
  return { ...obstacle, leastMs: PROBE_PATIENCE_MS };
}

/** One attempt to connect to a buffer that exists. */
function tryJoin(name: string, readerPid?: bigint): Connection | Obstacle {
  const memory = SharedMemory.open(name);
  if (memory === Code.NOT_FOUND) checkSharedMemory(name);
  if (memory === Code.NOT_FOUND) return { error: notFound(name), isAbandoned: true };
  if (memory === Code.AGAIN) return unfinished(name);
  if (typeof memory === "number") throw failure(memory, name, `The shared memory of buffer "${name}"`);
  let isJoined = false;
  try {
    const result = joinAsWriter(name, memory, readerPid);
    isJoined = "buffer" in result;
    return result;
  } finally {
    if (!isJoined) memory.close();
  }
}

function joinAsWriter(name: string, memory: SharedMemory, wantedReaderPid?: bigint): Connection | Obstacle {
  const oieb = decodeOieb(memory.loadOieb());
  const { readerPid } = oieb;
  if (oieb.oiebSize === 0) return unfinished(name);
  const fault = faultOfOieb(oieb, memory.size);
  if (fault !== undefined)
    throw new CorruptBufferError(`Buffer "${name}" is corrupt: ${fault}.`, { buffer: name });
  if (wantedReaderPid !== undefined && readerPid !== wantedReaderPid) {
    return notReady(name, `its reader is not process ${wantedReaderPid}`);
  }
  const lastWriterPid = findLastWriter(name, memory);
  if (typeof lastWriterPid !== "bigint") return lastWriterPid;
  if (readerPid === 0n) return { ...notReady(name, "it has no reader"), isAbandoned: true };
  if (!new Peer(memory, Role.READER).isAlive(readerPid)) {
    return { ...notReady(name, describeAbsentReader(name, readerPid)), isAbandoned: true };
  }
  const semaphores = openSemaphores(name);
  if (typeof semaphores === "number") {
    if (semaphores === Code.NOT_FOUND || semaphores === Code.AGAIN)
      return notReady(name, "its semaphores are missing");
    throw failure(semaphores, name, `A semaphore of buffer "${name}"`);
  }
  let obstacle: Obstacle | undefined;
  let isJoined = false;
  try {
    obstacle = claimForWriter(name, memory, lastWriterPid);
    isJoined = obstacle === undefined;
  } finally {
    if (!isJoined) closeSemaphores(semaphores);
  }
  return obstacle ?? { buffer: new SharedBuffer(name, oieb, memory, semaphores, undefined), readerPid };
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
  if (isEmpty(memory) && memory.isNamed) return undefined;
  memory.claim(Role.WRITER, process.pid, 0);
  return notReady(name, "it is changing");
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
  const { writerPid, readerPid } = decodeOieb(memory.loadOieb());
  if (!new Peer(memory, Role.WRITER).isAlive(writerPid)) return writerPid;
  // It may have left since.
  if (decodeOieb(memory.loadOieb()).writerPid !== writerPid) return changingWriters(name);
  const error = writerAlreadyConnected(name, writerPid);
  if (writerPid !== readerPid) throw error;
  // Between two writers the reader takes the writer's place for an instant. It maps the memory once, and a writer in the
  // same process maps it a second time.
  const mappings = writerPid === BigInt(process.pid) ? 2 : memory.mappingsOf(Number(writerPid));
  if (mappings === 1) return changingWriters(name);
  return { error, leastMs: CHANGE_MS, mostMs: mappings === undefined ? DOUBT_MS : CHANGE_MS };
}

/** Why a reader counts as absent: its process died, or is not visible from this container. */
export function describeAbsentReader(name: string, readerPid: bigint): string {
  return BufferLocks.areHeld(name)
    ? `its reader (process ${readerPid}) holds the lock but is not visible: it runs in another pid namespace, ` +
        "so share that (docker run --pid=container:…)"
    : `its reader (process ${readerPid}) is dead`;
}

function writerAlreadyConnected(name: string, pid: bigint): WriterAlreadyConnectedError {
  return new WriterAlreadyConnectedError(`Buffer "${name}" has a writer already (process ${pid}).`, {
    buffer: name,
    hint: "A buffer has one writer: end the other one, or use another name.",
  });
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
