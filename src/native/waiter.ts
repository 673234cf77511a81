// Waiting without blocking the event loop.

import { type Bell, openBell } from "./bell.ts";
import type { Code } from "./codes.ts";
import { Handle, receive } from "./handle.ts";
import { native } from "./library.ts";
import type { Semaphore } from "./semaphore.ts";
import type { Address } from "./symbols.ts";

/** Waits for a semaphore in a thread of the helper's, so that the event loop keeps turning and idles at no cost. */
export class Waiter extends Handle {
  readonly #bell: Bell;
  #ring: Promise<void> | undefined;

  private constructor(address: Address, descriptor: number) {
    super(address);
    this.#bell = openBell(descriptor);
  }

  /** NO_MEMORY, NO_DESCRIPTORS. */
  static open(semaphore: Semaphore): Waiter | Code {
    const descriptor = new Int32Array(1);
    const opened = receive((result) => native.zb_waiter_open(semaphore.address, descriptor, result));
    return typeof opened === "number" ? new Waiter(opened, descriptor[0] as number) : opened.code;
  }

  /** Resolves when the semaphore has a token, which stays there, after `waitUs` microseconds, or when closed. */
  wait(waitUs: number): Promise<void> {
    // Somebody asked for a wait before and may have given up: this one lasts no longer for it.
    if (this.#ring !== undefined) return Promise.race([this.#ring, Bun.sleep(Math.ceil(waitUs / 1000))]);
    native.zb_waiter_arm(this.address, waitUs);
    this.#ring = this.#bell.next().then(() => {
      this.#ring = undefined;
    });
    return this.#ring;
  }

  close(): void {
    this.end((address) => {
      native.zb_waiter_close(address);
      this.#bell.close();
    });
  }
}
