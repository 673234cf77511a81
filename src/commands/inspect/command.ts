// zerobuffer inspect: shows one buffer in detail, once or repeatedly.

import { defineCommand } from "../../cli/command.ts";
import { CommandError } from "../../cli/failure.ts";
import { bufferName, jsonLines, outputOptions } from "../../cli/options.ts";
import { Screen, untilNextUpdate, watchFlag, watchInterval } from "../../cli/screen.ts";
import { BufferNotFoundError } from "../../core/index.ts";
import { removalAdvice } from "../../core/inspection.ts";
import type { InspectDocument } from "../../schemas/inspect.ts";
import { blankDetails, linesOf, look } from "./details.ts";

const args = {
  buffer: bufferName("name of the buffer to show"),
  watch: watchFlag("the buffer is gone"),
  intervalMs: watchInterval(),
  ...outputOptions,
  jsonLines,
};

export default defineCommand({
  meta: {
    name: "inspect",
    description:
      "Shows one buffer in detail, without disturbing its users. Exits with code 4 if the buffer is corrupt.",
  },
  args,
  examples: [
    {
      purpose: "watch how full it is, twice per second",
      line: "zerobuffer inspect cam --watch --interval-ms 500",
    },
    {
      purpose: "print its health, for a script",
      line: "zerobuffer inspect cam --json-output | jq -r .health",
    },
  ],

  blank: blankDetails,

  async run({ buffer, watch, intervalMs, jsonOutput }, { events, signal, log }, document) {
    const isScreen = watch && !jsonOutput && events === undefined;
    // What the screen has shown is not printed again at the end.
    const seen = isScreen ? { ...document } : document;
    if (!look(buffer, seen, null)) {
      throw new BufferNotFoundError(`There is no buffer "${buffer}".`, {
        buffer,
        hint: "Run zerobuffer list to see the existing buffers.",
      });
    }
    if (seen.state === null) throw forbidden(seen);
    if (!watch) {
      if (seen.state === "corrupt") throw corrupt(seen);
      return;
    }
    log?.info(`Watching buffer "${buffer}".`);
    const screen = isScreen ? await Screen.open() : undefined;
    let isThere = true;
    while (isThere) {
      if (screen?.isClosed) return;
      if (events !== undefined) events.emit("snapshot", snapshotOf(seen));
      await screen?.show(linesOf(seen, screen.style));
      const before = { frames: seen.frames_written, at: performance.now() };
      await untilNextUpdate(intervalMs, signal);
      isThere = look(buffer, seen, before);
    }
    log?.info(`Buffer "${buffer}" is gone.`);
  },

  summarize: (document, style) => linesOf(document, style),
});

/** What has been seen, without what only the report has. */
function snapshotOf({ operation: _, errors: __, ...seen }: InspectDocument): object {
  return seen;
}

function forbidden({ buffer_name, fault }: InspectDocument): CommandError {
  return new CommandError(
    "PERMISSION_DENIED",
    `Buffer "${buffer_name}" cannot be read: ${fault}.`,
    "Run as the user who created it, or start its reader with wider permissions (--mode).",
  );
}

function corrupt({ buffer_name, fault }: InspectDocument): CommandError {
  return new CommandError(
    "CORRUPT_BUFFER",
    `Buffer "${buffer_name}" is corrupt: ${fault}.`,
    `Stop the processes that use it, then run zerobuffer clean ${buffer_name}. If that keeps it, as it may not be a buffer, ${removalAdvice(buffer_name ?? "")}.`,
  );
}
