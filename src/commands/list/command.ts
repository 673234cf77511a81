// zerobuffer list: the buffers on this machine and the processes that use them.

import { defineCommand } from "../../cli/command.ts";
import { bytesText, grouped } from "../../cli/format.ts";
import { duration, outputOptions } from "../../cli/options.ts";
import type { Session } from "../../cli/session.ts";
import { type Cell, tableLines } from "../../cli/table.ts";
import { type InspectedBuffer, inspectBuffer, listBuffers } from "../../core/inspection.ts";
import { raceAbort } from "../../runtime/abort.ts";
import type { BufferEntry } from "../../schemas/buffer-state.ts";
import type { ListDocument } from "../../schemas/list.ts";
import { entryOf, paintOf, participantText, rateBetween } from "./entry.ts";

const COMMAND_LENGTH = 28;

const args = {
  intervalMs: duration({
    group: "Figures",
    description: "count frames this long for the rates, 0: no rates",
    default: 100,
  }),
  ...outputOptions,
};

export default defineCommand({
  meta: { name: "list", description: "Lists the buffers on this machine and the processes that use them." },
  args,
  examples: [
    {
      purpose: "print the names of stale buffers",
      line: `zerobuffer list --json-output | jq -r '.buffers[] | select(.state == "stale").buffer_name'`,
    },
  ],

  blank: (): ListDocument => ({ operation: "list", buffers: [], errors: [] }),

  async run({ intervalMs }, session, document) {
    const views = listBuffers().flatMap((name) => inspectBuffer(name) ?? []);
    session.log?.info(`Found ${views.length} buffers and lock files.`);
    const rates = intervalMs > 0 ? await measureRates(views, intervalMs, session) : new Map();
    document.buffers = views
      .filter((view) => view.exists)
      .map((view) => entryOf(view.snapshot(), rates.get(view) ?? null));
  },

  summarize({ buffers }, style, failed) {
    if (failed) return [];
    if (buffers.length === 0) return ["No buffers."];
    const titles = ["NAME", "STATE", "SIZE", "USED", "", "WRITTEN", "READ", "FRAMES/S", "WRITER", "READER"];
    const head = titles.map((text, column): Cell => ({ text, paint: "bold", ...alignmentOf(column) }));
    return [
      ...tableLines([head, ...buffers.map(rowOf)], style),
      ...buffers
        .filter(({ fault }) => fault !== null)
        .map(({ buffer_name, fault }) => style.dim(`${buffer_name}: ${fault}`)),
    ];
  },
});

/** Frames per second of the buffers that have a live writer; the others are not waited for. */
async function measureRates(
  views: readonly InspectedBuffer[],
  intervalMs: number,
  { signal }: Session,
): Promise<Map<InspectedBuffer, number | null>> {
  const active = views.filter((view) => view.snapshot().writer?.alive);
  if (active.length === 0) return new Map();
  const before = active.map((view) => ({ view, frames: view.framesWritten(), at: performance.now() }));
  await raceAbort(Bun.sleep(intervalMs), signal);
  return new Map(
    before.map(({ view, frames, at }) => {
      const seconds = (performance.now() - at) / 1000;
      return [view, rateBetween(frames, view.framesWritten(), seconds)];
    }),
  );
}

function rowOf(entry: BufferEntry): Cell[] {
  const number = (value: number | null) => (value === null ? "-" : grouped(value));
  const bytes = (value: number | null) => (value === null ? "-" : bytesText(value));
  const { buffer_name, state, used_percent, writer, reader } = entry;
  const texts = [
    buffer_name,
    state ?? "?",
    bytes(entry.size_bytes),
    bytes(entry.used_bytes),
    used_percent === null ? "" : `${Math.round(used_percent)} %`,
    number(entry.frames_written),
    number(entry.frames_read),
    number(entry.frames_per_second),
    participantText(writer, COMMAND_LENGTH),
    participantText(reader, COMMAND_LENGTH),
  ];
  return texts.map((text, column) => ({
    text,
    ...(column === 1 && { paint: paintOf(state) }),
    ...alignmentOf(column),
  }));
}

function alignmentOf(column: number): Pick<Cell, "alignment"> {
  return column >= 2 && column <= 7 ? { alignment: "right" } : {};
}
