// One writer after another into the same buffer.

import { describe, expect, test } from "bun:test";
import { Writer } from "../../src/core/index.ts";
import { thrownBy, uniqueName } from "../support/buffers.ts";
import { Child } from "../support/process.ts";
import { endAll, loseTokens, PATIENT, startReader, startWriter } from "./peers.ts";

const stream = { largest: 1000, sizes: "mixed" } as const;
const large = { ...stream, payloadSize: 4 * 1024 * 1024 };

async function write(writer: Child, frames: number): Promise<void> {
  await writer.send({ do: "write", frames }).receive("writing");
  expect(await writer.receive("wrote")).toMatchObject({ frames });
}

async function expectToRead(reader: Child, frames: number): Promise<void> {
  await reader.send({ do: "read", frames }).receive("reading");
  expect(await reader.receive("read")).toMatchObject({ frames, sequence: frames, wrong: [], end: "enough" });
}

async function expectDeparture(reader: Child, reason: "left" | "died"): Promise<void> {
  await reader.send({ do: "read" }).receive("reading");
  expect(await reader.receive("read")).toMatchObject({ frames: 0, error: { code: "WRITER_DEAD", reason } });
}

async function metadataOf(reader: Child): Promise<string> {
  return (await reader.send({ do: "metadata" }).receive("metadata")).text;
}

test("the first frame of a writer that came before its reader looked is delivered though its post is lost", async () => {
  const name = uniqueName();
  await using reader = await startReader(name, large);
  await using first = await startWriter(name, stream);
  await write(first, 3);
  await expectToRead(reader, 3);
  first.kill("SIGKILL");
  await first.end();
  await using second = await startWriter(name, stream);
  await write(second, 1);
  loseTokens(name);
  await expectToRead(reader, 1);
  await endAll(second, reader);
});

describe.each(["left", "died"] as const)("after a writer that %s, the next one", (reason) => {
  const depart = async (writer: Child) => {
    if (reason === "died") writer.kill("SIGKILL");
    await writer.end();
  };

  test("begins with frame 1, and with metadata of its own or none", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, large);
    for (const [text, frames] of [
      ["first", 300],
      ["second, and longer", 500],
      ["3", 10],
      [undefined, 100],
      ["the last one", 1],
    ] as const) {
      await using writer = await startWriter(name, stream);
      if (text !== undefined) await writer.send({ do: "metadata", text }).receive("sent");
      await write(writer, frames);
      await expectToRead(reader, frames);
      expect(await metadataOf(reader)).toBe(text ?? "");
      await depart(writer);
      await expectDeparture(reader, reason);
      // With this it has begun to wait for the next one.
      expect(await reader.send({ do: "await-writer", timeoutMs: 0 }).receive("awaited")).toMatchObject({
        connected: false,
      });
    }
    await endAll(reader);
  });

  test("begins when all frames of the one before are released, and none of them is lost", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, large);
    await using first = await startWriter(name, stream);
    await write(first, 1000);
    await depart(first);
    expect(thrownBy(() => new Writer(name))).toMatchObject({ code: "PEER_TIMEOUT" });
    const second = startWriter(name, stream);
    await expectToRead(reader, 1000);
    await using connected = await second;
    await write(connected, 500);
    await expectToRead(reader, 500);
    await endAll(connected, reader);
  });
});

test("writers that follow each other closely lose nothing, however few departures the reader sees", async () => {
  const name = uniqueName();
  const rounds = 100;
  const frames = 20;
  await using reader = await startReader(name, large);
  await using writer = await startWriter(name, stream);
  const writeAll = async () => {
    for (let round = 1; round <= rounds; round++) {
      await write(writer, frames);
      await writer.send({ do: "close" }).receive("closed");
      if (round < rounds) await writer.send({ do: "connect" }).receive("connected");
    }
  };
  const readAll = async () => {
    for (let rest = rounds * frames; rest > 0; ) {
      await reader.send({ do: "read", frames: rest }).receive("reading");
      const read = await reader.receive("read");
      expect(read.wrong).toEqual([]);
      rest -= read.frames;
      if (rest > 0) expect(read.error).toMatchObject({ code: "WRITER_DEAD", reason: "left" });
    }
  };
  await Promise.all([writeAll(), readAll()]);
  await endAll(writer, reader);
});

describe("the command line's reader with --follow", () => {
  test("goes on from one writer to the next, whether they leave or are killed", async () => {
    const name = uniqueName();
    const counts = [1000, 1, 2000, 300];
    const total = counts.reduce((sum, count) => sum + count);
    await using reader = Child.cli(`reader ${name} --follow -n ${total} --json-output ${PATIENT}`);
    for (const [index, frames] of counts.entries()) {
      await using writer = await startWriter(name, stream);
      await write(writer, frames);
      if (index % 2 === 1) writer.kill("SIGKILL");
      await writer.end();
    }
    expect(await reader.report()).toMatchObject({ code: 0, document: { frames_read: total, errors: [] } });
  });

  test("writes the frames of all of them to one output, in order", async () => {
    const name = uniqueName();
    await using reader = Child.cli(`reader ${name} --follow -n 6 --output - --framing lines ${PATIENT}`);
    for (const text of ["one\ntwo\nthree\n", "four\n", "five\nsix\n"]) {
      await using writer = Child.cli(`writer ${name} --input - --framing lines ${PATIENT}`, {
        stdin: "pipe",
      });
      writer.write(text);
      await writer.succeed();
    }
    expect((await reader.succeed()).stdout.toString()).toBe("one\ntwo\nthree\nfour\nfive\nsix\n");
  });

  test("without it, a reader ends with its writer", async () => {
    const name = uniqueName();
    await using reader = Child.cli(`reader ${name} --json-output ${PATIENT}`);
    await using writer = await startWriter(name, stream);
    await write(writer, 10);
    await endAll(writer);
    expect(await reader.report()).toMatchObject({ code: 0, document: { frames_read: 10 } });
    expect(thrownBy(() => new Writer(name))).toMatchObject({ code: "BUFFER_NOT_FOUND" });
  });
});
