// Where the processes of a buffer are: here, in another container, or out of sight.

import type { SharedMemory } from "../../native/memory.ts";
import { processStart } from "../../native/process.ts";
import { files } from "../../runtime/files.ts";

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

/**
 * Where the living process is whose pid a buffer names: a process that has the memory mapped, and has that pid here or in a
 * pid namespace of its own. Never another one that happens to have the same number.
 *
 * @param isTwice whether writer and reader have the same number: then a process has to have the memory mapped twice.
 */
export function locate(pid: number, memory: SharedMemory, isTwice: boolean): Place {
  if (process.platform !== "linux") {
    return processStart(pid) < 0 ? OUT_OF_SIGHT : { localPid: pid, command: commandOf(pid) };
  }
  if (pid === process.pid || (memory.mappingsOf(pid) ?? 0) >= (isTwice ? 2 : 1)) {
    return { localPid: pid, command: commandOf(pid) };
  }
  for (const localPid of processes()) {
    if (localPid === pid || pidInItsNamespace(localPid) !== pid) continue;
    if ((memory.mappingsOf(localPid) ?? 0) > 0) return { localPid, command: commandOf(localPid) };
  }
  return OUT_OF_SIGHT;
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
