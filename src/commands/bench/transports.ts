// The transports of a measurement: buffers, or pipes and sockets with blocking calls.

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

/** How long a process waits for the other process to start. */
export const CONNECT_TIMEOUT_MS = 20_000;

/** The sending end of a transport. */
interface Sender extends Disposable {
  /** Sends frames, stored end to end, with one call. */
  send(frames: Uint8Array): void;
}

/** The receiving end of a transport. */
interface Receiver extends Disposable {
  /** Waits for a frame and copies the available frames to `target`, end to end. Returns their number, 0 at the end. */
  receive(target: Uint8Array): number;
  /** Sends the next frame back unchanged; returns false at the end. */
  passOn(sender: Sender): boolean;
}

/** The names of the buffers there and back, and of those that a relay fans out to. */
export function bufferNames(buffer: string) {
  return {
    there: `${buffer}-there`,
    back: `${buffer}-back`,
    outs: [`${buffer}-out-1`, `${buffer}-out-2`, `${buffer}-out-3`],
  } as const;
}

/** Opens the sending end there, or back. */
export function openSender(settings: WorkerSettings, way: "there" | "back"): Sender {
  const isBuffer = settings.transport === "zerobuffer";
  return isBuffer ? new BufferSender(settings, way) : new DescriptorSender(settings);
}

/** Opens the receiving end there or back, or that of one of several sinks. */
export function openReceiver(settings: WorkerSettings, way: "there" | "back" | "out"): Receiver {
  if (settings.transport !== "zerobuffer") return new DescriptorReceiver(settings);
  const { outs, ...names } = bufferNames(settings.buffer);
  return new BufferReceiver(settings, way === "out" ? (outs[settings.sink] ?? "") : names[way]);
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

  constructor({ bufferSize, frameSize, sharing, wait }: WorkerSettings, name: string) {
    this.#frameSize = frameSize;
    const config = { metadataSize: 0, payloadSize: bufferSize };
    this.#reader = new Reader(name, config, { wait, allowPayloadSharing: sharing });
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

  /** A single frame is read without a batch, which is a little faster. */
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

  /** Frames may take any time, but the other process must start soon. */
  #awaitWriter(): void {
    this.#hasWriter = true;
    if (this.#reader.isWriterConnected(CONNECT_TIMEOUT_MS)) return;
    throw new PeerTimeoutError(`No writer connected to buffer "${this.#reader.name}".`);
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

  /** The descriptor of a socket belongs to both ends: the first one disposed closes it. */
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
