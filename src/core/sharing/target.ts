// A buffer that frames of a source are passed on to (docs/protocol.md, section 10.3).

import { Code } from "../../native/codes.ts";
import { OiebFlag, Role } from "../../native/memory.ts";
import type { RingWriter } from "../../native/ring.ts";
import { RingTarget } from "../../native/target.ts";
import { Waiter } from "../../native/waiter.ts";
import { takeAllSteps } from "../../runtime/steps.ts";
import type { SharedBuffer } from "../buffer/shared-buffer.ts";
import { failure } from "../failures.ts";
import type { SharedTarget, SharingSource } from "./source.ts";

/** How long the helper's thread waits at a time for what a target releases, in microseconds. */
const SLICE_US = 250_000;

/**
 * Whether a writer shares frames.
 * - `off`: it copies all, and has not asked to share: it was not told to, or one of the sides does not allow it.
 * - `requested`: it has asked, and copies until the reader has answered.
 * - `active`: frames that are large enough are shared.
 * - `refused`: the reader has refused, and all frames are copied.
 */
export type Sharing = "off" | "requested" | "active" | "refused";

/** Whether the reader was asked to share. `revoked`: nothing is shared any more, and it has not been told for want of room. */
type Request = "none" | "sent" | "revoked";

/** What a target needs of its writer. */
interface TargetOwner {
  /** Frames that its reader may hold. */
  readonly maxFramesLent: number;
  /** Attempts the first write that waits again. */
  wakeWrites(): void;
  /** The source is being closed. */
  onSourceClosed(): void;
}

/** Asks the reader of the buffer to share, and follows what it holds. */
export class Target implements SharedTarget {
  readonly source: SharingSource;
  readonly ring: RingTarget;
  readonly #buffer: SharedBuffer;
  readonly #owner: TargetOwner;
  #waiter: Waiter | undefined;
  #isListening = false;
  #request: Request = "none";
  #hasLeft = false;
  #isReaderGone = false;
  #isClosed = false;

  constructor(source: SharingSource, buffer: SharedBuffer, writer: RingWriter, owner: TargetOwner) {
    const ring = RingTarget.open(source.ring, writer, owner.maxFramesLent);
    if (typeof ring === "number") throw failure(ring, buffer.name, `The sharing of buffer "${buffer.name}"`);
    this.source = source;
    this.ring = ring;
    this.#buffer = buffer;
    this.#owner = owner;
    source.add(this);
  }

  get sharing(): Sharing {
    if (this.#request !== "sent" || this.#hasLeft || this.#isReaderGone) return "off";
    const { answer } = this.ring;
    if (answer === undefined) return "requested";
    return answer === "accepted" ? "active" : "refused";
  }

  /** Frames that were passed on and not released. */
  get references(): number {
    return this.#isClosed ? 0 : this.ring.references;
  }

  /** Whether its writer is closed. */
  get hasLeft(): boolean {
    return this.#hasLeft;
  }

  /** Looks whether its reader is there, and asks it to share when that is possible. */
  look(mayShare: boolean): void {
    if (this.#isClosed) return;
    if (this.references > 0 || this.#request !== "none") this.#lookAtReader();
    if (this.#isClosed || this.#hasLeft) return;
    if (this.#request === "none") {
      if (mayShare) this.#ask();
    } else if (!mayShare || this.#request === "revoked") {
      this.#takeBack();
    }
  }

  #lookAtReader(): void {
    const { memory } = this.#buffer;
    const { readerPid } = this.#buffer.loadOieb();
    if (readerPid !== 0n && memory.isRoleLocked(Role.READER) !== false) return;
    this.#isReaderGone = true;
    this.source.settle(this.ring.drop());
    this.endIfReleased();
  }

  #ask(): void {
    const { memory } = this.#buffer;
    if (this.#isReaderGone || (this.#buffer.loadOieb().flags & OiebFlag.SHARING) === 0n) return;
    if (memory.isRoleLocked(Role.READER) !== true || !memory.isTrusted) return;
    if (this.ring.attach(newId(), this.source.buffer.name) === Code.OK) this.#request = "sent";
  }

  #takeBack(): void {
    this.#request = this.ring.attach(newId(), "") === Code.OK ? "none" : "revoked";
  }

  /** Calls back once its reader has released a frame, or a slice has passed; does nothing while it waits for that. */
  listen(onWoken: () => void): void {
    if (this.#isListening || this.#hasLeft || this.references === 0) return;
    if (this.#waiter === undefined) {
      const waiter = Waiter.open(this.#buffer.released);
      // Then the slices of other waits have to do.
      if (typeof waiter === "number") return;
      this.#waiter = waiter;
    }
    this.#isListening = true;
    void this.#waiter.wait(SLICE_US).then(() => {
      this.#isListening = false;
      if (!this.#isClosed) onWoken();
    });
  }

  wakeWrites(): void {
    if (!this.#hasLeft) this.#owner.wakeWrites();
  }

  /** Its writer is about to be closed. Whether the memory of its buffer must stay open, and is closed later. */
  leave(): boolean {
    if (this.#hasLeft || this.#isClosed) return false;
    this.source.collect(false);
    this.#hasLeft = true;
    this.ring.leave();
    const keepsMemory = this.references > 0;
    if (keepsMemory) this.source.watchClosely();
    else this.#close();
    // Last: Bun may run microtasks while it closes a socket, and they may collect what is left.
    this.#waiter?.close();
    return keepsMemory;
  }

  /** Ends once its writer is closed and everything is released. */
  endIfReleased(): void {
    if (!this.#hasLeft || this.#isClosed || this.references > 0) return;
    this.#close();
    this.#buffer.memory.close();
  }

  /** The source ends: its references are forgotten. */
  endWithSource(): void {
    if (!this.#hasLeft) this.#owner.onSourceClosed();
    if (this.#isClosed) return;
    const isLingering = this.#hasLeft;
    takeAllSteps(
      () => isLingering || this.#request === "none" || this.#takeBack(),
      () => this.ring.leave(),
      () => this.#close(),
      () => this.#waiter?.close(),
      () => isLingering && this.#buffer.memory.close(),
    );
  }

  #close(): void {
    this.#isClosed = true;
    this.source.remove(this);
    this.ring.close();
  }
}

/** A new id of an attachment: random, even, not 0. */
function newId(): bigint {
  const [id = 0n] = crypto.getRandomValues(new BigUint64Array(1));
  return id < 2n ? newId() : id & ~1n;
}
