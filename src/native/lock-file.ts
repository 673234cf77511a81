// Lock files.

import type { Code } from "./codes.ts";
import { cString, Handle, openHandle } from "./handle.ts";
import { native } from "./library.ts";

/** A lock file that this thread has locked. The lock ends with the thread at the latest. */
export class LockFile extends Handle {
  /**
   * Locks the file without waiting. With `create`, a missing file is created. LOCKED, NOT_FOUND, PERMISSION. UNSAFE:
   * it is not a regular file with one name.
   */
  static open(path: string, create: boolean): LockFile | Code {
    return openHandle(
      (result) => native.zb_lock_open(cString(path), create ? 1 : 0, result),
      (address) => new LockFile(address),
    );
  }

  /** Whether a process holds the lock. Also false if that cannot be found out. */
  static isHeld(path: string): boolean {
    return native.zb_lock_held(cString(path)) === 1;
  }

  /** Unlocks the file. With `remove`, the file is removed if the path still means it. */
  close({ remove }: { remove: boolean }): void {
    this.end((address) => native.zb_lock_close(address, remove ? 1 : 0));
  }
}
