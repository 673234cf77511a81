// A writer that connects while the writer's place changes hands, beside another writer, or to what dead processes left.

import { describe, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { Reader, Writer } from "../../src/core/index.ts";
import { Code } from "../../src/native/codes.ts";
import { Role, SharedMemory } from "../../src/native/memory.ts";
import { rejectionOf, thrownBy, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { Child } from "../support/process.ts";
import { endAll, startReader, startWriter, sweep } from "./peers.ts";

const stream = { largest: 1000, sizes: "mixed", payloadSize: 4096 } as const;
const SMALL = { metadataSize: 0, payloadSize: 4096 };

/** Has the lock of the writer's role, as the reader does for an instant between two writers, until it is closed. */
function holdPlace(name: string): SharedMemory {
  const memory = SharedMemory.look(name, "write") as SharedMemory;
  expect(memory.lockRole(Role.WRITER)).toBe(Code.OK);
  return memory;
}

/** Whether the promise settles before the event loop has its turn. */
async function settlesAtOnce(promise: Promise<unknown>): Promise<boolean> {
  let isSettled = false;
  const settle = () => {
    isSettled = true;
  };
  promise.then(settle, settle);
  // Promises alone, and no timer, for far more than their hops.
  for (let hop = 0; hop < 100; hop++) await undefined;
  return isSettled;
}

describe("while the reader goes on from one writer to the next", () => {
  test("an asynchronous writer waits for its place within its timeout, and the event loop goes on", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, stream);
    const place = holdPlace(name);
    const connecting = Writer.connect(name, { connectTimeoutMs: WAIT_LIMIT_MS });
    let isConnected = false;
    void connecting.then(() => (isConnected = true));
    // Far longer than an attempt without a timeout has.
    for (const end = performance.now() + 200; performance.now() < end; ) {
      await new Promise((resolve) => setImmediate(resolve));
      expect(isConnected).toBe(false);
    }
    place.close();
    using writer = await connecting;
    expect(writer.isReaderConnected()).toBe(true);
    writer.close();
    await endAll(reader);
  });

  test("a blocking writer waits for its place within its timeout", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, stream);
    const place = holdPlace(name);
    await using writer = Child.fixture("writer.ts", name, { ...stream, connectTimeoutMs: WAIT_LIMIT_MS });
    await using other = Child.fixture("writer.ts", name, stream);
    // The one without a timeout has given up: the first has had as long.
    expect(await other.receive("refused")).toMatchObject({ code: "WRITER_ALREADY_CONNECTED" });
    place.close();
    await writer.receive("connected");
    await endAll(other, writer, reader);
  });

  test("an asynchronous writer without a timeout looks for a moment, and does not block the event loop", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, stream);
    const place = holdPlace(name);
    const connecting = Writer.connect(name);
    expect(await settlesAtOnce(connecting)).toBe(false);
    expect(await rejectionOf(connecting)).toMatchObject({
      code: "WRITER_ALREADY_CONNECTED",
      message: expect.stringContaining("becoming the writer"),
    });
    place.close();
    await endAll(reader);
  });
});

test("a connection that is given up rejects before its next attempt", async () => {
  const controller = new AbortController();
  const connecting = Writer.connect(uniqueName(), {
    connectTimeoutMs: WAIT_LIMIT_MS,
    signal: controller.signal,
  });
  const reason = new Error("given up");
  controller.abort(reason);
  expect(await settlesAtOnce(connecting)).toBe(true);
  expect(await rejectionOf(connecting)).toBe(reason);
});

describe("a living writer keeps others out at once, whatever their timeout,", () => {
  test("in a process of its own", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, stream);
    await using writer = await startWriter(name, stream);
    const start = performance.now();
    const error = await rejectionOf(Writer.connect(name, { connectTimeoutMs: WAIT_LIMIT_MS }));
    expect(error).toMatchObject({ code: "WRITER_ALREADY_CONNECTED" });
    expect(performance.now() - start).toBeLessThan(WAIT_LIMIT_MS / 4);
    await endAll(writer, reader);
  });

  test("in the process of the reader", async () => {
    const name = uniqueName();
    using _reader = new Reader(name, SMALL);
    using _writer = new Writer(name);
    const start = performance.now();
    await using other = Child.fixture("writer.ts", name, { ...stream, connectTimeoutMs: WAIT_LIMIT_MS });
    expect(await other.receive("refused")).toMatchObject({ code: "WRITER_ALREADY_CONNECTED" });
    expect(thrownBy(() => new Writer(name, { connectTimeoutMs: WAIT_LIMIT_MS }))).toMatchObject({
      code: "WRITER_ALREADY_CONNECTED",
    });
    expect(performance.now() - start).toBeLessThan(WAIT_LIMIT_MS / 4);
    await endAll(other);
  });
});

describe("a writer that creates its buffer takes the place of what dead processes left:", () => {
  test("a buffer whose reader was killed", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, stream);
    reader.kill("SIGKILL");
    await reader.end();
    using writer = new Writer(name, { create: SMALL });
    expect(writer.config).toEqual(SMALL);
    writer.writeFrame(new Uint8Array([7]));
    using next = new Reader(name);
    using frame = next.readFrame(WAIT_LIMIT_MS);
    expect([frame.sequence, ...frame.data]).toEqual([1, 7]);
  });

  test.each([
    ["an empty file", 0],
    ["a control block without its size", 128 + 4096],
  ])("%s", (_, size) => {
    const name = uniqueName();
    writeFileSync(`/dev/shm/${name}`, new Uint8Array(size));
    writeFileSync(`/tmp/zerobuffer/${name}.lock`, "");
    new Writer(name, { create: SMALL }).close();
    expect(existsSync(`/dev/shm/${name}`)).toBe(false);
    sweep();
  });
});
