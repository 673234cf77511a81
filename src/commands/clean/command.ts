// zerobuffer clean: removes what processes that died have left.

import { defineCommand } from "../../cli/command.ts";
import { CommandError } from "../../cli/failure.ts";
import { bytesText, count } from "../../cli/format.ts";
import { bufferNames, flag, outputOptions } from "../../cli/options.ts";
import { checkName, type ErrorCode } from "../../core/index.ts";
import { cleanBuffer, listBuffers, listLeftoverSemaphores, removalAdvice } from "../../core/inspection.ts";
import type { CleanDocument } from "../../schemas/clean.ts";

const args = {
  names: bufferNames("the buffers to remove; all that are stale by default"),
  dryRun: flag({ group: "Cleaning", description: "change nothing, show what would be removed" }),
  ...outputOptions,
};

export default defineCommand({
  meta: {
    name: "clean",
    description:
      "Removes stale buffers of yours, whose processes are dead, with their semaphores and locks. Code 0 if all that " +
      "was named is removed, or nothing was named; otherwise 1 (in use, not yours, not there) or 4 (corrupt).",
  },
  args,
  examples: [
    { purpose: "what there is to remove", line: "zerobuffer clean --dry-run" },
    { purpose: "one buffer, if nobody uses it", line: "zerobuffer clean cam" },
  ],

  blank: (): CleanDocument => ({
    operation: "clean",
    dry_run: false,
    removed: [],
    left: [],
    bytes_freed: 0,
    errors: [],
  }),

  async run({ names, dryRun }, { signal, log }, document) {
    document.dry_run = dryRun;
    for (const name of names) checkName(name);
    const failures: CommandError[] = [];
    for (const name of names.length > 0 ? new Set(names) : findAll()) {
      // A signal is noticed between two buffers.
      await Bun.sleep(0);
      signal.throwIfAborted();
      const { paths, bytes, obstacle } = cleanBuffer(name, { dryRun });
      if (obstacle === undefined) {
        document.removed.push({ buffer_name: name, paths: [...paths], bytes });
        document.bytes_freed += bytes;
        for (const path of paths) log?.info(`${dryRun ? "Would remove" : "Removed"} ${path}.`);
        continue;
      }
      const { code, reason } = obstacle;
      if (code !== "BUFFER_NOT_FOUND") document.left.push({ buffer_name: name, code, reason });
      if (names.length > 0) failures.push(failureOf(name, code, reason));
    }
    const last = failures.pop();
    document.errors.push(...failures.map(({ message }) => message));
    if (last !== undefined) throw last;
  },

  summarize({ dry_run, removed, left, bytes_freed }, style, failed) {
    const verb = dry_run ? "Would remove" : "Removed";
    const lines = removed.map(
      ({ buffer_name, paths, bytes }) =>
        `${verb} ${style.bold(buffer_name)}: ${count(paths.length, "files")}, ${bytesText(bytes)}.`,
    );
    // Whoever named a buffer is told on stderr why it was left.
    if (failed) return lines;
    return [
      ...lines,
      ...left.map(({ buffer_name, reason }) => `Left ${style.bold(buffer_name)}: ${reason}.`),
      removed.length === 0 ? "Nothing to remove." : `${verb} ${bytesText(bytes_freed)} in all.`,
    ];
  },
});

/** Everything that may be left of a buffer, by name. */
function findAll(): string[] {
  return [...listBuffers(), ...listLeftoverSemaphores()].sort();
}

function failureOf(name: string, code: ErrorCode, reason: string): CommandError {
  const message =
    code === "BUFFER_NOT_FOUND" ? `There is no buffer "${name}".` : `Buffer "${name}" was left: ${reason}.`;
  const hint =
    code === "CORRUPT_BUFFER" ? `It may be no buffer: if it is one, ${removalAdvice(name)}.` : HINTS[code];
  return new CommandError(code, message, hint);
}

const HINTS: Partial<Record<ErrorCode, string>> = {
  BUFFER_NOT_FOUND: "zerobuffer list shows the buffers that there are.",
  READER_ALREADY_CONNECTED: "End its reader first.",
  WRITER_ALREADY_CONNECTED: "End its writer first.",
  PERMISSION_DENIED: "Have its owner remove it.",
};
