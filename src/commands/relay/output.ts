// One of the buffers that a relay writes to.

import type { OutputBuffer } from "../../cli/output-buffer.ts";
import type { Session } from "../../cli/session.ts";
import { Frame, ReaderDeadError, type Sharing } from "../../core/index.ts";
import { copyInPieces } from "../../frames/transforms.ts";
import type { RelayedTo } from "../../schemas/relay.ts";

/** What a relay passes on: a frame of its input, or the bytes of a changed copy. */
export type Parcel = Frame | Uint8Array;

/** Passes frames and metadata on to one buffer until its reader is gone. */
export class RelayOutput {
  readonly buffer: OutputBuffer;
  /** Why no more frames are passed on. Undefined: they are. */
  loss: ReaderDeadError | undefined;
  readonly #name: string;
  readonly #session: Session;
  #isLossTold = false;
  #sharing: Sharing = "off";
  /** Whether the metadata of the input's writer has been sent. */
  #hasMetadata = false;

  constructor(name: string, buffer: OutputBuffer, session: Session) {
    this.#name = name;
    this.buffer = buffer;
    this.#session = session;
  }

  /** What it has done so far, as the document has it. */
  get result(): RelayedTo {
    const { dropped, framesShared, framesWritten } = this.buffer;
    return {
      buffer: this.#name,
      frames_relayed: framesWritten,
      frames_shared: framesShared,
      frames_copied: framesWritten - framesShared,
      frames_dropped: dropped,
      sharing: this.#sharing,
    };
  }

  /** Whether there is a reader that has not been sent the metadata. */
  get lacksMetadata(): boolean {
    return !this.#hasMetadata && this.takesFrames;
  }

  /** Whether frames can be passed on: there is a reader, as far as is known. */
  get takesFrames(): boolean {
    return this.loss === undefined && this.buffer.isConnected;
  }

  /** The next metadata is that of another writer. */
  expectMetadata(): void {
    this.#hasMetadata = false;
  }

  async sendMetadata(metadata: Uint8Array): Promise<void> {
    this.#hasMetadata = true;
    await this.buffer.sendMetadata(metadata);
  }

  // ---- frames ------------------------------------------------------------------------------------------------------

  /** Passes it on if there is room now: whether it has. */
  tryPass(parcel: Parcel): boolean {
    try {
      return parcel instanceof Frame
        ? this.buffer.tryForward(parcel)
        : this.buffer.tryWrite(parcel, parcel.length) > 0;
    } catch (error) {
      this.#lose(error);
      return false;
    }
  }

  /** Passes on what {@link tryPass} has not, when there is room, or drops it: whether it has been passed on. */
  async pass(parcel: Parcel): Promise<boolean> {
    return await this.#passing(() =>
      parcel instanceof Frame ? this.buffer.forward(parcel) : this.buffer.write(parcel, parcel.length),
    );
  }

  /** Passes on what is large, or drops it: whether it has been passed on. To copy it takes turns of the event loop. */
  async passLarge(parcel: Parcel, turn: () => Promise<void>): Promise<boolean> {
    if (parcel instanceof Frame && !parcel.isShared && this.buffer.sharing === "active") {
      return this.tryPass(parcel) || (await this.pass(parcel));
    }
    const bytes = parcel instanceof Frame ? parcel.data : parcel;
    return await this.#passing(async () => {
      const slot = this.buffer.tryAcquire(bytes.length) ?? (await this.buffer.acquire(bytes.length));
      if (slot === undefined) return;
      await copyInPieces(bytes, slot.data, turn);
      this.buffer.writer.commitFrame();
    });
  }

  /** Does `work`, unless the reader is gone: whether it has passed a frame on. */
  async #passing(work: () => Promise<void>): Promise<boolean> {
    if (this.loss !== undefined) return false;
    const before = this.buffer.framesWritten;
    try {
      await work();
    } catch (error) {
      this.#lose(error);
    }
    return this.buffer.framesWritten > before;
  }

  // ---- the reader --------------------------------------------------------------------------------------------------

  /** Looks at the reader. Call it while nothing is passed on. */
  check(): void {
    if (this.loss !== undefined) return;
    try {
      this.buffer.check();
      this.noteSharing();
    } catch (error) {
      this.#lose(error);
    }
  }

  /** Notes, and tells, whether frames are shared. */
  noteSharing(): void {
    if (this.loss !== undefined || !this.buffer.isConnected) return;
    const { sharing } = this.buffer;
    if (sharing === this.#sharing) return;
    // What was before its reader left counts.
    if (sharing === "off" && !this.buffer.writer.isReaderConnected()) return;
    this.#sharing = sharing;
    const { log } = this.#session;
    if (sharing === "active") log?.info(`Sharing frames with the reader of buffer "${this.#name}".`);
    if (sharing === "refused")
      log?.info(`The reader of buffer "${this.#name}" takes copies: it has refused to share.`);
  }

  /** Tells, once, that it is left out. */
  tellLoss(): void {
    if (this.loss === undefined || this.#isLossTold) return;
    this.#isLossTold = true;
    const end = this.loss.reason === "left" ? "its reader has left" : "its reader is dead";
    this.#session.log?.warn(`Output "${this.#name}" is left out: ${end}.`);
  }

  /** Leaves it out from now on if the error means that its reader is gone; otherwise throws the error. */
  #lose(error: unknown): void {
    if (!(error instanceof ReaderDeadError)) throw error;
    this.loss = error;
    if (this.buffer.framesShared > 0) this.#sharing = "active";
    this.buffer[Symbol.dispose]();
  }
}
