// A writer that writes as fast as it can and leaves at once.

import { describe, expect, test } from "bun:test";
import { uniqueName } from "../support/buffers.ts";
import { Child, hasBuffer, leavesNoProcessBehind } from "../support/processes.ts";
import { endAll, PATIENT, startReader, startWriter } from "./peers.ts";

leavesNoProcessBehind();

const TIMEOUT_MS = 120_000;
const FRAMES = 2000;
const ROUNDS = 20;
const stream = { largest: 512, sizes: "mixed" } as const;
/** Holds the whole burst. */
const large = { ...stream, payloadSize: 2 * 1024 * 1024 };
/** Wraps about a hundred times in a burst. */
const small = { ...stream, payloadSize: 4096 };

const lossless = { frames: FRAMES, sequence: FRAMES, wrong: [] };
const leftAfterAll = { ...lossless, error: { code: "WRITER_DEAD", reason: "left" } };

/** Connects, writes everything and leaves: its process has gone when this resolves. */
async function burst(name: string): Promise<void> {
  await using writer = await startWriter(name, stream);
  await writer.tell({ do: "write", frames: FRAMES }).hear("writing");
  expect(await writer.hear("wrote")).toMatchObject({ frames: FRAMES });
  await writer.succeed();
}

describe.each(["blocking", "async"] as const)(
  "nothing of a burst is lost by a reader that reads %s",
  (how) => {
    test(
      "and waits already when the writer comes",
      async () => {
        const name = uniqueName();
        await using reader = await startReader(name, small);
        await reader.tell({ do: "read", how }).hear("reading");
        await reader.asleep();
        await burst(name);
        expect(await reader.hear("read")).toMatchObject(leftAfterAll);
        await endAll(reader);
      },
      TIMEOUT_MS,
    );

    test(
      "and looks for the first time while the writer writes",
      async () => {
        const name = uniqueName();
        await using reader = await startReader(name, small);
        await using writer = await startWriter(name, stream);
        await writer.tell({ do: "write", frames: FRAMES }).hear("writing");
        await reader.tell({ do: "read", how }).hear("reading");
        expect(await writer.hear("wrote")).toMatchObject({ frames: FRAMES });
        await endAll(writer);
        expect(await reader.hear("read")).toMatchObject(leftAfterAll);
        await endAll(reader);
      },
      TIMEOUT_MS,
    );

    test(
      "and looks for the first time when the writer's process has gone",
      async () => {
        const name = uniqueName();
        await using reader = await startReader(name, large);
        await burst(name);
        await reader.tell({ do: "read", how }).hear("reading");
        expect(await reader.hear("read")).toMatchObject(leftAfterAll);
        await endAll(reader);
      },
      TIMEOUT_MS,
    );

    test(
      "from one writer after another, however the reader's looks fall",
      async () => {
        const name = uniqueName();
        await using reader = await startReader(name, large);
        await using writer = await startWriter(name, stream);
        for (let round = 1; round <= ROUNDS; round++) {
          // Half of the rounds begin with the burst, and half with the reader.
          if (round % 2 === 0) await reader.tell({ do: "read", how }).hear("reading");
          writer.tell({ do: "write", frames: FRAMES }).tell({ do: "close" });
          if (round % 2 === 1) await reader.tell({ do: "read", how }).hear("reading");
          expect(await reader.hear("read")).toMatchObject(leftAfterAll);
          await writer.hear("writing");
          expect(await writer.hear("wrote")).toMatchObject({ frames: FRAMES });
          await writer.hear("closed");
          if (round < ROUNDS) await writer.tell({ do: "connect" }).hear("connected");
        }
        await endAll(writer, reader);
      },
      TIMEOUT_MS,
    );
  },
);

test(
  "a reader that iterates gets the whole burst, and ends with its writer",
  async () => {
    const name = uniqueName();
    await using reader = await startReader(name, large);
    await burst(name);
    await reader.tell({ do: "read", how: "iterating" }).hear("reading");
    expect(await reader.hear("read")).toMatchObject({ ...lossless, end: "writer left" });
    await endAll(reader);
  },
  TIMEOUT_MS,
);

test(
  "a writer that came and went is connected until its burst is read, and not after it",
  async () => {
    const name = uniqueName();
    await using reader = await startReader(name, large);
    await burst(name);
    expect(await reader.tell({ do: "await-writer", timeoutMs: 60_000 }).hear("awaited")).toMatchObject({
      connected: true,
    });
    await reader.tell({ do: "read", frames: FRAMES }).hear("reading");
    expect(await reader.hear("read")).toMatchObject({ ...lossless, end: "enough" });
    expect(await reader.tell({ do: "await-writer", timeoutMs: 60_000 }).hear("awaited")).toMatchObject({
      connected: false,
    });
    await endAll(reader);
  },
  TIMEOUT_MS,
);

describe("nothing of a burst is lost by the command line's reader", () => {
  const startCommand = (name: string, bufferSize: string) =>
    Child.cli(`reader ${name} --buffer-size ${bufferSize} --verify sequential --json-output ${PATIENT}`);
  const everything = { exitCode: 0, frames_read: FRAMES, verification_errors: 0, errors: [] };

  async function commandBurst(name: string): Promise<void> {
    await using writer = Child.cli(`writer ${name} -n ${FRAMES} -s 1000 --json-output ${PATIENT}`);
    expect(await writer.document()).toMatchObject({ exitCode: 0, frames_written: FRAMES });
  }

  test.each(["4MiB", "8KiB"])(
    "with a ring of %s that it has ready when the writer comes",
    async (bufferSize) => {
      const name = uniqueName();
      await using reader = startCommand(name, bufferSize);
      await hasBuffer(name);
      await commandBurst(name);
      expect(await reader.document()).toMatchObject(everything);
    },
    TIMEOUT_MS,
  );

  test(
    "that stands still from before the writer comes until its process has gone",
    async () => {
      const name = uniqueName();
      await using reader = startCommand(name, "4MiB");
      await hasBuffer(name);
      await reader.stop();
      await commandBurst(name);
      reader.resume();
      expect(await reader.document()).toMatchObject(everything);
    },
    TIMEOUT_MS,
  );

  test(
    "that starts at the same time as the writer",
    async () => {
      for (let round = 0; round < 5; round++) {
        const name = uniqueName();
        await using reader = startCommand(name, "64KiB");
        await commandBurst(name);
        expect(await reader.document()).toMatchObject(everything);
      }
    },
    TIMEOUT_MS,
  );
});
