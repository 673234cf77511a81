// zerobuffer top: every buffer of the machine on one screen.

import { defineCommand } from "../../cli/command.ts";
import { jsonLines, outputOptions } from "../../cli/options.ts";
import { Sampler } from "../../cli/sampling.ts";
import { untilNextUpdate, watchInterval } from "../../cli/screen.ts";
import type { Session } from "../../cli/session.ts";
import { Descriptor, isTerminal, takesEscapes } from "../../cli/terminal.ts";
import type { TopDocument, TopEntry } from "../../schemas/top.ts";
import { topEntryOf } from "./entry.ts";
import { watchOnScreen } from "./loop.ts";
import { snapshotLines } from "./snapshot.ts";

/** The document; without buffers if the screen has shown them. */
interface Result extends Omit<TopDocument, "buffers"> {
  buffers: TopEntry[] | undefined;
}

const args = { intervalMs: watchInterval(), ...outputOptions, jsonLines };

export default defineCommand({
  meta: {
    name: "top",
    description:
      "Shows every buffer on one screen: how full, how fast, who uses it. The keys are on the screen. " +
      "If stdout is no terminal, it prints one snapshot.",
  },
  args,
  examples: [
    { purpose: "watch all buffers, twice per second", line: "zerobuffer top --interval-ms 500" },
    {
      purpose: "print the buffers whose writer waits for room",
      line: "zerobuffer top --json-output | jq -r '.buffers[] | select(.waits.writer).buffer_name'",
    },
  ],

  blank: (): Result => ({ operation: "top", buffers: [], errors: [] }),

  async run({ intervalMs, jsonOutput }, session, document) {
    if (session.events !== undefined) return await tellAll(intervalMs, session, document);
    if (!jsonOutput && (await takesEscapes(Descriptor.STDOUT))) {
      document.buffers = undefined;
      return await watchOnScreen(intervalMs, session);
    }
    if (!jsonOutput && (await isTerminal(Descriptor.STDOUT))) {
      session.stderr.add(
        `zerobuffer top: A terminal with TERM=${process.env.TERM} has no screen to draw on. This is one snapshot.`,
      );
    }
    const sampler = new Sampler();
    sampler.look();
    await untilNextUpdate(intervalMs, session.signal);
    document.buffers = sampler.look().map(topEntryOf);
  },

  summarize: ({ buffers }, style, failed) =>
    failed || buffers === undefined ? [] : snapshotLines(buffers, style),
});

/** Tells what all buffers do until it is interrupted. */
async function tellAll(intervalMs: number, { events, signal }: Session, document: Result): Promise<void> {
  const sampler = new Sampler();
  for (;;) {
    document.buffers = sampler.look().map(topEntryOf);
    events?.emit("snapshot", { buffers: document.buffers });
    await untilNextUpdate(intervalMs, signal);
  }
}
