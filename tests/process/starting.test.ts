// Readers that start beside others that are busy with the same name for a short time.

import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { Reader, Writer } from "../../src/core/index.ts";
import { Code } from "../../src/native/codes.ts";
import { LockFile } from "../../src/native/lock-file.ts";
import { Role, SharedMemory } from "../../src/native/memory.ts";
import { rejectionOf, thrownBy, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { Child } from "../support/process.ts";
import { startReader } from "./peers.ts";

const SMALL = { metadataSize: 0, payloadSize: 4096 };

/** Makes the lock directories. */
new Reader(uniqueName(), SMALL).close();

/** Has the lock of a name, as somebody who makes or removes its buffer. */
function holdLock(name: string): LockFile {
  return LockFile.open(`/tmp/zerobuffer/${name}.lock`, true) as LockFile;
}

describe("a reader that finds the lock of its name held", () => {
  test("waits for it without blocking the event loop", async () => {
    const name = uniqueName();
    const lock = holdLock(name);
    const creating = Reader.create(name, SMALL);
    let isCreated = false;
    void creating.then(() => (isCreated = true));
    // Far longer than who only asks for the lock has it.
    for (const end = performance.now() + 200; performance.now() < end; ) {
      await new Promise((resolve) => setImmediate(resolve));
      expect(isCreated).toBe(false);
    }
    lock.close({ remove: true });
    (await creating).close();
  });

  test("waits for it in a blocking call", async () => {
    const name = uniqueName();
    const lock = holdLock(name);
    await using reader = Child.fixture("reader.ts", name, { sizes: "same", largest: 100, ...SMALL });
    await new Promise((resolve) => setImmediate(resolve));
    lock.close({ remove: false });
    await reader.receive("ready");
    new Writer(name).close();
    await reader.end();
  });

  test("does not wait for a reader that lives", async () => {
    const name = uniqueName();
    using _reader = new Reader(name, SMALL);
    const busy = uniqueName();
    const lock = holdLock(busy);
    const order: string[] = [];
    const refused = (of: string) => rejectionOf(Reader.create(of, SMALL)).then(() => order.push(of));
    // The one that waits for somebody else has begun earlier.
    await Promise.all([refused(busy), refused(name)]);
    expect(order).toEqual([name, busy]);
    lock.close({ remove: true });
  });

  test("gives up when it is told to", async () => {
    const name = uniqueName();
    const lock = holdLock(name);
    const abort = new AbortController();
    const creating = rejectionOf(Reader.create(name, SMALL, { signal: abort.signal }));
    const reason = new Error("enough");
    abort.abort(reason);
    expect(await creating).toBe(reason);
    lock.close({ remove: true });
    expect(existsSync(`/dev/shm/${name}`)).toBe(false);
  });
});

test("a reader whose role a stranger has locked for ever is refused, and nothing of the name changes", () => {
  const name = uniqueName();
  using writer = new Writer(name, { create: SMALL });
  const stranger = SharedMemory.look(name, "write") as SharedMemory;
  expect(stranger.lockRole(Role.READER)).toBe(Code.OK);
  expect(thrownBy(() => new Reader(name, SMALL))).toMatchObject({ code: "READER_ALREADY_CONNECTED" });
  stranger.close();
  using reader = new Reader(name, SMALL);
  expect(writer.isReaderConnected()).toBe(true);
  reader.close();
});

describe("a reader of the default size starts", () => {
  test("beside the writer that makes its buffer", async () => {
    for (let round = 0; round < 5; round++) {
      const name = uniqueName();
      const making = Writer.connect(name, { create: {}, connectTimeoutMs: WAIT_LIMIT_MS });
      await using reader = await startReader(name, { largest: 100, payloadSize: 256 * 2 ** 20 });
      using writer = await making;
      expect(await writer.isReaderConnectedAsync(WAIT_LIMIT_MS)).toBe(true);
      writer.close();
      await reader.end();
    }
  });

  test("in the place of a reader that was killed, whose writer lives and is idle", async () => {
    const name = uniqueName();
    const killed = await startReader(name, { largest: 100, payloadSize: 256 * 2 ** 20 });
    using writer = new Writer(name);
    killed.kill("SIGKILL");
    await killed.end();
    await using next = await startReader(name, { largest: 100, payloadSize: 256 * 2 ** 20 });
    expect(thrownBy(() => writer.checkReader())).toMatchObject({ code: "READER_DEAD", reason: "died" });
    writer.close();
    using successor = new Writer(name, { connectTimeoutMs: WAIT_LIMIT_MS });
    successor.close();
    await next.end();
  });
});
