// The directories of lock files: which there are, who may use them, and how they are created (docs/protocol.md, section 5.1).

import type { Stats } from "node:fs";
import { files, paths } from "../../runtime/files.ts";
import { faultOfWriting, opening, quoted } from "../machine.ts";
import { statusOf } from "./objects.ts";

/**
 * Where every implementation but the C# one has its locks: among the temporary files that processes of all users share;
 * on Windows each user has a directory.
 */
export const LOCK_DIRECTORY =
  process.platform === "win32"
    ? paths().join(process.env.TEMP || process.env.TMP || "C:\\Windows\\Temp", "zerobuffer")
    : "/tmp/zerobuffer";

export const SEPARATOR = process.platform === "win32" ? "\\" : "/";

const STICKY = 0o1000;

/** The mode of a lock directory: every user may create files there, and remove only files of their own. */
export const OPEN_TO_EVERYBODY = STICKY | 0o777;

/** Why a lock directory cannot be used. */
export interface DirectoryFault {
  /** As half a sentence, whose subject is the directory. */
  readonly reason: string;
  /** The shell command that changes that; undefined if files have to be removed from the file system. */
  readonly remedy: string | undefined;
}

/** The C# implementation's lock directories: the usual one, and the one that this TMPDIR gives it. */
export function foreignLockDirectories(): string[] {
  const usual = `${LOCK_DIRECTORY}${SEPARATOR}locks`;
  const { TMPDIR } = process.env;
  return TMPDIR ? [...new Set([usual, paths().join(TMPDIR, "zerobuffer", "locks")])] : [usual];
}

/** The directories of all implementations that exist and whose files nobody else can replace, the main one first. */
export function trustedLockDirectories(): string[] {
  const foreign = foreignLockDirectories().filter((path) => distrust(parentOf(path)) === undefined);
  return [LOCK_DIRECTORY, ...foreign].filter((path) => distrust(path) === undefined);
}

/** Creates the main directory if it is missing. Returns why it cannot be used. */
export function prepareLockDirectory(): DirectoryFault | undefined {
  return prepare(LOCK_DIRECTORY);
}

/** Creates the C# directories that are missing. Returns those that can be used; the others are passed over. */
export function prepareForeignLockDirectories(): string[] {
  return foreignLockDirectories().filter((path) => {
    // The directory above has to exist and be trusted, no more: somebody else may own it.
    if (statusOf(parentOf(path)) === undefined) prepare(parentOf(path));
    return distrust(parentOf(path)) === undefined && prepare(path) === undefined;
  });
}

function prepare(path: string): DirectoryFault | undefined {
  try {
    files().mkdirSync(path, OPEN_TO_EVERYBODY);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOSPC") return { reason: "it is missing, and its file system is full", remedy: undefined };
    if (code !== "EEXIST") return faultOfLockDirectory(path);
  }
  if (distrust(path) === undefined) openToEverybody(path);
  return faultOfLockDirectory(path);
}

/** The umask, and other implementations, keep other users out of a directory that this user has created. */
function openToEverybody(path: string): void {
  const status = statusOf(path);
  if (status === undefined || !isOwn(status) || (status.mode & 0o7777) === OPEN_TO_EVERYBODY) return;
  try {
    files().chmodSync(path, OPEN_TO_EVERYBODY);
  } catch {
    // It stays as it is, and may still be usable for this user.
  }
}

/** Why a lock directory cannot be used. Changes nothing. */
export function faultOfLockDirectory(path: string): DirectoryFault | undefined {
  const status = statusOf(path);
  if (status === undefined) {
    const parent = parentOf(path);
    if (statusOf(parent) === undefined)
      return { reason: `it is missing, and so is ${parent}`, remedy: creation(parent) };
    const denied = faultOfWriting(parent) ?? "cannot be written";
    return { reason: `it is missing, and ${parent} ${denied}`, remedy: opening(parent) };
  }
  const denied = faultOfWriting(path);
  const reason = distrust(path) ?? (denied && `it ${denied}`);
  if (reason === undefined) return undefined;
  return { reason, remedy: status.isDirectory() ? opening(path) : removal(path) };
}

/** What speaks against trusting the files in a directory, as half a sentence; undefined if nothing does. */
function distrust(path: string): string | undefined {
  const status = statusOf(path);
  if (status === undefined) return "it is missing";
  if (!status.isDirectory()) return "it is not a directory";
  if (!isOwn(status) && (status.mode & STICKY) === 0) {
    return "it belongs to another user and is not sticky: every user who can write there could replace our files";
  }
  return undefined;
}

/** Whether a file belongs to the user of this process. On Windows lock directories have one user each. */
function isOwn({ uid }: Stats): boolean {
  return process.geteuid === undefined || uid === process.geteuid();
}

/** The directory that a lock directory is in. */
function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf(SEPARATOR));
}

// ---- remedies ------------------------------------------------------------------------------------------------------

const isWindows = process.platform === "win32";

function creation(directory: string): string {
  return isWindows ? `mkdir "${directory}"` : `mkdir -p -m 1777 ${quoted(directory)}`;
}

function removal(path: string): string {
  return isWindows ? `del "${path}"` : `rm ${quoted(path)}`;
}
