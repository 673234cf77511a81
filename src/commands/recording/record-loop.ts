// The loop of record: reads every buffer until its writer has left, and records its frames and its metadata.

import { addLaterFailure, CommandError } from "../../cli/failure.ts";
import { count, grouped } from "../../cli/format.ts";
import { FrameInput } from "../../cli/frame-input.ts";
import type { Session } from "../../cli/session.ts";
import { LoopClock } from "../../cli/timing.ts";
import { type FrameBatch, type Reader, readStamp, STAMP_SIZE, WriterDeadError } from "../../core/index.ts";
import type { RecordDocument } from "../../schemas/record.ts";
import type { Recorder } from "./recorder.ts";

/** The time of a stamp that has none. */
const UNKNOWN = 2n ** 64n - 1n;

/** How long to record, and how long to wait. */
export interface RecordLoopOptions {
  /** Frames to record, of all buffers together; 0: until their writers leave. */
  readonly frames: number;
  /** How long to record after the first frame, in milliseconds. */
  readonly duration: number | undefined;
  /** Whether to continue with the next writer of a buffer when one leaves. */
  readonly follow: boolean;
  /** Whether frames have stamps, whose times are recorded. */
  readonly stamp: boolean;
  readonly connectTimeoutMs: number;
  readonly timeoutMs: number;
}

/** Larger frames are released one by one. */
const MAX_UNIT_SIZE = 64 * 1024;

/** Ends a recording that has all it was to have. */
class Enough extends Error {}

/** Records the frames of several buffers. */
export class RecordLoop {
  readonly #recorder: Recorder;
  readonly #options: RecordLoopOptions;
  readonly #session: Session;
  readonly #document: RecordDocument;
  readonly #clock: LoopClock;
  readonly #end = new AbortController();
  readonly #signal: AbortSignal;
  #frames = 0;
  #bytes = 0;
  #timer: Timer | undefined;

  /** @param report is called every few milliseconds with the frames and bytes recorded so far. */
  constructor(
    recorder: Recorder,
    options: RecordLoopOptions,
    session: Session,
    document: RecordDocument,
    report: (frames: number, bytes: number) => void,
  ) {
    this.#recorder = recorder;
    this.#options = options;
    this.#session = session;
    this.#document = document;
    this.#clock = new LoopClock(session.signal, () => report(this.#frames, this.#bytes));
    this.#signal = AbortSignal.any([session.signal, this.#end.signal]);
  }

  /** Frames recorded so far. */
  get frames(): number {
    return this.#frames;
  }

  /** Bytes of those frames. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Time from the first frame to the last. */
  get seconds(): number {
    return this.#clock.seconds;
  }

  /**
   * Records until there is enough, or the writer of the last buffer has left. What goes wrong with one buffer does not keep the
   * others from being recorded.
   *
   * @throws what went wrong first; the others are in the document.
   */
  async run(readers: readonly Reader[]): Promise<void> {
    const { frames } = this.#options;
    try {
      const failures: unknown[] = [];
      await Promise.all(
        readers.map(async (reader, channel) => {
          try {
            await this.#recordBuffer(reader, channel);
          } catch (error) {
            if (error instanceof Enough) return;
            failures.push(error);
            if (this.#concernsAll(error)) this.#end.abort(error);
            else if (readers.length > 1) this.#session.log?.warn(messageOf(error));
          }
        }),
      );
      const [first, ...others] = [...new Set(failures)];
      for (const other of others) addLaterFailure(this.#document.errors, other);
      if (first !== undefined) throw first;
      if (this.#frames < frames && !this.#end.signal.aborted) throw this.#incomplete(readers, frames);
    } finally {
      clearTimeout(this.#timer);
      this.#clock.pause();
    }
  }

  /** Whether a failure is none of one buffer alone. */
  #concernsAll(error: unknown): boolean {
    if (this.#session.signal.aborted) return true;
    try {
      this.#recorder.check();
      return !(error instanceof Error && "code" in error);
    } catch {
      return true;
    }
  }

  async #recordBuffer(reader: Reader, channel: number): Promise<void> {
    const recording = new BufferRecording(reader, channel, this.#recorder, this.#session);
    const input = new FrameInput(reader, this.#options, this.#session, async () => {
      this.#signal.throwIfAborted();
      this.#recorder.checkReader();
      await recording.takeMetadata();
    });
    for (;;) {
      await input.awaitWriter();
      try {
        await this.#recordFrames(reader, channel, input, recording);
      } catch (error) {
        if (!(error instanceof WriterDeadError)) throw error;
        await recording.takeMetadata();
        recording.end();
        input.noteDeparture(error);
        if (this.#options.follow) continue;
        if (error.reason === "died") throw error;
        return;
      }
    }
  }

  /** @throws WriterDeadError when the writer has left or died and all its frames are recorded; Enough. */
  async #recordFrames(
    reader: Reader,
    channel: number,
    input: FrameInput,
    recording: BufferRecording,
  ): Promise<never> {
    const signal = this.#signal;
    for (;;) {
      let batch: FrameBatch = reader.tryReadFrames();
      if (batch.length === 0) {
        this.#clock.pause();
        batch = await input.awaitFrames(async (waitMs) => {
          const frames = await reader.readFramesAsync(undefined, waitMs, { signal });
          return frames.length > 0 ? frames : undefined;
        });
      }
      this.#begin();
      for (let i = 0; i < batch.length; i++) {
        signal.throwIfAborted();
        const isFirst = recording.noteFrame(batch.sequenceOf(i));
        if (isFirst) await recording.begin(input);
        const data = batch.dataOf(i);
        const sequence = batch.sequenceOf(i);
        const work = this.#recorder.add({ channel, sequence, timeNs: this.#timeOf(data), data });
        if (work !== undefined) await work;
        this.#count(channel, data.length);
        if (data.length > MAX_UNIT_SIZE) batch.release(i + 1);
      }
      batch.release();
      if (this.#clock.isDue(batch.size, batch.length)) await this.#clock.turn();
    }
  }

  /** Counts a frame. @throws Enough if it was the last one wanted. */
  #count(channel: number, size: number): void {
    const { frames } = this.#options;
    this.#frames++;
    this.#bytes += size;
    const entry = this.#document.channels[channel];
    if (entry !== undefined) {
      entry.frames++;
      entry.bytes += size;
    }
    if (frames === 0 || this.#frames < frames) return;
    this.#end.abort(new Enough());
    throw this.#end.signal.reason;
  }

  /** The time in a frame's stamp, if it has one that is known. */
  #timeOf(data: Uint8Array): bigint | undefined {
    if (!this.#options.stamp) return undefined;
    if (data.length < STAMP_SIZE) {
      this.#document.unstamped_frames++;
      return undefined;
    }
    const { time } = readStamp(data);
    return time === UNKNOWN ? undefined : time;
  }

  /** Notes the first frame of all, from which the duration counts. */
  #begin(): void {
    this.#clock.start();
    const { duration } = this.#options;
    if (duration === undefined || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => this.#end.abort(new Enough()), duration);
  }

  #incomplete(readers: readonly Reader[], wanted: number): CommandError {
    const names = readers.map(({ name }) => `"${name}"`).join(", ");
    const what = readers.length === 1 ? `The writer of buffer ${names}` : `The writers of buffers ${names}`;
    return new CommandError(
      "INCOMPLETE",
      `${what} left after ${grouped(this.#frames)} of ${count(wanted, "frames")}.`,
      "Lower --frames, or let the writer send more.",
    );
  }
}

/** What is known of the writer whose frames are recorded. */
class BufferRecording {
  readonly #reader: Reader;
  readonly #channel: number;
  readonly #recorder: Recorder;
  readonly #session: Session;
  #lastSequence = 0;
  #hasMetadata = false;
  /** Whether a writer has sent a frame, and no departure has been reported since. */
  #isWriterKnown = false;

  constructor(reader: Reader, channel: number, recorder: Recorder, session: Session) {
    this.#reader = reader;
    this.#channel = channel;
    this.#recorder = recorder;
    this.#session = session;
  }

  /** Notes a frame; true if it is the first one of a writer: its numbers begin with 1. */
  noteFrame(sequence: number): boolean {
    const isFirst = sequence !== this.#lastSequence + 1 || this.#lastSequence === 0;
    this.#lastSequence = sequence;
    return isFirst;
  }

  /** Before the first frame of a writer, which may have taken over unseen: records its metadata. */
  async begin(input: FrameInput): Promise<void> {
    if (this.#isWriterKnown) {
      input.noteSuccession();
      this.#hasMetadata = false;
    }
    this.#isWriterKnown = true;
    await this.takeMetadata();
  }

  /** The next frames are those of another writer. */
  end(): void {
    this.#lastSequence = 0;
    this.#hasMetadata = false;
    this.#isWriterKnown = false;
  }

  /** Records the metadata of the writer, once, if it has come. */
  async takeMetadata(): Promise<void> {
    if (this.#hasMetadata) return;
    const metadata = this.#reader.getMetadata();
    if (metadata.length === 0) return;
    this.#hasMetadata = true;
    await this.#recorder.addMetadata(this.#channel, metadata);
    this.#session.log?.info(
      `Recorded ${count(metadata.length, "bytes")} of metadata of buffer "${this.#reader.name}".`,
    );
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : `${error}`;
}
