// Gathers the frames of a recording into chunks, and hands these to the thread that writes them.
//
// There are two buffers: one is filled while the other one is written. While both are full, frames wait in their rings.

import { CommandError, DownstreamClosed } from "../../cli/failure.ts";
import type { Session } from "../../cli/session.ts";
import { Descriptor } from "../../cli/terminal.ts";
import { FrameTooLargeError } from "../../core/index.ts";
import { copyInPieces, PIECE_SIZE } from "../../frames/transforms.ts";
import { isOtherEndClosed } from "../../native/process.ts";
import { raceAbort } from "../../runtime/abort.ts";
import {
  type Answer,
  MAX_FRAME_SIZE,
  MESSAGE_HEADER_SIZE,
  RECORDING_THREAD,
  type RecordingPlan,
  type Task,
  type ThreadFailure,
  type Written,
} from "./plan.ts";

/** A chunk is closed when it has this many bytes of records: a larger frame is alone in its chunk. */
const CHUNK_SIZE = 1024 * 1024;

/** A chunk is closed after this time: a recorder that is killed loses no more than the frames since. */
const CHUNK_MS = 1000;

const BUFFERS = 2;

/** A buffer of up to this many bytes is kept for smaller frames, too. */
const KEPT_SIZE = 16 * 1024 * 1024;

/** The opcode of a message. The library, which knows it, is loaded by the thread alone. */
const MESSAGE = 0x05;

/** How long stdout may take for the rest after a signal, in milliseconds. A file may take any time. */
const STDOUT_GRACE_MS = 2000;

/** A frame to record. */
export interface RecordedFrame {
  /** The number of its channel. */
  readonly channel: number;
  readonly sequence: number;
  /** Its own time in nanoseconds since 1970, if it has one. */
  readonly timeNs: bigint | undefined;
  readonly data: Uint8Array;
}

/** Records frames in the order of the calls. Disposing it ends the thread, whatever it does. */
export class Recorder implements Disposable {
  readonly #thread: Worker;
  readonly #path: string;
  readonly #topics: readonly string[];
  readonly #signal: AbortSignal;
  readonly #clock = new ArrivalClock();
  readonly #free: ArrayBuffer[] = Array.from({ length: BUFFERS }, () => new ArrayBuffer(0));
  /** Settles with the first answer: the thread listens. */
  readonly #ready = Promise.withResolvers<void>();
  /** The answers that have yet to come, in their order. */
  readonly #answers = [this.#ready];
  /** The chunk that is being filled. */
  #chunk: Chunk | undefined;
  #flushTimer: Timer | undefined;
  /** The last of the operations that take turns, and how many there are. */
  #last: Promise<void> = Promise.resolve();
  #inTurn = 0;
  #written: Written = { files: [], bytes: 0 };
  #failure: Error | undefined;

  private constructor(plan: RecordingPlan, session: Session) {
    this.#path = plan.path;
    this.#topics = plan.topics;
    this.#signal = session.signal;
    // This program again, as bench does it: the executable is all there is.
    this.#thread = new Worker(Bun.main, { argv: [RECORDING_THREAD] });
    this.#thread.onmessage = ({ data }: MessageEvent<Answer>) => this.#note(data);
    this.#thread.onerror = ({ message }) => {
      this.#fail({ code: "INTERNAL", message: `The writing thread failed: ${message}`, hint: undefined });
    };
    session.own(this);
  }

  /** Opens the file. @throws CommandError USAGE if it exists, IO_ERROR. */
  static async open(plan: RecordingPlan, session: Session): Promise<Recorder> {
    const recorder = new Recorder(plan, session);
    // A task that is sent before the thread listens would be lost.
    await raceAbort(recorder.#ready.promise, session.signal);
    await raceAbort(recorder.#send({ kind: "open", plan }), session.signal);
    return recorder;
  }

  /** What has been written so far. */
  get written(): Written {
    return this.#written;
  }

  /** @throws CommandError IO_ERROR, DownstreamClosed if the thread can write no more. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** For waits in which nothing is written: as {@link check}, also if the reader of stdout has closed it. */
  checkReader(): void {
    this.check();
    if (this.#path === "-" && isOtherEndClosed(Descriptor.STDOUT)) throw stdoutClosed();
  }

  /**
   * Records a frame. Returns a promise if that takes time; the bytes are no longer needed when it settles.
   *
   * @throws FrameTooLargeError over 1 GiB; as {@link check}.
   */
  add(frame: RecordedFrame): Promise<void> | undefined {
    this.check();
    const { length } = frame.data;
    if (length > MAX_FRAME_SIZE) throw tooLarge(this.#topics[frame.channel] ?? "", length);
    const size = MESSAGE_HEADER_SIZE + length;
    if (this.#inTurn === 0 && length <= PIECE_SIZE && this.#hasRoom(size)) {
      const { data } = frame;
      this.#place(frame, size).set(data);
      this.#commit(size);
      return undefined;
    }
    return this.#takeTurn(() => this.#addLater(frame, size));
  }

  /** Records the metadata of a channel, after the frames so far. */
  addMetadata(channel: number, bytes: Uint8Array): Promise<void> {
    return this.#takeTurn(async () => {
      this.check();
      this.#flush();
      // Behind the chunk, which is not awaited.
      this.#send({ kind: "metadata", channel, bytes, timeNs: this.#clock.now() });
    });
  }

  /** Writes what is left, and the index. @throws as {@link check}. */
  async end(): Promise<void> {
    const work = this.#takeTurn(async () => {
      this.check();
      this.#flush();
      await this.#send({ kind: "end" });
    });
    if (this.#path !== "-" || !this.#signal.aborted) return await work;
    // The process that reads stdout may have stopped.
    await Promise.race([work, Bun.sleep(STDOUT_GRACE_MS)]);
    work.catch(() => {});
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#flushTimer);
    this.#thread.terminate();
  }

  // ---- chunks ------------------------------------------------------------------------------------------------------

  /** Whether the open chunk has room for a record; if there is none, whether a free buffer has. */
  #hasRoom(size: number): boolean {
    if (this.#chunk !== undefined && this.#chunk.size + size > this.#chunk.bytes.length) this.#flush();
    if (this.#chunk !== undefined) return true;
    const buffer = this.#free.pop();
    if (buffer === undefined) return false;
    const needed = Math.max(size, CHUNK_SIZE);
    // One that has become too small, or once held a much larger frame, is replaced.
    const fits = buffer.byteLength >= needed && buffer.byteLength <= Math.max(4 * needed, KEPT_SIZE);
    const bytes = new Uint8Array(fits ? buffer : new ArrayBuffer(needed));
    this.#chunk = { bytes, view: new DataView(bytes.buffer), size: 0 };
    this.#flushTimer = setTimeout(() => this.#flushInTime(), CHUNK_MS);
    return true;
  }

  async #addLater(frame: RecordedFrame, size: number): Promise<void> {
    while (!this.#hasRoom(size)) await raceAbort(this.#answered(), this.#signal);
    const place = this.#place(frame, size);
    await copyInPieces(frame.data, place, async () => {
      await new Promise((resolve) => setImmediate(resolve));
      this.#signal.throwIfAborted();
    });
    this.#commit(size);
  }

  /** Writes the record of a frame but for its data, for which it returns the place. */
  #place({ channel, sequence, timeNs }: RecordedFrame, size: number): Uint8Array {
    const { bytes, size: at, view } = this.#chunk as Chunk;
    const arrival = this.#clock.now();
    view.setUint8(at, MESSAGE);
    view.setUint32(at + 1, size - 9, true);
    view.setUint32(at + 5, 0, true);
    view.setUint16(at + 9, channel, true);
    view.setUint32(at + 11, sequence % 2 ** 32, true);
    view.setBigUint64(at + 15, arrival, true);
    view.setBigUint64(at + 23, timeNs ?? arrival, true);
    return bytes.subarray(at + MESSAGE_HEADER_SIZE, at + size);
  }

  #commit(size: number): void {
    const chunk = this.#chunk as Chunk;
    chunk.size += size;
    if (chunk.size >= CHUNK_SIZE) this.#flush();
  }

  /** Hands the open chunk to the thread. */
  #flush(): void {
    const chunk = this.#chunk;
    if (chunk === undefined) return;
    clearTimeout(this.#flushTimer);
    this.#chunk = undefined;
    const { buffer } = chunk.bytes;
    if (chunk.size === 0) this.#free.push(buffer);
    else this.#send({ kind: "chunk", buffer, size: chunk.size }, [buffer]);
  }

  #flushInTime(): void {
    // A frame is being copied into it, or it is flushed soon.
    if (this.#inTurn > 0) this.#flushTimer = setTimeout(() => this.#flushInTime(), CHUNK_MS);
    else this.#flush();
  }

  /** Runs operations that wait one after another. */
  async #takeTurn(operation: () => Promise<void>): Promise<void> {
    const before = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = promise;
    this.#inTurn++;
    try {
      await before;
      await operation();
    } finally {
      this.#inTurn--;
      resolve();
    }
  }

  // ---- the thread --------------------------------------------------------------------------------------------------

  /** Sends a task. The promise, which need not be awaited, settles when it is done. */
  #send(task: Task, moved: readonly ArrayBuffer[] = []): Promise<void> {
    const answer = Promise.withResolvers<void>();
    answer.promise.catch(() => {});
    this.#answers.push(answer);
    this.#thread.postMessage(task, [...moved]);
    return answer.promise;
  }

  /** Waits until the first of the tasks that were sent is done. */
  #answered(): Promise<void> {
    this.check();
    return this.#answers[0]?.promise ?? Promise.resolve();
  }

  #note(answer: Answer): void {
    this.#written = answer.written;
    if ("failure" in answer) {
      this.#fail(answer.failure);
      return;
    }
    if (answer.buffer !== undefined) this.#free.push(answer.buffer);
    this.#answers.shift()?.resolve();
  }

  #fail({ code, hint, message, stack }: ThreadFailure): void {
    if (this.#failure !== undefined) return;
    this.#failure = code === undefined ? stdoutClosed() : new CommandError(code, message, hint, stack);
    for (const { reject } of this.#answers.splice(0)) reject(this.#failure);
  }
}

/** Records of a chunk that is being filled. */
interface Chunk {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView;
  size: number;
}

/** The system's clock as it was at the start, going on steadily: never backwards, whatever is done to the system's. */
class ArrivalClock {
  readonly #startNs = BigInt(Date.now()) * 1_000_000n;
  readonly #startMs = performance.now();

  /** Nanoseconds since 1970. */
  now(): bigint {
    return this.#startNs + BigInt(Math.round((performance.now() - this.#startMs) * 1e6));
  }
}

function stdoutClosed(): DownstreamClosed {
  return new DownstreamClosed("Its reader has closed stdout.");
}

function tooLarge(buffer: string, size: number): FrameTooLargeError {
  return new FrameTooLargeError(
    `A frame of buffer "${buffer}" has ${size} bytes, and a recording takes frames of up to ${MAX_FRAME_SIZE}.`,
    { buffer, hint: "Send smaller frames, or write them to a file with zerobuffer reader --output." },
  );
}
