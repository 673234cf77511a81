// How a writer connects to a buffer (docs/protocol.md, section 5).

import { Code } from "../../native/codes.ts";
import { Role, SharedMemory } from "../../native/memory.ts";
import { sleep } from "../../native/process.ts";
import type { BufferConfig } from "../config.ts";
import {
  BufferNotFoundError,
  CorruptBufferError,
  PeerTimeoutError,
  WriterAlreadyConnectedError,
  ZeroBufferError,
} from "../errors.ts";
import { checkHelper, failure } from "../failures.ts";
import { createForWriter } from "./create.ts";
import { BufferLocks } from "./locks.ts";
import { checkName } from "./names.ts";
import { decodeOieb, faultOfOieb } from "./oieb.ts";
import { Peer } from "./presence.ts";
import { closeSemaphores, openSemaphores, SharedBuffer } from "./shared-buffer.ts";

/** How often a buffer's state is looked at while something in it has to change and nobody announces it. */
const POLL_MS = 5;

/** How long a writer pid that equals the reader's may be the reader's own, on its way to the next writer. */
const HANDOVER_MS = 20;

/** A buffer that this process has connected to as its writer. */
export interface Connection {
  readonly buffer: SharedBuffer;
  /** As it stood in the OIEB; 0 where the writer made the buffer and no reader has come yet. */
  readonly readerPid: bigint;
}

/**
 * Connects to a buffer as its writer, blocking the thread for up to `timeoutMs` (docs/protocol.md, section 5).
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
    throw failure(semaphores, name, `A semaphore of buffer "${name}"`);
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
    hint: "Start its reader first, or wait longer for it (`connectTimeoutMs`).",
  });
}

function notReady(name: string, why: string): PeerTimeoutError {
  return new PeerTimeoutError(`Buffer "${name}" is there, but ${why}.`, {
    buffer: name,
    hint: "Start its reader, or wait longer for it (`connectTimeoutMs`).",
  });
}
