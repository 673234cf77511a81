// The buffer that a command reads from: how it waits for the writer and for frames, and what it says if they do not come.

import { PeerTimeoutError, type Reader } from "../core/index.ts";
import { CommandError } from "./failure.ts";
import { count, grouped } from "./format.ts";
import type { Session } from "./session.ts";

/** How long to wait between two looks at something else, in milliseconds. */
const SLICE_MS = 250;

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
  readonly #look: (() => void) | undefined;

  /** @param look If given, it is called a few times a second while the writer or a frame is waited for; it may throw. */
  constructor(reader: Reader, timeouts: Timeouts, session: Session, look?: () => void) {
    this.#reader = reader;
    this.#timeouts = timeouts;
    this.#session = session;
    this.#look = look;
  }

  /**
   * Returns when a writer has connected, or has come and gone: reading tells which.
   *
   * @throws PeerTimeoutError
   */
  async awaitWriter(): Promise<void> {
    const { connectTimeoutMs } = this.#timeouts;
    const { signal, log } = this.#session;
    const { name } = this.#reader;
    const seen = await this.#waitInSlices(connectTimeoutMs, async (sliceMs) => {
      const deadline = performance.now() + sliceMs;
      if (await this.#reader.isWriterConnectedAsync(sliceMs, { signal })) return "connected";
      // An answer before the deadline means that one came and went.
      return performance.now() < deadline ? "gone" : undefined;
    });
    if (seen === "connected") log?.info(`A writer has connected to buffer "${name}".`);
    if (seen !== undefined) return;
    throw new PeerTimeoutError(`No writer has connected to buffer "${name}" within ${connectTimeoutMs} ms.`, {
      buffer: name,
      hint: "Start the writer, or wait longer (--connect-timeout-ms; 0: for ever).",
    });
  }

  /**
   * What `read` brings within the timeout; it answers `undefined` if nothing came in the milliseconds it is given.
   *
   * @throws CommandError TIMEOUT
   */
  async awaitFrames<T>(read: (sliceMs: number) => Promise<T | undefined>): Promise<T> {
    const { timeoutMs } = this.#timeouts;
    const frames = await this.#waitInSlices(timeoutMs, read);
    if (frames !== undefined) return frames;
    throw new CommandError(
      "TIMEOUT",
      `No frame has come through buffer "${this.#reader.name}" within ${timeoutMs} ms; its writer is still connected.`,
      "See why the writer is idle, or wait longer (--timeout-ms; 0: for ever).",
    );
  }

  /** The failure of a run whose writer has left too early. */
  incomplete(frames: number, wanted: number): CommandError {
    return new CommandError(
      "INCOMPLETE",
      `The writer of buffer "${this.#reader.name}" has left after ${grouped(frames)} of ${count(wanted, "frames")}.`,
      "Have it write more, or ask for fewer (--frames).",
    );
  }

  async #waitInSlices<T>(
    timeoutMs: number,
    wait: (sliceMs: number) => Promise<T | undefined>,
  ): Promise<T | undefined> {
    const deadline = performance.now() + timeoutMs;
    const longestMs = this.#look === undefined ? Number.POSITIVE_INFINITY : SLICE_MS;
    for (;;) {
      const leftMs = Math.max(0, deadline - performance.now());
      const result = await wait(Math.min(longestMs, leftMs));
      if (result !== undefined) return result;
      this.#look?.();
      if (performance.now() >= deadline) return undefined;
    }
  }
}
