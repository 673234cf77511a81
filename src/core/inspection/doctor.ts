// Checks of the machine: what keeps buffers from working well, and the command that fixes it.

import { accessSync, constants, existsSync, readFileSync, statfsSync } from "node:fs";
import { availableParallelism, cpus, tmpdir, userInfo } from "node:os";
import { dirname } from "node:path";
import { loadFault } from "../../native/library.ts";
import {
  faultOfLockDirectory,
  foreignLockDirectories,
  isWritable,
  LOCK_DIRECTORY,
  OPEN_TO_EVERYBODY,
  quoted,
} from "../buffer/lock-directories.ts";
import { statusOf } from "../buffer/objects.ts";
import { DEFAULT_PAYLOAD_SIZE } from "../config.ts";
import type { ErrorCode } from "../errors.ts";
import { memoryFor, memoryLimit } from "../memory-limit.ts";
import { mountOf } from "../mounts.ts";
import { inspectBuffer, listBuffers, listLeftoverSemaphores } from "./buffers.ts";

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

/** f_type of tmpfs in statfs(2). */
const TMPFS = 0x01021994;

/** A reader needs about ten descriptors, the runtime twenty. */
const FEW_DESCRIPTORS = 64;

const ok = (message: string): Verdict => ({ status: "ok", message, remedy: null });
const warning = (message: string, remedy: string | null): Verdict => ({ status: "warning", message, remedy });
const error = (code: ErrorCode, message: string, remedy: string | null): Verdict => ({
  status: "error",
  code,
  message,
  remedy,
});

const checks: readonly Check[] = [
  ["helper", examineHelper],
  ["shared memory", () => examineSharedMemory("/dev/shm"), "linux"],
  ["memory limit", examineMemoryLimit, "linux"],
  ["lock directory", examineLockDirectory],
  ["C# locks", examineForeignLockDirectories],
  ["temp directory", examineTempDirectory],
  ["open files", examineOpenFiles, "linux"],
  [
    "address space",
    () => examineLimit("Max address space", "v", "each buffer is mapped as a whole"),
    "linux",
  ],
  ["file size", () => examineLimit("Max file size", "f", "each buffer is a file"), "linux"],
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
  const remedy = isWindows ? "set TEMP=%USERPROFILE%" : 'export TMPDIR="$HOME"';
  return error("PERMISSION_DENIED", `the native helper cannot be loaded: ${loadFault.message}`, remedy);
}

function examineTempDirectory(): Verdict {
  const path = isWindows ? tmpdir() : process.env.TMPDIR || "/tmp";
  const status = statusOf(path);
  const elsewhere = isWindows ? "set TEMP=%USERPROFILE%" : "export TMPDIR=/var/tmp";
  const make = isWindows ? `mkdir "${path}"` : `mkdir -p ${quoted(path)}`;
  const consequence = "the helper is unpacked to another directory";
  if (status === undefined) return warning(`${path} is missing: ${consequence}`, make);
  if (!isWritable(path)) return warning(`${path} cannot be written: ${consequence}`, elsewhere);
  if (process.platform !== "linux") return ok(`${path} is writable`);
  const mount = mountOf(path);
  if (mount?.options.has("noexec")) {
    return warning(
      `${path} is mounted noexec: ${consequence}`,
      `mount -o remount,exec ${quoted(mount.path)}`,
    );
  }
  return ok(`${path} is writable and executable`);
}

// ---- shared memory -------------------------------------------------------------------------------------------------

function examineSharedMemory(path: string): Verdict {
  if (statusOf(path) === undefined) {
    const remedy = `mkdir -m 1777 ${path} && mount -t tmpfs -o mode=1777 tmpfs ${path}`;
    return error("RESOURCE_EXHAUSTED", `${path} is missing`, remedy);
  }
  if (!isWritable(path)) {
    const remedy = `mount -o remount,rw,mode=1777 ${path}`;
    return error("PERMISSION_DENIED", `${path} cannot be written`, remedy);
  }
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
  return isContainer() ? "docker run --shm-size=1g …" : `mount -o remount,size=1G ${path}`;
}

function isContainer(): boolean {
  return existsSync("/.dockerenv") || existsSync("/run/.containerenv");
}

/** That of a container mostly is not: its cgroups are mounted read-only. */
function isWritableFile(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function examineMemoryLimit(): Verdict {
  const limit = memoryLimit();
  if (limit === undefined) return ok("none");
  const { path, bytes, freeBytes } = limit;
  const text = `this process may use ${mebibytes(bytes)}, ${mebibytes(freeBytes)} of it free`;
  const lacking = memoryFor(DEFAULT_PAYLOAD_SIZE + MIB) - freeBytes;
  if (lacking <= 0) return ok(text);
  const enough = `${Math.ceil((bytes + lacking) / MIB)}m`;
  return warning(
    `${text}: a buffer needs ${mebibytes(DEFAULT_PAYLOAD_SIZE)} unless \`payloadSize\` is smaller`,
    isContainer() && !isWritableFile(path)
      ? `docker run --memory=${enough} …`
      : `echo ${enough} > ${quoted(path)}`,
  );
}

function examineLeftovers(): Verdict {
  if (loadFault !== undefined) return warning("cannot be found without the helper", null);
  const stale = listBuffers().filter((name) => {
    using view = inspectBuffer(name);
    return view?.snapshot().state === "stale";
  });
  const count = stale.length + listLeftoverSemaphores().length;
  if (count === 0) return ok("dead processes have left no buffers");
  return warning(
    `dead processes have left ${count === 1 ? "1 buffer" : `${count} buffers`}`,
    "`cleanBuffer`",
  );
}

// ---- locks ---------------------------------------------------------------------------------------------------------

function examineLockDirectory(): Verdict {
  if (statusOf(LOCK_DIRECTORY) === undefined && isWritable(dirname(LOCK_DIRECTORY)))
    return ok(`${LOCK_DIRECTORY} is missing: the first reader creates it`);
  const fault = faultOfLockDirectory(LOCK_DIRECTORY);
  if (fault !== undefined)
    return error("PERMISSION_DENIED", `${LOCK_DIRECTORY} is refused: ${fault.reason}`, fault.remedy);
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
    return warning(`${path} is passed over: ${fault.reason}; ${consequence}`, fault.remedy);
  }
  return ok(present.length === 0 ? "the first reader creates the directory" : present.join(", "));
}

// ---- limits --------------------------------------------------------------------------------------------------------

function examineOpenFiles(): Verdict {
  const limit = softLimit("Max open files");
  const text = limit === undefined ? "unlimited" : `at most ${limit}`;
  if (limit === undefined || limit >= FEW_DESCRIPTORS) return ok(text);
  return warning(text, "ulimit -n 1024");
}

function examineLimit(name: string, letter: string, why: string): Verdict {
  const limit = softLimit(name);
  if (limit === undefined) return ok("unlimited");
  return warning(`at most ${mebibytes(limit)}, and ${why}`, `ulimit -${letter} unlimited`);
}

/** A limit of this process; undefined if there is none. */
function softLimit(name: string): number | undefined {
  const line = readFileSync("/proc/self/limits", "utf8")
    .split("\n")
    .find((line) => line.startsWith(name));
  const value = line?.slice(name.length).trim().split(/\s+/)[0];
  return value === undefined || value === "unlimited" ? undefined : Number(value);
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
