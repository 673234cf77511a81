// A peer that is killed, one that leaves, and one that only stands still.

import { describe, expect, test } from "bun:test";
import { Writer } from "../../src/core/index.ts";
import { bufferMade, rejectionOf, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { Child } from "../support/process.ts";
import { endAll, kill, startReader, startWriter } from "./peers.ts";

/** How soon a peer's death has to be noticed. */
const NOTICED_MS = 1000;
/** Longer than the time within which a death would be noticed. */
const STANDSTILL_MS = 1300;

const stream = { largest: 1000, sizes: "mixed" } as const;
/** Too small for more than a few frames. */
const small = { ...stream, payloadSize: 4096 };
/** Never full in these tests. */
const large = { ...stream, payloadSize: 4 * 1024 * 1024 };
const ENDLESS = 1e9;

/** A new pair under the name transfers frames. The processes of the old one may be alive still. */
async function expectItWorksAgain(name: string, frames: number): Promise<void> {
  await using reader = await startReader(name, small);
  await using writer = await startWriter(name, stream);
  await reader.send({ do: "read", frames }).receive("reading");
  await writer.send({ do: "write", frames }).receive("writing");
  expect(await reader.receive("read")).toMatchObject({ frames, sequence: frames, wrong: [], end: "enough" });
  expect(await writer.receive("wrote")).toMatchObject({ frames });
  await endAll(writer, reader);
}

describe("a reader that is killed", () => {
  test.each(["blocking", "async", "zero-copy"] as const)(
    "is noticed by a writer that waits for room (%s) within a second",
    async (how) => {
      const name = uniqueName();
      await using reader = await startReader(name, small);
      await using writer = await startWriter(name, stream);
      await writer.send({ do: "write", frames: ENDLESS, how }).receive("writing");
      await writer.sleeping();
      const killedAt = await kill(reader);
      const { error } = await writer.receive("wrote");
      expect(error).toMatchObject({ code: "READER_DEAD", reason: "died" });
      expect(error.at - killedAt).toBeLessThan(NOTICED_MS);
      await endAll(writer);
      await expectItWorksAgain(name, 1000);
    },
  );

  test("is noticed within a second by a writer that writes slowly and always finds room", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, large);
    await using writer = await startWriter(name, stream);
    await reader.send({ do: "read", frames: 5 }).receive("reading");
    await writer.send({ do: "write", frames: ENDLESS, paceMs: 50 }).receive("writing");
    expect(await reader.receive("read")).toMatchObject({ frames: 5, wrong: [] });
    const killedAt = await kill(reader);
    const { error } = await writer.receive("wrote");
    expect(error).toMatchObject({ code: "READER_DEAD", reason: "died" });
    expect(error.at - killedAt).toBeLessThan(NOTICED_MS);
    await endAll(writer);
    await expectItWorksAgain(name, 1000);
  });

  test("is replaced while the event loop of its writer waits for other things", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, small);
    using writer = new Writer(name, { connectTimeoutMs: WAIT_LIMIT_MS, writeTimeout: WAIT_LIMIT_MS });
    const fill = async () => {
      for (;;) await writer.writeFrameAsync(new Uint8Array(1000));
    };
    const filled = rejectionOf(fill());
    await kill(reader);
    expect(await filled).toMatchObject({ code: "READER_DEAD", reason: "died" });
    expect(writer.isReaderConnected()).toBe(false);
    writer.close();
    await expectItWorksAgain(name, 1000);
  });
});

test("a reader that leaves is told from one that died", async () => {
  const name = uniqueName();
  await using reader = await startReader(name, small);
  await using writer = await startWriter(name, stream);
  await writer.send({ do: "write", frames: ENDLESS }).receive("writing");
  await writer.sleeping();
  const leftAt = Date.now();
  await reader.succeed();
  const { error } = await writer.receive("wrote");
  expect(error).toMatchObject({ code: "READER_DEAD", reason: "left" });
  expect(error.at - leftAt).toBeLessThan(NOTICED_MS + 500);
  await endAll(writer);
});

describe("a writer that is killed", () => {
  test.each(["blocking", "async"] as const)(
    "has delivered all that it wrote, and is reported dead within a second after that (%s)",
    async (how) => {
      const name = uniqueName();
      await using reader = await startReader(name, large);
      await using writer = await startWriter(name, stream);
      const frames = 3000;
      await writer.send({ do: "write", frames }).receive("writing");
      await writer.receive("wrote");
      const killedAt = await kill(writer);
      await reader.send({ do: "read", how }).receive("reading");
      const { error, ...read } = await reader.receive("read");
      expect(read).toMatchObject({ frames, sequence: frames, wrong: [] });
      expect(error).toMatchObject({ code: "WRITER_DEAD", reason: "died" });
      expect(error.at - killedAt).toBeLessThan(NOTICED_MS);
      await endAll(reader);
    },
  );

  test.each(["blocking", "async", "iterating"] as const)(
    "is noticed within a second by a reader that waits (%s)",
    async (how) => {
      const name = uniqueName();
      await using reader = await startReader(name, large);
      await using writer = await startWriter(name, stream);
      await reader.send({ do: "read", how }).receive("reading");
      await writer.send({ do: "write", frames: 10 }).receive("writing");
      await writer.receive("wrote");
      await reader.sleeping();
      const killedAt = await kill(writer);
      const { error, ...read } = await reader.receive("read");
      expect(read).toMatchObject({ frames: 10, sequence: 10, wrong: [] });
      expect(error).toMatchObject({ code: "WRITER_DEAD", reason: "died" });
      expect(error.at - killedAt).toBeLessThan(NOTICED_MS);
      await endAll(reader);
    },
  );

  test("in the middle of writing leaves whole frames, one after the other, and room for the next writer", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, small);
    for (let round = 1; round <= 6; round++) {
      await using writer = await startWriter(name, stream);
      await reader.send({ do: "read", frames: 200 * round }).receive("reading");
      await writer.send({ do: "write", frames: ENDLESS }).receive("writing");
      // It has written this much, and is in the middle of more.
      expect(await reader.receive("read")).toMatchObject({ frames: 200 * round, wrong: [], end: "enough" });
      await reader.send({ do: "read" }).receive("reading");
      await kill(writer);
      expect(await reader.receive("read")).toMatchObject({
        wrong: [],
        error: { code: "WRITER_DEAD", reason: "died" },
      });
    }
    await endAll(reader);
  });
});

describe("a peer that is stopped for longer than every timeout", () => {
  test("as a reader is not taken for dead: writing times out, and goes on when it does", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, small);
    await using writer = await startWriter(name, stream);
    await reader.send({ do: "read", frames: 3000 }).receive("reading");
    await reader.stop();
    const stoppedAt = Date.now();
    await writer.send({ do: "write", frames: 3000, writeTimeout: STANDSTILL_MS }).receive("writing");
    const { error, frames } = await writer.receive("wrote");
    expect(error).toMatchObject({ code: "BUFFER_FULL", reason: "timeout" });
    expect(error.at - stoppedAt).toBeGreaterThanOrEqual(STANDSTILL_MS - 1);
    reader.resume();
    await writer.send({ do: "write", frames: 3000 - frames }).receive("writing");
    expect(await writer.receive("wrote")).toMatchObject({ frames: 3000 });
    expect(await reader.receive("read")).toMatchObject({
      frames: 3000,
      sequence: 3000,
      wrong: [],
      end: "enough",
    });
    await endAll(writer, reader);
  });

  test.each(["blocking", "async"] as const)(
    "as a writer is not taken for dead: reading %s times out, and goes on when it does",
    async (how) => {
      const name = uniqueName();
      await using reader = await startReader(name, small);
      await using writer = await startWriter(name, stream);
      await writer.send({ do: "write", frames: ENDLESS }).receive("writing");
      await reader.send({ do: "read", how, frames: 1000 }).receive("reading");
      expect(await reader.receive("read")).toMatchObject({ frames: 1000, wrong: [] });
      await writer.stop();
      await reader.send({ do: "read", how, timeoutMs: STANDSTILL_MS }).receive("reading");
      const atStandstill = await reader.receive("read");
      expect(atStandstill).toMatchObject({ wrong: [], end: "timeout" });
      writer.resume();
      await reader.send({ do: "read", how, frames: 1000 }).receive("reading");
      const sequence = atStandstill.sequence + 1000;
      expect(await reader.receive("read")).toMatchObject({
        frames: 1000,
        sequence,
        wrong: [],
        end: "enough",
      });
      await endAll(reader);
      expect((await writer.receive("wrote")).error).toMatchObject({ code: "READER_DEAD", reason: "left" });
      await endAll(writer);
    },
  );

  test("keeps its place: nobody else can become the reader or the writer meanwhile", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, small);
    await using writer = await startWriter(name, stream);
    await reader.stop();
    await writer.stop();
    await using otherReader = Child.fixture("reader.ts", name, { ...small });
    expect(await otherReader.receive("refused")).toMatchObject({ code: "READER_ALREADY_CONNECTED" });
    await using otherWriter = Child.fixture("writer.ts", name, { ...stream, connectTimeoutMs: 200 });
    expect(await otherWriter.receive("refused")).toMatchObject({ code: "WRITER_ALREADY_CONNECTED" });
    reader.resume();
    writer.resume();
    await reader.send({ do: "read", frames: 1000 }).receive("reading");
    await writer.send({ do: "write", frames: 1000 }).receive("writing");
    expect(await reader.receive("read")).toMatchObject({ frames: 1000, sequence: 1000, wrong: [] });
    await writer.receive("wrote");
    await endAll(writer, reader, otherReader, otherWriter);
  });
});

describe("the command line's writer", () => {
  const startCommand = (name: string, options: string) =>
    Child.cli(`writer ${name} --json-output --connect-timeout-ms 60s ${options}`);

  test.each([
    ["waits for room", "--timeout-ms 0"],
    ["waits between two frames", "--rate 20"],
  ])("that %s ends within a second when its reader is killed", async (_, pace) => {
    const name = uniqueName();
    await using reader = await startReader(name, { largest: 64, payloadSize: 4096 });
    await using writer = startCommand(name, `-n 0 -s 64 ${pace}`);
    // The reader takes what the writer writes, so that it is known to be at it.
    await reader.send({ do: "read", frames: 5 }).receive("reading");
    await reader.receive("read");
    await writer.sleeping();
    const killedAt = await kill(reader);
    expect(await writer.report()).toMatchObject({ code: 2, document: { error: { code: "READER_DEAD" } } });
    expect(Date.now() - killedAt).toBeLessThan(NOTICED_MS);
    await expectItWorksAgain(name, 100);
  });

  test("tells a reader that stands still from a dead one", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, small);
    await reader.stop();
    await using writer = startCommand(name, `-n 0 --timeout-ms ${STANDSTILL_MS}`);
    expect(await writer.report()).toMatchObject({ code: 2, document: { error: { code: "BUFFER_FULL" } } });
    reader.resume();
    await endAll(reader);
  });
});

describe("the command line's reader", () => {
  const startCommand = (name: string, options: string) =>
    Child.cli(`reader ${name} --json-output --connect-timeout-ms 60s ${options}`);
  const frames = 3000;

  test("delivers everything of a writer that was killed, and then ends within a second", async () => {
    const name = uniqueName();
    await using reader = startCommand(name, "--timeout-ms 0");
    await using writer = await startWriter(name, stream);
    await writer.send({ do: "write", frames }).receive("writing");
    await writer.receive("wrote");
    const killedAt = await kill(writer);
    expect(await reader.report()).toMatchObject({
      code: 2,
      document: { frames_read: frames, error: { code: "WRITER_DEAD" } },
    });
    expect(Date.now() - killedAt).toBeLessThan(NOTICED_MS);
  });

  test.each([
    ["it was asked for all there are", 0, 0, { errors: [] }],
    ["it was asked for just as many", frames, 0, { errors: [] }],
    ["it was asked for more", frames + 1, 2, { error: { code: "INCOMPLETE" } }],
  ])("delivers everything of a writer that left, when %s", async (_, wanted, code, outcome) => {
    const name = uniqueName();
    await using reader = startCommand(name, `--timeout-ms 0 -n ${wanted}`);
    await using writer = await startWriter(name, stream);
    await writer.send({ do: "write", frames }).receive("writing");
    await writer.receive("wrote");
    await endAll(writer);
    expect(await reader.report()).toMatchObject({ code, document: { frames_read: frames, ...outcome } });
  });

  test("tells a writer that stands still from a dead one", async () => {
    const name = uniqueName();
    await using reader = startCommand(name, `--timeout-ms ${STANDSTILL_MS}`);
    await bufferMade(name);
    await using writer = await startWriter(name, stream);
    await writer.send({ do: "write", frames }).receive("writing");
    await writer.receive("wrote");
    await writer.stop();
    expect(await reader.report()).toMatchObject({
      code: 2,
      document: { frames_read: frames, error: { code: "TIMEOUT" } },
    });
    writer.resume();
    await endAll(writer);
  });
});
