// The operating-system objects of one buffer, as this process has them.

import type { Code } from "../../native/codes.ts";
import { Role, type SharedMemory } from "../../native/memory.ts";
import { Semaphore } from "../../native/semaphore.ts";
import { takeAllSteps } from "../../runtime/steps.ts";
import type { BufferSizes } from "../config.ts";
import { BufferLocks } from "./locks.ts";
import { decodeOieb, type Oieb } from "./oieb.ts";

/** The operating-system objects of one buffer, opened by this process; without locks they belong to the peer. */
export class SharedBuffer {
  readonly name: string;
  readonly sizes: BufferSizes;
  readonly memory: SharedMemory;
  /** One token a frame written. */
  readonly written: Semaphore;
  /** One token a frame released. */
  readonly released: Semaphore;
  readonly #locks: BufferLocks | undefined;

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

  /** The OIEB as it is now. */
  loadOieb(): Oieb {
    return decodeOieb(this.memory.loadOieb());
  }

  /** Removes the names of the semaphores and of the memory, as far as they still mean them. */
  unlink(): void {
    takeAllSteps(
      () => this.written.unlink(),
      () => this.released.unlink(),
      () => this.memory.unlink(),
    );
  }

  /** Removes a buffer that this process made for a reader that never came, lock files included. */
  abandon(): void {
    takeAllSteps(
      () => this.unlink(),
      () => BufferLocks.takeAbandoned(this.name)?.release({ remove: true }),
    );
  }

  /** Closes everything; the locks, if they are ours, last of all. */
  close(): void {
    takeAllSteps(
      () => this.memory.close(),
      () => this.written.close(),
      () => this.released.close(),
      () => this.#locks?.release({ remove: true }),
    );
  }
}

/** The two semaphores of a buffer. */
export interface SemaphorePair {
  readonly written: Semaphore;
  readonly released: Semaphore;
}

/** Opens both semaphores of a buffer, or neither. */
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

/** Closes both. */
export function closeSemaphores({ written, released }: SemaphorePair): void {
  written.close();
  released.close();
}
