// Waiting without blocking the event loop.

import { Bell } from "./bell.ts";
import type { Code } from "./codes.ts";
import { Handle, openHandle } from "./handle.ts";
import { native } from "./library.ts";
import type { Semaphore } from "./semaphore.ts";
import type { Address } from "./symbols.ts";

/**
 * Waits for a semaphore, in the kernel or in a thread of the helper's, so that the event loop goes on and costs nothing
 * while it is idle.
 */
export class Waiter extends Handle {
  readonly #bell: Bell;
  /** The wait of the helper: when it rings at the latest, by `performance.now()`, and what it settles then. */
  #armed: { readonly untilMs: number; readonly rung: Promise<void> } | undefined;
  /** End the waits that only a timer ends. */
  readonly #sleepers = new Set<() => void>();

  private constructor(address: Address, bell: Bell) {
    super(address);
    this.#bell = bell;
  }

  /**
   * NO_MEMORY, NO_DESCRIPTORS.
   *
   * @throws Error if the semaphore is closed, also if that happens meanwhile: Bun runs microtasks while it connects a socket.
   */
  static open(semaphore: Semaphore): Waiter | Code {
    const descriptor = new Int32Array(1);
    const waiter = openHandle(
      (result) => native.zb_waiter_open(semaphore.address, descriptor, result),
      (address) => {
        try {
          return new Waiter(address, Bell.open(descriptor[0] as number));
        } catch (error) {
          native.zb_waiter_close(address);
          throw error;
        }
      },
    );
    if (typeof waiter !== "number" && semaphore.isClosed) {
      waiter.close();
      throw new Error("Semaphore is closed");
    }
    return waiter;
  }

  /**
   * Resolves when the semaphore has a token, which stays there, after `waitUs` microseconds (up to 2^31), or when the
   * waiter is closed. While another wait is under way that was to end earlier, it resolves with that one: ask again
   * then.
   *
   * @throws Error once the waiter is closed.
   */
  wait(waitUs: number): Promise<void> {
    const { address } = this;
    const untilMs = performance.now() + waitUs / 1000;
    // An earlier wait that was given up goes on. It must not make this one last longer.
    const isShorter = this.#armed !== undefined && untilMs < this.#armed.untilMs;
    if (isShorter || this.#bell.isOver) return this.#sleep(waitUs / 1000);
    if (this.#armed === undefined) {
      native.zb_waiter_arm(address, waitUs);
      this.#armed = { untilMs, rung: this.#bell.next().then(() => this.#onRung()) };
    }
    return this.#armed.rung;
  }

  #onRung(): void {
    if (!this.isClosed) native.zb_waiter_heard(this.address);
    this.#armed = undefined;
    for (const wake of this.#sleepers) wake();
  }

  /**
   * Resolves after the time, or when the bell rings. Without a bell, waits end with their time, as if no token had
   * come.
   */
  #sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#sleepers.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, Math.ceil(milliseconds));
      this.#sleepers.add(wake);
    });
  }

  /** Ends all waits. */
  close(): void {
    this.end((address) => {
      try {
        native.zb_waiter_close(address);
      } finally {
        this.#bell.close();
        this.#onRung();
      }
    });
  }
}
