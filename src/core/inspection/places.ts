// Where the processes of a buffer are: here, in another container, or out of sight.

import { Role, type SharedMemory } from "../../native/memory.ts";
import { processStart } from "../../native/process.ts";
import { files } from "../../runtime/files.ts";
import { OiebWord } from "../buffer/oieb.ts";

/** Longest command line that a snapshot has, in characters. */
const MAX_COMMAND_LENGTH = 200;

/** A process as it is seen from here. */
export interface Place {
  /** Its pid here; null if it cannot be seen from here. */
  readonly localPid: number | null;
  /** Its command line, without control characters, at most 200 characters; null if it cannot be read. */
  readonly command: string | null;
}

const OUT_OF_SIGHT: Place = { localPid: null, command: null };

/** What is known of a living process that has a role of a buffer. */
export interface Sought {
  /** As its buffer names it. */
  readonly pid: number;
  readonly role: Role;
  /** Whether the other role has the same pid, perhaps in another pid namespace. */
  readonly isTwice: boolean;
  /** The file of the memory, where memory is a file. */
  readonly inode: number | undefined;
}

/**
 * Where a living process is: one that has the memory mapped, and has that pid here or in a pid namespace of its own. Never
 * another one that happens to have the same number, such as the peer of process 1 that is process 1 of its own container.
 */
export function locate(memory: SharedMemory, { pid, role, isTwice, inode }: Sought): Place {
  if (process.platform !== "linux") {
    return processStart(pid) < 0 ? OUT_OF_SIGHT : placeOf(pid);
  }
  const userOf = (localPid: number) => {
    const mappings = memory.mappingsOf(localPid) ?? 0;
    if (mappings === 0) return [];
    return [{ localPid, mappings, roles: rolesLockedBy(localPid, inode) }];
  };
  const [named] = userOf(pid);
  const isNamed = named?.roles.includes(role) || (named?.roles.length === 0 && !isTwice);
  if (isNamed) return placeOf(pid);
  const users = processes()
    .filter((localPid) => localPid === pid || pidInItsNamespace(localPid) === pid)
    .flatMap(userOf);
  const holder = users.find(({ roles }) => roles.includes(role));
  if (holder !== undefined) return placeOf(holder.localPid);
  const [user, ...more] = users.filter(({ roles }) => roles.length === 0);
  if (user === undefined || more.length > 0) return OUT_OF_SIGHT;
  // It may have only the other role, unless that is somebody else's.
  return isTwice && user.mappings < 2 && users.length === 1 ? OUT_OF_SIGHT : placeOf(user.localPid);
}

/** The roles whose bytes a process has locked (docs/protocol.md, section 4.4). */
function rolesLockedBy(pid: number, inode: number | undefined): Role[] {
  const locks = descriptorsOf(pid).flatMap((descriptor) =>
    [...(read(`/proc/${pid}/fdinfo/${descriptor}`) ?? "").matchAll(LOCK)].map(([, file, start]) => ({
      file: Number(file),
      start: Number(start),
    })),
  );
  const starts: readonly (readonly [Role, number])[] = [
    [Role.WRITER, 8 * OiebWord.writerPid],
    [Role.READER, 8 * OiebWord.readerPid],
  ];
  return starts.flatMap(([role, byte]) =>
    locks.some(({ file, start }) => file === inode && start === byte) ? [role] : [],
  );
}

/** A lock as /proc shows it: "lock: 1: OFDLCK ADVISORY WRITE -1 00:1a:4711 80 87". */
const LOCK = /^lock:.* OFDLCK .* WRITE .*:(\d+) (\d+) \d+$/gm;

function descriptorsOf(pid: number): string[] {
  try {
    return files().readdirSync(`/proc/${pid}/fdinfo`);
  } catch {
    return []; // another user's, or gone
  }
}

function processes(): number[] {
  try {
    return files().readdirSync("/proc").map(Number).filter(Number.isInteger);
  } catch {
    return []; // /proc is not mounted
  }
}

/** The pid of a process in the innermost namespace that it is in; undefined if it has only the one here. */
function pidInItsNamespace(pid: number): number | undefined {
  const pids = /^NSpid:\s+(.*)$/m.exec(read(`/proc/${pid}/status`) ?? "")?.[1]?.split(/\s+/);
  return pids === undefined || pids.length < 2 ? undefined : Number(pids.at(-1));
}

function placeOf(localPid: number): Place {
  return { localPid, command: commandOf(localPid) };
}

function commandOf(pid: number): string | null {
  const words = read(`/proc/${pid}/cmdline`)?.replaceAll("\0", " ").trim() ?? "";
  return words === "" ? null : words.replace(/\p{C}/gu, "?").slice(0, MAX_COMMAND_LENGTH);
}

function read(path: string): string | undefined {
  try {
    return files().readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
