// A writer that writes as fast as it can and leaves at once.

import { describe, expect, test } from "bun:test";
import { bufferMade, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { Child } from "../support/process.ts";
import { endAll, PATIENT, startReader, startWriter } from "./peers.ts";

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
  await writer.send({ do: "write", frames: FRAMES }).receive("writing");
  expect(await writer.receive("wrote")).toMatchObject({ frames: FRAMES });
  await writer.succeed();
}

describe.each(["blocking", "async"] as const)(
  "nothing of a burst is lost by a reader that reads %s",
  (how) => {
    test("and waits already when the writer comes", async () => {
      const name = uniqueName();
      await using reader = await startReader(name, small);
      await reader.send({ do: "read", how }).receive("reading");
      await reader.sleeping();
      await burst(name);
      expect(await reader.receive("read")).toMatchObject(leftAfterAll);
      await endAll(reader);
    });

    test("and looks for the first time while the writer writes", async () => {
      const name = uniqueName();
      await using reader = await startReader(name, small);
      await using writer = await startWriter(name, stream);
      await writer.send({ do: "write", frames: FRAMES }).receive("writing");
      await reader.send({ do: "read", how }).receive("reading");
      expect(await writer.receive("wrote")).toMatchObject({ frames: FRAMES });
      await endAll(writer);
      expect(await reader.receive("read")).toMatchObject(leftAfterAll);
      await endAll(reader);
    });

    test("and looks for the first time when the writer's process has gone", async () => {
      const name = uniqueName();
      await using reader = await startReader(name, large);
      await burst(name);
      await reader.send({ do: "read", how }).receive("reading");
      expect(await reader.receive("read")).toMatchObject(leftAfterAll);
      await endAll(reader);
    });

    test("from one writer after another, however the reader's looks fall", async () => {
      const name = uniqueName();
      await using reader = await startReader(name, large);
      await using writer = await startWriter(name, stream);
      for (let round = 1; round <= ROUNDS; round++) {
        // Half of the rounds begin with the burst, and half with the reader.
        if (round % 2 === 0) await reader.send({ do: "read", how }).receive("reading");
        writer.send({ do: "write", frames: FRAMES }).send({ do: "close" });
        if (round % 2 === 1) await reader.send({ do: "read", how }).receive("reading");
        expect(await reader.receive("read")).toMatchObject(leftAfterAll);
        await writer.receive("writing");
        expect(await writer.receive("wrote")).toMatchObject({ frames: FRAMES });
        await writer.receive("closed");
        if (round < ROUNDS) await writer.send({ do: "connect" }).receive("connected");
      }
      await endAll(writer, reader);
    });
  },
);

test("a reader that iterates gets the whole burst, and ends with its writer", async () => {
  const name = uniqueName();
  await using reader = await startReader(name, large);
  await burst(name);
  await reader.send({ do: "read", how: "iterating" }).receive("reading");
  expect(await reader.receive("read")).toMatchObject({ ...lossless, end: "writer left" });
  await endAll(reader);
});

test("a writer that came and went is connected until its burst is read, and not after it", async () => {
  const name = uniqueName();
  await using reader = await startReader(name, large);
  await burst(name);
  expect(
    await reader.send({ do: "await-writer", timeoutMs: WAIT_LIMIT_MS }).receive("awaited"),
  ).toMatchObject({
    connected: true,
  });
  await reader.send({ do: "read", frames: FRAMES }).receive("reading");
  expect(await reader.receive("read")).toMatchObject({ ...lossless, end: "enough" });
  expect(
    await reader.send({ do: "await-writer", timeoutMs: WAIT_LIMIT_MS }).receive("awaited"),
  ).toMatchObject({
    connected: false,
  });
  await endAll(reader);
});

describe("nothing of a burst is lost by the command line's reader", () => {
  const startCommand = (name: string, bufferSize: string) =>
    Child.cli(`reader ${name} --buffer-size ${bufferSize} --verify sequential --json-output ${PATIENT}`);
  const everything = { code: 0, document: { frames_read: FRAMES, verification_errors: 0, errors: [] } };

  async function commandBurst(name: string): Promise<void> {
    await using writer = Child.cli(`writer ${name} -n ${FRAMES} -s 1000 --json-output ${PATIENT}`);
    expect(await writer.report()).toMatchObject({ code: 0, document: { frames_written: FRAMES } });
  }

  test.each(["4MiB", "8KiB"])(
    "with a ring of %s that it has ready when the writer comes",
    async (bufferSize) => {
      const name = uniqueName();
      await using reader = startCommand(name, bufferSize);
      await bufferMade(name);
      await commandBurst(name);
      expect(await reader.report()).toMatchObject(everything);
    },
  );

  test("that stands still from before the writer comes until its process has gone", async () => {
    const name = uniqueName();
    await using reader = startCommand(name, "4MiB");
    await bufferMade(name);
    await reader.stop();
    await commandBurst(name);
    reader.resume();
    expect(await reader.report()).toMatchObject(everything);
  });

  test("that starts at the same time as the writer", async () => {
    for (let round = 0; round < 5; round++) {
      const name = uniqueName();
      await using reader = startCommand(name, "64KiB");
      await commandBurst(name);
      expect(await reader.report()).toMatchObject(everything);
    }
  });
});
