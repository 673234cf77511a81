// One writer after another into the same buffer.

import { describe, expect, test } from "bun:test";
import { Writer } from "../../src/core/index.ts";
import { thrownBy, uniqueName } from "../support/buffers.ts";
import { type Child, leavesNoProcessBehind } from "../support/processes.ts";
import { endAll, startReader, startWriter } from "./peers.ts";

leavesNoProcessBehind();

const TIMEOUT_MS = 120_000;
const stream = { largest: 1000, sizes: "mixed" } as const;
const large = { ...stream, payloadSize: 4 * 1024 * 1024 };

async function write(writer: Child, frames: number): Promise<void> {
  await writer.tell({ do: "write", frames }).hear("writing");
  expect(await writer.hear("wrote")).toMatchObject({ frames });
}

async function expectToRead(reader: Child, frames: number): Promise<void> {
  await reader.tell({ do: "read", frames }).hear("reading");
  expect(await reader.hear("read")).toMatchObject({ frames, sequence: frames, wrong: [], end: "enough" });
}

async function expectDeparture(reader: Child, reason: "left" | "died"): Promise<void> {
  await reader.tell({ do: "read" }).hear("reading");
  expect(await reader.hear("read")).toMatchObject({ frames: 0, error: { code: "WRITER_DEAD", reason } });
}

async function metadataOf(reader: Child): Promise<string> {
  return (await reader.tell({ do: "metadata" }).hear("metadata")).text;
}

describe.each(["left", "died"] as const)("after a writer that %s, the next one", (reason) => {
  const depart = async (writer: Child) => {
    if (reason === "died") writer.kill("SIGKILL");
    await writer.end();
  };

  test(
    "begins with frame 1, and with metadata of its own or none",
    async () => {
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
        if (text !== undefined) await writer.tell({ do: "metadata", text }).hear("sent");
        await write(writer, frames);
        await expectToRead(reader, frames);
        expect(await metadataOf(reader)).toBe(text ?? "");
        await depart(writer);
        await expectDeparture(reader, reason);
        // With this it has begun to wait for the next one.
        expect(await reader.tell({ do: "await-writer", timeoutMs: 0 }).hear("awaited")).toMatchObject({
          connected: false,
        });
      }
      await endAll(reader);
    },
    TIMEOUT_MS,
  );

  test(
    "begins when all frames of the one before are released, and none of them is lost",
    async () => {
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
    },
    TIMEOUT_MS,
  );
});

test(
  "writers that follow each other closely lose nothing, even while the reader is never told of a departure",
  async () => {
    const name = uniqueName();
    const rounds = 100;
    const frames = 20;
    await using reader = await startReader(name, large);
    await using writer = await startWriter(name, stream);
    let read = 0;
    await reader.tell({ do: "read", frames: rounds * frames }).hear("reading");
    for (let round = 1; round <= rounds; round++) {
      await write(writer, frames);
      await writer.tell({ do: "close" }).hear("closed");
      if (round < rounds) await writer.tell({ do: "connect" }).hear("connected");
    }
    for (;;) {
      const { frames: some, wrong, end, error } = await reader.hear("read");
      expect(wrong).toEqual([]);
      read += some;
      if (read === rounds * frames) break;
      expect({ end, error }).toMatchObject({ error: { code: "WRITER_DEAD", reason: "left" } });
      await reader.tell({ do: "read", frames: rounds * frames - read }).hear("reading");
    }
    await endAll(writer, reader);
  },
  TIMEOUT_MS,
);
