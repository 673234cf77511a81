// How the system's shell runs a command line, and how everything that it starts is ended.

import type { Subprocess } from "bun";
import { Code } from "../../native/codes.ts";
import { bindChildren, endChildren, systemError } from "../../native/process.ts";

/** A shell whose streams are pipes. */
export type Shell = Subprocess<"pipe", "pipe", "pipe">;

const isWindows = process.platform === "win32";

/**
 * The command that has cmd.exe run a line just as it was typed: without /d it runs a command of the registry first, and
 * with /s it removes the first quote and the last one, and nothing else. The arguments must be passed as they are.
 */
export function cmdCommand(line: string, systemRoot = "C:\\Windows"): string[] {
  // By its path: the current directory is searched before the system's.
  return [`${systemRoot}\\System32\\cmd.exe`, "/d", "/s", "/c", `"${line}"`];
}

/**
 * Starts a shell that runs a command line. Ctrl-C does not reach it.
 *
 * @param variables those that it gets besides the environment of this program.
 * @throws Error if the system starts no process, or on Windows could not end all that it starts.
 */
export function startShell(line: string, variables: Readonly<Record<string, string>> = {}): Shell {
  const env = { ...process.env, ...variables };
  const streams = { env, stdin: "pipe", stdout: "pipe", stderr: "pipe" } as const;
  // In a process group of its own, which has everything that it starts.
  if (!isWindows) return Bun.spawn(["/bin/sh", "-c", line], { ...streams, detached: true });
  const code = bindChildren();
  if (code !== Code.OK) throw new Error(`Windows makes no job for it (code ${code}, error ${systemError()})`);
  // With a console of its own, which has no window and is for everything that it starts.
  const options = { ...streams, windowsHide: true, windowsVerbatimArguments: true };
  return Bun.spawn(cmdCommand(line, process.env.SystemRoot), options);
}

/** Sends a signal to a shell and everything that it has started. On Windows, every signal ends them at once. */
export function signalShell(shell: Shell, signal: NodeJS.Signals): void {
  if (isWindows) {
    endChildren();
    return;
  }
  try {
    process.kill(-shell.pid, signal);
  } catch {
    // All of them have ended.
  }
}
