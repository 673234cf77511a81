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
import { statusOf } from "./objects.ts";

const SUFFIX = ".lock";

/** A process that only asks whether a lock is held has it for an instant; an owner has it for longer than this, in ms. */
export const PROBE_PATIENCE_MS = 50;

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

/** All locks of one buffer name, held by this process. */
export class BufferLocks {
  readonly #locks: readonly LockFile[];

  private constructor(locks: readonly LockFile[]) {
    this.#locks = locks;
  }

  /**
   * Takes the locks of `name`, and creates missing files. If a lock is held, tries for `patienceMs`, blocking the thread.
   *
   * @throws ReaderAlreadyConnectedError if one of them is held; PermissionDeniedError if the directory or a lock file
   *   cannot be trusted or used.
   */
  static take(name: string, patienceMs = PROBE_PATIENCE_MS): BufferLocks {
    const fault = prepareLockDirectory();
    if (fault !== undefined) {
      throw new PermissionDeniedError(`The lock directory ${LOCK_DIRECTORY} is refused: ${fault.reason}.`, {
        buffer: name,
        hint: fault.remedy === undefined ? ROOM_FOR_FILES : advice(fault.remedy),
      });
    }
    const locks: LockFile[] = [];
    for (const directory of [LOCK_DIRECTORY, ...prepareForeignLockDirectories()]) {
      const path = lockPath(directory, name);
      const lock = openPatiently(path, patienceMs);
      if (lock instanceof LockFile) {
        locks.push(lock);
        continue;
      }
      for (const taken of locks) taken.close({ remove: true });
      throw lock === Code.LOCKED ? alreadyOwned(name) : lockFailure(lock, name, path);
    }
    return new BufferLocks(locks);
  }

  /** Takes the locks of `name` if its main lock file exists and no lock is held; undefined otherwise. */
  static takeAbandoned(name: string): BufferLocks | undefined {
    const [directory, ...foreign] = trustedLockDirectories();
    if (directory !== LOCK_DIRECTORY) return undefined;
    const main = LockFile.open(lockPath(directory, name), false);
    if (!(main instanceof LockFile)) return undefined;
    const locks = [main];
    for (const directory of foreign) {
      const lock = LockFile.open(lockPath(directory, name), false);
      if (lock instanceof LockFile) {
        locks.push(lock);
      } else if (lock !== Code.NOT_FOUND) {
        for (const taken of locks) taken.close({ remove: false });
        return undefined;
      }
    }
    return new BufferLocks(locks);
  }

  /** Whether a process holds one of the locks of `name`. */
  static areHeld(name: string): boolean {
    return [LOCK_DIRECTORY, ...foreignLockDirectories()].some((directory) =>
      LockFile.isHeld(lockPath(directory, name)),
    );
  }

  /** Releases the locks; with `remove`, removes their files first. */
  release({ remove }: { remove: boolean }): void {
    for (const lock of this.#locks) lock.close({ remove });
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

/** The error of a second reader. `pid` is that of the first, if it is known. */
export function alreadyOwned(name: string, pid?: number): ReaderAlreadyConnectedError {
  const owner = pid === undefined ? "" : ` (process ${pid})`;
  return new ReaderAlreadyConnectedError(`Buffer "${name}" has a reader already${owner}.`, {
    buffer: name,
    hint: "A buffer has one reader: end the other one, or use another name.",
  });
}

function openPatiently(path: string, patienceMs: number): LockFile | Code {
  for (let waitedMs = 0; ; waitedMs += 5) {
    const lock = LockFile.open(path, true);
    if (lock !== Code.LOCKED || waitedMs >= patienceMs) return lock;
    Bun.sleepSync(5);
  }
}
