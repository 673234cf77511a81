// Checks of the machine: what keeps buffers from working well, and the command that fixes it.

import { existsSync, readFileSync, statfsSync } from "node:fs";
import { availableParallelism, cpus, tmpdir, userInfo } from "node:os";
import { dirname } from "node:path";
import { Code } from "../../native/codes.ts";
import { loadFault } from "../../native/library.ts";
import { Role, SharedMemory } from "../../native/memory.ts";
import {
  faultOfLockDirectory,
  foreignLockDirectories,
  LOCK_DIRECTORY,
  OPEN_TO_EVERYBODY,
} from "../buffer/lock-directories.ts";
import { statusOf } from "../buffer/objects.ts";
import { cleanBuffer } from "../buffer/stale.ts";
import { DEFAULT_PAYLOAD_SIZE, OIEB_SIZE } from "../config.ts";
import type { ErrorCode } from "../errors.ts";
import {
  ENOUGH_DESCRIPTORS,
  faultOfHelper,
  faultOfLoading,
  faultOfSharedMemory,
  isClosedContainer,
  isWritable,
  limitOf,
  type MachineFault,
  quoted,
} from "../machine.ts";
import { memoryFor, memoryLimit } from "../memory-limit.ts";
import { mountOf } from "../mounts.ts";
import { inspectBuffer, listBuffers } from "./buffers.ts";

/** The result of one check. */
export interface Finding {
  /** What was checked, in a word or two. */
  readonly check: string;
  /** `ok`; `warning`: buffers work, but less well than they could; `error`: buffers cannot be used. */
  readonly status: "ok" | "warning" | "error";
  /** What was found, as a sentence without its full stop. Options of the API are between backquotes. */
  readonly message: string;
  /** The shell command, or between backquotes the function of this module, that fixes it; null if none is needed or known. */
  readonly remedy: string | null;
  /** With status `error`: the code of the error that the use of a buffer would end with. */
  readonly code?: ErrorCode;
}

type Verdict = Omit<Finding, "check">;

/** A check, and the one system that it is for. */
type Check = readonly [check: string, examine: () => Verdict, platform?: NodeJS.Platform];

const isWindows = process.platform === "win32";

const MIB = 2 ** 20;

/** So many names of leftovers are told. */
const MOST_NAMES = 5;

/** More than processes differ in the memory that they need besides buffers, in MiB. */
const PROCESS_MIB = 32;

/** f_type of tmpfs in statfs(2). */
const TMPFS = 0x01021994;

/** A reader and the runtime need about twenty descriptors. */
const FEW_DESCRIPTORS = 64;

const ok = (message: string): Verdict => ({ status: "ok", message, remedy: null });
const warning = (message: string, remedy: string | null): Verdict => ({ status: "warning", message, remedy });
const error = (code: ErrorCode, message: string, remedy: string | null): Verdict => ({
  status: "error",
  code,
  message,
  remedy,
});
const errorOf = ({ code, reason, remedy }: MachineFault): Verdict => error(code, reason, remedy ?? null);

const checks: readonly Check[] = [
  ["helper", examineHelper],
  ["shared memory", () => examineSharedMemory("/dev/shm"), "linux"],
  ["memory limit", examineMemoryLimit, "linux"],
  ["liveness", examineLiveness, "linux"],
  ["lock directory", examineLockDirectory],
  ["C# locks", examineForeignLockDirectories],
  ["temp directory", examineTempDirectory],
  ["open files", examineOpenFiles, "linux"],
  ["address space", () => examineLimit("addressSpace", "each buffer is mapped as a whole"), "linux"],
  ["file size", () => examineLimit("fileSize", "each buffer is a file"), "linux"],
  ["processes", examineProcesses, "linux"],
  ["processors", examineProcessors],
  ["libc", examineLibc, "linux"],
  ["leftovers", examineLeftovers],
];

/** Checks everything that buffers need on this machine. Changes nothing, throws nothing, and needs no helper. */
export function diagnose(): Finding[] {
  const ours = checks.filter(([, , platform = process.platform]) => platform === process.platform);
  return ours.map(([check, examine]) => {
    try {
      return { check, ...examine() };
    } catch (cause) {
      return { check, ...warning(`the check failed: ${(cause as Error).message}`, null) };
    }
  });
}

// ---- the helper ----------------------------------------------------------------------------------------------------

function examineHelper(): Verdict {
  if (loadFault === undefined) return ok("the native helper is loaded");
  const fault = faultOfHelper(loadFault.message);
  if (fault !== undefined)
    return errorOf({ ...fault, reason: `the native helper cannot be loaded: ${fault.reason}` });
  const remedy = isWindows ? "set TEMP=%USERPROFILE%" : null;
  return error("PERMISSION_DENIED", `the native helper cannot be loaded: ${loadFault.message}`, remedy);
}

/** Where the helper is also unpacked to. */
const OTHER_TEMP_DIRECTORIES = ["/tmp", "/var/tmp"];

function examineTempDirectory(): Verdict {
  if (isWindows) {
    const path = tmpdir();
    const consequence = "the helper is unpacked to another directory";
    if (statusOf(path) === undefined) return warning(`${path} is missing: ${consequence}`, `mkdir "${path}"`);
    return isWritable(path)
      ? ok(`${path} is writable`)
      : warning(`${path} cannot be written: ${consequence}`, "set TEMP=%USERPROFILE%");
  }
  const path = process.env.TMPDIR || "/tmp";
  const fault = faultOfLoading(path);
  if (fault === undefined) return ok(`${path} is writable and executable`);
  const other = OTHER_TEMP_DIRECTORIES.find((directory) => faultOfLoading(directory) === undefined);
  const consequence = other === undefined ? "" : ": the helper is unpacked to another directory";
  return warning(
    `${fault.reason}${consequence}`,
    other === undefined ? fault.remedy : `export TMPDIR=${other}`,
  );
}

// ---- shared memory -------------------------------------------------------------------------------------------------

function examineSharedMemory(path: string): Verdict {
  const fault = faultOfSharedMemory();
  if (fault !== undefined) return errorOf(fault);
  const { type, bsize, blocks, bavail } = statfsSync(path);
  const [size, free] = [bsize * blocks, bsize * bavail];
  const text = `${path} has ${mebibytes(size)}, ${mebibytes(free)} of it free`;
  if (type !== TMPFS) {
    return warning(
      `${path} is not a tmpfs: frames go to a disk`,
      `mount -t tmpfs -o mode=1777 tmpfs ${path}`,
    );
  }
  if (free < MIB) return error("RESOURCE_EXHAUSTED", text, enlarge(path));
  if (free < DEFAULT_PAYLOAD_SIZE + MIB) {
    const needed = mebibytes(DEFAULT_PAYLOAD_SIZE);
    return warning(`${text}: a buffer needs ${needed} unless \`payloadSize\` is smaller`, enlarge(path));
  }
  return ok(text);
}

/** The command that makes shared memory larger. That of a container can only be set when it is started. */
function enlarge(path: string): string {
  return isClosedContainer() ? "docker run --shm-size=1g …" : `mount -o remount,size=1G ${path}`;
}

function examineMemoryLimit(): Verdict {
  const limit = memoryLimit();
  if (limit === undefined) return ok("none");
  const { path, bytes, freeBytes } = limit;
  const text = `this process may use ${mebibytes(bytes)}, ${mebibytes(freeBytes)} of it free`;
  const lacking = memoryFor(DEFAULT_PAYLOAD_SIZE + MIB) - freeBytes;
  if (lacking <= 0) return ok(text);
  const enough = `${Math.ceil((bytes + lacking) / MIB) + PROCESS_MIB}m`;
  return warning(
    `${text}: a buffer needs ${mebibytes(DEFAULT_PAYLOAD_SIZE)} unless \`payloadSize\` is smaller`,
    isClosedContainer() ? `docker run --memory=${enough} …` : `echo ${enough} > ${quoted(path)}`,
  );
}

function examineLeftovers(): Verdict {
  if (loadFault !== undefined) return warning("cannot be found without the helper", null);
  const stale = listBuffers().filter((name) => {
    return inspectBuffer(name)?.state() === "stale";
  });
  const ours = stale.filter((name) => cleanBuffer(name, { dryRun: true }).obstacle === undefined);
  if (ours.length > 0) return warning(`dead processes have left ${buffers(ours)}`, "`cleanBuffer`");
  if (stale.length === 0) return ok("dead processes have left no buffers");
  return ok(`dead processes of other users have left ${buffers(stale)}: only their owners can remove them`);
}

/** How many, and the first of their names. */
function buffers(names: readonly string[]): string {
  const first = `${names.slice(0, MOST_NAMES).join(", ")}${names.length > MOST_NAMES ? ", …" : ""}`;
  return names.length === 1 ? `1 buffer (${first})` : `${names.length} buffers (${first})`;
}

/** Whether this system tells who uses a buffer: with memory that never gets a name. */
function examineLiveness(): Verdict {
  const memory =
    loadFault === undefined ? SharedMemory.create(`doctor-${process.pid}`, OIEB_SIZE, 0o600) : undefined;
  if (!(memory instanceof SharedMemory)) return warning("cannot be tried without shared memory", null);
  try {
    if (memory.lockRole(Role.READER) !== Code.OK)
      return warning(
        "the file system of /dev/shm has no locks of bytes: peers find each other only in one pid namespace",
        null,
      );
    if (memory.isAlone() === undefined)
      return warning(
        "the system does not tell whether others have a file open: the death of peers of version 1 in other containers " +
          "is found by timeouts",
        null,
      );
    return ok("peers are found in every container");
  } finally {
    memory.unlink();
    memory.close();
  }
}

// ---- locks ---------------------------------------------------------------------------------------------------------

function examineLockDirectory(): Verdict {
  if (statusOf(LOCK_DIRECTORY) === undefined && isWritable(dirname(LOCK_DIRECTORY)))
    return ok(`${LOCK_DIRECTORY} is missing: the first reader creates it`);
  const fault = faultOfLockDirectory(LOCK_DIRECTORY);
  if (fault !== undefined)
    return error("PERMISSION_DENIED", `${LOCK_DIRECTORY} is refused: ${fault.reason}`, fault.remedy ?? null);
  if (isWindows) return ok(`${LOCK_DIRECTORY} can be written`);
  const mode = (statusOf(LOCK_DIRECTORY)?.mode ?? 0) & 0o7777;
  const text = `${LOCK_DIRECTORY} has mode ${mode.toString(8)}`;
  if (mode === OPEN_TO_EVERYBODY) return ok(text);
  return warning(`${text}: other users cannot create buffers`, `chmod 1777 ${LOCK_DIRECTORY}`);
}

function examineForeignLockDirectories(): Verdict {
  const present = foreignLockDirectories().filter((path) => statusOf(path) !== undefined);
  for (const path of present) {
    const fault = faultOfLockDirectory(path);
    if (fault === undefined) continue;
    const consequence = "readers written in C# are not noticed";
    return warning(`${path} is passed over: ${fault.reason}; ${consequence}`, fault.remedy ?? null);
  }
  return ok(present.length === 0 ? "the first reader creates the directory" : present.join(", "));
}

// ---- limits --------------------------------------------------------------------------------------------------------

function examineOpenFiles(): Verdict {
  const limit = limitOf("openFiles");
  const text = limit === undefined ? "unlimited" : `at most ${limit.value}`;
  if (limit === undefined || limit.value >= FEW_DESCRIPTORS) return ok(text);
  return warning(text, limit.raise(ENOUGH_DESCRIPTORS) ?? null);
}

function examineLimit(kind: "addressSpace" | "fileSize", why: string): Verdict {
  const limit = limitOf(kind);
  if (limit === undefined) return ok("unlimited");
  return warning(`at most ${mebibytes(limit.value)}, and ${why}`, limit.raise() ?? null);
}

// ---- the machine ---------------------------------------------------------------------------------------------------

function examineProcesses(): Verdict {
  if (!existsSync("/proc/self/stat")) {
    return warning(
      "/proc is missing: a process id that is used again may be taken for a peer",
      "mount -t proc proc /proc",
    );
  }
  const hidepid = [...(mountOf("/proc")?.options ?? [])].find((option) => /^hidepid=(?!0|off)/.test(option));
  if (hidepid === undefined || userInfo().uid === 0) return ok("/proc shows every process");
  return warning(
    `/proc is mounted with ${hidepid}: a process id that another user's process has got may be taken for a peer`,
    "mount -o remount,hidepid=0 /proc",
  );
}

function examineProcessors(): Verdict {
  const online = cpus().length;
  if (process.platform !== "linux") return judgeProcessors(availableParallelism(), online);
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "";
  return judgeProcessors(countOfList(list) || online, online);
}

function judgeProcessors(allowed: number, online: number): Verdict {
  if (allowed > 1) return ok(`${allowed} of ${online}`);
  const remedy = online > 1 && process.platform === "linux" ? `taskset -pc 0-${online - 1} $$` : null;
  return warning(`1 of ${online}: writer and reader share it, and round trips take longer`, remedy);
}

/** How many numbers a list such as `0-3,8` names. */
function countOfList(list: string): number {
  const ranges = list.split(",").map((range) => range.split("-").map(Number));
  return ranges.reduce((sum, [first = 0, last = first]) => sum + last - first + 1, 0);
}

function examineLibc(): Verdict {
  // musl's loader and its library are one file with two names.
  if (/\/(?:ld-musl-[^/]+|libc\.so)$/m.test(readFileSync("/proc/self/maps", "utf8"))) return ok("musl");
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
  const version = report?.header?.glibcVersionRuntime;
  return version === undefined ? warning("its name is unknown", null) : ok(`glibc ${version}`);
}

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / MIB).toLocaleString("en-US")} MiB`;
}
