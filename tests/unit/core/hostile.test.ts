// A control block in which somebody has written something else: correct operation or a typed error, never a crash.

import { describe, expect, spyOn, test } from "bun:test";
import {
  closeSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { OiebWord } from "../../../src/core/buffer/oieb.ts";
import { type Frame, Reader, Writer, ZeroBufferError } from "../../../src/core/index.ts";
import { Role, SharedMemory } from "../../../src/native/memory.ts";
import { Semaphore } from "../../../src/native/semaphore.ts";
import { bytesOf, rejectionOf, thrownBy, uniqueName } from "../../support/buffers.ts";

const RING = { metadataSize: 64, payloadSize: 1024 };
const PROMPT_MS = 1000;
const MAX = 2n ** 64n - 1n;
const shm = (name: string) => `/dev/shm/${name}`;
const semaphoreOf = (name: string, side: "w" | "r") => `/dev/shm/sem.sem-${side}-${name}`;

function poke(path: string, offset: number, value: bigint): void {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
  const descriptor = openSync(path, "r+");
  writeSync(descriptor, bytes, 0, 8, offset);
  closeSync(descriptor);
}

const fields = { oiebSizeAndVersion: 0, ...OiebWord, reserved: 12 };
/** What is written there, given what is there. */
const values: readonly [string, (now: bigint) => bigint][] = [
  ["0", () => 0n],
  ["1", () => 1n],
  ["the largest number", () => MAX],
  ["the largest number less 15", () => MAX - 15n],
  ["the sign bit", () => 2n ** 63n],
  ["one more", (now) => now + 1n],
  ["one less", (now) => now - 1n],
  ["64 more", (now) => now + 64n],
  ["64 less", (now) => now - 64n],
];

/** What an operation may end in when the peer is hostile: anything but a crash or what would be called a bug. */
function attempt<T>(action: () => T): T | undefined {
  const start = performance.now();
  try {
    return action();
  } catch (error) {
    if (!(error instanceof ZeroBufferError)) throw error;
    expect(error.code).not.toBe("INTERNAL");
    return undefined;
  } finally {
    expect(performance.now() - start).toBeLessThan(2 * PROMPT_MS);
  }
}

/** Does everything there is to do with a pair, whatever comes of it. */
function operate(reader: Reader | undefined, writer: Writer | undefined): void {
  const frames: (Frame | undefined)[] = [];
  for (let round = 0; round < 3; round++) {
    attempt(() => writer?.tryWriteFrame(bytesOf(1, 300)));
    frames.push(attempt(() => reader?.tryReadFrame()));
    for (const frame of frames) if (frame?.isValid) expect(frame.data.length).toBe(frame.size);
  }
  attempt(() => writer?.setMetadata(bytesOf(1, 20)));
  attempt(() => reader?.getMetadata());
  attempt(() => writer?.isReaderConnected());
  attempt(() => reader?.isWriterConnected(0));
  frames[1]?.release();
  frames[0]?.release();
  frames[2]?.release();
  attempt(() => reader?.readFrame(1));
  attempt(() => writer?.acquireFrame(900));
  attempt(() => writer?.commitFrame());
}

function removeAll(name: string): void {
  const files = [shm(name), semaphoreOf(name, "w"), semaphoreOf(name, "r"), `/tmp/zerobuffer/${name}.lock`];
  for (const file of files) rmSync(file, { force: true });
}

describe.each(Object.entries(fields))("with its field %s changed", (_, word) => {
  test.each(values)("to %s, a buffer harms neither side", (_what, change) => {
    for (const when of ["live", "before the writer comes", "before the reader comes"] as const) {
      const name = uniqueName();
      let reader = when === "before the reader comes" ? undefined : new Reader(name, RING);
      let writer =
        when === "before the writer comes"
          ? undefined
          : new Writer(name, { writeTimeout: 1, ...(reader === undefined && { create: RING }) });
      writer?.writeFrame(bytesOf(1, 100));
      writer?.writeFrame(bytesOf(2, 200));
      const first = reader?.tryReadFrame();
      const now = readFileSync(shm(name)).readBigUInt64LE(8 * word);
      poke(shm(name), 8 * word, change(now));
      writer ??= attempt(() => new Writer(name, { writeTimeout: 1 }));
      reader ??= attempt(() => new Reader(name, RING));
      operate(reader, writer);
      first?.release();
      reader?.close();
      writer?.close();
      removeAll(name);
    }
  });
});

describe("shared memory that is taken away while its owner waits", () => {
  const takings: [string, (path: string) => void][] = [
    ["truncated", (path) => truncateSync(path, 0)],
    ["unlinked", (path) => unlinkSync(path)],
    [
      "replaced",
      (path) => {
        unlinkSync(path);
        writeFileSync(path, Buffer.alloc(4096));
      },
    ],
  ];
  test.each(takings)("(%s) is reported to the reader and to the writer within a second", async (_, take) => {
    const name = uniqueName();
    const reader = new Reader(name, RING);
    const writer = new Writer(name, { writeTimeout: 60_000 });
    writer.writeFrame(bytesOf(1, 1000));
    const frame = reader.readFrame(0);
    const read = rejectionOf(reader.readFrameAsync(60_000));
    const written = rejectionOf(writer.writeFrameAsync(bytesOf(2, 1000)));
    take(shm(name));
    const start = performance.now();
    expect(await read).toMatchObject({ code: "CORRUPT_BUFFER" });
    expect(await written).toMatchObject({ code: "CORRUPT_BUFFER" });
    expect(performance.now() - start).toBeLessThan(PROMPT_MS);
    frame.release();
    writer.close();
    reader.close();
    removeAll(name);
  });
});

test("a writer's pid that never rests is a dead writer's", () => {
  using reader = new Reader(uniqueName(), RING);
  let pid = MAX;
  const load = SharedMemory.prototype.loadOieb;
  const restless = spyOn(SharedMemory.prototype, "loadOieb").mockImplementation(function (
    this: SharedMemory,
  ) {
    const words = load.call(this);
    words[OiebWord.writerPid] = pid--;
    return words;
  });
  try {
    expect(thrownBy(() => reader.readFrame(0))).toMatchObject({ code: "WRITER_DEAD", reason: "died" });
  } finally {
    restless.mockRestore();
  }
});

describe("a semaphore that somebody else plays with", () => {
  test("and has posted far too often brings no wrong frame", () => {
    using reader = new Reader(uniqueName(), RING);
    using writer = new Writer(reader.name, { writeTimeout: 0 });
    for (const role of [Role.WRITER, Role.READER]) {
      const semaphore = Semaphore.open(reader.name, role) as Semaphore;
      semaphore.post(2 ** 31 - 1);
      semaphore.close();
    }
    for (let sequence = 1; sequence <= 50; sequence++) {
      writer.writeFrame(bytesOf(sequence, 500));
      expect(thrownBy(() => writer.writeFrame(bytesOf(1, 500)))).toMatchObject({ code: "BUFFER_FULL" });
      using frame = reader.readFrame(PROMPT_MS);
      expect([frame.sequence, frame.toArray()]).toEqual([sequence, bytesOf(sequence, 500)]);
      expect(reader.readFrame(1).isValid).toBe(false);
    }
  });

  test("and has drained loses no frame and no room", () => {
    using reader = new Reader(uniqueName(), RING);
    using writer = new Writer(reader.name, { writeTimeout: PROMPT_MS });
    for (let sequence = 1; sequence <= 5; sequence++) {
      writer.writeFrame(bytesOf(sequence, 1000));
      poke(semaphoreOf(reader.name, "w"), 0, 0n);
      using frame = reader.readFrame(PROMPT_MS);
      expect([frame.sequence, frame.size]).toEqual([sequence, 1000]);
      frame.release();
      poke(semaphoreOf(reader.name, "r"), 0, 0n);
    }
  });

  test("and has truncated is reported to who waits for it within a second, and keeps nobody from closing", async () => {
    const reader = new Reader(uniqueName(), RING);
    const writer = new Writer(reader.name, { writeTimeout: 60_000 });
    writer.writeFrame(bytesOf(1, 1000));
    const frame = reader.readFrame(0);
    const read = rejectionOf(reader.readFrameAsync(60_000));
    const written = rejectionOf(writer.writeFrameAsync(bytesOf(2, 1000)));
    for (const side of ["w", "r"] as const) truncateSync(semaphoreOf(reader.name, side), 0);
    const start = performance.now();
    expect(await read).toMatchObject({ code: "CORRUPT_BUFFER" });
    expect(await written).toMatchObject({ code: "CORRUPT_BUFFER" });
    frame.release();
    writer.close();
    reader.close();
    expect(performance.now() - start).toBeLessThan(PROMPT_MS);
  });

  test("and has unlinked goes on for who has it, and a writer that comes is told what is missing", () => {
    using reader = new Reader(uniqueName(), RING);
    const writer = new Writer(reader.name);
    unlinkSync(semaphoreOf(reader.name, "w"));
    writer.writeFrame(bytesOf(1, 10));
    reader.readFrame(PROMPT_MS).release();
    writer.close();
    expect(thrownBy(() => new Writer(reader.name))).toMatchObject({
      code: "PEER_TIMEOUT",
      message: expect.stringContaining("semaphores are missing"),
    });
  });
});

test("the five hundredth buffer takes no longer than the first ones", () => {
  /** The processor time of a hundred buffers: how busy the machine is makes no difference to it. */
  const batch = () => {
    const start = process.cpuUsage();
    for (let round = 0; round < 100; round++) {
      using reader = new Reader(uniqueName(), RING);
      using writer = new Writer(reader.name);
      writer.writeFrame(bytesOf(1, 10));
      reader.readFrame(0).release();
    }
    const { user, system } = process.cpuUsage(start);
    return user + system;
  };
  const durations = Array.from({ length: 5 }, batch);
  expect(Math.min(...durations.slice(2))).toBeLessThan(3 * Math.min(...durations.slice(0, 2)));
});
