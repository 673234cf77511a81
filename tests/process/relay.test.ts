// Pipelines of four processes: a writer, two relays and a reader, each started from the command line.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { bufferMade, eventually, uniqueName } from "../support/buffers.ts";
import { Child } from "../support/process.ts";
import { PATIENT, sweep } from "./peers.ts";

/** How soon the death of one stage has ended a stage beside it. */
const NOTICED_MS = 1000;

/** The farthest stage has two others between it and the one that was killed. */
const ALL_NOTICED_MS = 3 * NOTICED_MS;

const ENDLESS = 0;

/** Where the OIEB keeps `payload_read_count` and `answer` (docs/protocol.md, section 1). */
const READ_COUNT_OFFSET = 72;
const ANSWER_OFFSET = 96;

interface PipelineOptions {
  frames: number;
  frameSize: number;
  transform: string;
  /** Further options of the writer. */
  pace?: string;
  bufferSize?: string;
}

/** Writer, relay, relay, reader: each is started when the buffer it connects to is there. */
class Pipeline implements AsyncDisposable {
  private constructor(
    readonly writer: Child,
    readonly first: Child,
    readonly second: Child,
    readonly reader: Child,
    readonly shown: string,
  ) {}

  static async start({ frames, frameSize, transform, pace = "", bufferSize = "1MiB" }: PipelineOptions) {
    const [raw, between, shown] = [uniqueName(), uniqueName(), uniqueName()];
    const made = `--buffer-size ${bufferSize} --json-output ${PATIENT}`;
    const reader = Child.cli(`reader ${shown} --verify sequential ${made}`);
    const second = Child.cli(`relay ${between} ${shown} --transform ${transform} ${made}`);
    const first = Child.cli(`relay ${raw} ${between} --transform ${transform} ${made}`);
    for (const name of [shown, between, raw]) await bufferMade(name);
    const writer = Child.cli(
      `writer ${raw} -n ${frames} -s ${frameSize} -m hello --json-output ${PATIENT} ${pace}`.trim(),
    );
    return new Pipeline(writer, first, second, reader, shown);
  }

  /** Waits until a frame has come through. The relay's attachment, which comes first, counts as read, too. */
  async flowing(): Promise<void> {
    await eventually(() => {
      const oieb = readFileSync(`/dev/shm/${this.shown}`);
      const attachments = oieb.readBigUInt64LE(ANSWER_OFFSET) === 0n ? 0n : 1n;
      return oieb.readBigUInt64LE(READ_COUNT_OFFSET) > attachments;
    });
  }

  get stages(): Record<"writer" | "first" | "second" | "reader", Child> {
    const { writer, first, second, reader } = this;
    return { writer, first, second, reader };
  }

  /** Ends all that still run, and removes what those that were killed have left. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const stage of Object.values(this.stages)) await stage[Symbol.asyncDispose]();
    sweep();
  }
}

describe("a pipeline of four processes", () => {
  test.each([
    ["xor", 4096],
    ["xor --xor-key 77", 1001],
    ["reverse", 4096],
    ["reverse", 1003],
    ["none", 4096],
  ])(
    "with --transform %s twice delivers every frame of %p bytes as it was written",
    async (transform, frameSize) => {
      const frames = 5000;
      await using pipeline = await Pipeline.start({ frames, frameSize, transform });
      const { writer, first, second, reader } = pipeline;
      expect(await writer.report()).toMatchObject({ code: 0, document: { frames_written: frames } });
      const total_bytes = frames * frameSize;
      for (const relay of [first, second]) {
        expect(await relay.report()).toMatchObject({
          code: 0,
          document: {
            frames_relayed: frames,
            total_bytes,
            metadata_relayed: true,
            metadata_size: 5,
            errors: [],
          },
        });
      }
      expect(await reader.report()).toMatchObject({
        code: 0,
        document: { frames_read: frames, bytes_read: total_bytes, metadata_size: 5, verification_errors: 0 },
      });
    },
  );
});

describe.each([
  ["busy", "1MiB", ""],
  ["idle", "1MiB", "--rate 0.01"],
  // The smallest ring that takes a frame: each stage waits for room most of the time.
  ["full", "2KiB", ""],
])("a pipeline that is %s", (_, bufferSize, pace) => {
  const died = (code: string) => ({ code: 2, document: { error: { code } } });
  /** What stands behind the one that died is told by each that ends because of it. */
  test.each([
    ["writer", { first: died("WRITER_DEAD"), second: died("WRITER_DEAD"), reader: died("WRITER_DEAD") }],
    ["first", { writer: died("READER_DEAD"), second: died("WRITER_DEAD"), reader: died("WRITER_DEAD") }],
    ["second", { writer: died("READER_DEAD"), first: died("READER_DEAD"), reader: died("WRITER_DEAD") }],
    ["reader", { writer: died("READER_DEAD"), first: died("READER_DEAD"), second: died("READER_DEAD") }],
  ] as const)(
    "ends with the right codes when its %s is killed, and nothing stays behind",
    async (victim, outcomes) => {
      await using pipeline = await Pipeline.start({
        frames: ENDLESS,
        frameSize: 1000,
        transform: "xor",
        bufferSize,
        pace,
      });
      await pipeline.flowing();
      const killedAt = performance.now();
      pipeline.stages[victim].kill("SIGKILL");
      for (const [stage, outcome] of Object.entries(outcomes)) {
        // It looks at its reader when it writes, in a hundred seconds.
        if (stage === "writer" && pace !== "") continue;
        const report = await pipeline.stages[stage as keyof Pipeline["stages"]].report();
        expect(report).toMatchObject(outcome);
      }
      expect(performance.now() - killedAt).toBeLessThan(ALL_NOTICED_MS);
    },
  );
});
