// The buffer that a command reads from: waits for its writer and its frames, and reports if they do not come.

import { PeerTimeoutError, type Reader, type WriterDeadError } from "../core/index.ts";
import { compileInPauses } from "../runtime/compiler-threads.ts";
import { CommandError } from "./failure.ts";
import { count, grouped } from "./format.ts";
import type { Session } from "./session.ts";

/** The longest wait between two calls of `check`, in milliseconds. */
const SLICE_MS = 250;

/** A stream with so many waits for frames has pauses. The engine may start more threads after that: it is told again and again. */
const WAITS_PER_LOOK = 16;

/** How long to wait, in milliseconds. */
interface Timeouts {
  /** For a writer. */
  readonly connectTimeoutMs: number;
  /** For each frame. */
  readonly timeoutMs: number;
}

/** Waits for the writer of a buffer and for its frames. */
export class FrameInput {
  readonly #reader: Reader;
  readonly #timeouts: Timeouts;
  readonly #session: Session;
  readonly #check: () => void | Promise<void>;
  #waits = 0;

  /** @param check is called a few times per second during waits. It may throw. */
  constructor(reader: Reader, timeouts: Timeouts, session: Session, check: () => void | Promise<void>) {
    this.#reader = reader;
    this.#timeouts = timeouts;
    this.#session = session;
    this.#check = check;
  }

  /**
   * Waits until a writer has connected. One that has left again counts too: reading reports it.
   *
   * @throws PeerTimeoutError
   */
  async awaitWriter(): Promise<void> {
    const { connectTimeoutMs } = this.#timeouts;
    const { events, signal, log } = this.#session;
    const { name } = this.#reader;
    const seen = await this.#waitInSlices(connectTimeoutMs, async (sliceMs) => {
      const deadline = performance.now() + sliceMs;
      if (await this.#reader.isWriterConnectedAsync(sliceMs, { signal })) return "connected";
      // An answer before the deadline means that a writer connected and left.
      return performance.now() < deadline ? "gone" : undefined;
    });
    if (seen !== undefined) events?.emit("peer", { buffer: name, role: "writer", change: "came" });
    if (seen === "connected") log?.info(`A writer connected to buffer "${name}".`);
    if (seen !== undefined) return;
    throw new PeerTimeoutError(`No writer connected to buffer "${name}" within ${connectTimeoutMs} ms.`, {
      buffer: name,
      hint: "Start the writer, or raise --connect-timeout-ms (0: wait forever).",
    });
  }

  /**
   * Waits for frames.
   *
   * @param read waits for the given number of milliseconds; returns `undefined` if there is no frame until then.
   *
   * @throws CommandError TIMEOUT
   */
  awaitFrames<T>(read: (sliceMs: number) => Promise<T | undefined>): Promise<T> {
    this.noteWaits();
    return this.#awaitFrames(read);
  }

  /**
   * As {@link awaitFrames}, for a `read` that blocks the thread. What comes within the first slice costs no promise: in a stream
   * with pauses, in which all code is cold, promises would delay each frame.
   *
   * @param turn gives the event loop its turn between two slices.
   */
  blockForFrames<T>(read: (sliceMs: number) => T | undefined, turn: () => Promise<void>): T | Promise<T> {
    this.noteWaits();
    const startedAt = performance.now();
    const frames = read(Math.min(SLICE_MS, this.#timeouts.timeoutMs));
    if (frames !== undefined) return frames;
    return this.#awaitFrames(async (sliceMs) => {
      await turn();
      return read(sliceMs);
    }, startedAt);
  }

  /** Notes waits for frames, also those of a caller that has waited without this. */
  noteWaits(count = 1): void {
    this.#waits += count;
    if (this.#waits < WAITS_PER_LOOK) return;
    this.#waits = 0;
    compileInPauses();
  }

  async #awaitFrames<T>(
    read: (sliceMs: number) => Promise<T | undefined>,
    startedAt = performance.now(),
  ): Promise<T> {
    const { timeoutMs } = this.#timeouts;
    const frames = await this.#waitInSlices(timeoutMs, read, startedAt);
    if (frames !== undefined) return frames;
    throw new CommandError(
      "TIMEOUT",
      `No frame arrived in buffer "${this.#reader.name}" within ${timeoutMs} ms; its writer is still connected.`,
      "Check why the writer is idle, or raise --timeout-ms (0: wait forever).",
    );
  }

  /** Tells that the writer has gone. */
  noteDeparture({ message, reason }: WriterDeadError): void {
    this.#session.events?.emit("peer", { buffer: this.#reader.name, role: "writer", change: reason });
    this.#session.log?.info(message);
  }

  /** Tells that another writer has taken over, unseen. */
  noteSuccession(): void {
    const { name } = this.#reader;
    this.#session.events?.emit("peer", { buffer: name, role: "writer", change: "came" });
    this.#session.log?.info(`Another writer took over buffer "${name}".`);
  }

  /** The failure if the writer left too early. */
  incomplete(frames: number, wanted: number): CommandError {
    return new CommandError(
      "INCOMPLETE",
      `The writer of buffer "${this.#reader.name}" left after ${grouped(frames)} of ${count(wanted, "frames")}.`,
      "Lower --frames, or let the writer send more.",
    );
  }

  async #waitInSlices<T>(
    timeoutMs: number,
    wait: (sliceMs: number) => Promise<T | undefined>,
    startedAt = performance.now(),
  ): Promise<T | undefined> {
    const deadline = startedAt + timeoutMs;
    for (;;) {
      const leftMs = Math.max(0, deadline - performance.now());
      const result = await wait(Math.min(SLICE_MS, leftMs));
      if (result !== undefined) return result;
      await this.#check();
      if (performance.now() >= deadline) return undefined;
    }
  }
}
