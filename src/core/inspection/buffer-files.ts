// The files of a buffer: who owns them, and who may use them.

import { Role } from "../../native/memory.ts";
import { files } from "../../runtime/files.ts";
import { lockFilesOf } from "../buffer/locks.ts";
import { memoryPath, semaphorePath, statusOf } from "../buffer/objects.ts";

/** A file of a buffer. */
export interface BufferFile {
  /** Where it is. */
  readonly path: string;
  /** The user who owns it. */
  readonly owner: Account;
  /** The group that it belongs to. */
  readonly group: Account;
  /** Its permission bits: 0o660 for example. */
  readonly mode: number;
}

/** A user or a group. */
export interface Account {
  /** Its number; null on Windows. */
  readonly id: number | null;
  /** Its name in /etc/passwd or /etc/group; null if it has none there. */
  readonly name: string | null;
}

/**
 * The files of a buffer that exist and that this user may see: on Linux those of its memory and of its semaphores, everywhere
 * its lock files.
 */
export function filesOf(name: string): BufferFile[] {
  const memory = [memoryPath(name), semaphorePath(name, Role.WRITER), semaphorePath(name, Role.READER)];
  const userName = namesIn("/etc/passwd");
  const groupName = namesIn("/etc/group");
  return [...memory, ...lockFilesOf(name)].flatMap((path) => {
    const status = statusOf(path);
    if (path === undefined || status === undefined) return [];
    const { uid, gid, mode } = status;
    return { path, owner: account(uid, userName), group: account(gid, groupName), mode: mode & 0o7777 };
  });
}

function account(id: number, nameOf: (id: number) => string | undefined): Account {
  if (process.platform === "win32") return { id: null, name: null };
  return { id, name: nameOf(id) ?? null };
}

/** The names of accounts by their numbers, from a file of lines such as `NAME:x:NUMBER:…`, which is read once. */
function namesIn(path: string): (id: number) => string | undefined {
  let names: Map<number, string> | undefined;
  return (id) => {
    names ??= new Map(
      linesOf(path)
        .map((line) => line.split(":"))
        .map(([name = "", , id]) => [Number(id), name]),
    );
    return names.get(id);
  };
}

/** The lines in reverse order, so that of two names for one number the first one counts. */
function linesOf(path: string): string[] {
  try {
    const text = files().readFileSync(path, "utf8");
    return text.split("\n").filter(Boolean).reverse();
  } catch {
    return [];
  }
}
