// What ours does for the sake of readers and writers of version 1, and what it puts up with (docs/protocol.md, section 8).

import { describe, expect, test } from "bun:test";
import { OiebWord } from "../../src/core/buffer/oieb.ts";
import {
  bufferFull,
  bufferMade,
  eventually,
  fieldOf,
  setField,
  uniqueName,
  WAIT_LIMIT_MS,
} from "../support/buffers.ts";
import { canContain, container } from "../support/containers.ts";
import { Child, run, runJson } from "../support/process.ts";
import {
  endAll,
  HEADER,
  kill,
  PATIENT,
  startDuplexClient,
  startDuplexServer,
  startReader,
  startWriter,
} from "./peers.ts";
import { tokensOf, V1 } from "./v1.ts";

const v1 = await V1.build();

const stream = { largest: 1000, sizes: "mixed" } as const;
const PAYLOAD_SIZE = 65_536;
const WRITER = 8 * OiebWord.writerPid;
const WRITTEN = 8 * OiebWord.payloadWrittenCount;
/** Slower than a reader looks at its writer, and fast enough for a writer that is there. */
const PACE_MS = 300;
/** Where frames begin in a buffer that a reader of version 1 has made. */
const RING = 128 + 256;

const writerPidOf = (name: string) => fieldOf(name, WRITER);
async function write(writer: Child, frames: number, options: object = {}): Promise<void> {
  await writer.send({ do: "write", frames, ...options }).receive("writing");
  expect((await writer.receive("wrote")).error).toBeUndefined();
}

/** Has a reader of version 1 read so many frames, whose last number is `last`. */
async function expectToRead(reader: Child, frames: number, last: number): Promise<void> {
  reader.write(`${frames}\n`);
  expect(await reader.receive("read")).toMatchObject({ frames, last, wrong: 0, end: "enough" });
}

describe.each([
  ["C++", ["ends-at-surplus"]],
  ["Python", []],
  ["C#", ["any-sequence"]],
])("a reader as the one in %s", (_, manners) => {
  const startV1 = async (name: string) => {
    const reader = await v1.reader(name, PAYLOAD_SIZE, { manners });
    await reader.receive("read");
    return reader;
  };

  test("that waits gets all frames of two writers of ours, and no token without a frame between them", async () => {
    const name = uniqueName();
    await using reader = await startV1(name);
    reader.write("60\n");
    for (const [first, last] of [
      [1, 30],
      [31, 60],
    ] as const) {
      await using writer = await startWriter(name, stream);
      await writer.send({ do: "metadata", text: "the same of both" }).receive("sent");
      await write(writer, last - first + 1, { after: first - 1 });
      if (last < 60) await eventually(() => tokensOf(name) === 0);
      await endAll(writer);
      if (last < 60) expect(tokensOf(name)).toBe(0);
    }
    expect(await reader.receive("read")).toMatchObject({
      frames: 60,
      last: 60,
      wrong: 0,
      metadata: "the same of both",
      end: "enough",
    });
    await endAll(reader);
  });

  test.each([
    ["nothing", 0],
    ["one frame", 1],
    ["frames that wrap around the ring", 1000],
  ])("that is busy goes on after a writer of ours that wrote %s and left", async (_, frames) => {
    const name = uniqueName();
    await using reader = await startV1(name);
    await using first = await startWriter(name, stream);
    if (frames > 0) await Promise.all([write(first, frames), expectToRead(reader, frames, frames)]);
    await endAll(first);
    expect(tokensOf(name)).toBe(0);
    await using second = await startWriter(name, stream);
    await write(second, 10, { after: frames });
    await expectToRead(reader, 10, frames + 10);
    await endAll(second, reader);
  });

  test("gets the numbers that follow those of a writer of version 1, too", async () => {
    const name = uniqueName();
    await using reader = await startV1(name);
    await using first = v1.writer(name, { frames: 400 });
    await Promise.all([first.receive("wrote"), expectToRead(reader, 400, 400)]);
    await endAll(first);
    await using second = await startWriter(name, stream);
    await write(second, 20, { after: 400 });
    await expectToRead(reader, 20, 420);
    await endAll(second, reader);
  });
});

describe("a second writer of a reader of version 1", () => {
  /** A reader of version 1 that has read everything of a writer with metadata. */
  async function startUsed(name: string): Promise<Child> {
    const reader = await v1.reader(name, PAYLOAD_SIZE);
    await reader.receive("read");
    await using first = await startWriter(name, stream);
    await first.send({ do: "metadata", text: "of the first" }).receive("sent");
    await write(first, 30);
    await expectToRead(reader, 30, 30);
    await endAll(first);
    return reader;
  }

  test("of the command line delivers every frame", async () => {
    const name = uniqueName();
    await using reader = await v1.reader(name, PAYLOAD_SIZE, { frames: 60 });
    for (let i = 0; i < 2; i++) expect((await run("writer", name, "-n", "30", "-s", "1")).code).toBe(0);
    // Their bytes are those of another pattern than the fixture's.
    expect(await reader.receive("read")).toMatchObject({ frames: 60, first: 1, last: 60, end: "enough" });
    await endAll(reader);
  });

  test("leaves equal metadata alone, and is refused with other metadata before its first frame", async () => {
    const name = uniqueName();
    await using reader = await startUsed(name);
    const other = await runJson("writer", name, "-n", "10", "-m", "of the second");
    expect(other).toMatchObject({
      code: 2,
      document: { frames_written: 0, error: { code: "METADATA_ALREADY_WRITTEN" } },
    });
    expect((await runJson("writer", name, "-n", "10", "-m", "of the first")).code).toBe(0);
    reader.write("10\n");
    expect(await reader.receive("read")).toMatchObject({
      frames: 10,
      last: 40,
      metadata: "of the first",
      end: "enough",
    });
    await endAll(reader);
  });

  test("that cannot tell the last number is refused before its first frame, and told what to do", async () => {
    const name = uniqueName();
    await using reader = await startUsed(name);
    setField(name, RING + 8, 999n);
    const { code, document } = await runJson("writer", name, "-n", "10");
    expect({ code, error: document.error.code, frames: document.frames_written }).toEqual({
      code: 4,
      error: "SEQUENCE_ERROR",
      frames: 0,
    });
    expect(document.error.hint.toLowerCase()).toContain("restart the reader");
    expect([tokensOf(name), writerPidOf(name)]).toEqual([0, 0n]);
    await endAll(reader);
  });
});

describe("a writer_pid that a refused writer of version 1 has set to 0", () => {
  /** A second writer that is refused, and zeroes the pid of the first. */
  async function intrude(name: string): Promise<void> {
    await using second = v1.writer(name, { manners: ["zeroes-when-refused"] });
    await second.receive("refused");
    await second.exited();
  }

  test.each([
    ["while frames come fast", 5],
    ["while they come at 2.5 per second", 400],
  ])("ends no reader of ours whose writer is ours, %s", async (_, paceMs) => {
    const name = uniqueName();
    const frames = Math.round(4000 / paceMs);
    await using reader = await startReader(name, { ...stream, payloadSize: PAYLOAD_SIZE });
    await using writer = await startWriter(name, stream);
    await reader.send({ do: "read", frames }).receive("reading");
    await writer.send({ do: "write", frames, paceMs }).receive("writing");
    await eventually(() => (fieldOf(name, WRITTEN) ?? 0n) > 0n);
    await intrude(name);
    expect((await writer.receive("wrote")).error).toBeUndefined();
    expect(await reader.receive("read")).toMatchObject({ frames, wrong: [], end: "enough" });
    await reader.send({ do: "read" }).receive("reading");
    await endAll(writer);
    expect((await reader.receive("read")).error).toMatchObject({ code: "WRITER_DEAD", reason: "left" });
    await endAll(reader);
  });

  test("is put back by a writer of ours when it looks at its reader, and the next one is refused again", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, { ...stream, payloadSize: 4096 });
    await using writer = await startWriter(name, stream);
    await writer.send({ do: "write", frames: 100 }).receive("writing");
    await bufferFull(name, stream.largest);
    for (let i = 0; i < 3; i++) {
      await intrude(name);
      await eventually(() => writerPidOf(name) === BigInt(writer.pid));
    }
    await reader.send({ do: "read", frames: 100 }).receive("reading");
    expect(await reader.receive("read")).toMatchObject({ frames: 100, wrong: [], end: "enough" });
    expect((await writer.receive("wrote")).error).toBeUndefined();
    await endAll(writer, reader);
  });

  test("is put back by a reader of ours if its writer is of version 1 and goes on", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, { ...stream, payloadSize: PAYLOAD_SIZE });
    await using writer = v1.writer(name);
    await writer.receive("wrote");
    // It has to have seen the process before.
    await reader.send({ do: "await-writer", timeoutMs: WAIT_LIMIT_MS }).receive("awaited");
    await reader.send({ do: "read" }).receive("reading");
    let frames = 0;
    const writeOne = async () => {
      frames++;
      expect(await writer.write("1\n").receive("wrote")).toMatchObject({ end: "enough" });
    };
    for (let round = 0; round < 3; round++) {
      await writeOne();
      await intrude(name);
      while (writerPidOf(name) === 0n) {
        await Bun.sleep(PACE_MS);
        await writeOne();
      }
      expect(writerPidOf(name)).toBe(BigInt(writer.pid));
    }
    await endAll(writer);
    expect(await reader.receive("read")).toMatchObject({
      frames,
      wrong: [],
      error: { code: "WRITER_DEAD", reason: "left" },
    });
    await endAll(reader);
  });

  test("ends no command that reads, and no relay", async () => {
    const [raw, shown] = [uniqueName(), uniqueName()];
    const frames = 300;
    await using reader = Child.cli(`reader ${shown} --json-output ${PATIENT}`);
    await bufferMade(shown);
    await using relay = Child.cli(`relay ${raw} ${shown} --json-output ${PATIENT}`);
    await bufferMade(raw);
    await using writer = Child.cli(`writer ${raw} -n ${frames} --rate 100 --json-output ${PATIENT}`);
    for (const name of [raw, shown]) await eventually(() => (fieldOf(name, WRITTEN) ?? 0n) > 0n);
    for (const name of [raw, shown]) await intrude(name);
    expect(await writer.report()).toMatchObject({ code: 0, document: { frames_written: frames } });
    expect(await relay.report()).toMatchObject({ code: 0, document: { frames_relayed: frames } });
    expect(await reader.report()).toMatchObject({ code: 0, document: { frames_read: frames } });
  });

  test("ends no client of a duplex server, of ours or of version 1", async () => {
    const channel = uniqueName();
    await using server = await startDuplexServer(channel);
    await using ours = await startDuplexClient(channel);
    for (let round = 0; round < 4; round++) {
      await ours.send({ do: "ask", requests: 10, size: 100 }).receive("asking");
      expect(await ours.receive("asked")).toMatchObject({ answers: 10, wrong: [] });
      if (round === 0) await intrude(`${channel}_request`);
    }
    await endAll(ours);
    await using theirs = v1.client(channel, PAYLOAD_SIZE, { frames: 10 });
    await theirs.receive("connected");
    for (let round = 0; round < 4; round++) {
      expect(await theirs.receive("asked")).toMatchObject({ answers: 10, wrong: 0, end: "enough" });
      if (round === 0) await intrude(`${channel}_request`);
      if (round < 3) theirs.write("10\n");
    }
    await endAll(theirs);
    const { clients } = await server.send({ do: "report" }).receive("report");
    expect(clients).toBe(2);
    await endAll(server);
  });
});

test.skipIf(!canContain)(
  "a writer of ours whose place a writer of version 1 took that cannot see it says so, and the other goes on",
  async () => {
    const name = uniqueName();
    await using reader = await startReader(name, { ...stream, payloadSize: PAYLOAD_SIZE }, container);
    await using writer = await startWriter(name, stream);
    await using intruder = v1.writer(name, { within: container });
    await intruder.receive("wrote");
    await writer.send({ do: "write", frames: 1e9 }).receive("writing");
    const { error } = await writer.receive("wrote");
    expect(error).toMatchObject({ code: "WRITER_ALREADY_CONNECTED" });
    await endAll(writer, intruder, reader);
  },
);

test("a writer that dies of an exact fit into an empty ring, as the one in Python, lives", async () => {
  const name = uniqueName();
  const size = 4096 - HEADER;
  await using reader = await startReader(name, { largest: size, payloadSize: 4096 });
  // Frames of one size, as often as the ring takes them.
  const largest = size;
  await using writer = v1.writer(name, { largest, manners: ["dies-of-exact-fit", "same-size"] });
  await writer.receive("wrote");
  for (let i = 0; i < 5; i++) {
    writer.write("1\n");
    expect(await writer.receive("wrote")).toMatchObject({ frames: 1, exactFits: i + 1, end: "enough" });
    await reader.send({ do: "read", frames: 1 }).receive("reading");
    expect(await reader.receive("read")).toMatchObject({ frames: 1, wrong: [], end: "enough" });
  }
  await endAll(writer, reader);
});

describe("a crashed reader of ours", () => {
  test.each([["ours"], ["version 1"]])(
    "comes back while its writer, of %s, lives and is idle; ours is told at its next frame",
    async (kind) => {
      const name = uniqueName();
      await using crashed = await startReader(name, { ...stream, payloadSize: PAYLOAD_SIZE });
      await using writer = kind === "ours" ? await startWriter(name, stream) : v1.writer(name);
      if (kind !== "ours") await writer.receive("wrote");
      await kill(crashed);
      await using next = await startReader(name, { ...stream, payloadSize: PAYLOAD_SIZE });
      if (kind === "ours") {
        await writer.send({ do: "write", frames: 1e9 }).receive("writing");
        expect((await writer.receive("wrote")).error).toMatchObject({ code: "READER_DEAD", reason: "died" });
      }
      await using second = await startWriter(name, stream);
      await next.send({ do: "read", frames: 10 }).receive("reading");
      await write(second, 10);
      expect(await next.receive("read")).toMatchObject({ frames: 10, wrong: [], end: "enough" });
      await endAll(writer, second, next);
    },
  );
});
