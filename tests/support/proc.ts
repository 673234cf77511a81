// What Linux tells about processes in /proc.

import { existsSync, readdirSync, readFileSync } from "node:fs";

/** The fields of a stat file from the state on; undefined if the process has ended. */
function statOf(path: string): string[] | undefined {
  try {
    const text = readFileSync(path, "latin1");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}

/** What a comm file says; undefined if the thread has ended. */
function nameOf(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1").trim();
  } catch {
    return undefined;
  }
}

/** None on a system without /proc. */
function allPids(): number[] {
  return existsSync("/proc") ? readdirSync("/proc").map(Number).filter(Number.isInteger) : [];
}

/** The state of a process's main thread as one letter (proc(5)); undefined if the process has ended. */
export function stateOf(pid: number): string | undefined {
  return statOf(`/proc/${pid}/task/${pid}/stat`)?.[0];
}

/** How nice the threads of a process are that have this name (setpriority(2)). */
export function nicenessOf(pid: number, name: string): number[] {
  const threads = `/proc/${pid}/task`;
  if (!existsSync(threads)) return [];
  return readdirSync(threads)
    .filter((thread) => nameOf(`${threads}/${thread}/comm`) === name)
    .map((thread) => Number(statOf(`${threads}/${thread}/stat`)?.[16]));
}

/** The processes that a process has started and that are there, zombies included. */
export function childrenOf(parent: number): number[] {
  return allPids().filter((pid) => statOf(`/proc/${pid}/stat`)?.[1] === `${parent}`);
}

/** The processes that have this value of an environment variable. */
export function processesWith(variable: string, value: string): number[] {
  return allPids().filter((pid) => {
    try {
      return `\0${readFileSync(`/proc/${pid}/environ`, "latin1")}`.includes(`\0${variable}=${value}\0`);
    } catch {
      return false;
    }
  });
}

/** The words of a process's command line, separated by blanks. */
export function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
  } catch {
    return "";
  }
}

/** Processor time that a process has used so far, in milliseconds. */
export function processorTimeMs(pid: number): number {
  let nanoseconds = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1").split(" ")[0]);
  }
  return nanoseconds / 1e6;
}

/** The most memory that a process has had resident so far, in MiB; undefined if it has ended. */
export function peakMemoryMiB(pid: number): number | undefined {
  try {
    const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1];
    return peak === undefined ? undefined : Number(peak) / 1024;
  } catch {
    return undefined;
  }
}
