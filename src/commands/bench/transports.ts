// How the frames of a measurement go: through buffers, or through pipes and sockets with blocking calls.

import { closeSync, readSync, writeSync } from "node:fs";
import { type Frame, PeerTimeoutError, Reader, Writer, WriterDeadError } from "../../core/index.ts";
import type { WorkerSettings } from "./worker.ts";

/** How long a process waits for the other one to start. */
export const CONNECT_TIMEOUT_MS = 20_000;

/** The sending end of a way. */
export interface Sender extends Disposable {
  /** Sends the same frame `count` times. */
  send(frame: Uint8Array, count: number): void;
}

/** The receiving end of a way. */
export interface Receiver extends Disposable {
  /** Copies the next frames to `target`, one after another, and returns how many: fewer than `count` at the end. */
  receive(target: Uint8Array, count: number): number;
  /** Sends the next frame on, as it came; false at the end. */
  passOn(sender: Sender): boolean;
}

/** The names of the buffers there and back. */
export function bufferNames(buffer: string): { readonly there: string; readonly back: string } {
  return { there: `${buffer}-there`, back: `${buffer}-back` };
}

/** Opens the sending end there, or back. */
export function openSender(settings: WorkerSettings, way: "there" | "back"): Sender {
  const { buffer, output, transport } = settings;
  return transport === "zerobuffer"
    ? new BufferSender(bufferNames(buffer)[way])
    : new DescriptorSender(output);
}

/** Opens the receiving end there, or back. */
export function openReceiver(settings: WorkerSettings, way: "there" | "back"): Receiver {
  const { buffer, bufferSize, frameSize, input, transport } = settings;
  return transport === "zerobuffer"
    ? new BufferReceiver(bufferNames(buffer)[way], bufferSize)
    : new DescriptorReceiver(input, frameSize);
}

class BufferSender implements Sender {
  readonly #writer: Writer;

  constructor(name: string) {
    this.#writer = new Writer(name, {
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      writeTimeout: Number.POSITIVE_INFINITY,
    });
  }

  send(frame: Uint8Array, count: number): void {
    for (let i = 0; i < count; i++) this.#writer.writeFrame(frame);
  }

  [Symbol.dispose](): void {
    this.#writer.close();
  }
}

class BufferReceiver implements Receiver {
  readonly #reader: Reader;
  #hasWriter = false;

  constructor(name: string, payloadSize: number) {
    this.#reader = new Reader(name, { metadataSize: 0, payloadSize });
  }

  receive(target: Uint8Array, count: number): number {
    for (let i = 0; i < count; i++) {
      const frame = this.#next();
      if (frame === undefined) return i;
      frame.copyTo(target);
      frame.release();
    }
    return count;
  }

  passOn(sender: Sender): boolean {
    const frame = this.#next();
    if (frame === undefined) return false;
    sender.send(frame.data, 1);
    frame.release();
    return true;
  }

  #next(): Frame | undefined {
    if (!this.#hasWriter) this.#awaitWriter();
    try {
      return this.#reader.readFrame(Number.POSITIVE_INFINITY);
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

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  send(frame: Uint8Array, count: number): void {
    for (let i = 0; i < count; i++) {
      for (let done = 0; done < frame.length; ) done += writeSync(this.#descriptor, frame, done);
    }
  }

  /** A socket's descriptor sends and receives: whoever is disposed first closes it. */
  [Symbol.dispose](): void {
    closeOnce(this.#descriptor);
  }
}

class DescriptorReceiver implements Receiver {
  readonly #descriptor: number;
  readonly #scratch: Uint8Array;

  constructor(descriptor: number, frameSize: number) {
    this.#descriptor = descriptor;
    this.#scratch = new Uint8Array(frameSize);
  }

  receive(target: Uint8Array, count: number): number {
    for (let i = 0; i < count; i++) {
      for (let done = 0; done < target.length; ) {
        const length = readSync(this.#descriptor, target, done, target.length - done, null);
        if (length === 0) return i;
        done += length;
      }
    }
    return count;
  }

  passOn(sender: Sender): boolean {
    if (this.receive(this.#scratch, 1) === 0) return false;
    sender.send(this.#scratch, 1);
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
