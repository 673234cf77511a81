// The semaphores of a buffer.

import type { Code } from "./codes.ts";
import { cString, Handle, type Mode, modeArgument, openHandle } from "./handle.ts";
import { native } from "./library.ts";
import type { Role } from "./memory.ts";

/** One of the two semaphores of a buffer. The process that has created it removes its name. */
export class Semaphore extends Handle {
  /** Creates the semaphore of a role, with value 0. EXISTS, NO_SPACE, PERMISSION. */
  static create(name: string, role: Role, mode: Mode): Semaphore | Code {
    return openHandle(
      (result) => native.zb_semaphore_create(cString(name), role, modeArgument(mode), result),
      (address) => new Semaphore(address),
    );
  }

  /** Opens the semaphore of a role. NOT_FOUND, UNSAFE, PERMISSION. AGAIN: it is not complete yet. */
  static open(name: string, role: Role): Semaphore | Code {
    return openHandle(
      (result) => native.zb_semaphore_open(cString(name), role, result),
      (address) => new Semaphore(address),
    );
  }

  /** As {@link open}, but only for {@link value}: permission to read is enough. */
  static view(name: string, role: Role): Semaphore | Code {
    return openHandle(
      (result) => native.zb_semaphore_view(cString(name), role, result),
      (address) => new Semaphore(address),
    );
  }

  /** Removes the name of a semaphore that is left over. The caller holds the locks of the buffer. */
  static remove(name: string, role: Role): void {
    native.zb_semaphore_remove(cString(name), role);
  }

  /** The number of tokens. macOS tells only whether there are any: 1 or 0. */
  get value(): number {
    return native.zb_semaphore_value(this.address);
  }

  /** The number of threads that sleep until there is a token; undefined if the system does not tell. */
  get waiters(): number | undefined {
    const answer = native.zb_semaphore_waiters(this.address);
    return answer < 0 ? undefined : answer;
  }

  /** Adds `count` tokens, from 1 to 2^31 - 1. A full semaphore takes none. */
  post(count = 1): void {
    native.zb_semaphore_post(this.address, count);
  }

  /** Takes all tokens. */
  clear(): void {
    native.zb_semaphore_clear(this.address);
  }

  /** Removes the name if it still means this semaphore. */
  unlink(): void {
    native.zb_semaphore_unlink(this.address);
  }

  close(): void {
    this.end((address) => native.zb_semaphore_close(address));
  }
}
