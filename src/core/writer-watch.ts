// Watches the writers of a buffer come and go, on behalf of its reader (docs/protocol.md, sections 4.3 to 4.5).

import { Role, type SharedMemory } from "../native/memory.ts";
import type { RingReader } from "../native/ring.ts";
import type { Oieb } from "./buffer/oieb.ts";
import type { Peer } from "./buffer/presence.ts";

/** How long a reader waits before it looks at its writer. */
export const SLICE_MS = 100;

/**
 * - `awaited`: none has come since the last departure was reported.
 * - `connected`: one is alive.
 * - `left`, `died`: the last one is gone, and its departure is to be reported once all its frames are read.
 */
export type WriterState = "awaited" | "connected" | "left" | "died";

/** What is watched of a buffer: its control block, and the place of its writer. */
export interface WatchedBuffer {
  loadOieb(): Oieb;
  readonly memory: Pick<SharedMemory, "claim" | "clearMetadata">;
}

/** Knows whether there is a writer, and whether another one has taken the last one's place unseen. */
export class WriterWatch {
  readonly #buffer: WatchedBuffer;
  readonly #writer: Pick<Peer, "isAlive" | "processes">;
  readonly #ring: Pick<RingReader, "surplusTokens" | "settle">;

  #state: WriterState = "awaited";
  #departureReported = false;
  /** The control block when the writer was judged last. */
  #judged: Oieb | undefined;
  /** Which of the peer's processes was the writer last. */
  #process = 0;
  /** Another writer has come since the last frame: its first one has number 1. */
  #isWriterNew = false;
  /** What the writers up to the last one have left behind, the token of a close included. Anything else is a trace of another. */
  #writtenCountBefore = 0;
  #metadataBytesBefore = 0;
  #surplusTokensBefore = 0;
  /** At the last look. */
  #surplusTokensSeen = 0;
  #lookedAt = 0;

  constructor(
    buffer: WatchedBuffer,
    writer: Pick<Peer, "isAlive" | "processes">,
    ring: Pick<RingReader, "surplusTokens" | "settle">,
  ) {
    this.#buffer = buffer;
    this.#writer = writer;
    this.#ring = ring;
  }

  /** As it was judged last. */
  get state(): WriterState {
    return this.#state;
  }

  /** Whether the departure of the last writer has been reported, and the next one is not accepted yet. */
  get isDepartureReported(): boolean {
    return this.#departureReported;
  }

  /** Whether a slice has passed without a look. */
  get isLookDue(): boolean {
    return this.hasNewSurplus || performance.now() - this.#lookedAt >= SLICE_MS;
  }

  /** Whether a token without a frame has come since the last look: a writer that closes posts one. */
  get hasNewSurplus(): boolean {
    return this.#ring.surplusTokens !== this.#surplusTokensSeen;
  }

  /** Whether a frame with number 1 may come without a token. */
  get acceptsFirstFrame(): boolean {
    return this.#isWriterNew || this.#state === "left" || this.#state === "died";
  }

  /** Frames have come: the next ones have the numbers that follow. */
  noteFrames(): void {
    this.#isWriterNew = false;
  }

  /** Process id of the living writer; 0 if there is none. */
  livingPid(): bigint {
    const { writerPid } = this.#buffer.loadOieb();
    return this.#writer.isAlive(writerPid) ? writerPid : 0n;
  }

  /** {@link judge}, as part of a look without a token: the next one is due a slice later. */
  look(): void {
    this.#lookedAt = performance.now();
    this.#surplusTokensSeen = this.#ring.surplusTokens;
    this.judge();
  }

  /** Judges the writer. Comes before a look at the ring, or the last frame of one that dies would be missed. */
  judge(): void {
    let oieb = this.#buffer.loadOieb();
    let isAlive = this.#writer.isAlive(oieb.writerPid);
    if (!isAlive && oieb.writerPid !== 0n) {
      // It may have left, and its process ended, since the pid was loaded. One more look: a hostile pid may never rest.
      oieb = this.#buffer.loadOieb();
      isAlive = this.#writer.isAlive(oieb.writerPid);
    }
    this.#judged = oieb;
    if (isAlive) this.#noteWriter();
    else if (oieb.writerPid !== 0n) this.#state = "died";
    else if (this.#state === "connected") this.#state = "left";
    else if (this.#state === "awaited" && this.#hasTraces(oieb)) this.#state = "left";
  }

  #noteWriter(): void {
    // One of the same process may have closed before, which its token tells.
    const isAnother = this.#writer.processes !== this.#process || this.#hasClosed();
    if (isAnother) this.#isWriterNew = true;
    this.#process = this.#writer.processes;
    this.#surplusTokensBefore = this.#ring.surplusTokens;
    this.#state = "connected";
  }

  /** Whether a writer has come, and may be gone, since the last departure was reported. */
  #hasTraces({ payloadWrittenCount, metadataWrittenBytes }: Oieb): boolean {
    const hasSentMetadata = metadataWrittenBytes > 0 && metadataWrittenBytes !== this.#metadataBytesBefore;
    return hasSentMetadata || payloadWrittenCount !== this.#writtenCountBefore || this.#hasClosed();
  }

  #hasClosed(): boolean {
    return this.#ring.surplusTokens > this.#surplusTokensBefore;
  }

  /**
   * How the writer departed, if it has, to be reported now that all its frames are read. What it left half done is
   * settled, or once the frames are released that are still held. Undefined if there is nothing to report.
   */
  reportDeparture(): "left" | "died" | undefined {
    if (this.#judged === undefined || (this.#state !== "left" && this.#state !== "died")) return undefined;
    const { writerPid, payloadWrittenCount, metadataWrittenBytes } = this.#judged;
    this.#inPlaceOf(writerPid, () => this.#ring.settle());
    this.#departureReported = true;
    this.#writtenCountBefore = payloadWrittenCount;
    this.#metadataBytesBefore = metadataWrittenBytes;
    // A writer that leaves posts one token after it has given its place up: if none has come yet, it will.
    const isOwed = this.#state === "left" && this.#surplusTokensSeen <= this.#surplusTokensBefore;
    this.#surplusTokensBefore = this.#surplusTokensSeen + (isOwed ? 1 : 0);
    return this.#state;
  }

  /** Settles what the last writer left half done: due after a release that says so. */
  settle(): void {
    this.#inPlaceOf(0n, () => this.#ring.settle());
  }

  /** Goes on to the next writer, if the departure of the last one has been reported. */
  acceptNextWriter(): void {
    if (!this.#departureReported) return;
    this.#departureReported = false;
    this.#state = "awaited";
    this.#inPlaceOf(0n, () => {
      // What a next one has sent that has come and gone since is still to be read, as its frames are.
      if (this.#hasTraces(this.#buffer.loadOieb())) return;
      this.#buffer.memory.clearMetadata();
      this.#metadataBytesBefore = 0;
    });
  }

  /** Acts as the writer for a moment, so that no other one comes meanwhile: not at all if the pid has changed. */
  #inPlaceOf(pid: bigint, act: () => void): void {
    const { memory } = this.#buffer;
    if (!memory.claim(Role.WRITER, pid, process.pid)) return;
    act();
    memory.claim(Role.WRITER, process.pid, 0);
  }
}
