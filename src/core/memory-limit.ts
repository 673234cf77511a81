// The memory that control groups (cgroups), such as that of a container, leave to this process.
//
// The system gives out more than a cgroup may use, and then kills the process that uses it. So the limit is looked at first.

import { files } from "../runtime/files.ts";
import { ResourceExhaustedError } from "./errors.ts";
import { isBelow, type Mount, parseMounts } from "./mounts.ts";

/** The limit that leaves this process the least memory. */
export interface MemoryLimit {
  /** The file that sets it. */
  readonly path: string;
  /** What all processes of the cgroup may use, in bytes. */
  readonly bytes: number;
  /** What they may use in addition to what they use now, in bytes. */
  readonly freeBytes: number;
}

/** The text of a file; undefined if it cannot be read. */
type Read = (path: string) => string | undefined;

/** What the two versions of cgroups call the same files. */
const FILES = {
  cgroup: { limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes", prefix: "total_" },
  cgroup2: { limit: "memory.max", usage: "memory.current", prefix: "" },
} as const;

/** From here on a limit is none: version 1 gives a number that no machine has. */
const NO_LIMIT = 2 ** 62;

/** Entries of memory.stat that the system reclaims before it kills. Shared memory is in none of them. */
const RECLAIMABLE = ["active_file", "inactive_file", "slab_reclaimable"];

/** The kernel needs memory to keep track of a buffer's pages: of 4096 bytes, at most this many for the file and two peers. */
const OVERHEAD_PER_PAGE = 32;

/** All the memory that a buffer of this size takes, in bytes. */
export function memoryFor(size: number): number {
  return size + Math.ceil(size / 4096) * OVERHEAD_PER_PAGE;
}

/** @throws ResourceExhaustedError if a buffer of this size, in bytes, is more than the process may use. */
export function checkMemoryLimit(buffer: string, size: number, read?: Read): void {
  const limit = process.platform === "linux" ? memoryLimit(read) : undefined;
  const needed = memoryFor(size);
  if (limit === undefined || needed <= limit.freeBytes) return;
  throw new ResourceExhaustedError(
    `Buffer "${buffer}" needs ${needed} bytes of memory, and ${limit.freeBytes} of the ${limit.bytes} that this process may use are free.`,
    {
      buffer,
      hint:
        "Make the buffer smaller (`payloadSize`), or raise the limit: in a container with 'docker run --memory=…', " +
        `elsewhere in ${limit.path}.`,
    },
  );
}

/** The limit that leaves this process the least memory; undefined if there is none, or none that can be read. */
export function memoryLimit(read: Read = readText): MemoryLimit | undefined {
  const mounts = parseMounts(read("/proc/self/mountinfo") ?? "", / - cgroup| \/dev\/shm /);
  const cgroup = findCgroup(read("/proc/self/cgroup") ?? "", mounts);
  if (cgroup === undefined) return undefined;
  const { type, directories } = cgroup;
  const limits = directories.flatMap((directory) => {
    const path = `${directory}/${FILES[type].limit}`;
    const bytes = numberIn(read(path));
    return bytes === undefined || bytes >= NO_LIMIT ? [] : [{ directory, path, bytes }];
  });
  if (limits.length === 0) return undefined;
  const machine = readMachine(read, mounts);
  return limits
    .flatMap(({ directory, path, bytes }) => {
      const freeBytes =
        bytes > machine.memory ? undefined : freeIn(directory, type, bytes, machine.freeSwap, read);
      return freeBytes === undefined ? [] : [{ path, bytes, freeBytes }];
    })
    .sort((one, other) => one.freeBytes - other.freeBytes)[0];
}

/** What bounds all cgroups, in bytes. */
interface Machine {
  readonly memory: number;
  /** What is left to move shared memory to. */
  readonly freeSwap: number;
}

function readMachine(read: Read, mounts: readonly Mount[]): Machine {
  const text = read("/proc/meminfo") ?? "";
  const bytes = (name: string) => {
    const kibibytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1];
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
  };
  const staysInMemory = mounts.findLast(({ path }) => path === "/dev/shm")?.options.has("noswap");
  return {
    memory: bytes("MemTotal") ?? Number.POSITIVE_INFINITY,
    freeSwap: staysInMemory ? 0 : (bytes("SwapFree") ?? 0),
  };
}

/** A cgroup that the kernel counts the memory of this process in, and the cgroups above it, as directories. */
interface Cgroup {
  readonly type: keyof typeof FILES;
  readonly directories: readonly string[];
}

/** @param text of /proc/self/cgroup. */
function findCgroup(text: string, mounts: readonly Mount[]): Cgroup | undefined {
  // If both versions are in use, memory belongs to only one of them.
  const legacy = /^\d+:(?:[^:\n]*,)?memory(?:,[^:\n]*)?:(\/.*)$/m.exec(text)?.[1];
  const type = legacy === undefined ? "cgroup2" : "cgroup";
  const path = legacy ?? /^0::(\/.*)$/m.exec(text)?.[1];
  if (path === undefined) return undefined;
  for (const mount of mounts) {
    if (mount.type !== type || (type === "cgroup" && !mount.options.has("memory"))) continue;
    const directories = directoriesIn(mount, path);
    if (directories !== undefined) return { type, directories };
  }
  return undefined;
}

/** The directories of a cgroup and those above it, as far as the mount shows them. */
function directoriesIn({ root, path: top }: Mount, cgroup: string): string[] | undefined {
  // A cgroup namespace hides the names above its root, and its processes may have been moved out of it.
  const isAboveNamespace = /^(\/\.\.)+$/.test(root);
  if (cgroup.startsWith("/..") || !(isAboveNamespace || isBelow(cgroup, root))) return undefined;
  const names = isAboveNamespace ? [] : cgroup.slice(root.length).split("/").filter(Boolean);
  return [top, ...names.map((_, index) => [top, ...names.slice(0, index + 1)].join("/"))];
}

/** The bytes that processes of a cgroup can get in addition; undefined if that cannot be read. */
function freeIn(
  directory: string,
  type: Cgroup["type"],
  limit: number,
  freeSwap: number,
  read: Read,
): number | undefined {
  const { usage, prefix } = FILES[type];
  const bytesIn = (file: string) => numberIn(read(`${directory}/${file}`));
  const used = bytesIn(usage);
  const statistics = read(`${directory}/memory.stat`);
  if (used === undefined || statistics === undefined) return undefined;
  const counts = new Map(statistics.split("\n").map((line) => line.split(" ") as [string, string]));
  const reclaimable = RECLAIMABLE.reduce((sum, name) => sum + (numberIn(counts.get(prefix + name)) ?? 0), 0);
  const allowedSwap =
    type === "cgroup2"
      ? left(bytesIn("memory.swap.max"), bytesIn("memory.swap.current"))
      : left(bytesIn("memory.memsw.limit_in_bytes"), bytesIn("memory.memsw.usage_in_bytes")) - (limit - used);
  const swap = Math.max(0, Math.min(allowedSwap, freeSwap));
  return Math.max(0, limit - used + reclaimable + swap);
}

/** What is left of a limit, where no number means none. */
function left(limit = Number.POSITIVE_INFINITY, used = 0): number {
  return limit - used;
}

function numberIn(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+\s*$/.test(text) ? Number(text) : undefined;
}

function readText(path: string): string | undefined {
  try {
    return files().readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
