// The lock files of buffers: the reader of a buffer holds them (docs/protocol.md, section 5.1).

import { Code } from "../../native/codes.ts";
import { LockFile } from "../../native/lock-file.ts";
import { files } from "../../runtime/files.ts";
import { PermissionDeniedError, ReaderAlreadyConnectedError, type ZeroBufferError } from "../errors.ts";
import { failure, ROOM_FOR_FILES } from "../failures.ts";
import { advice } from "../machine.ts";
import {
  foreignLockDirectories,
  LOCK_DIRECTORY,
  prepareForeignLockDirectories,
  prepareLockDirectory,
  SEPARATOR,
  trustedLockDirectories,
} from "./lock-directories.ts";
import { isName } from "./names.ts";
import { memoryPath, statusOf } from "./objects.ts";

const SUFFIX = ".lock";

/** A process that only asks whether a lock is held has it for an instant; an owner has it for longer than this, in ms. */
export const PROBE_PATIENCE_MS = 50;

/** A reader of version 1 makes its lock file at most this long before its memory, in milliseconds. */
const LOCK_BEFORE_MEMORY_MS = 1000;

function lockPath(directory: string, name: string): string {
  return `${directory}${SEPARATOR}${name}${SUFFIX}`;
}

/** The names that have a lock file in one of the directories. */
export function namesOfLocks(): Set<string> {
  const files = trustedLockDirectories().flatMap(filesIn);
  const names = files.filter((file) => file.endsWith(SUFFIX)).map((file) => file.slice(0, -SUFFIX.length));
  return new Set(names.filter(isName));
}

/** The lock files of `name` that exist, whether held or not. */
export function lockFilesOf(name: string): string[] {
  const paths = trustedLockDirectories().map((directory) => lockPath(directory, name));
  return paths.filter((path) => statusOf(path) !== undefined);
}

function filesIn(directory: string): string[] {
  try {
    return files().readdirSync(directory);
  } catch {
    return []; // the directory may not be read, or is gone
  }
}

/**
 * Whether the lock file that the reader of a buffer has made with its memory lies here, and nobody holds it. In another /tmp
 * there may be another one.
 */
export function hasLeftLock(name: string): boolean {
  const memory = statusOf(memoryPath(name));
  if (memory === undefined) return false;
  return lockFilesOf(name).some((path) => {
    const lock = statusOf(path);
    if (lock === undefined || lock.uid !== memory.uid || LockFile.isHeld(path)) return false;
    const before = memory.birthtimeMs - lock.birthtimeMs;
    return before >= 0 && before <= LOCK_BEFORE_MEMORY_MS;
  });
}

/** How the locks of a name are given up: with or without their files, or without those that were made with them. */
export type LockRemoval = "all" | "none" | "new";

/** All locks of one buffer name, held by this process. */
export class BufferLocks {
  readonly #locks: ReadonlyMap<LockFile, { readonly isNew: boolean }>;

  private constructor(locks: ReadonlyMap<LockFile, { readonly isNew: boolean }>) {
    this.#locks = locks;
  }

  /**
   * Takes the locks of `name`, and creates missing files. Never waits.
   *
   * @returns undefined if one of them is held.
   * @throws PermissionDeniedError if the directory or a lock file cannot be trusted or used.
   */
  static take(name: string): BufferLocks | undefined {
    const fault = prepareLockDirectory();
    if (fault !== undefined) {
      throw new PermissionDeniedError(`The lock directory ${LOCK_DIRECTORY} is refused: ${fault.reason}.`, {
        buffer: name,
        hint: fault.remedy === undefined ? ROOM_FOR_FILES : advice(fault.remedy),
      });
    }
    const locks = new Map<LockFile, { isNew: boolean }>();
    for (const directory of [LOCK_DIRECTORY, ...prepareForeignLockDirectories()]) {
      const path = lockPath(directory, name);
      const isNew = statusOf(path) === undefined;
      const lock = LockFile.open(path, true);
      if (lock instanceof LockFile) {
        locks.set(lock, { isNew });
        continue;
      }
      new BufferLocks(locks).release("new");
      if (lock === Code.LOCKED) return undefined;
      throw lockFailure(lock, name, path);
    }
    return new BufferLocks(locks);
  }

  /** Takes the lock files of `name` that exist, if there are any and none of them is held; undefined otherwise. */
  static takeAbandoned(name: string): BufferLocks | undefined {
    const locks = new Map<LockFile, { isNew: boolean }>();
    for (const directory of trustedLockDirectories()) {
      const lock = LockFile.open(lockPath(directory, name), false);
      if (lock instanceof LockFile) {
        locks.set(lock, { isNew: false });
      } else if (lock !== Code.NOT_FOUND) {
        new BufferLocks(locks).release("none");
        return undefined;
      }
    }
    return locks.size === 0 ? undefined : new BufferLocks(locks);
  }

  /** Whether a process holds one of the locks of `name`. */
  static areHeld(name: string): boolean {
    return [LOCK_DIRECTORY, ...foreignLockDirectories()].some((directory) =>
      LockFile.isHeld(lockPath(directory, name)),
    );
  }

  /** Gives the locks up, and removes their files first: all that are this user's, none, or those that were made with them. */
  release(removal: LockRemoval): void {
    for (const [lock, { isNew }] of this.#locks) {
      lock.close({ remove: removal === "all" || (removal === "new" && isNew) });
    }
  }
}

function lockFailure(code: Code, name: string, path: string): ZeroBufferError {
  const error = failure(code, name, `The lock file ${path}`);
  if (code !== Code.PERMISSION) return error;
  return new PermissionDeniedError(error.message, {
    buffer: name,
    hint: "Another user has created it: use another name, or remove it as that user.",
  });
}

/** The error of a second reader. `pid` is that of the first; 0: it is not known. */
export function alreadyOwned(name: string, pid = 0n): ReaderAlreadyConnectedError {
  const owner = pid === 0n ? "" : ` (process ${pid})`;
  return new ReaderAlreadyConnectedError(`Buffer "${name}" has a reader already${owner}.`, {
    buffer: name,
    hint: "A buffer has one reader: end the other one, or use another name.",
  });
}
