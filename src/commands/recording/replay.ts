// zerobuffer replay: writes the frames of MCAP files to buffers, at their times.

import { refuseTogether } from "../../cli/arguments.ts";
import { defineCommand } from "../../cli/command.ts";
import { CommandError } from "../../cli/failure.ts";
import { bytesText, count, grouped, speedFigures, speedText } from "../../cli/format.ts";
import { flag, integer, type Option, several, text, transferOptions } from "../../cli/options.ts";
import { rewordForWriter } from "../../cli/other-kind.ts";
import { startProgress } from "../../cli/progress.ts";
import { timeoutsOf, writersWaits } from "../../cli/shared-options.ts";
import { parseRate } from "../../cli/values.ts";
import { files } from "../../runtime/files.ts";
import type { ReplayDocument } from "../../schemas/replay.ts";
import { ReplayLoop } from "./replay-loop.ts";
import { MOMENT_TAKES, type Moment, Moments, parseMoment } from "./time-range.ts";
import { shownTopic, Topics } from "./topics.ts";

/** How long a replay that does not follow waits for each buffer, and for room. */
const TIMEOUTS = { connectTimeoutMs: 5000, timeoutMs: 5000 } as const;

/** A moment in a recording; none by default. */
function moment(spec: { group: string; description: string; note?: string }): Option<Moment | undefined> {
  return {
    ...spec,
    type: "string",
    valueHint: "WHEN",
    takes: MOMENT_TAKES,
    absent: undefined,
    parse: parseMoment,
  };
}

const args = {
  files: {
    type: "positional",
    variadic: true,
    required: true,
    group: "",
    description: "recordings (NAME.mcap, ./NAME, or - for stdin), then buffers",
    note: "Without buffers, each topic goes to the buffer of its name; otherwise topics and buffers are in the same order.",
    takes: "the files to replay",
    offers: "files",
    absent: [] as readonly string[],
    parse: (text: string) => (text === "" ? undefined : [text]),
  },
  frames: integer({
    group: "Frames",
    alias: "n",
    description: "replay this many frames, 0: all",
    default: 0,
    min: 0,
  }),
  topic: several(text({ group: "Frames", description: "replay these topics" }), { absent: [], shown: "all" }),
  from: moment({
    group: "Frames",
    description: "start here",
    note: "WHEN is a time after the first frame (90s, 5m) or a date (2026-11-26T08:30:00Z; without Z in local time).",
  }),
  to: moment({ group: "Frames", description: "end here" }),
  loop: flag({ group: "Frames", description: "start again at the end, until stopped" }),
  dryRun: flag({ group: "Frames", description: "show what would be replayed, touch no buffer" }),
  follow: flag({
    group: "Frames",
    description: "continue with the next reader when one leaves",
    note:
      "--follow waits forever for readers and room, unless a timeout is given. Frames wait for the next reader, or with " +
      "--on-full drop are dropped.",
  }),
  speed: {
    type: "string",
    group: "Pace",
    description: "replay this much faster, or max: as fast as possible",
    valueHint: "FACTOR",
    default: "1",
    takes: "a number above 0, or max",
    offers: ["1", "0.5", "2", "max"],
    absent: 1,
    parse: (text: string) => (text === "max" ? Number.POSITIVE_INFINITY : parseRate(text)),
  } satisfies Option<number>,
  ...writersWaits(TIMEOUTS, "each buffer"),
  ...transferOptions,
} as const;

export default defineCommand({
  meta: {
    name: "replay",
    description: "Writes the frames of MCAP files to buffers, at the times of the recording.",
  },
  args,
  movesFrames: true,
  examples: [
    {
      purpose: "replay a recording to the buffers that it was made of",
      line: "zerobuffer replay drive.mcap",
    },
    {
      purpose: "replay a minute of one topic to buffer cam, at half the speed",
      line: "zerobuffer replay bag.mcap cam --topic /camera/image --from 5m --to 6m --speed 0.5",
    },
    { purpose: "see what is in a recording", line: "zerobuffer replay drive.mcap --dry-run" },
  ],

  blank: (): ReplayDocument => ({
    operation: "replay",
    files: [],
    channels: [],
    dry_run: false,
    truncated: false,
    recorded_at: null,
    recorded_seconds: 0,
    frames_written: 0,
    frames_dropped: 0,
    late_frames: 0,
    empty_messages_skipped: 0,
    bytes_written: 0,
    duration_seconds: 0,
    throughput_mbps: 0,
    frames_per_second: 0,
    waits: 0,
    reconnects: 0,
    errors: [],
  }),

  async run(options, session, document) {
    const { recordings, buffers } = sorted(options.files);
    document.files = recordings;
    document.dry_run = options.dryRun;
    if (recordings.includes("-"))
      refuseTogether({ "--loop": options.loop, "-": true }, "stdin can be read once.");
    const topics = new Topics(options.topic, buffers);
    const total = options.loop || options.frames > 0 ? undefined : sizeOf(recordings);
    const progress = await startProgress(session, options.dryRun ? "Reading" : "Replaying", total);
    const loop = new ReplayLoop(
      topics,
      new Moments(options.from, options.to),
      { ...options, ...timeoutsOf(options, TIMEOUTS) },
      session,
      document,
      (frames, bytes, position) => progress?.update(frames, bytes, position),
    );
    try {
      await loop.run(recordings);
    } catch (error) {
      for (const output of loop.outputs) output.fail(error);
      throw error;
    } finally {
      fill(document, loop);
    }
  },

  reword: rewordForWriter,

  summarize(document, style, failed) {
    const {
      channels,
      dry_run,
      frames_written,
      frames_dropped,
      bytes_written,
      duration_seconds,
      late_frames,
    } = document;
    const found = channels.reduce((sum, { frames }) => sum + frames, 0);
    if (failed && found === 0) return [];
    const what = dry_run ? `Found ${count(found, "frames")}` : `Replayed ${count(frames_written, "frames")}`;
    const bytes = dry_run ? channels.reduce((sum, { bytes }) => sum + bytes, 0) : bytes_written;
    const speed = dry_run
      ? `of ${grouped(document.recorded_seconds, 3)} s${document.recorded_at === null ? "" : `, from ${document.recorded_at} on`}`
      : speedText(frames_written, bytes, duration_seconds);
    const rows = channels.map(
      ({ topic, buffer_name, frames, bytes }) =>
        `${shownTopic(topic)}${topic === buffer_name ? "" : ` to ${buffer_name}`}: ${count(frames, "frames")}, ${bytesText(bytes)}`,
    );
    return [
      `${style.bold(what)} (${bytesText(bytes)}) ${speed}.`,
      ...(dry_run || channels.length > 1 ? rows : []),
      ...(frames_dropped > 0 ? [`Dropped ${count(frames_dropped, "frames")}.`] : []),
      ...(late_frames > 0 ? [`${count(late_frames, "frames")} came more than 5 ms late.`] : []),
      ...(document.truncated ? ["A file ends early: it was read to its last whole chunk."] : []),
    ];
  },
});

/** @throws CommandError USAGE if no file is named, or one after a buffer. */
function sorted(words: readonly string[]): { recordings: string[]; buffers: string[] } {
  const recordings = words.filter(isFile);
  const buffers = words.filter((word) => !isFile(word));
  if (recordings.length === 0) {
    throw new CommandError(
      "USAGE",
      `No recording is named: ${words.join(" ")}.`,
      "The name of a file ends in .mcap or has a slash: ./name.",
    );
  }
  return { recordings, buffers };
}

function isFile(word: string): boolean {
  return word === "-" || word.endsWith(".mcap") || /[/\\]/.test(word);
}

/** The bytes of all files; undefined if one is no regular file. */
function sizeOf(recordings: readonly string[]): number | undefined {
  let size = 0;
  for (const path of recordings) {
    const stats = path === "-" ? undefined : files().statSync(path, { throwIfNoEntry: false });
    if (stats?.isFile() !== true) return undefined;
    size += stats.size;
  }
  return size;
}

function fill(document: ReplayDocument, loop: ReplayLoop): void {
  const { outputs, recorded, seconds } = loop;
  const sum = (figure: (output: (typeof outputs)[number]) => number) =>
    outputs.reduce((sum, output) => sum + figure(output), 0);
  document.frames_written = sum(({ framesWritten }) => framesWritten);
  document.bytes_written = sum(({ bytesWritten }) => bytesWritten);
  document.frames_dropped = sum(({ dropped }) => dropped);
  document.waits = sum(({ waits }) => waits);
  document.reconnects = sum(({ reconnects }) => reconnects);
  if (recorded !== undefined) {
    document.recorded_at = dateOf(recorded.first);
    document.recorded_seconds = Number(recorded.last - recorded.first) / 1e9;
  }
  Object.assign(document, speedFigures(document.frames_written, document.bytes_written, seconds));
}

/** A time as text; null if it is beyond what dates can be. */
function dateOf(ns: bigint): string | null {
  const date = new Date(Number(ns / 1_000_000n));
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}
