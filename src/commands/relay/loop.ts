// The relay's loop: takes frames from one buffer, transforms them and passes them on to others.

import { addLaterFailure, CommandError } from "../../cli/failure.ts";
import { count } from "../../cli/format.ts";
import { FrameInput } from "../../cli/frame-input.ts";
import type { ForwardedFrames, OutputBuffer } from "../../cli/output-buffer.ts";
import type { Session } from "../../cli/session.ts";
import { LoopClock, ShortWait } from "../../cli/timing.ts";
import { Frame, type Reader, WriterDeadError } from "../../core/index.ts";
import {
  copyInPieces,
  PIECE_SIZE,
  type Transform,
  transformFor,
  transformInPieces,
} from "../../frames/transforms.ts";
import type { RelayDocument } from "../../schemas/relay.ts";
import type { Parcel, RelayOutput } from "./output.ts";

const NONE: readonly RelayOutput[] = [];

/** The longest call that forwards frames, in milliseconds: the event loop has its turn after it. */
const SLICE_MS = 250;

/** The wait that the timeout limits begins after the call, so the call takes at most this fraction of the timeout. */
const SLICES_PER_TIMEOUT = 16;

/** The most frames that one call forwards. */
const MOST_FRAMES = 2 ** 31 - 1;

/** What to do with the frames, and how long to wait for them. */
export interface RelayLoopOptions {
  /** Frames to relay; 0: until the writer leaves. */
  readonly frames: number;
  /** Whether to continue with the next writer when one leaves. */
  readonly follow: boolean;
  readonly transform: Transform;
  readonly xorKey: number;
  readonly createOutput: boolean;
  /** Frames between two lines of the log; 0: none. */
  readonly logInterval: number;
  readonly connectTimeoutMs: number;
  readonly timeoutMs: number;
}

/** Relays the frames of one writer, or of one after another, to every output whose reader is there. */
export class RelayLoop {
  /** Frames of the input that were relayed, to one output at least. */
  framesRelayed = 0;
  /** Bytes of those frames. */
  bytesRelayed = 0;
  /** Frames of the input that no output took. */
  framesDropped = 0;
  /** Whether all frames were relayed to the outputs that were not left out. */
  isComplete = false;
  readonly #reader: Reader;
  readonly #outputs: readonly RelayOutput[];
  readonly #options: RelayLoopOptions;
  readonly #session: Session;
  readonly #document: RelayDocument;
  readonly #clock: LoopClock;
  readonly #input: FrameInput;
  readonly #transform: (bytes: Uint8Array) => void;
  /** The output, if it is the only one and frames are passed on as they are. */
  readonly #only: RelayOutput | undefined;
  /** Frames between two lines of the log; 0: there are none. */
  readonly #logInterval: number;
  readonly #next = (waitMs: number) => this.#take(waitMs);
  readonly #turnOnce = () => this.#clock.turn();
  /** Where frames are changed that only can be read. */
  #scratch = new Uint8Array(0);
  /** Number of the last frame of the current writer. */
  #lastSequence = 0;
  /** Whether to look for its metadata before the next frame: a writer usually sends it before its first one. */
  #isMetadataDue = true;

  /** @param report is called every few milliseconds with the frames taken so far, and the bytes relayed. */
  constructor(
    reader: Reader,
    outputs: readonly RelayOutput[],
    options: RelayLoopOptions,
    session: Session,
    document: RelayDocument,
    report: (frames: number, bytes: number) => void,
  ) {
    this.#reader = reader;
    this.#outputs = outputs;
    this.#options = options;
    this.#session = session;
    this.#document = document;
    this.#clock = new LoopClock(session.signal, () => report(this.#taken, this.bytesRelayed));
    this.#input = new FrameInput(reader, options, session, () => this.#checkBothEnds());
    const [first] = outputs;
    this.#logInterval = session.log === undefined ? 0 : options.logInterval;
    this.#only = outputs.length === 1 && options.transform === "none" ? first : undefined;
    this.#transform = transformFor(options.transform, options.xorKey);
  }

  /** Time from the first frame to the last. */
  get seconds(): number {
    return this.#clock.seconds;
  }

  /** Frames taken from the input, relayed or dropped. */
  get #taken(): number {
    return this.framesRelayed + this.framesDropped;
  }

  /**
   * Relays frames until there are enough or the writer has left; then waits until they have readers.
   *
   * @throws ReaderDeadError at once when no output has a reader any more, at the end when one of them has lost its reader.
   */
  async run(): Promise<void> {
    try {
      await this.#forwardWriters();
    } catch (error) {
      this.#noteLosses(error);
      // Frames that were relayed before still need a reader.
      await this.#awaitReaders(true).catch((lost) => addLaterFailure(this.#document.errors, lost));
      throw error;
    }
    try {
      await this.#awaitReaders(false);
    } catch (error) {
      this.#noteLosses(error);
      throw error;
    }
    this.isComplete = true;
    const lost = this.#outputs.find(({ loss }) => loss !== undefined);
    this.#noteLosses(lost?.loss);
    if (lost !== undefined) throw lost.loss;
  }

  /** Adds the outputs that were left out to the failures of the run, but for the one that ends it. */
  #noteLosses(error: unknown): void {
    for (const { loss } of this.#outputs) {
      if (loss !== undefined && loss !== error) this.#document.errors.push(loss.message);
    }
  }

  /** Relays the frames of one writer; with `follow`, of one writer after another. */
  async #forwardWriters(): Promise<void> {
    const { follow, frames } = this.#options;
    for (;;) {
      await this.#input.awaitWriter();
      try {
        await this.#forwardFrames();
        return;
      } catch (error) {
        if (!(error instanceof WriterDeadError)) throw error;
        await this.#forwardMetadata();
        this.#input.noteDeparture(error);
        if (follow) {
          this.#expectMetadata();
          continue;
        }
        if (error.reason === "died") throw error;
        if (frames > 0) throw this.#input.incomplete(this.#taken, frames);
        return;
      }
    }
  }

  /**
   * Relays the frames of the writer until there are enough.
   *
   * @throws WriterDeadError when the writer has left or died and all its frames are relayed.
   */
  async #forwardFrames(): Promise<void> {
    const { frames, timeoutMs } = this.#options;
    const wait = new ShortWait(timeoutMs);
    while (frames === 0 || this.#taken < frames) {
      const shortWaitMs = wait.milliseconds;
      let taken = this.#take(shortWaitMs);
      // After frames that have been passed on there was a short wait.
      wait.note(taken instanceof Frame);
      if (taken === undefined) {
        // What ended the short wait may be a signal, whose listeners run at a turn.
        if (shortWaitMs > 0) await this.#clock.turn();
        const next = this.#waitForFrames();
        taken = next instanceof Promise ? await next : next;
      }
      this.#clock.start();
      if (taken instanceof Frame) {
        if (this.#noteWriter(taken)) await this.#forwardMetadata();
        const work = this.#pass(taken);
        if (work !== undefined) await work;
        taken.release();
      }
      if (this.#isLogDue) this.#logProgress();
      if (taken instanceof Frame ? this.#clock.isDue(taken.size) : this.#isTurnDue(taken)) await this.#turn();
    }
    this.#clock.pause();
  }

  /** In a pause the event loop has its turn at no cost. */
  #isTurnDue({ bytes, frames, isPaused }: ForwardedFrames): boolean {
    return isPaused || this.#clock.isDue(bytes, frames);
  }

  /** Notes the writer of a frame. True if its metadata may have to be forwarded first. */
  #noteWriter({ sequence }: Frame): boolean {
    // Another writer may have taken over unseen.
    if (sequence === 1 && this.#lastSequence > 0) {
      this.#input.noteSuccession();
      this.#expectMetadata();
    }
    this.#lastSequence = sequence;
    const isDue = this.#isMetadataDue;
    this.#isMetadataDue =
      isDue && this.#outputs.some(({ buffer, loss }) => !buffer.isConnected && loss === undefined);
    return isDue;
  }

  #waitForFrames(): Frame | ForwardedFrames | Promise<Frame | ForwardedFrames> {
    this.#clock.pause();
    return this.#input.blockForFrames(this.#next, this.#turnOnce);
  }

  /** Waits up to `waitMs` for frames. Those that can be passed on as they are, at once and to one output, have been. */
  #take(waitMs: number): Frame | ForwardedFrames | undefined {
    const reader = this.#reader;
    const output = this.#isMetadataDue ? undefined : this.#only;
    if (!output?.takesFrames) return validOf(waitMs > 0 ? reader.readFrame(waitMs) : reader.tryReadFrame());
    const sliceMs = Math.min(SLICE_MS, this.#options.timeoutMs / SLICES_PER_TIMEOUT);
    const limits = { most: this.#mostFrames, mostBytes: PIECE_SIZE, waitMs, sliceMs };
    const forwarded = output.buffer.forwardFrames(reader, limits);
    if (forwarded === undefined) return validOf(reader.tryReadFrame());
    if (forwarded.isPaused) this.#input.noteWaits(forwarded.frames);
    this.framesRelayed += forwarded.frames;
    this.bytesRelayed += forwarded.bytes;
    return forwarded;
  }

  /** How many frames may be forwarded at once: to the end, or to the next line of the log. */
  get #mostFrames(): number {
    const { frames } = this.#options;
    const toEnd = frames === 0 ? Number.POSITIVE_INFINITY : frames - this.#taken;
    const toLog =
      this.#logInterval === 0
        ? Number.POSITIVE_INFINITY
        : this.#logInterval - (this.#taken % this.#logInterval);
    return Math.min(toEnd, toLog, MOST_FRAMES);
  }

  /** Passes a frame on to all outputs if they have room now and it is not large; otherwise returns a promise. */
  #pass(frame: Frame): Promise<void> | undefined {
    if (frame.size > PIECE_SIZE) return this.#passInPieces(frame);
    const parcel = this.#changed(frame);
    let isPassed = false;
    let waiting = NONE;
    for (const output of this.#outputs) {
      if (output.loss !== undefined) continue;
      if (output.tryPass(parcel)) isPassed = true;
      else waiting = [...waiting, output];
    }
    if (waiting !== NONE) return this.#passLater(frame, waiting, parcel, isPassed);
    this.#count(frame, isPassed);
    return undefined;
  }

  /** Passes a frame on to the outputs that have no room for it now. It stays in the input meanwhile. */
  async #passLater(
    frame: Frame,
    waiting: readonly RelayOutput[],
    parcel: Parcel,
    isPassed: boolean,
  ): Promise<void> {
    this.#clock.pause();
    await this.#toEach(frame, waiting, isPassed, (output) => output.pass(parcel));
  }

  /** Passes a large frame on. Where its bytes are copied or changed, the event loop has its turns. */
  async #passInPieces(frame: Frame): Promise<void> {
    const turn = () => this.#clock.turn();
    const parcel = await this.#changedInPieces(frame, turn);
    const outputs = this.#outputs.filter(({ loss }) => loss === undefined);
    await this.#toEach(frame, outputs, false, (output) => output.passLarge(parcel, turn));
  }

  /** Passes a frame on to some outputs, side by side, and counts it even if that fails. */
  async #toEach(
    frame: Frame,
    outputs: readonly RelayOutput[],
    isPassed: boolean,
    pass: (output: RelayOutput) => Promise<boolean>,
  ): Promise<void> {
    let isPassedToOne = isPassed;
    const notePassed = (isPassed: boolean) => {
      isPassedToOne ||= isPassed;
    };
    try {
      await Promise.all(outputs.map((output) => pass(output).then(notePassed)));
      this.#checkOutputs();
    } finally {
      if (isPassedToOne) this.#count(frame, true);
    }
    if (!isPassedToOne) this.#count(frame, false);
  }

  #count({ size }: Frame, isPassed: boolean): void {
    if (!isPassed) {
      this.framesDropped++;
      return;
    }
    this.framesRelayed++;
    this.bytesRelayed += size;
  }

  /** The frame, transformed in place; or a transformed copy, if it lies in a buffer that can only be read. */
  #changed(frame: Frame): Parcel {
    if (this.#options.transform === "none") return frame;
    const bytes = frame.isShared ? this.#copyOf(frame.size) : frame.getMutableSpan();
    if (frame.isShared) frame.copyTo(bytes);
    this.#transform(bytes);
    return frame.isShared ? bytes : frame;
  }

  /** As {@link #changed}, with turns of the event loop. */
  async #changedInPieces(frame: Frame, turn: () => Promise<void>): Promise<Parcel> {
    if (this.#options.transform === "none") return frame;
    const bytes = frame.isShared ? this.#copyOf(frame.size) : frame.getMutableSpan();
    if (frame.isShared) await copyInPieces(frame.data, bytes, turn);
    await transformInPieces(bytes, this.#options, turn);
    return frame.isShared ? bytes : frame;
  }

  /** Room for a copy of a frame. */
  #copyOf(size: number): Uint8Array {
    if (this.#scratch.length < size) this.#scratch = new Uint8Array(size);
    return this.#scratch.subarray(0, size);
  }

  /** Tells of outputs that are left out. Throws ReaderDeadError if none is left. */
  #checkOutputs(): void {
    const [first] = this.#outputs;
    if (first !== undefined && this.#outputs.every(({ loss }) => loss !== undefined)) throw first.loss;
    for (const output of this.#outputs) output.tellLoss();
  }

  /** While the relay waits for its input: metadata may arrive, and no write would notice that a reader of an output left. */
  async #checkBothEnds(): Promise<void> {
    for (const output of this.#outputs) output.check();
    this.#checkOutputs();
    await this.#forwardMetadata();
  }

  async #turn(): Promise<void> {
    for (const output of this.#outputs) output.noteSharing();
    await this.#forwardMetadata();
    await this.#clock.turn();
  }

  /** The next metadata is that of another writer. */
  #expectMetadata(): void {
    this.#lastSequence = 0;
    this.#isMetadataDue = true;
    for (const output of this.#outputs) output.expectMetadata();
  }

  /** Relays the metadata of the writer, if it has arrived, to each output that has a reader and has not been sent it. */
  async #forwardMetadata(): Promise<void> {
    const outputs = this.#outputs.filter(({ lacksMetadata }) => lacksMetadata);
    if (outputs.length === 0) return;
    const metadata = this.#reader.getMetadata();
    if (metadata.length === 0) return;
    await Promise.all(outputs.map((output) => output.sendMetadata(metadata)));
    this.#document.metadata_relayed = true;
    this.#document.metadata_size = metadata.length;
    this.#session.log?.info(`Relayed ${count(metadata.length, "bytes")} of metadata.`);
  }

  get #isLogDue(): boolean {
    return this.#logInterval > 0 && this.#taken % this.#logInterval === 0;
  }

  #logProgress(): void {
    this.#session.log?.info(`Relayed ${count(this.framesRelayed, "frames")}.`);
  }

  /** Waits for the readers of created outputs, without which their frames are lost; `ifRelayed`: if there are any frames. */
  async #awaitReaders(ifRelayed: boolean): Promise<void> {
    if (!this.#options.createOutput) return;
    const outputs = this.#outputs.filter(
      ({ buffer, loss }) => loss === undefined && (!ifRelayed || buffer.framesWritten > 0),
    );
    const results = await Promise.allSettled(outputs.map(({ buffer }) => this.#awaitReader(buffer)));
    const [failure, ...others] = results.flatMap((result) => (result.status === "rejected" ? [result] : []));
    for (const { reason } of others) addLaterFailure(this.#document.errors, reason);
    if (failure !== undefined) throw failure.reason;
  }

  async #awaitReader(output: OutputBuffer): Promise<void> {
    const { timeoutMs } = this.#options;
    const { signal } = this.#session;
    await output.connected();
    const { writer } = output;
    const deadline = performance.now() + timeoutMs;
    if (await writer.isReaderConnectedAsync(timeoutMs, { signal })) return output.noteReader();
    // An answer before the deadline means that a reader connected and left.
    if (performance.now() < deadline) return;
    throw new CommandError(
      "INCOMPLETE",
      `No reader connected to buffer "${writer.name}" within ${timeoutMs} ms: ${count(writer.framesWritten, "relayed frames")} lost.`,
      "Start its reader earlier, or raise --timeout-ms (0: wait forever).",
    );
  }
}

const validOf = (frame: Frame): Frame | undefined => (frame.isValid ? frame : undefined);
