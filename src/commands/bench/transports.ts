// How the frames of a measurement go: through buffers, or through pipes and sockets with blocking calls.

import { closeSync, readSync, writeSync } from "node:fs";
import {
  type Frame,
  FrameBatch,
  PeerTimeoutError,
  Reader,
  Writer,
  WriterDeadError,
} from "../../core/index.ts";
import { MAX_CALL_SIZE } from "../../runtime/files.ts";
import type { WorkerSettings } from "./plan.ts";

/** How long a process waits for the other one to start. */
export const CONNECT_TIMEOUT_MS = 20_000;

/** The sending end of a way. */
interface Sender extends Disposable {
  /** Sends frames that lie end to end, with one call. */
  send(frames: Uint8Array): void;
}

/** The receiving end of a way. */
interface Receiver extends Disposable {
  /** Copies the frames that are there to `target`, end to end, waiting for the first; how many, and 0 at the end. */
  receive(target: Uint8Array): number;
  /** Sends the next frame on, as it came; false at the end. */
  passOn(sender: Sender): boolean;
}

/** The names of the buffers there and back. */
export function bufferNames(buffer: string): { readonly there: string; readonly back: string } {
  return { there: `${buffer}-there`, back: `${buffer}-back` };
}

/** Opens the sending end there, or back. */
export function openSender(settings: WorkerSettings, way: "there" | "back"): Sender {
  const isBuffer = settings.transport === "zerobuffer";
  return isBuffer ? new BufferSender(settings, way) : new DescriptorSender(settings);
}

/** Opens the receiving end there, or back. */
export function openReceiver(settings: WorkerSettings, way: "there" | "back"): Receiver {
  const isBuffer = settings.transport === "zerobuffer";
  return isBuffer ? new BufferReceiver(settings, way) : new DescriptorReceiver(settings);
}

class BufferSender implements Sender {
  readonly #writer: Writer;
  readonly #frameSize: number;

  constructor({ buffer, frameSize, wait }: WorkerSettings, way: "there" | "back") {
    this.#frameSize = frameSize;
    this.#writer = new Writer(bufferNames(buffer)[way], {
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      writeTimeout: Number.POSITIVE_INFINITY,
      wait,
    });
  }

  send(frames: Uint8Array): void {
    if (frames.length > this.#frameSize) this.#writer.writeFrames(frames, this.#frameSize);
    else this.#writer.writeFrame(frames);
  }

  [Symbol.dispose](): void {
    this.#writer.close();
  }
}

class BufferReceiver implements Receiver {
  readonly #reader: Reader;
  readonly #frameSize: number;
  #hasWriter = false;

  constructor({ buffer, bufferSize, frameSize, wait }: WorkerSettings, way: "there" | "back") {
    this.#frameSize = frameSize;
    this.#reader = new Reader(
      bufferNames(buffer)[way],
      { metadataSize: 0, payloadSize: bufferSize },
      { wait },
    );
  }

  receive(target: Uint8Array): number {
    const most = target.length / this.#frameSize;
    const frames = this.#next(most);
    if (frames === undefined) return 0;
    frames.copyTo(target);
    frames.release();
    return frames instanceof FrameBatch ? frames.length : 1;
  }

  passOn(sender: Sender): boolean {
    const frame = this.#next(1);
    if (frame === undefined) return false;
    sender.send((frame as Frame).data);
    frame.release();
    return true;
  }

  /** A single frame is read as such: what makes batches fast costs one alone a bit. */
  #next(most: number): Frame | FrameBatch | undefined {
    if (!this.#hasWriter) this.#awaitWriter();
    try {
      return most > 1
        ? this.#reader.readFrames(most, Number.POSITIVE_INFINITY)
        : this.#reader.readFrame(Number.POSITIVE_INFINITY);
    } catch (error) {
      if (error instanceof WriterDeadError && error.reason === "left") return undefined;
      throw error;
    }
  }

  /** Frames may take any time, but not the other process. */
  #awaitWriter(): void {
    this.#hasWriter = true;
    if (this.#reader.isWriterConnected(CONNECT_TIMEOUT_MS)) return;
    throw new PeerTimeoutError(`No writer has come for buffer "${this.#reader.name}".`);
  }

  [Symbol.dispose](): void {
    this.#reader.close();
  }
}

class DescriptorSender implements Sender {
  readonly #descriptor: number;

  constructor({ output }: WorkerSettings) {
    this.#descriptor = output;
  }

  send(frames: Uint8Array): void {
    for (let done = 0; done < frames.length; ) {
      done += writeSync(this.#descriptor, frames, done, Math.min(frames.length - done, MAX_CALL_SIZE));
    }
  }

  /** A socket's descriptor sends and receives: whoever is disposed first closes it. */
  [Symbol.dispose](): void {
    closeOnce(this.#descriptor);
  }
}

class DescriptorReceiver implements Receiver {
  readonly #descriptor: number;
  readonly #frameSize: number;
  readonly #frame: Uint8Array;

  constructor({ frameSize, input }: WorkerSettings) {
    this.#descriptor = input;
    this.#frameSize = frameSize;
    this.#frame = new Uint8Array(frameSize);
  }

  receive(target: Uint8Array): number {
    let done = 0;
    do {
      const most = Math.min(target.length - done, MAX_CALL_SIZE);
      const length = readSync(this.#descriptor, target, done, most, null);
      if (length === 0) return 0;
      done += length;
    } while (done % this.#frameSize !== 0);
    return done / this.#frameSize;
  }

  passOn(sender: Sender): boolean {
    if (this.receive(this.#frame) === 0) return false;
    sender.send(this.#frame);
    return true;
  }

  [Symbol.dispose](): void {
    closeOnce(this.#descriptor);
  }
}

const closed = new Set<number>();

function closeOnce(descriptor: number): void {
  if (closed.has(descriptor)) return;
  closed.add(descriptor);
  closeSync(descriptor);
}
