// Passing on frames that a writer gets from readers of this process: shared where that is possible, otherwise copied.

import { Code } from "../../native/codes.ts";
import type { RingWriter } from "../../native/ring.ts";
import { Passed } from "../../native/target.ts";
import type { SharedBuffer } from "../buffer/shared-buffer.ts";
import type { Frame, FrameTaker, Lender } from "../frame.ts";
import type { FrameWrites } from "../frame-writes.ts";
import type { Attempt, WriteQueue } from "../write-queue.ts";
import type { SharingSource } from "./source.ts";
import { type Sharing, Target } from "./target.ts";

/** What happened to a frame that was forwarded. */
export type Forwarded = "shared" | "copied";

/** What forwarding needs of its writer. */
export interface ForwardingParts {
  readonly buffer: SharedBuffer;
  readonly ring: RingWriter;
  readonly writes: FrameWrites;
  readonly queue: WriteQueue;
  /** Whether it asks to share. */
  readonly isRequested: boolean;
  /** Frames that its reader may hold before it waits. */
  readonly maxFramesLent: number;
  /** Whether it ends with its source. */
  readonly closeWithSource: (() => void) | undefined;
}

/** The frames that one writer passes on. */
export class Forwarding implements FrameTaker {
  framesShared = 0;
  framesCopied = 0;
  readonly #parts: ForwardingParts;
  #target: Target | undefined;

  constructor(parts: ForwardingParts) {
    this.#parts = parts;
  }

  get sharing(): Sharing {
    return this.#target?.sharing ?? "off";
  }

  /** Frames that were passed on and that the reader has not released. */
  get framesLent(): number {
    return this.#target?.references ?? 0;
  }

  /** Takes the source whose frames are shared from now on. */
  attach(source: SharingSource): void {
    const { buffer, ring, queue, maxFramesLent, closeWithSource } = this.#parts;
    const target = new Target(source, buffer, ring, {
      maxFramesLent,
      wakeWrites: () => queue.retry(),
      onSourceClosed: () => {
        if (closeWithSource !== undefined) closeWithSource();
        else this.#target = undefined;
      },
    });
    this.#target = target;
    queue.collectWith(source);
    target.look(source.mayShare);
  }

  /** To be called at every look at the reader. */
  look(): void {
    const target = this.#target;
    if (target === undefined) return;
    target.source.look();
  }

  /** An attempt to pass the frame on, as {@link WriteQueue} takes it. */
  frame(frame: Frame): Attempt {
    return (waitUs) => asAttempt(frame.passOn(this, waitUs));
  }

  pass(lender: Lender, index: number, offset: number, size: number, waitUs: number): number {
    if (this.#target === undefined && this.#parts.isRequested && lender.source !== undefined) {
      this.attach(lender.source);
    }
    const target = this.#target;
    if (target === undefined || target.source !== lender.source)
      return this.copy(lender.view(offset, size), waitUs);
    const code = target.ring.pass(index, offset, size, waitUs);
    if (code > 0) {
      this.#parts.writes.count(size, 1);
      if (code === Passed.COPIED) {
        this.framesCopied++;
      } else {
        this.framesShared++;
        target.source.noteShared(target);
      }
    }
    return code;
  }

  get ring(): RingWriter {
    return this.#parts.ring;
  }

  noteForwarded(frames: number, bytes: number, shared: number): void {
    this.#parts.writes.count(bytes, frames);
    this.framesCopied += frames - shared;
    this.framesShared += shared;
    const target = this.#target;
    if (shared > 0 && target !== undefined) target.source.noteShared(target);
  }

  copy(data: Uint8Array, waitUs: number): number {
    const code = this.#parts.ring.write(data, waitUs);
    if (code !== Code.OK) return code;
    this.#parts.writes.count(data.length, 1);
    this.framesCopied++;
    return Passed.COPIED;
  }

  /** The writer is about to be closed. Whether the memory of its buffer must stay open, and is closed later. */
  leave(): boolean {
    const keepsMemory = this.#target?.leave() ?? false;
    this.#target = undefined;
    return keepsMemory;
  }
}

/** 0 once the frame is passed on, otherwise the code. */
export const asAttempt = (code: number): number => (code > 0 ? Code.OK : code);
