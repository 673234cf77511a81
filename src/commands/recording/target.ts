// The file that record is to write: whether it may.

import { CommandError, systemCode, systemReason } from "../../cli/failure.ts";
import { Descriptor, isTerminal } from "../../cli/terminal.ts";
import { files, paths } from "../../runtime/files.ts";
import { pathOfPart } from "./parts.ts";

/** @throws CommandError USAGE if it exists and may not be replaced, or if stdout is a terminal; IO_ERROR. */
export async function checkTarget(path: string, force: boolean): Promise<void> {
  if (path === "-") {
    if (!(await isTerminal(Descriptor.STDOUT))) return;
    throw new CommandError(
      "USAGE",
      "Option --output - cannot write a recording to a terminal.",
      "Redirect stdout to a file or a pipe.",
    );
  }
  const { accessSync, constants, statSync } = files();
  const statsOf = (name: string) => statSync(name, { throwIfNoEntry: false });
  try {
    const stats = statsOf(path);
    if (stats?.isDirectory()) throw Object.assign(new Error("is a directory"), { code: "EISDIR" });
    // A pipe or a device is written to as it is.
    if (stats !== undefined && !stats.isFile()) return accessSync(path, constants.W_OK);
    accessSync(paths().dirname(path), constants.W_OK);
  } catch (error) {
    throw notWritable(path, error);
  }
  // Also those that would follow: hours later it is too late to say so.
  const taken = [path, pathOfPart(path, 1)].find((part) => statsOf(part) !== undefined);
  if (taken !== undefined && !force) throw exists(taken);
}

/** The refusal of a file that exists. */
export function exists(path: string): CommandError {
  return new CommandError("USAGE", `File ${path} exists.`, "Name another file, or replace it with --force.");
}

const REMEDIES: Readonly<Record<string, string>> = {
  ENOENT: "Check the path.",
  EACCES: "Check its permissions.",
  EISDIR: "Name a file, not a directory.",
  ENOSPC: "Free some space, or record elsewhere.",
  EDQUOT: "Free some space, or record elsewhere.",
  EFBIG: "Record smaller files with --split-size, or raise the limit (ulimit -f).",
};

/** The failure to write a file of a recording. */
export function notWritable(path: string, error: unknown): CommandError {
  const name = path === "-" ? "stdout" : path;
  const hint = REMEDIES[systemCode(error) ?? ""];
  return new CommandError("IO_ERROR", `Cannot write ${name}: ${systemReason(error)}.`, hint, error);
}
