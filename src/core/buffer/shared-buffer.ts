// The operating-system objects of one buffer that this process has open.

import type { Code } from "../../native/codes.ts";
import { Role, type SharedMemory } from "../../native/memory.ts";
import { Semaphore } from "../../native/semaphore.ts";
import { takeAllSteps } from "../../runtime/steps.ts";
import type { BufferSizes } from "../config.ts";
import { BufferLocks } from "./locks.ts";
import { decodeOieb, type Oieb } from "./oieb.ts";
import { areRolesLocked } from "./presence.ts";

/** The operating-system objects of one buffer, open in this process. The process with the locks owns the buffer. */
export class SharedBuffer {
  readonly name: string;
  readonly sizes: BufferSizes;
  readonly memory: SharedMemory;
  /** Has one token per frame that was written. */
  readonly written: Semaphore;
  /** Has one token per frame that was released. */
  readonly released: Semaphore;
  readonly #locks: BufferLocks | undefined;

  /** @param locks of the buffer, if this process owns it: they are given up by {@link close}. */
  constructor(
    name: string,
    sizes: BufferSizes,
    memory: SharedMemory,
    semaphores: SemaphorePair,
    locks: BufferLocks | undefined,
  ) {
    this.name = name;
    this.sizes = { metadataSize: sizes.metadataSize, payloadSize: sizes.payloadSize };
    this.memory = memory;
    this.written = semaphores.written;
    this.released = semaphores.released;
    this.#locks = locks;
  }

  /** Reads the OIEB. */
  loadOieb(): Oieb {
    return decodeOieb(this.memory.loadOieb());
  }

  /** Gives the writer's role up, and wakes a reader of this package. */
  leaveAsWriter(): void {
    const { memory } = this;
    // A v1 writer that was refused may have overwritten the pid with 0, or taken the place.
    const isHeld = memory.restore(Role.WRITER, process.pid);
    takeAllSteps(
      () => memory.claim(Role.WRITER, process.pid, 0),
      () => memory.unlockRole(Role.WRITER),
      // A v1 reader would take a token without a frame for the end, or for a frame of the next writer.
      () => isHeld && areRolesLocked(this.loadOieb()) && this.written.post(),
    );
  }

  /** Removes the names of the semaphores and of the memory if they still mean these objects. */
  unlink(): void {
    takeAllSteps(
      () => this.written.unlink(),
      () => this.released.unlink(),
      () => this.memory.unlink(),
    );
  }

  /** Removes a buffer that this process has made for a reader that has not come, and its lock files. */
  abandon(): void {
    takeAllSteps(
      () => this.unlink(),
      () => BufferLocks.takeAbandoned(this.name)?.release("all"),
    );
  }

  /**
   * Closes all objects but the memory, which stays open: somebody has a use for it after the role is given up. An abandoned
   * role is given up as by a death.
   */
  closeExceptMemory(): void {
    takeAllSteps(
      () => this.written.close(),
      () => this.released.close(),
      () => this.#locks?.release("all"),
      () => this.memory.resign(),
    );
  }

  /**
   * {@link close} for a reader whose role must stay held until its process ends: somebody still reads what it has given away.
   * The views of the memory are detached.
   */
  closeExceptRole(): void {
    takeAllSteps(
      () => this.written.close(),
      () => this.released.close(),
      () => this.#locks?.release("all"),
      () => this.memory.detachViews(),
    );
  }

  /** Closes all objects. The locks of roles are given up last, and freeing the memory keeps nobody waiting. */
  close(): void {
    takeAllSteps(
      () => this.written.close(),
      () => this.released.close(),
      () => this.#locks?.release("all"),
      () => this.memory.close(),
    );
  }
}

/** The two semaphores of a buffer. */
export interface SemaphorePair {
  readonly written: Semaphore;
  readonly released: Semaphore;
}

/** Opens both semaphores of a buffer. If one of them cannot be opened, returns its code and leaves none open. */
export function openSemaphores(name: string): SemaphorePair | Code {
  const written = Semaphore.open(name, Role.WRITER);
  if (typeof written === "number") return written;
  const released = Semaphore.open(name, Role.READER);
  if (typeof released === "number") {
    written.close();
    return released;
  }
  return { written, released };
}

/** Closes both semaphores. */
export function closeSemaphores({ written, released }: SemaphorePair): void {
  written.close();
  released.close();
}
