// A process id that is used again.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { OiebWord } from "../../src/core/buffer/oieb.ts";
import { uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { canContain, Namespace } from "../support/containers.ts";
import type { Child, Event } from "../support/process.ts";
import { endAll, loseTokens } from "./peers.ts";

const stream = { largest: 1000, sizes: "mixed" } as const;

/** The pid that stands in the buffer as its writer's. */
function writerPidOf(name: string): bigint {
  return readFileSync(`/dev/shm/${name}`).readBigUInt64LE(8 * OiebWord.writerPid);
}

describe.skipIf(!canContain)("a pid that is used again", () => {
  const WRITER_PID = 2000;

  /** A reader that has seen its writer die, and nothing since. */
  async function startReaderOfADeadWriter(namespace: Namespace, name: string): Promise<Child> {
    const options = { ...stream, metadataSize: 256, payloadSize: 65_536 };
    const reader = namespace.fixture(1000, "reader.ts", name, options);
    await reader.receive("ready");
    await using writer = await startWriter(namespace, name);
    await expectConnected(reader, true);
    await write(writer, 3);
    expect(await read(reader, 3)).toMatchObject({ frames: 3, end: "enough", wrong: [] });
    await writer.send({ do: "exit" }).end();
    expect(writerPidOf(name)).toBe(BigInt(WRITER_PID));
    return reader;
  }

  async function startWriter(namespace: Namespace, name: string): Promise<Child> {
    const writer = namespace.fixture(WRITER_PID, "writer.ts", name, {
      ...stream,
      connectTimeoutMs: WAIT_LIMIT_MS,
    });
    await writer.receive("connected");
    expect(writerPidOf(name)).toBe(BigInt(WRITER_PID));
    return writer;
  }

  async function write(writer: Child, frames: number): Promise<void> {
    await writer.send({ do: "write", frames }).receive("writing");
    expect((await writer.receive("wrote")).error).toBeUndefined();
  }

  async function read(reader: Child, frames: number): Promise<Event> {
    await reader.send({ do: "read", frames, timeoutMs: 20_000 }).receive("reading");
    return await reader.receive("read");
  }

  async function expectConnected(reader: Child, connected: boolean): Promise<void> {
    const timeoutMs = connected ? WAIT_LIMIT_MS : 0;
    expect(await reader.send({ do: "await-writer", timeoutMs }).receive("awaited")).toMatchObject({
      connected,
    });
  }

  test("for another writer is that writer's: it lives, and keeps its place", async () => {
    const name = uniqueName();
    await using namespace = await Namespace.start();
    await using reader = await startReaderOfADeadWriter(namespace, name);
    await using writer = await startWriter(namespace, name);
    await expectConnected(reader, true);
    await using third = namespace.fixture(3000, "writer.ts", name, { ...stream, connectTimeoutMs: 1 });
    expect(await third.receive("refused")).toMatchObject({ code: "WRITER_ALREADY_CONNECTED" });
    await write(writer, 1);
    // The reader expects 4 of the writer before.
    loseTokens(name);
    expect(await read(reader, 1)).toMatchObject({ frames: 1, sequence: 1, end: "enough", wrong: [] });
    await write(writer, 4);
    expect(await read(reader, 4)).toMatchObject({ frames: 4, sequence: 5, end: "enough", wrong: [] });
    await endAll(third, writer, reader);
  });

  test("for a stranger is a dead writer's", async () => {
    const name = uniqueName();
    await using namespace = await Namespace.start();
    await using reader = await startReaderOfADeadWriter(namespace, name);
    await using stranger = namespace.start(WRITER_PID, "sh", "-c", `echo '{"event":"here"}'; read _`);
    await stranger.receive("here");
    expect(await read(reader, 1)).toMatchObject({
      frames: 0,
      error: { code: "WRITER_DEAD", reason: "died" },
    });
    await stranger.end();
    await endAll(reader);
  });
});
