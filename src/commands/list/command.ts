// zerobuffer list: the buffers on this machine and the processes that use them.

import { defineCommand } from "../../cli/command.ts";
import { bytesText, grouped } from "../../cli/format.ts";
import { duration, jsonLines, outputOptions } from "../../cli/options.ts";
import { Screen, untilNextUpdate, WATCH_INTERVAL_MS, watchFlag } from "../../cli/screen.ts";
import type { Session } from "../../cli/session.ts";
import { type Cell, tableLines } from "../../cli/table.ts";
import type { Style } from "../../cli/terminal.ts";
import { type InspectedBuffer, inspectBuffer, listBuffers, Places } from "../../core/inspection.ts";
import { raceAbort } from "../../runtime/abort.ts";
import type { BufferEntry } from "../../schemas/buffer-state.ts";
import type { ListDocument } from "../../schemas/list.ts";
import { entryOf, isSharing, paintOf, participantText, rateBetween, sharingText } from "./entry.ts";

const COMMAND_LENGTH = 28;

/** How long frames are counted for the rates. */
const COUNTING_MS = 100;

/** One column of the table. */
interface Column extends Pick<Cell, "alignment"> {
  readonly title: string;
  text(entry: BufferEntry): string;
}

const right = { alignment: "right" } as const;
const number = (value: number | null) => (value === null ? "-" : grouped(value));
const bytes = (value: number | null) => (value === null ? "-" : bytesText(value));

const COLUMNS: readonly Column[] = [
  { title: "NAME", text: ({ buffer_name }) => buffer_name },
  { title: "STATE", text: ({ state }) => state ?? "?" },
  { title: "SIZE", ...right, text: ({ size_bytes }) => bytes(size_bytes) },
  { title: "USED", ...right, text: ({ used_bytes }) => bytes(used_bytes) },
  {
    title: "",
    ...right,
    text: ({ used_percent }) => (used_percent === null ? "" : `${Math.round(used_percent)} %`),
  },
  { title: "WRITTEN", ...right, text: ({ frames_written }) => number(frames_written) },
  { title: "READ", ...right, text: ({ frames_read }) => number(frames_read) },
  { title: "FRAMES/S", ...right, text: ({ frames_per_second }) => number(frames_per_second) },
  { title: "SHARING", text: ({ sharing }) => sharingText(sharing) },
  { title: "WRITER", text: ({ writer }) => participantText(writer, COMMAND_LENGTH) },
  { title: "READER", text: ({ reader }) => participantText(reader, COMMAND_LENGTH) },
];

const args = {
  watch: watchFlag("it is interrupted"),
  intervalMs: duration({
    group: "Watching",
    description: "count frames this long, 0: no rates",
    note: "With --watch, --interval-ms is the time between two updates, at least 100ms.",
    default: undefined,
    shown: "100ms, 1s with --watch",
  }),
  ...outputOptions,
  jsonLines,
};

export default defineCommand({
  meta: { name: "list", description: "Lists the buffers on this machine and the processes that use them." },
  args,
  examples: [
    { purpose: "watch all buffers, twice per second", line: "zerobuffer list --watch --interval-ms 500" },
    {
      purpose: "print the names of stale buffers",
      line: `zerobuffer list --json-output | jq -r '.buffers[] | select(.state == "stale").buffer_name'`,
    },
  ],

  blank: (): ListDocument => ({ operation: "list", buffers: [], errors: [] }),

  async run({ intervalMs, jsonOutput, watch }, session, document) {
    if (watch) return await watchAll(intervalMs, jsonOutput, session, document);
    const views = lookAtAll(new Places());
    session.log?.info(`Found ${views.length} buffers and lock files.`);
    const countingMs = intervalMs ?? COUNTING_MS;
    const rates = countingMs > 0 ? await measureRates(views, countingMs, session) : new Map();
    document.buffers = entriesOf(views, (view) => rates.get(view) ?? null);
  },

  summarize: ({ buffers }, style, failed) => (failed ? [] : linesOf(buffers, style)),
});

/** Shows the buffers until it is interrupted. What the screen has shown is not printed again at the end. */
async function watchAll(
  intervalMs: number | undefined,
  json: boolean,
  { events, log, signal }: Session,
  document: ListDocument,
): Promise<void> {
  const screen = json || events !== undefined ? undefined : await Screen.open();
  let before = new Map<string, { readonly frames: number | null; readonly at: number }>();
  const places = new Places();
  log?.info("Watching all buffers.");
  while (screen?.isClosed !== true) {
    const seen: typeof before = new Map();
    const entries = entriesOf(lookAtAll(places), (view) => {
      const now = { frames: view.framesWritten(), at: performance.now() };
      const last = before.get(view.name);
      seen.set(view.name, now);
      return last === undefined ? null : rateBetween(last.frames, now.frames, (now.at - last.at) / 1000);
    });
    before = seen;
    events?.emit("snapshot", { buffers: entries });
    if (screen === undefined) document.buffers = entries;
    else await screen.show(linesOf(entries, screen.style));
    await untilNextUpdate(intervalMs ?? WATCH_INTERVAL_MS, signal);
  }
}

function lookAtAll(places: Places): InspectedBuffer[] {
  places.beginLook();
  return listBuffers().flatMap((name) => inspectBuffer(name, places) ?? []);
}

function entriesOf(
  views: readonly InspectedBuffer[],
  rateOf: (view: InspectedBuffer) => number | null,
): BufferEntry[] {
  return views.filter((view) => view.exists).map((view) => entryOf(view.snapshot(), rateOf(view)));
}

function linesOf(buffers: readonly BufferEntry[], style: Style): string[] {
  if (buffers.length === 0) return ["No buffers."];
  // Seldom are frames shared.
  const columns = COLUMNS.filter(({ title }) => title !== "SHARING" || buffers.some(isSharing));
  const head = columns.map(({ title, text, ...how }): Cell => ({ ...how, text: title, paint: "bold" }));
  const rows = buffers.map((entry) =>
    columns.map(
      ({ title, text, ...how }): Cell => ({
        ...how,
        text: text(entry),
        ...(title === "STATE" && { paint: paintOf(entry.state) }),
      }),
    ),
  );
  return [
    ...tableLines([head, ...rows], style),
    ...buffers
      .filter(({ fault }) => fault !== null)
      .map(({ buffer_name, fault }) => style.dim(`${buffer_name}: ${fault}`)),
  ];
}

/** Frames per second of the buffers that have a live writer; the others are not waited for. */
async function measureRates(
  views: readonly InspectedBuffer[],
  intervalMs: number,
  { signal }: Session,
): Promise<Map<InspectedBuffer, number | null>> {
  const active = views.filter((view) => ["live", "orphan"].includes(view.state() ?? ""));
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
