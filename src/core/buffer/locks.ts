// The lock files that say who owns a buffer.

import { Code } from "../../native/codes.ts";
import { LockFile } from "../../native/lock-file.ts";
import { sleep } from "../../native/process.ts";
import { files, paths } from "../../runtime/files.ts";
import { PermissionDeniedError, ReaderAlreadyConnectedError } from "../errors.ts";
import { failure } from "../failures.ts";
import { isName } from "./names.ts";
import { statusOf } from "./objects.ts";

/**
 * Where every implementation but the C# one has its locks: among the temporary files that processes of all users share;
 * on Windows each user has his own.
 */
export const LOCK_DIRECTORY =
  process.platform === "win32"
    ? paths().join(process.env.TEMP || process.env.TMP || "C:\\Windows\\Temp", "zerobuffer")
    : "/tmp/zerobuffer";

const SEPARATOR = process.platform === "win32" ? "\\" : "/";

const SUFFIX = ".lock";

const STICKY = 0o1000;

/** Somebody who only looks whether a lock is held has it for an instant; an owner has it for longer than this. */
export const PROBE_PATIENCE_MS = 50;

/** The C# implementation's lock directories: the usual one, and the one that this TMPDIR gives it. */
export function foreignLockDirectories(): string[] {
  const usual = `${LOCK_DIRECTORY}${SEPARATOR}locks`;
  const { TMPDIR } = process.env;
  return TMPDIR ? [...new Set([usual, paths().join(TMPDIR, "zerobuffer", "locks")])] : [usual];
}

/** The directory that a C# lock directory is in. */
function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf(SEPARATOR));
}

/** The directories of all implementations' locks that are there and can be trusted, the main one first. */
function trustedLockDirectories(): string[] {
  const foreign = foreignLockDirectories().filter((path) => isTrusted(parentOf(path)));
  return [LOCK_DIRECTORY, ...foreign].filter(isTrusted);
}

function lockPath(directory: string, name: string): string {
  return `${directory}${SEPARATOR}${name}${SUFFIX}`;
}

/** The names that have a lock file in one of the directories. */
export function namesOfLocks(): Set<string> {
  const files = trustedLockDirectories().flatMap(filesIn);
  const names = files.filter((file) => file.endsWith(SUFFIX)).map((file) => file.slice(0, -SUFFIX.length));
  return new Set(names.filter(isName));
}

/** The lock files of `name` that are there, whether held or not. */
export function lockFilesOf(name: string): string[] {
  const paths = trustedLockDirectories().map((directory) => lockPath(directory, name));
  return paths.filter((path) => statusOf(path) !== undefined);
}

/** Makes the directory for everybody, if it is missing. Returns what speaks against using it. */
function prepareDirectory(path: string): string | undefined {
  try {
    files().mkdirSync(path);
    files().chmodSync(path, STICKY | 0o777);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") return (error as Error).message;
  }
  return faultOfLockDirectory(path);
}

/** What speaks against trusting a lock directory, as half a sentence; undefined if nothing does. */
export function faultOfLockDirectory(path: string): string | undefined {
  const status = statusOf(path);
  if (status === undefined) return "it is missing";
  if (!status.isDirectory()) return "it is not a directory";
  const isShared = process.geteuid !== undefined && status.uid !== process.geteuid();
  if (isShared && (status.mode & STICKY) === 0) {
    return "it belongs to another user and is not sticky, so that its owner could replace our files";
  }
  return undefined;
}

function filesIn(directory: string): string[] {
  try {
    return files().readdirSync(directory);
  } catch {
    return []; // it may not be read, or is gone
  }
}

function isTrusted(directory: string): boolean {
  return faultOfLockDirectory(directory) === undefined;
}

/** All locks of one buffer name, held by this process. */
export class BufferLocks {
  readonly #locks: readonly LockFile[];

  private constructor(locks: readonly LockFile[]) {
    this.#locks = locks;
  }

  /**
   * Takes the locks of `name`, making what is missing. If one is held, tries for `patienceMs`, blocking the thread.
   *
   * @throws ReaderAlreadyConnectedError if one of them is held; PermissionDeniedError if the directory or a lock file
   *   cannot be trusted or used.
   */
  static take(name: string, patienceMs = PROBE_PATIENCE_MS): BufferLocks {
    const fault = prepareDirectory(LOCK_DIRECTORY);
    if (fault !== undefined) {
      throw new PermissionDeniedError(`The lock directory ${LOCK_DIRECTORY} is refused: ${fault}.`, {
        buffer: name,
        hint: `Remove it, or make it a directory with mode 1777: chmod 1777 ${LOCK_DIRECTORY}.`,
      });
    }
    const usable = foreignLockDirectories().filter(
      (path) => prepareDirectory(parentOf(path)) === undefined && prepareDirectory(path) === undefined,
    );
    const locks: LockFile[] = [];
    for (const directory of [LOCK_DIRECTORY, ...usable]) {
      const lock = openPatiently(lockPath(directory, name), patienceMs);
      if (lock instanceof LockFile) {
        locks.push(lock);
        continue;
      }
      for (const taken of locks) taken.close({ remove: true });
      throw lock === Code.LOCKED ? alreadyOwned(name) : failure(lock, name, `The lock of buffer "${name}"`);
    }
    return new BufferLocks(locks);
  }

  /** Takes the locks of `name` if its main lock file is there and nobody holds any; undefined otherwise. */
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

  /** Whether somebody holds one of the locks of `name`. */
  static areHeld(name: string): boolean {
    return [LOCK_DIRECTORY, ...foreignLockDirectories()].some((directory) =>
      LockFile.isHeld(lockPath(directory, name)),
    );
  }

  /** Gives the locks back; with `remove`, takes their files away as well. */
  release({ remove }: { remove: boolean }): void {
    for (const lock of this.#locks) lock.close({ remove });
  }
}

/** The error of a second reader. `pid`, where it is known, is that of the first. */
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
    sleep(5);
  }
}
