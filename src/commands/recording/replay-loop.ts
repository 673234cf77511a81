// The loop of replay: reads recordings, and writes their frames to buffers at their times.

import { CommandError } from "../../cli/failure.ts";
import { count } from "../../cli/format.ts";
import { OutputBuffer } from "../../cli/output-buffer.ts";
import type { Session } from "../../cli/session.ts";
import { LoopClock } from "../../cli/timing.ts";
import {
  BufferNotFoundError,
  checkName,
  InvalidNameError,
  PeerTimeoutError,
  type WaitMode,
  Writer,
} from "../../core/index.ts";
import { copyInPieces, PIECE_SIZE } from "../../frames/transforms.ts";
import { sleep } from "../../native/process.ts";
import { raceAbort } from "../../runtime/abort.ts";
import type { ReplayDocument } from "../../schemas/replay.ts";
import { openSource } from "./byte-source.ts";
import { type Channel, type Item, McapReader } from "./mcap-reader.ts";
import { CHANNEL_MARK } from "./plan.ts";
import { Schedule } from "./schedule.ts";
import type { Moments } from "./time-range.ts";
import { quoted, type Topics } from "./topics.ts";

/** How often to check the readers while no frame is due, in milliseconds. */
const CHECK_MS = 250;

/** The end of a wait blocks the thread for up to this long: the event loop would wake it a millisecond late. */
const BLOCK_MS = 2;

/** A frame that was written later than this after its time is late, in milliseconds. */
const LATE_MS = 5;

/** How to replay. */
export interface ReplayLoopOptions {
  /** Frames to replay; 0: all. */
  readonly frames: number;
  /** How fast: 1 is as recorded, `Infinity` as fast as possible. */
  readonly speed: number;
  /** Whether to start again at the end. */
  readonly loop: boolean;
  /** Whether only to look at what there is. */
  readonly dryRun: boolean;
  readonly follow: boolean;
  readonly onFull: "wait" | "drop" | "fail";
  readonly wait: WaitMode;
  readonly connectTimeoutMs: number;
  readonly timeoutMs: number;
}

/** A buffer, and what is known of the topic that goes there. */
interface Target {
  readonly entry: ReplayDocument["channels"][number];
  /** Undefined with --dry-run. */
  readonly output: OutputBuffer | undefined;
  /** Metadata that has come since the last frame. */
  metadata: Uint8Array | undefined;
  /** Whether a frame of this pass has been written. */
  hasFrames: boolean;
  lastSequence: number;
}

/** Replays files. */
export class ReplayLoop {
  readonly #topics: Topics;
  readonly #range: Moments;
  readonly #options: ReplayLoopOptions;
  readonly #session: Session;
  readonly #document: ReplayDocument;
  readonly #clock: LoopClock;
  readonly #schedule: Schedule;
  readonly #targets = new Map<string, Target | undefined>();
  #frames = 0;
  #bytes = 0;
  /** Bytes of the recordings that have been read. */
  #position = 0;
  #times: { first: bigint; last: bigint } | undefined;

  /** @param report is called every few milliseconds with the frames, their bytes, and the bytes read so far. */
  constructor(
    topics: Topics,
    range: Moments,
    options: ReplayLoopOptions,
    session: Session,
    document: ReplayDocument,
    report: (frames: number, bytes: number, position: number) => void,
  ) {
    this.#topics = topics;
    this.#range = range;
    this.#options = options;
    this.#session = session;
    this.#document = document;
    this.#schedule = new Schedule(options.dryRun ? Number.POSITIVE_INFINITY : options.speed);
    this.#clock = new LoopClock(session.signal, () => report(this.#frames, this.#bytes, this.#position));
  }

  /** Frames offered so far, those that were dropped included. */
  get frames(): number {
    return this.#frames;
  }

  /** Time from the first frame to the last. */
  get seconds(): number {
    return this.#clock.seconds;
  }

  /** When the first frame was recorded, and how long after it the last one, in nanoseconds. */
  get recorded(): { readonly first: bigint; readonly last: bigint } | undefined {
    return this.#times;
  }

  /** The buffers that are written to. */
  get outputs(): OutputBuffer[] {
    return [...this.#targets.values()].flatMap((target) => target?.output ?? []);
  }

  /** Replays the files, one after another. */
  async run(paths: readonly string[]): Promise<void> {
    const { loop } = this.#options;
    for (;;) {
      const before = this.#frames;
      for (const target of this.#targets.values()) if (target !== undefined) target.hasFrames = false;
      for (const path of paths) if (!(await this.#replayFile(path, { isOnly: paths.length === 1 }))) return;
      this.#topics.checkAllSeen(paths.join(", "));
      this.#clock.pause();
      // A recording without frames would be started again for ever.
      if (!loop || this.#frames === before) return;
      this.#schedule.restart();
    }
  }

  /** Replays one file; false if there are enough frames. */
  async #replayFile(path: string, { isOnly }: { readonly isOnly: boolean }): Promise<boolean> {
    const { signal } = this.#session;
    const before = this.#position;
    using reader = await McapReader.open(await openSource(path, signal), path, this.#range);
    const known = [...reader.channels.values()].map(({ topic }) => topic);
    for (const topic of known) this.#topics.bufferOf(topic);
    // Before a buffer is touched, if all topics are known by then.
    if (reader.knowsChannels && isOnly) this.#topics.checkAllSeen(path);
    for (const topic of known) await this.#targetOf(topic);
    for (let item = await reader.next(); item !== undefined; item = await reader.next()) {
      this.#position = before + reader.position;
      if (!(await this.#replay(item))) return false;
    }
    if (reader.isTruncated) this.#noteTruncated(path);
    return true;
  }

  /** Replays a message or metadata; false if there are enough frames. */
  async #replay(item: Item): Promise<boolean> {
    const { frames } = this.#options;
    const target = await this.#targetOf(item.kind === "metadata" ? item.topic : item.channel.topic);
    if (target === undefined) return true;
    if (item.kind === "metadata") {
      target.metadata = item.bytes;
      return true;
    }
    const { channel, message } = item;
    const { data, logTime, sequence } = message;
    if (this.#range.excludes(logTime, logTime)) return true;
    if (data.length === 0) {
      this.#document.empty_messages_skipped++;
      return true;
    }
    await this.#awaitTurn(logTime);
    this.#clock.start();
    if (target.output !== undefined) await this.#write(target, target.output, channel, sequence, data);
    if (this.#schedule.latenessMs > LATE_MS && target.output !== undefined) this.#document.late_frames++;
    this.#count(target, logTime, data.length);
    target.lastSequence = sequence;
    if (this.#clock.isDue(data.length)) await this.#clock.turn();
    return frames === 0 || this.#frames < frames;
  }

  #count(target: Target, logTime: bigint, size: number): void {
    this.#frames++;
    this.#bytes += size;
    target.hasFrames = true;
    target.entry.frames++;
    target.entry.bytes += size;
    this.#times ??= { first: logTime, last: logTime };
    if (logTime > this.#times.last) this.#times.last = logTime;
  }

  // ---- time --------------------------------------------------------------------------------------------------------

  /** Waits until a frame is due, and checks the readers meanwhile. */
  async #awaitTurn(logTime: bigint): Promise<void> {
    let waitMs = this.#schedule.waitMs(logTime);
    if (waitMs <= 0) return;
    this.#clock.pause();
    for (; waitMs > 0; waitMs = this.#schedule.waitMs(logTime)) {
      if (waitMs <= BLOCK_MS) {
        sleep(waitMs);
        continue;
      }
      const isLong = waitMs > CHECK_MS;
      await raceAbort(Bun.sleep(isLong ? CHECK_MS : waitMs - BLOCK_MS), this.#session.signal);
      // If frames come often, writing them notices.
      if (isLong) for (const output of this.outputs) output.check();
    }
  }

  // ---- writing -----------------------------------------------------------------------------------------------------

  async #write(
    target: Target,
    output: OutputBuffer,
    channel: Channel,
    sequence: number,
    data: Uint8Array,
  ): Promise<void> {
    const { reconnects } = output;
    await this.#changeWriter(target, output, channel, sequence);
    if (data.length > PIECE_SIZE) {
      const slot = output.tryAcquire(data.length) ?? (await output.acquire(data.length));
      if (slot === undefined) return;
      await copyInPieces(data, slot.data, () => this.#clock.turn());
      output.writer.commitFrame();
    } else if (output.tryWrite(data, data.length) < data.length) {
      this.#clock.pause();
      await output.write(data, data.length);
    }
    // What waited for a reader is not to be caught up with.
    if (output.reconnects > reconnects) this.#schedule.restart();
  }

  /** Sends metadata, and becomes another writer where the recording has one: its frames are numbered from 1 again. */
  async #changeWriter(
    target: Target,
    output: OutputBuffer,
    { metadata: marks }: Channel,
    sequence: number,
  ): Promise<void> {
    const { hasFrames, lastSequence, metadata } = target;
    target.metadata = undefined;
    const isNumbered = marks.get(CHANNEL_MARK[0]) === CHANNEL_MARK[1];
    const isNewWriter = isNumbered && hasFrames && sequence === 1 && lastSequence !== 0;
    try {
      if (isNewWriter) await output.changeWriter(metadata);
      else if (metadata !== undefined) await output.sendMetadata(metadata);
    } catch (error) {
      const isGone = error instanceof BufferNotFoundError || error instanceof PeerTimeoutError;
      if (!isNewWriter || !isGone) throw error;
      throw new CommandError(
        "READER_DEAD",
        `The recording goes on with another writer, and the reader of buffer "${target.entry.buffer_name}" has left.`,
        "Start the reader with --follow.",
        error,
      );
    }
    if (isNewWriter)
      this.#session.log?.info(`Buffer "${target.entry.buffer_name}": the frames of the next writer.`);
  }

  // ---- targets -----------------------------------------------------------------------------------------------------

  /** The buffer of a topic, connected to; undefined if the topic is not replayed. */
  async #targetOf(topic: string): Promise<Target | undefined> {
    if (this.#targets.has(topic)) return this.#targets.get(topic);
    const buffer_name = this.#topics.bufferOf(topic);
    const target = buffer_name === undefined ? undefined : await this.#connect(topic, buffer_name);
    this.#targets.set(topic, target);
    return target;
  }

  async #connect(topic: string, buffer_name: string): Promise<Target> {
    const { connectTimeoutMs, dryRun, timeoutMs, wait } = this.#options;
    const { log, signal } = this.#session;
    checkBuffer(topic, buffer_name);
    const entry = { topic, buffer_name, frames: 0, bytes: 0 };
    this.#document.channels.push(entry);
    const nothing = { entry, metadata: undefined, hasFrames: false, lastSequence: 0 };
    if (dryRun) return { ...nothing, output: undefined };
    log?.info(`Connecting to buffer "${buffer_name}".`);
    const writer = await Writer.connect(buffer_name, {
      connectTimeoutMs,
      writeTimeout: timeoutMs,
      wait,
      signal,
    });
    log?.info(`Connected to buffer "${buffer_name}" of ${count(writer.config.payloadSize, "bytes")}.`);
    // Time goes on when every reader is there.
    this.#schedule.restart();
    const output = this.#session.own(new OutputBuffer(writer, this.#options, this.#session));
    return { ...nothing, output };
  }

  #noteTruncated(path: string): void {
    this.#document.truncated = true;
    this.#session.log?.warn(
      `${path} ends before its end: what recorded it was killed. It was read to its last whole chunk.`,
    );
  }
}

/** @throws CommandError INVALID_NAME with what to do if the name of a topic cannot be that of a buffer. */
function checkBuffer(topic: string, buffer: string): void {
  try {
    checkName(buffer);
  } catch (error) {
    if (topic !== buffer || !(error instanceof InvalidNameError)) throw error;
    throw new CommandError(
      "INVALID_NAME",
      `Topic ${quoted(topic)} cannot be the name of a buffer.`,
      "Name the buffer that it goes to after the file.",
      error,
    );
  }
}
