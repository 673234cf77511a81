// Where a reader's frames are passed on to.

import type { Code } from "./codes.ts";
import { cString, Handle, openHandle } from "./handle.ts";
import { native } from "./library.ts";
import { type RingReader, type RingWriter, SETTLE_DUE } from "./ring.ts";
import { type Address, viewMemory } from "./symbols.ts";

/** Whether this system offers to share payloads. */
export const isSharingOffered = (): boolean => native.zb_sharing_offered?.() === 1;

/** What {@link RingTarget.pass} returns when the frame is on its way: ZB_PASSED_COPIED, ZB_PASSED_SHARED. */
export const Passed = { COPIED: 1, SHARED: 2 } as const;

// Where struct zb_target_view has its fields, in numbers of 8 bytes.
const REFERENCES = 0;
const TARGET_VIEW_BYTES = 16;

/**
 * Passes the frames of a reading end on through a writing end. It is closed before the reading end, and left before the
 * writing end is closed; the memory of the writing end stays open until it is closed.
 */
export class RingTarget extends Handle {
  readonly #view: Float64Array;

  private constructor(address: Address) {
    super(address);
    this.#view = new Float64Array(viewMemory(address, 0, TARGET_VIEW_BYTES));
  }

  /** Writes wait, as for room, while the target's reader holds `mostReferences` frames. NO_MEMORY. */
  static open(source: RingReader, writer: RingWriter, mostReferences: number): RingTarget | Code {
    return openHandle(
      (result) => native.zb_target_open(source.address, writer.address, result),
      (address) => {
        native.zb_target_limit(address, mostReferences);
        return new RingTarget(address);
      },
    );
  }

  /** Number of frames that the target's reader has not released. */
  get references(): number {
    return this.#view[REFERENCES] as number;
  }

  /**
   * Attaches the source under a new id, which is even and not 0, if there is room now; an empty name takes the last attachment
   * back, and ends sharing even without room. Codes as {@link RingWriter.write}.
   */
  attach(id: bigint, name: string): Code {
    return native.zb_target_attach(this.address, id, cString(name)) as Code;
  }

  /** How the target's reader has answered the last attachment; undefined: not yet. */
  get answer(): "accepted" | "refused" | undefined {
    const answer = native.zb_target_answer(this.address);
    if (answer === 0) return undefined;
    return answer > 0 ? "accepted" : "refused";
  }

  /**
   * Passes on a held frame of the source, by its index and with its place in the source's memory. Returns {@link Passed}, or
   * waits and returns codes as {@link RingWriter.write}. ALREADY: it is not held.
   */
  pass(index: number, offset: number, size: number, waitUs: number): number {
    return native.zb_target_pass(this.address, index, offset, size, waitUs);
  }

  /** Drops all references: the target's reader is gone. True if the source has to settle. */
  drop(): boolean {
    return native.zb_target_drop(this.address) === SETTLE_DUE;
  }

  /** Before the writing end is closed. References stay. */
  leave(): void {
    native.zb_target_leave(this.address);
  }

  /** Forgets the references: frames that have any are never given back. */
  close(): void {
    this.end((address) => {
      (this.#view.buffer as ArrayBuffer).transfer(0);
      native.zb_target_close(address);
    });
  }
}
