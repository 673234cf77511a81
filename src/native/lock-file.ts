// Lock files.

import type { Code } from "./codes.ts";
import { cString, Handle, receive } from "./handle.ts";
import { native } from "./library.ts";

/** A lock file that this process has locked. The lock ends with the process at the latest. */
export class LockFile extends Handle {
  /** Locks without waiting; `create` makes a missing file. LOCKED, NOT_FOUND, UNSAFE, PERMISSION. */
  static open(path: string, create: boolean): LockFile | Code {
    const opened = receive((result) => native.zb_lock_open(cString(path), create ? 1 : 0, result));
    return typeof opened === "number" ? new LockFile(opened) : opened.code;
  }

  /** Whether somebody holds the lock; false also if that cannot be found out. */
  static isHeld(path: string): boolean {
    return native.zb_lock_held(cString(path)) === 1;
  }

  /** Unlocks, and with `remove` takes the file away as well. */
  close({ remove }: { remove: boolean }): void {
    this.end((address) => native.zb_lock_close(address, remove ? 1 : 0));
  }
}
