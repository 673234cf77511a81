// The publisher's loop: takes frames from a buffer and sends them to a broker.

import { CommandError, DownstreamClosed } from "../../cli/failure.ts";
import { count } from "../../cli/format.ts";
import type { FrameInput } from "../../cli/frame-input.ts";
import type { Session } from "../../cli/session.ts";
import { LoopClock } from "../../cli/timing.ts";
import { ageUs, type Frame, type Reader, WriterDeadError } from "../../core/index.ts";
import { HEADERS, partCount, partHeaders } from "../../frames/wire.ts";
import type { BridgePublishDocument } from "../../schemas/bridge-publish.ts";
import type { Broker } from "./broker.ts";
import { isTemporary } from "./errors.ts";
import { type Courier, Outbox, type Parcel } from "./outbox.ts";
import { RETRY_MS } from "./stream.ts";
import type { Subjects } from "./subjects.ts";

/** How often the subscribers are told that the publisher lives, in milliseconds. */
const HEARTBEAT_MS = 1000;

/** The least time between two answers to subscribers that ask for the metadata, in milliseconds. */
const ANSWER_MS = 100;

/** How long the goodbye to the subscribers may take after a signal, in milliseconds. */
const GOODBYE_MS = 100;

const NO_BYTES = new Uint8Array(0);

/** What to send, and what to do while the broker is away. */
interface PublishLoopOptions {
  /** Frames to take; 0: until the writer leaves. */
  readonly frames: number;
  /** Whether to continue with the next writer when one leaves. */
  readonly follow: boolean;
  readonly onOutage: "wait" | "drop";
}

/** What the loop works with. */
interface Parts {
  readonly reader: Reader;
  readonly input: FrameInput;
  readonly broker: Broker;
  readonly courier: Courier;
  readonly subjects: Subjects;
  readonly run: string;
}

/** Publishes the frames of one writer, or of one after another, as one run. */
export class PublishLoop implements Disposable {
  readonly #options: PublishLoopOptions;
  readonly #parts: Parts;
  readonly #session: Session;
  readonly #document: BridgePublishDocument;
  readonly #clock: LoopClock;
  readonly #outbox: Outbox;
  readonly #heartbeat: Timer;
  /** Frames taken from the buffer. */
  #taken = 0;
  /** Number of the last frame of which something was sent. */
  #sequence = 0;
  /** Number of the last frame of the current writer in the buffer. */
  #lastOfWriter = 0;
  #metadata: Uint8Array = NO_BYTES;
  /** How many messages with metadata were sent. */
  #announcements = 0;
  /** When the metadata was sent last, and how many bytes of frames since. */
  #announcedAt = 0;
  #bytesSince = 0;
  #hasMetadata = false;
  #isMetadataDue = true;
  #answeredAt = Number.NEGATIVE_INFINITY;

  /** @param report is called every few milliseconds with the frames and bytes sent so far. */
  constructor(
    parts: Parts,
    options: PublishLoopOptions,
    session: Session,
    document: BridgePublishDocument,
    report: (frames: number, bytes: number) => void,
  ) {
    this.#parts = parts;
    this.#options = options;
    this.#session = session;
    this.#document = document;
    this.#clock = new LoopClock(session.signal, () =>
      report(document.frames_published, document.bytes_published),
    );
    const { broker } = parts;
    this.#outbox = new Outbox(parts.courier, (error) => this.#retry(error));
    broker.onLost.push(() => this.#close());
    broker.onBack.push(() => void this.#reopen());
    this.#heartbeat = setInterval(() => this.#beat(), HEARTBEAT_MS);
  }

  /** Time from the first frame to the last. */
  get seconds(): number {
    return this.#clock.seconds;
  }

  /** Frames that were sent more than once. */
  get resent(): number {
    return this.#outbox.resent;
  }

  /** The broker is away: what it has not confirmed is sent again, or dropped. */
  #close(): void {
    this.#outbox.close();
    if (this.#options.onOutage === "drop") this.#outbox.clearFrames();
  }

  /** The broker is there again. */
  async #reopen(): Promise<void> {
    const { broker, courier } = this.#parts;
    const { outages } = broker;
    try {
      await courier.recover();
    } catch (error) {
      broker.fail(error);
    }
    // If it has gone once more, it is done again when it is back.
    if (!broker.isConnected || broker.outages !== outages) return;
    this.#outbox.open();
  }

  /** The broker may have lost something without having been away. */
  async #retry(error: unknown): Promise<void> {
    const { broker } = this.#parts;
    if (!isTemporary(error)) return broker.fail(error);
    this.#outbox.close();
    await Bun.sleep(RETRY_MS);
    // If the connection was lost, that is heard only now, and the outbox is opened when it is back.
    if (!broker.isConnected) return;
    this.#session.log?.warn(
      `The server did not confirm everything (${(error as Error).message}): it is sent again.`,
    );
    await this.#reopen();
  }

  /** Answers a subscriber that asks for the metadata. */
  answer(): void {
    const now = performance.now();
    if (now - this.#answeredAt < ANSWER_MS) return;
    this.#answeredAt = now;
    this.announce();
  }

  /** Sends the metadata. The first time it tells that there is a publisher. */
  announce(): void {
    const { courier, run, subjects } = this.#parts;
    const data = this.#metadata;
    this.#announcedAt = performance.now();
    this.#bytesSince = 0;
    const id = `${run}-m${++this.#announcements}`;
    if (data.length > courier.room) this.#parts.broker.fail(this.#tooLarge());
    else this.#outbox.add(this.#single(subjects.metadata, data, id, {}));
  }

  /** Publishes until there are enough frames or the writer has left, and until the broker has them. */
  async run(): Promise<void> {
    const { broker } = this.#parts;
    try {
      this.announce();
      await this.#publishWriters();
      this.#finish("left");
      await broker.race(this.#outbox.empty());
      this.#clock.mark();
    } catch (error) {
      await this.#leave(error);
      throw error;
    }
  }

  async #publishWriters(): Promise<void> {
    const { follow, frames } = this.#options;
    const { input, broker } = this.#parts;
    for (;;) {
      await broker.race(input.awaitWriter());
      try {
        await this.#publishFrames();
        return;
      } catch (error) {
        if (!(error instanceof WriterDeadError)) throw error;
        this.#takeMetadata();
        input.noteDeparture(error);
        if (follow) {
          this.#expectMetadata();
          continue;
        }
        if (error.reason === "died") throw error;
        if (frames > 0) throw input.incomplete(this.#taken, frames);
        return;
      }
    }
  }

  async #publishFrames(): Promise<void> {
    const { frames, onOutage } = this.#options;
    const { reader, broker, input } = this.#parts;
    while (frames === 0 || this.#taken < frames) {
      let frame: Frame = reader.tryReadFrame();
      if (!frame.isValid) frame = await this.#waitForFrame();
      this.#clock.start();
      // Another writer may have taken over unseen.
      if (frame.sequence === 1 && this.#lastOfWriter > 0) {
        input.noteSuccession();
        this.#expectMetadata();
      }
      this.#lastOfWriter = frame.sequence;
      if (this.#isMetadataDue) {
        this.#isMetadataDue = false;
        this.#takeMetadata();
      }
      const { size } = frame;
      this.#taken++;
      if (onOutage === "drop" && !this.#outbox.isOpen) {
        frame.release();
        this.#document.frames_dropped++;
      } else {
        this.#keepMetadata(size);
        this.#outbox.add(this.#parcelOf(frame));
        if (!this.#outbox.hasRoom) {
          this.#clock.pause();
          await broker.race(this.#outbox.room());
        }
      }
      if (this.#clock.isDue(size)) await broker.race(this.#turn());
    }
    this.#clock.pause();
  }

  /** Waits for a frame. While the broker has not got those before, the buffer may be full, and its writer waits: that is no timeout. */
  async #waitForFrame(): Promise<Frame> {
    const { broker, input, reader } = this.#parts;
    const { signal } = this.#session;
    this.#clock.pause();
    for (;;) {
      const { outages } = broker;
      try {
        return await broker.race(
          input.awaitFrames(async (waitMs) => {
            const frame = await reader.readFrameAsync(waitMs, { signal });
            return frame.isValid ? frame : undefined;
          }),
        );
      } catch (error) {
        const isTimeout = error instanceof CommandError && error.code === "TIMEOUT";
        if (!isTimeout || (this.#outbox.isEmpty && outages === broker.outages)) throw error;
      }
    }
  }

  async #turn(): Promise<void> {
    this.#takeMetadata();
    await this.#clock.turn();
  }

  /** A frame. It has no number before it is sent: one that is dropped has none. */
  #parcelOf(frame: Frame): Parcel {
    const { courier, run, subjects } = this.#parts;
    const document = this.#document;
    const { data, size } = frame;
    const parts = partCount(size, courier.room);
    let sequence = 0;
    let timeUs = 0;
    return {
      data,
      parts,
      isFrame: true,
      message: (part, data) => {
        if (sequence === 0) {
          sequence = ++this.#sequence;
          timeUs = ageUs({ time: 0n });
          document.frames_published++;
          document.bytes_published += size;
        }
        const headers = partHeaders({ run, sequence, size, part, parts, timeUs });
        return { subject: subjects.frames, data, headers, id: `${run}-${sequence}-${part}` };
      },
      release: () => {
        if (sequence === 0) document.frames_dropped++;
        frame.release();
      },
    };
  }

  /** A message without parts. It says which frame was begun last before it. */
  #single(subject: string, data: Uint8Array, id: string, more: Readonly<Record<string, string>>): Parcel {
    const { run } = this.#parts;
    const message = (): ReturnType<Parcel["message"]> => ({
      subject,
      data,
      headers: { [HEADERS.run]: run, [HEADERS.sequence]: `${this.#sequence}`, ...more },
      id,
    });
    let first: ReturnType<Parcel["message"]> | undefined;
    return {
      data,
      parts: 1,
      isFrame: false,
      message: () => {
        // Sent again, it says the same.
        first ??= message();
        return first;
      },
      release() {},
    };
  }

  /** Sends the metadata again before a stream drops it: those who read later need it. */
  #keepMetadata(size: number): void {
    const { keeps } = this.#parts.courier;
    this.#bytesSince += size;
    if (keeps === undefined || this.#metadata.length === 0) return;
    const isDue = this.#bytesSince > keeps.bytes / 2 || performance.now() - this.#announcedAt > keeps.ms / 2;
    if (isDue) this.announce();
  }

  /** Called a few times per second while there is no frame. */
  takeMetadata(): void {
    this.#takeMetadata();
  }

  /** Sends the metadata of the writer, once, if it has arrived. */
  #takeMetadata(): void {
    if (this.#hasMetadata) return;
    const metadata = this.#parts.reader.getMetadata();
    if (metadata.length === 0) return;
    this.#hasMetadata = true;
    this.#metadata = metadata;
    this.#document.metadata_size = metadata.length;
    this.announce();
  }

  /** The next metadata is that of another writer. */
  #expectMetadata(): void {
    this.#lastOfWriter = 0;
    this.#hasMetadata = false;
    this.#isMetadataDue = true;
  }

  #beat(): void {
    const { broker, run, subjects } = this.#parts;
    if (!broker.isConnected) return;
    broker.publish(subjects.alive, NO_BYTES, {
      [HEADERS.run]: run,
      [HEADERS.sequence]: `${this.#sequence}`,
    });
  }

  #finish(how: "left" | "died"): void {
    this.#outbox.add(this.#ending(how));
  }

  #ending(how: "left" | "died"): Parcel {
    const { run, subjects } = this.#parts;
    return this.#single(subjects.end, NO_BYTES, `${run}-end`, { [HEADERS.end]: how });
  }

  /** Tells the subscribers that no more frames come, as far as that is possible. */
  async #leave(error: unknown): Promise<void> {
    const { broker, courier } = this.#parts;
    if (!this.#session.signal.aborted) {
      this.#finish(error instanceof DownstreamClosed ? "left" : "died");
      await broker.race(this.#outbox.empty()).catch(() => {});
      this.#clock.mark();
      return;
    }
    this.#outbox.close();
    this.#outbox.clear();
    if (!broker.isConnected) return;
    courier.post(this.#ending("left").message(1, NO_BYTES));
    await Promise.race([courier.settle(), Bun.sleep(GOODBYE_MS)]).catch(() => {});
  }

  #tooLarge(): CommandError {
    const { broker } = this.#parts;
    return new CommandError(
      "RESOURCE_EXHAUSTED",
      `The metadata has ${count(this.#metadata.length, "bytes")}, and a message of the NATS server ${broker.shown} has room for ${count(this.#parts.courier.room, "bytes")}.`,
      "Raise max_payload in the configuration of the server.",
    );
  }

  [Symbol.dispose](): void {
    clearInterval(this.#heartbeat);
    this.#outbox.close();
  }
}
