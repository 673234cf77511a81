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

/** A lock of a file from a byte on. */
interface Lock {
  readonly file: number;
  readonly start: number;
}

/** A place, and when its process started. */
interface Found {
  readonly place: Place;
  readonly start: number;
}

/**
 * What was found out about processes: to look for one costs more than everything else that is looked at, and one process may
 * have many buffers, which are looked at again and again.
 */
export class Places {
  /** By what was sought. */
  #known = new Map<string, Found>();
  #found = new Map<string, Found>();
  /** The locks that processes have at this look. */
  readonly #locks = new Map<number, readonly Lock[]>();

  /** Begins another look at all buffers. Forgets those that the last look has not met. */
  beginLook(): void {
    this.#locks.clear();
    this.#known = this.#found;
    this.#found = new Map();
  }

  /** The place that {@link locate} finds. A process is looked for again only if another one may have taken its place. */
  locate(memory: SharedMemory, sought: Sought): Place {
    const { pid, role, isTwice, inode } = sought;
    const key = [inode, role, pid, isTwice].join();
    const known = this.#known.get(key);
    const isKnown = known !== undefined && known.start === startOf(known.place);
    const place = isKnown ? known.place : locate(memory, sought, (localPid) => this.#locksOf(localPid));
    this.#found.set(key, isKnown ? known : { place, start: startOf(place) });
    return place;
  }

  #locksOf(pid: number): readonly Lock[] {
    const known = this.#locks.get(pid);
    if (known !== undefined) return known;
    const locks = locksOf(pid);
    this.#locks.set(pid, locks);
    return locks;
  }
}

/** When the process of a place started; 0 if it is out of sight. */
function startOf({ localPid }: Place): number {
  return localPid === null ? 0 : processStart(localPid);
}

/**
 * Where a living process is: one that has the memory mapped, and has that pid here or in a pid namespace of its own. Never
 * another one that happens to have the same number, such as the peer of process 1 that is process 1 of its own container.
 */
function locate(
  memory: SharedMemory,
  { pid, role, isTwice, inode }: Sought,
  locksOf: (localPid: number) => readonly Lock[],
): Place {
  if (process.platform !== "linux") {
    return processStart(pid) < 0 ? OUT_OF_SIGHT : placeOf(pid);
  }
  const userOf = (localPid: number) => {
    const mappings = memory.mappingsOf(localPid) ?? 0;
    if (mappings === 0) return [];
    return [{ localPid, mappings, roles: rolesAmong(locksOf(localPid), inode) }];
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

function locksOf(pid: number): Lock[] {
  return descriptorsOf(pid).flatMap((descriptor) =>
    [...(read(`/proc/${pid}/fdinfo/${descriptor}`) ?? "").matchAll(LOCK)].map(([, file, start]) => ({
      file: Number(file),
      start: Number(start),
    })),
  );
}

/** The roles of a buffer whose bytes are among the locks (docs/protocol.md, section 4.4). */
function rolesAmong(locks: readonly Lock[], inode: number | undefined): Role[] {
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
