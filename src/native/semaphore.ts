// The semaphores of a buffer.

import type { Code } from "./codes.ts";
import { cString, Handle, type Mode, modeArgument, receive } from "./handle.ts";
import { native } from "./library.ts";
import type { Role } from "./memory.ts";

/** One of the two semaphores of a buffer. Its creator unlinks it. */
export class Semaphore extends Handle {
  /** Makes it with value 0. EXISTS, NO_SPACE, PERMISSION. */
  static create(name: string, role: Role, mode: Mode): Semaphore | Code {
    const made = receive((result) =>
      native.zb_semaphore_create(cString(name), role, modeArgument(mode), result),
    );
    return typeof made === "number" ? new Semaphore(made) : made.code;
  }

  /** NOT_FOUND, AGAIN while it is being made, UNSAFE, PERMISSION. */
  static open(name: string, role: Role): Semaphore | Code {
    const opened = receive((result) => native.zb_semaphore_open(cString(name), role, result));
    return typeof opened === "number" ? new Semaphore(opened) : opened.code;
  }

  /** {@link open} for {@link value} only: permission to read is enough. */
  static view(name: string, role: Role): Semaphore | Code {
    const opened = receive((result) => native.zb_semaphore_view(cString(name), role, result));
    return typeof opened === "number" ? new Semaphore(opened) : opened.code;
  }

  /** Removes a leftover; only with the locks of the buffer held. */
  static remove(name: string, role: Role): void {
    native.zb_semaphore_remove(cString(name), role);
  }

  get value(): number {
    return native.zb_semaphore_value(this.address);
  }

  post(count = 1): void {
    native.zb_semaphore_post(this.address, count);
  }

  /** Removes the name if it still means this semaphore. */
  unlink(): void {
    native.zb_semaphore_unlink(this.address);
  }

  close(): void {
    this.end((address) => native.zb_semaphore_close(address));
  }
}
