// zerobuffer bench: measures how fast frames are on this machine and what they cost, beside a pipe and a Unix socket.

import { refuseTogether } from "../../cli/arguments.ts";
import { defineCommand } from "../../cli/command.ts";
import { CommandError } from "../../cli/failure.ts";
import { count } from "../../cli/format.ts";
import { openOutput } from "../../cli/open.ts";
import {
  duration,
  flag,
  integer,
  jsonLines,
  outputOptions,
  path,
  rate,
  several,
  size,
  type Values,
  words,
} from "../../cli/options.ts";
import { startProgress } from "../../cli/progress.ts";
import type { Session } from "../../cli/session.ts";
import { waitMode } from "../../cli/shared-options.ts";
import { FRAME_HEADER_SIZE } from "../../core/index.ts";
import type { BenchDocument, BenchMeasurement } from "../../schemas/bench.ts";
import { TRANSPORTS, WORKS } from "../../schemas/words.ts";
import { describeMachine } from "./machine.ts";
import { measurementOf, sampleOf } from "./outcome.ts";
import { batchSizeOf, type Case, casesOf, isRelayed, PICTURE_SIZE, roundUp, WARM_UP } from "./plan.ts";
import { summaryOf } from "./tables.ts";

/** 64 B to 4 MiB. */
const SWEEP = [...Array.from({ length: 9 }, (_, i) => 64 * 4 ** i), PICTURE_SIZE].sort((a, b) => a - b);

/** What is measured if no work is named: everything, but briefly. */
const OVERVIEW = { sizes: [64, 1024, 65536, 1048576, PICTURE_SIZE], durationMs: 300 };

/** The most bytes of one call: the length of the longest view. */
const MAX_CALL_BYTES = 2 ** 32;

const frameSize = size({ group: "Frames", description: "", default: undefined, min: 1, max: 2 ** 32 });
const frameRate = rate({ group: "Frames", description: "" });

const args = {
  work: {
    ...words(WORKS, "measure", "all"),
    note:
      "Work throughput sends frames one way; latency sends each frame there and back through two buffers; relay sends " +
      "it back through zerobuffer relay; fanout sends frames through it to three processes; duplex sends requests to a server that answers with their bytes.",
  },
  sizes: several(
    {
      ...frameSize,
      description: "measure these frame sizes",
      note: "--sizes 1080p is a picture of 3,110,416 bytes; by default the sizes grow from 64 by a factor of 4.",
      valueHint: "SIZE,…",
      takes: `${frameSize.takes}, or 1080p`,
      parse: (text) => (text === "1080p" ? PICTURE_SIZE : frameSize.parse(text)),
    },
    { absent: [], shown: "64 to 4MiB, and 1080p" },
  ),
  rate: several(
    {
      ...frameRate,
      description: "send this many frames per second, 0: as fast as possible",
      valueHint: "RATE,…",
      takes: "a number from 0",
      parse: (text) => (text === "0" ? 0 : frameRate.parse(text)),
    },
    { absent: [0], shown: "0" },
  ),
  duration: duration({
    group: "Length",
    description: "measure each sample this long",
    note: "Each sample begins with a warm-up of a fifth of its length, which is not counted.",
    default: undefined,
    shown: "1s, 300ms if no work is named",
  }),
  frames: integer({
    group: "Length",
    alias: "n",
    description: "measure this many frames per sample instead",
    default: undefined,
    min: 1,
  }),
  repeat: integer({
    group: "Length",
    description: "take this many samples of each measurement",
    default: 3,
    min: 1,
    max: 1000,
  }),
  batchSize: integer({
    group: "Frames",
    description: "write this many frames per call, for throughput without a rate",
    default: 1,
    min: 1,
    max: 64,
  }),
  sharing: flag({
    group: "Frames",
    description: "pass frames on without a copy, for relay and fanout",
  }),
  wait: waitMode(),
  baselines: flag({
    group: "Comparison",
    description: "measure a pipe and a Unix socket, too",
  }),
  bufferSize: size({
    group: "Buffers",
    description: "set the ring size",
    default: 16 * 1024 * 1024,
    // The smallest usual frame fits.
    min: 64 + FRAME_HEADER_SIZE,
  }),
  report: path({ group: "Output", description: "write a page of charts to an HTML file" }),
  ...outputOptions,
  jsonLines,
};

type BenchOptions = Values<typeof args>;

export default defineCommand({
  meta: { name: "bench", description: "Measures how fast frames are on this machine and what they cost." },
  args,
  examples: [
    {
      purpose: "measure everything briefly, beside a pipe and a Unix socket",
      line: "zerobuffer bench --baselines",
    },
    {
      purpose: "measure frames one way and round trips",
      line: "zerobuffer bench throughput latency --sizes 64,1MiB",
    },
    {
      purpose: "measure pictures at the rates of cameras, with a page of charts",
      line: "zerobuffer bench latency relay --sizes 1080p --rate 30,60,240,1000,0 --baselines --report report.html",
    },
  ],

  blank: (): BenchDocument => ({
    operation: "bench",
    machine: {
      ...{ cpu: "", processors: 0, memory_bytes: 0, kernel: "", architecture: "", bun: "", version: "" },
    },
    settings: {
      ...{ works: [], sizes: [], rates: [], frames: null, duration_ms: null, warm_up: WARM_UP, repeat: 0 },
      ...{ batch_size: 1, wait: "adaptive", buffer_size: 0, sharing: false, baselines: false },
    },
    measurements: [],
    report: null,
    errors: [],
  }),

  async run(options, session, document) {
    refuse(options);
    document.machine = describeMachine();
    document.settings = settle(options);
    // Before anything is measured, so that a bad path fails at once.
    const output = await openOutput(options.report, session);
    await measureAll(document, session);
    if (output === undefined) return;
    const { pageOf } = await import("./report.ts");
    await session.finish(output.write(new TextEncoder().encode(pageOf(document))));
    document.report = options.report ?? null;
  },

  summarize(document, style) {
    return document.measurements.length === 0 ? [] : summaryOf(document, style);
  },
});

/** The settings that follow from the options. If no work is named, all are measured, but briefly. */
function settle(options: BenchOptions): BenchDocument["settings"] {
  const { baselines, batchSize, bufferSize, duration, frames, rate, repeat, sizes, wait, work } = options;
  const usual = work.length > 0 ? { sizes: SWEEP, durationMs: 1000 } : OVERVIEW;
  return {
    works: work.length > 0 ? [...new Set(work)] : [...WORKS],
    sizes: sizes.length > 0 ? [...new Set(sizes)] : usual.sizes.filter((size) => fits(size, bufferSize)),
    rates: [...new Set(rate)],
    frames: frames ?? null,
    duration_ms: frames === undefined ? (duration ?? usual.durationMs) : null,
    warm_up: WARM_UP,
    repeat,
    batch_size: batchSize,
    wait,
    buffer_size: bufferSize,
    sharing: options.sharing,
    baselines,
  };
}

/** A measurement is made as asked for, or not at all. */
function refuseBatches({ batchSize, frames, rate, work }: BenchOptions): void {
  if (batchSize === 1) return;
  const works = work.length > 0 ? work : WORKS;
  if (!works.some((work) => rate.some((rate) => batchSizeOf({ work, rate }, batchSize) > 1))) {
    throw new CommandError(
      "USAGE",
      "Option --batch-size is for throughput without a rate, which is not measured here.",
      "Name throughput, with --rate 0 among the rates.",
    );
  }
  if (frames !== undefined && frames % batchSize !== 0) {
    throw new CommandError(
      "USAGE",
      `Option --frames takes a multiple of --batch-size, not ${frames}.`,
      `Use --frames ${roundUp(frames, batchSize)}.`,
    );
  }
}

function refuse(options: BenchOptions): void {
  const { batchSize, bufferSize, duration, frames, sharing, sizes, work } = options;
  refuseBatches(options);
  if (sharing && work.length > 0 && !work.some(isRelayed)) {
    throw new CommandError(
      "USAGE",
      "Option --sharing is for relay and fanout, which are not measured here.",
      "Name one of them, or leave it out.",
    );
  }
  refuseTogether({ "--duration": duration, "--frames": frames });
  if (duration === 0) {
    throw new CommandError(
      "USAGE",
      "Option --duration takes more than 0.",
      "Leave it out to use the default.",
    );
  }
  const largest = Math.max(...sizes);
  if (!fits(largest, bufferSize)) {
    throw new CommandError(
      "FRAME_TOO_LARGE",
      `A frame of ${count(largest, "bytes")} does not fit a ring of ${count(bufferSize, "bytes")}.`,
      `Raise --buffer-size to at least ${largest + FRAME_HEADER_SIZE}, or lower --sizes.`,
    );
  }
  if (largest * batchSize > MAX_CALL_BYTES) {
    throw new CommandError(
      "FRAME_TOO_LARGE",
      `${count(batchSize, "frames")} of ${count(largest, "bytes")} are more than one call takes (4 GiB).`,
      "Lower --batch-size or --sizes.",
    );
  }
}

function fits(size: number, bufferSize: number): boolean {
  return size + FRAME_HEADER_SIZE <= bufferSize;
}

/** Takes all samples. If it is interrupted, the document has what was measured until then. */
async function measureAll(document: BenchDocument, session: Session): Promise<void> {
  const { baselines, batch_size, buffer_size, duration_ms, frames } = document.settings;
  const { rates, repeat, sharing, sizes, wait, works } = document.settings;
  const { Processes } = await import("./processes.ts");
  const length = { frames: frames ?? undefined, durationMs: duration_ms ?? 0 };
  const processes = session.own(
    new Processes(session, { length, wait, sharing, batchSize: batch_size, bufferSize: buffer_size }),
  );
  const contests = casesOf(works, sizes, rates, baselines ? TRANSPORTS : ["zerobuffer"]);
  const total = contests.flat().length * repeat;
  const progress = await startProgress(session, "Measuring", total);
  let done = 0;
  for (const cases of contests) {
    const samples = cases.map((): BenchMeasurement["samples"] => []);
    try {
      for (let turn = 0; turn < repeat; turn++) {
        for (let i = 0; i < cases.length; i++) {
          // Each turn begins with another case.
          const at = (turn + i) % cases.length;
          const wanted = cases[at]!;
          progress?.step(describe(wanted), done++);
          session.log?.info(`Measuring ${describe(wanted)}.`);
          samples[at]!.push(sampleOf(wanted, await processes.run(wanted)));
        }
      }
    } finally {
      for (const [at, wanted] of cases.entries()) {
        if (samples[at]!.length > 0)
          document.measurements.push(measurementOf(wanted, samples[at]!, batch_size));
      }
    }
  }
}

function describe({ frameSize, rate, transport, work }: Case): string {
  const pace = rate > 0 ? ` at ${rate}/s` : "";
  return `${work} of ${count(frameSize, "bytes")}${pace} over ${transport}`;
}
