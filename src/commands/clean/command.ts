// zerobuffer clean: removes the buffers of dead processes.

import { defineCommand } from "../../cli/command.ts";
import { CommandError } from "../../cli/failure.ts";
import { bytesText, count } from "../../cli/format.ts";
import { bufferNames, flag, outputOptions } from "../../cli/options.ts";
import { checkName, type ErrorCode } from "../../core/index.ts";
import { cleanBuffer, listBuffers, removalAdvice } from "../../core/inspection.ts";
import type { CleanDocument } from "../../schemas/clean.ts";

const args = {
  names: bufferNames("names of the buffers to remove", "all stale buffers"),
  dryRun: flag({ group: "Cleaning", description: "show what would be removed, change nothing" }),
  force: flag({
    group: "Cleaning",
    description: "also remove what a process may use that is not visible from here",
  }),
  ...outputOptions,
};

export default defineCommand({
  meta: {
    name: "clean",
    description:
      "Removes your stale buffers with their semaphores and locks. As root, it removes those of all users. A buffer is " +
      "stale if its processes are dead, in every container. Exits with code 1 if a named buffer is missing, in use or " +
      "not yours, and with 4 if it is corrupt.",
  },
  args,
  examples: [
    { purpose: "show what can be removed", line: "zerobuffer clean --dry-run" },
    { purpose: "remove one buffer if it is stale", line: "zerobuffer clean cam" },
    { purpose: "remove what a container has left that is gone", line: "zerobuffer clean --force cam" },
  ],

  blank: (): CleanDocument => ({
    operation: "clean",
    dry_run: false,
    removed: [],
    left: [],
    bytes_freed: 0,
    errors: [],
  }),

  async run({ names, dryRun, force }, { signal, log }, document) {
    document.dry_run = dryRun;
    for (const name of names) checkName(name);
    if (force && names.length === 0) throw forceWithoutName();
    const failures: CommandError[] = [];
    for (const name of names.length > 0 ? new Set(names) : listBuffers()) {
      // Signals are handled between two buffers.
      await Bun.sleep(0);
      signal.throwIfAborted();
      const { paths, bytes, obstacle, isForced } = cleanBuffer(name, { dryRun, force });
      if (obstacle === undefined) {
        document.removed.push({ buffer_name: name, paths: [...paths], bytes, forced: isForced });
        document.bytes_freed += bytes;
        for (const path of paths) log?.info(`${dryRun ? "Would remove" : "Removed"} ${path}.`);
        continue;
      }
      const { code, reason, hint } = obstacle;
      if (code !== "BUFFER_NOT_FOUND") document.left.push({ buffer_name: name, code, reason });
      if (names.length > 0) failures.push(failureOf(name, code, reason, hint));
    }
    const last = failures.pop();
    document.errors.push(...failures.map(({ message }) => message));
    if (last !== undefined) throw last;
  },

  summarize({ dry_run, removed, left, bytes_freed }, style, failed) {
    const verb = dry_run ? "Would remove" : "Removed";
    const lines = removed.map(
      ({ buffer_name, paths, bytes, forced }) =>
        `${verb} ${style.bold(buffer_name)}: ${count(paths.length, "files")}, ${bytesText(bytes)}.` +
        (forced ? " A process that is not visible from here may lose it." : ""),
    );
    // The reasons for named buffers go to stderr.
    if (failed) return lines;
    return [
      ...lines,
      ...left.map(({ buffer_name, reason }) => `Kept ${style.bold(buffer_name)}: ${reason}.`),
      removed.length === 0 ? "Nothing to remove." : `${verb} ${bytesText(bytes_freed)} in all.`,
    ];
  },
});

function forceWithoutName(): CommandError {
  return new CommandError(
    "USAGE",
    "--force removes only buffers that are named.",
    "Run zerobuffer clean to see what is kept and why, then zerobuffer clean --force NAME.",
  );
}

function failureOf(name: string, code: ErrorCode, reason: string, advice?: string): CommandError {
  const message =
    code === "BUFFER_NOT_FOUND" ? `There is no buffer "${name}".` : `Buffer "${name}" was kept: ${reason}.`;
  const hint =
    advice ??
    (code === "CORRUPT_BUFFER" ? `It may not be a buffer. If it is, ${removalAdvice(name)}.` : HINTS[code]);
  return new CommandError(code, message, hint);
}

const HINTS: Partial<Record<ErrorCode, string>> = {
  BUFFER_NOT_FOUND: "Run zerobuffer list to see the existing buffers.",
  READER_ALREADY_CONNECTED: "Stop its reader first.",
  WRITER_ALREADY_CONNECTED: "Stop its writer first.",
  PERMISSION_DENIED: "Ask its owner to remove it.",
};
