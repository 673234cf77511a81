// Tells a reader whether its writer is there, has left or has died (docs/protocol.md, sections 4.3 to 4.5).

import { Code } from "../native/codes.ts";
import { Role, type SharedMemory } from "../native/memory.ts";
import type { RingReader } from "../native/ring.ts";
import type { Oieb } from "./buffer/oieb.ts";
import type { Peer } from "./buffer/presence.ts";

/** How long a wait goes on before the writer is judged. */
export const SLICE_MS = 100;

/** A v1 writer whose pid is 0 has left at the latest after this long without a new frame, in milliseconds. */
const ZEROED_MS = 1000;

/**
 * - `awaited`: no writer has come since the last departure was reported.
 * - `connected`: the writer is alive.
 * - `left`, `died`: the writer is gone. The reader reports this once all frames are read.
 */
export type WriterState = "awaited" | "connected" | "left" | "died";

/** The parts of a buffer that the watch uses: the control block, and the writer's place in it. */
export interface WatchedBuffer {
  loadOieb(): Oieb;
  readonly memory: Pick<SharedMemory, "claim" | "clearMetadata" | "lockRole" | "restore" | "unlockRole">;
}

/** What the watch asks about the writer. */
type WatchedWriter = Pick<
  Peer,
  "forget" | "hasLetGo" | "isOurs" | "isStillVisible" | "judge" | "lastPid" | "processes"
>;

/** Follows the writers of one buffer, also when one takes the place of the last one unseen. */
export class WriterWatch {
  readonly #buffer: WatchedBuffer;
  readonly #writer: WatchedWriter;
  readonly #ring: Pick<RingReader, "surplusSeen" | "surplusTokens" | "settle">;

  #state: WriterState = "awaited";
  #departureReported = false;
  /** The control block at the last {@link judge}. */
  #judged: Oieb | undefined;
  /** Number of the process that was connected last, as {@link Peer.processes} counts. */
  #process = 0;
  /** Another writer has connected since the last frame. Its first frame has number 1. */
  #isWriterNew = false;
  /** What the last reported writer left behind, the token of its close included. Anything else comes from another writer. */
  #writtenCountBefore = 0;
  #metadataBytesBefore = 0;
  #surplusTokensBefore = 0;
  /** Frames that were taken without their tokens, which may still come and are surplus then. */
  #owedTokens = 0;
  /** When a pid of 0 was seen first, and the count of frames then. Undefined: it is another one. */
  #zeroed: { readonly at: number; readonly writtenCount: number } | undefined;
  /** The time of the last {@link look}; the ring keeps the number of surplus tokens at it. */
  #lookedAt = 0;

  constructor(
    buffer: WatchedBuffer,
    writer: WatchedWriter,
    ring: Pick<RingReader, "surplusSeen" | "surplusTokens" | "settle">,
  ) {
    this.#buffer = buffer;
    this.#writer = writer;
    this.#ring = ring;
  }

  /** The state at the last {@link judge}. */
  get state(): WriterState {
    return this.#state;
  }

  /** Whether a slice has passed since the last {@link look}, or a token without a frame has come. */
  get isLookDue(): boolean {
    return this.hasNewSurplus || performance.now() - this.#lookedAt >= SLICE_MS;
  }

  /** Whether a token without a frame has come since the last {@link look}. A writer that closes posts one. */
  get hasNewSurplus(): boolean {
    return this.#ring.surplusTokens !== this.#ring.surplusSeen;
  }

  /** Whether a frame without a token may have number 1. */
  get acceptsFirstFrame(): boolean {
    return this.#isWriterNew || this.#state === "left" || this.#state === "died";
  }

  /** Notes that frames were taken: a frame without a token has to continue their numbers. */
  noteFrames(): void {
    this.#isWriterNew = false;
  }

  /** Notes how many frames were taken without their tokens. */
  noteMissingTokens(frames: number): void {
    this.#owedTokens += frames;
  }

  /** Judges the writer, and returns the process id of the living one; 0 if there is none. */
  livingPid(): bigint {
    this.judge();
    if (this.#state !== "connected") return 0n;
    // Somebody may have overwritten the pid of a writer that lives.
    return this.#judged?.writerPid || this.#writer.lastPid;
  }

  /** Judges the writer as part of a look without a token. The next look is due a slice later. */
  look(): void {
    this.#lookedAt = performance.now();
    this.#ring.surplusSeen = this.#ring.surplusTokens;
    this.judge();
  }

  /** Judges the writer. Call it before a look at the ring, or the last frame of a dying writer is missed. */
  judge(): void {
    let oieb = this.#buffer.loadOieb();
    let isThere = this.#writer.judge(oieb) !== "dead";
    if (!isThere && oieb.writerPid !== 0n) {
      // The writer may have left, and its process ended, since the pid was loaded. Load it once more, and no more often: a
      // hostile peer can change the pid all the time.
      oieb = this.#buffer.loadOieb();
      isThere = this.#writer.judge(oieb) !== "dead";
    }
    this.#judged = oieb;
    if (oieb.writerPid !== 0n) {
      this.#zeroed = undefined;
      if (isThere) this.#noteWriter();
      else this.#state = "died";
    } else if (!isThere) {
      const wasThere = this.#state === "connected" || (this.#state === "awaited" && this.#hasTraces(oieb));
      if (wasThere && this.#hasLeft(oieb)) this.#state = "left";
    }
    // Without a pid and with the lock of its role, a writer is about to come, or another one has overwritten its pid.
  }

  /**
   * Whether a writer has left that was there, and whose pid is 0 now: a second v1 writer that is refused overwrites the pid
   * of the first.
   */
  #hasLeft(oieb: Oieb): boolean {
    if (this.#writer.isOurs || this.#hasClosed() || this.#writer.hasLetGo()) return true;
    const now = performance.now();
    const { payloadWrittenCount: writtenCount } = oieb;
    this.#zeroed ??= { at: now, writtenCount };
    if (writtenCount === this.#zeroed.writtenCount) return now - this.#zeroed.at >= ZEROED_MS;
    this.#zeroed = { at: now, writtenCount };
    // It goes on writing.
    if (this.#writer.isStillVisible()) this.#buffer.memory.restore(Role.WRITER, this.#writer.lastPid);
    return false;
  }

  #noteWriter(): void {
    // A writer of the same process may have closed before: then its token has come.
    const isAnother = this.#writer.processes !== this.#process || this.#hasClosed();
    if (isAnother) this.#isWriterNew = true;
    this.#process = this.#writer.processes;
    this.#owedTokens = Math.max(0, this.#owedTokens - (this.#ring.surplusTokens - this.#surplusTokensBefore));
    this.#surplusTokensBefore = this.#ring.surplusTokens;
    this.#state = "connected";
  }

  /** Whether a writer has come since the last departure was reported. It may be gone again. */
  #hasTraces({ payloadWrittenCount, metadataWrittenBytes }: Oieb): boolean {
    const hasSentMetadata = metadataWrittenBytes > 0 && metadataWrittenBytes !== this.#metadataBytesBefore;
    return hasSentMetadata || payloadWrittenCount !== this.#writtenCountBefore || this.#hasClosed();
  }

  /** Whether the token of a close has come that belongs to no reported writer. */
  #hasClosed(): boolean {
    return this.#ring.surplusTokens > this.#surplusTokensBefore + this.#owedTokens;
  }

  /**
   * How the writer departed; undefined if it has not. Call it when all frames are read, and report the answer. What the
   * writer left half done is settled now or, if frames are still held, by {@link settle}.
   */
  reportDeparture(): "left" | "died" | undefined {
    if (this.#judged === undefined || (this.#state !== "left" && this.#state !== "died")) return undefined;
    const { writerPid, payloadWrittenCount, metadataWrittenBytes } = this.#judged;
    if (!this.#inPlaceOf(writerPid, isUnsettled, () => this.#ring.settle())) return undefined;
    this.#departureReported = true;
    this.#zeroed = undefined;
    this.#writtenCountBefore = payloadWrittenCount;
    this.#metadataBytesBefore = metadataWrittenBytes;
    // A writer of this package that leaves gives its place up and then posts one token. If that has not come yet, it will.
    const isOwed =
      this.#state === "left" && this.#writer.isOurs && this.#ring.surplusSeen <= this.#surplusTokensBefore;
    this.#surplusTokensBefore = this.#ring.surplusSeen + (isOwed ? 1 : 0);
    return this.#state;
  }

  /** Settles what the reported writer left half done. Call it when a release says that this is due. */
  settle(): void {
    this.#inPlaceOf(0n, isUnsettled, () => this.#ring.settle());
  }

  /** Goes on to the next writer if a departure has been reported; otherwise does nothing. */
  acceptNextWriter(): void {
    // Most reads come here. A closure in this function would be allocated by each of them.
    if (this.#departureReported) this.#awaitNext();
  }

  #awaitNext(): void {
    this.#departureReported = false;
    this.#state = "awaited";
    this.#writer.forget();
    this.#inPlaceOf(0n, hasMetadata, () => {
      // Another writer may have come and gone since the report. Its frames and metadata are still to be read.
      if (this.#hasTraces(this.#buffer.loadOieb())) return;
      this.#buffer.memory.clearMetadata();
      this.#metadataBytesBefore = 0;
    });
  }

  /**
   * Acts in the place of the writer `pid`, with the lock of its role, so that nobody connects meanwhile. Does nothing if that
   * is not due, as a v1 writer which comes meanwhile is refused; nor if the pid has changed: another writer has come. False, and
   * it has done nothing, if the pid is the same, and somebody else has the lock or the writer is not known to be dead any more:
   * it lives, or the next one is about to come, or somebody only looks.
   */
  #inPlaceOf(pid: bigint, isDue: (oieb: Oieb) => boolean, act: () => void): boolean {
    const { memory } = this.#buffer;
    if (memory.lockRole(Role.WRITER) === Code.LOCKED) return this.#buffer.loadOieb().writerPid !== pid;
    try {
      const oieb = this.#buffer.loadOieb();
      // A v1 writer that takes the place knows no locks. If it has, there is nothing to do here.
      if (oieb.writerPid !== pid) return true;
      if (pid !== 0n && this.#writer.judge(oieb) !== "dead") return false;
      // The pid of a dead writer is taken away in any case.
      if (pid === 0n && !isDue(oieb)) return true;
      if (!memory.claim(Role.WRITER, pid, process.pid)) return true;
      act();
      memory.claim(Role.WRITER, process.pid, 0);
      return true;
    } finally {
      memory.unlockRole(Role.WRITER);
    }
  }
}

/** Whether a writer that is gone may have left a frame half done: the ring is not as one is that was read and written whole. */
function isUnsettled({ payloadSize, payloadFreeBytes, payloadReadPos, payloadWritePos }: Oieb): boolean {
  return payloadFreeBytes !== payloadSize || payloadReadPos % payloadSize !== payloadWritePos % payloadSize;
}

function hasMetadata({ metadataWrittenBytes }: Oieb): boolean {
  return metadataWrittenBytes > 0;
}
