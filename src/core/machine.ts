// What of this machine can keep buffers from working, and the shell command that changes it.

import { files } from "../runtime/files.ts";
import { SHARED_MEMORY } from "./buffer/objects.ts";
import type { ErrorCode } from "./errors.ts";
import { mountOf } from "./mounts.ts";

/** Something that keeps buffers from working. */
export interface MachineFault {
  /** The code of the error that the use of a buffer ends with. */
  readonly code: Extract<ErrorCode, "PERMISSION_DENIED" | "RESOURCE_EXHAUSTED">;
  /** What is wrong, as a sentence without its full stop. */
  readonly reason: string;
  /** The shell command that changes it; undefined if it is a limit that this shell may not raise. */
  readonly remedy: string | undefined;
}

/** A remedy as a sentence, which says who can run it. */
export function advice(remedy: string | undefined): string {
  if (remedy === undefined) return "Start it from a shell with a higher limit.";
  if (/^ulimit /.test(remedy)) return `Run this in the shell first: ${remedy}`;
  if (/\bmount /.test(remedy)) return `Run this as an administrator: ${remedy}`;
  return `Run this as its owner or as an administrator: ${remedy}`;
}

/** A path as the shell takes it. */
export function quoted(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}

// ---- shared memory -------------------------------------------------------------------------------------------------

/** A buffer's memory and its two semaphores are files. */
const INODES_OF_BUFFER = 3;

/** Why no buffer can be created in shared memory, however small it is. */
export function faultOfSharedMemory(): MachineFault | undefined {
  if (SHARED_MEMORY === undefined) return undefined;
  const { existsSync, statfsSync } = files();
  if (!existsSync(SHARED_MEMORY)) {
    const remedy = `mkdir -m 1777 ${SHARED_MEMORY} && mount -t tmpfs -o mode=1777 tmpfs ${SHARED_MEMORY}`;
    return { code: "RESOURCE_EXHAUSTED", reason: `${SHARED_MEMORY} is missing`, remedy };
  }
  const denied = faultOfWriting(SHARED_MEMORY);
  if (denied !== undefined)
    return {
      code: "PERMISSION_DENIED",
      reason: `${SHARED_MEMORY} ${denied}`,
      remedy: opening(SHARED_MEMORY),
    };
  const { files: inodes, ffree } = statfsSync(SHARED_MEMORY);
  // Without a limit of inodes, both are 0.
  if (inodes === 0 || ffree >= INODES_OF_BUFFER) return undefined;
  return {
    code: "RESOURCE_EXHAUSTED",
    reason: `${SHARED_MEMORY} has ${ffree} of ${inodes} inodes free, and a buffer needs ${INODES_OF_BUFFER}`,
    remedy: `mount -o remount,nr_inodes=${2 * inodes + INODES_OF_BUFFER} ${SHARED_MEMORY}`,
  };
}

// ---- directories ---------------------------------------------------------------------------------------------------

/** Whether this process may create files in the directory. */
export function isWritable(directory: string): boolean {
  return faultOfWriting(directory) === undefined;
}

/** Why this process may not create files in a directory, as the rest of a sentence; undefined if it may. */
export function faultOfWriting(directory: string): string | undefined {
  const code = accessFault(directory);
  if (code === undefined) return undefined;
  return code === "EROFS" ? "is mounted read-only" : "cannot be written";
}

function accessFault(directory: string): string | undefined {
  const { accessSync, constants } = files();
  try {
    accessSync(directory, constants.W_OK | constants.X_OK);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "";
  }
}

/** The command that lets every user create files in a directory. */
export function opening(directory: string): string {
  if (process.platform === "win32") return `icacls "${directory}" /reset`;
  return accessFault(directory) === "EROFS" ? remounting(directory, "rw") : `chmod 1777 ${quoted(directory)}`;
}

/** The command that changes options of the file system that a directory is on. */
function remounting(directory: string, options: string): string {
  const mount = process.platform === "linux" ? mountOf(directory)?.path : undefined;
  return `mount -o remount,${options} ${quoted(mount ?? directory)}`;
}

/** Why programs cannot be loaded from files that are made in a directory. */
export function faultOfLoading(directory: string): { reason: string; remedy: string } | undefined {
  if (!files().existsSync(directory))
    return { reason: `${directory} is missing`, remedy: `mkdir -m 1777 ${quoted(directory)}` };
  const denied = faultOfWriting(directory);
  const isClosed = process.platform === "linux" && (mountOf(directory)?.options.has("noexec") ?? false);
  if (!isClosed)
    return denied === undefined
      ? undefined
      : { reason: `${directory} ${denied}`, remedy: opening(directory) };
  if (accessFault(directory) === "EROFS")
    return { reason: `${directory} ${denied} and noexec`, remedy: remounting(directory, "rw,exec") };
  const remedy = remounting(directory, "exec");
  return denied === undefined
    ? { reason: `${directory} is mounted noexec`, remedy }
    : {
        reason: `${directory} ${denied} and is mounted noexec`,
        remedy: `${remedy} && ${opening(directory)}`,
      };
}

// ---- limits of the process -----------------------------------------------------------------------------------------

/** Where Linux lists a limit, and the letter that ulimit and prlimit have for it. */
const LIMITS = {
  addressSpace: ["Max address space", "v"],
  fileSize: ["Max file size", "f"],
  openFiles: ["Max open files", "n"],
} as const;

/** A limit of this process. */
export interface ProcessLimit {
  /** In bytes, or a count of files. */
  readonly value: number;
  /** How the shell shows it. */
  readonly name: string;
  /**
   * The command for the shell that starts this program, which raises the limit to `count` or removes it. Undefined if
   * that shell may not: only where it was started can the limit be changed.
   */
  raise(count?: number): string | undefined;
}

/** A limit of this process; undefined if there is none, or none that can be read. */
export function limitOf(kind: keyof typeof LIMITS): ProcessLimit | undefined {
  const [title, letter] = LIMITS[kind];
  const line = textOf("/proc/self/limits")
    .split("\n")
    .find((line) => line.startsWith(title));
  const [soft = "unlimited", hard = "unlimited"] = line?.slice(title.length).trim().split(/\s+/) ?? [];
  if (soft === "unlimited") return undefined;
  return {
    value: Number(soft),
    name: `ulimit -${letter}`,
    raise(count = Number.POSITIVE_INFINITY) {
      const wanted = Number.isFinite(count) ? count : "unlimited";
      if (hard === "unlimited" || Number(hard) >= count) return `ulimit -S -${letter} ${wanted}`;
      return hasCapability(CAP_SYS_RESOURCE) ? `ulimit -${letter} ${wanted}` : undefined;
    },
  };
}

/** {@link ProcessLimit.raise} as half a sentence. */
export function adviceToRaise(limit: ProcessLimit, count?: number): string {
  const command = limit.raise(count);
  return command === undefined
    ? `start it from a shell with a higher limit (${limit.name}).`
    : `raise the limit in the shell first: ${command}`;
}

const CAP_SYS_ADMIN = 21n;
const CAP_SYS_RESOURCE = 24n;

/** Whether this process has a capability, or with `CapBnd` an administrator can have it. */
function hasCapability(number: bigint, set = "CapEff"): boolean {
  const bits = new RegExp(`^${set}:\\s*([0-9a-f]+)$`, "m").exec(textOf("/proc/self/status"))?.[1] ?? "0";
  return ((BigInt(`0x${bits}`) >> number) & 1n) === 1n;
}

/** Whether this is a container whose mounts and limits can only be set when it is started. */
export function isClosedContainer(): boolean {
  const { existsSync } = files();
  const isContainer = existsSync("/.dockerenv") || existsSync("/run/.containerenv");
  return isContainer && !hasCapability(CAP_SYS_ADMIN, "CapBnd");
}

function textOf(path: string): string {
  try {
    return files().readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

// ---- the helper ----------------------------------------------------------------------------------------------------

/** With fewer open files, a reader or the runtime fails sooner or later. */
export const ENOUGH_DESCRIPTORS = 1024;

/** More than the helper has, in bytes. */
const HELPER_SIZE = 2 ** 20;

/**
 * Why the native helper cannot be loaded, if it is the machine's fault.
 *
 * @param message of the loader.
 */
export function faultOfHelper(message: string): MachineFault | undefined {
  const addressSpace = message.includes("JIT") ? limitOf("addressSpace") : undefined;
  if (addressSpace !== undefined) return tooLow(addressSpace, "the runtime needs more address space");
  if (/too many open files/i.test(message)) {
    const remedy = limitOf("openFiles")?.raise(ENOUGH_DESCRIPTORS);
    return { code: "RESOURCE_EXHAUSTED", reason: "too many files are open (ulimit -n)", remedy };
  }
  const fileSize = limitOf("fileSize");
  if (fileSize !== undefined && fileSize.value < HELPER_SIZE) return tooLow(fileSize, "it is a larger file");
  // Every program tries this directory.
  const directory = process.platform === "win32" ? undefined : "/tmp";
  const fault = directory === undefined ? undefined : faultOfLoading(directory);
  if (fault === undefined) return undefined;
  return {
    code: "PERMISSION_DENIED",
    reason: `no directory for temporary files allows it: ${fault.reason}`,
    remedy: fault.remedy,
  };
}

function tooLow(limit: ProcessLimit, reason: string): MachineFault {
  return {
    code: "RESOURCE_EXHAUSTED",
    reason: `${reason} than the limit of ${limit.value} (${limit.name}) allows`,
    remedy: limit.raise(),
  };
}
