// The loop of view: takes the newest frame again and again, and hands it to its listener.

import { count } from "../../cli/format.ts";
import { FrameInput } from "../../cli/frame-input.ts";
import type { Session } from "../../cli/session.ts";
import { type Frame, type Reader, WriterDeadError } from "../../core/index.ts";
import type { WriterState } from "./protocol.ts";
import type { Sights } from "./sights.ts";

/** A writer may be idle for as long as it likes. */
const FOREVER = { connectTimeoutMs: Number.POSITIVE_INFINITY, timeoutMs: Number.POSITIVE_INFINITY };

/** What a loop tells. */
interface Listener {
  /** Whether frames are shown to anybody. */
  readonly isLooking: boolean;
  /** A frame, which is released when this returns. True: it was the last one. */
  onFrame(frame: Frame): boolean;
  onWriter(state: WriterState): void;
}

/** Reads the newest frames of one writer after another. */
export class ViewLoop {
  readonly #reader: Reader;
  readonly #sights: Sights;
  readonly #session: Session;
  readonly #listener: Listener;
  readonly #input: FrameInput;
  #lastSequence = 0;
  #metadata: Uint8Array = new Uint8Array(0);

  constructor(reader: Reader, sights: Sights, session: Session, listener: Listener) {
    this.#reader = reader;
    this.#sights = sights;
    this.#session = session;
    this.#listener = listener;
    this.#input = new FrameInput(reader, FOREVER, session, () => {});
  }

  /** Bytes of the current writer's metadata. */
  get metadataSize(): number {
    return this.#metadata.length;
  }

  /**
   * Reads until the listener has its last frame, or with `follow` false the writer has left.
   *
   * @throws WriterDeadError if it has died, with `follow` false.
   */
  async run({ follow }: { follow: boolean }): Promise<void> {
    for (;;) {
      this.#listener.onWriter("awaited");
      await this.#input.awaitWriter();
      this.#listener.onWriter("connected");
      try {
        await this.#readFrames();
        return;
      } catch (error) {
        if (!(error instanceof WriterDeadError)) throw error;
        this.#input.noteDeparture(error);
        this.#listener.onWriter(error.reason);
        this.#lastSequence = 0;
        if (follow) continue;
        if (error.reason === "died") throw error;
        return;
      }
    }
  }

  async #readFrames(): Promise<void> {
    const { signal } = this.#session;
    for (;;) {
      using frame = await this.#input.awaitFrames(async (waitMs) => {
        const newest = await this.#reader.readLatestAsync(waitMs, { signal });
        return newest.isValid ? newest : undefined;
      });
      this.#noteWriter(frame);
      if (this.#listener.onFrame(frame)) return;
    }
  }

  /**
   * Reads the metadata for a frame. If somebody looks, for each: another writer may have taken over unseen, and the number of its
   * newest frame may follow that of the last one.
   */
  #noteWriter({ sequence }: Frame): void {
    const isNew = sequence <= this.#lastSequence || this.#lastSequence === 0;
    if (isNew && this.#lastSequence > 0) this.#input.noteSuccession();
    this.#lastSequence = sequence;
    if (!isNew && !this.#listener.isLooking) return;
    const metadata = this.#reader.getMetadata();
    if (Buffer.compare(metadata, this.#metadata) === 0) return;
    this.#metadata = metadata;
    this.#sights.noteMetadata(metadata);
    this.#session.log?.info(`Received ${count(metadata.length, "bytes")} of metadata.`);
  }
}
