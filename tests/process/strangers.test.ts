// Bad input to the question who is there: pids that are nobody's or somebody else's, locks and views that stay, other users.

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { OiebWord } from "../../src/core/buffer/oieb.ts";
import { Reader } from "../../src/core/index.ts";
import { cleanBuffer, inspectBuffer } from "../../src/core/inspection.ts";
import { setField, uniqueName } from "../support/buffers.ts";
import { Child, run, runJson } from "../support/process.ts";
import { compileFixture } from "./compiled.ts";
import { endAll, kill, startReader, startWriter } from "./peers.ts";
import { V1 } from "./v1.ts";

const stream = { largest: 1000, sizes: "mixed" } as const;
const small = { ...stream, payloadSize: 4096 };

const WRITER = 8 * OiebWord.writerPid;
const READER = 8 * OiebWord.readerPid;
/** Nothing that is refused takes this long. */
const REFUSED_MS = 5000;

const [v1, holder] = await Promise.all([V1.build(), compileFixture("holder.c")]);

/** Somebody who holds something of a buffer. */
async function hold(name: string, ...words: (string | number)[]): Promise<Child> {
  const child = Child.program([holder, name, ...words.map(String)]);
  await child.receive("held");
  return child;
}

/** A buffer whose reader of version 1 was killed. */
async function leaveBuffer(name: string): Promise<void> {
  await using reader = await v1.reader(name, 4096);
  await kill(reader);
}

const stateOf = (name: string) => inspectBuffer(name)?.snapshot().state;

async function within<T>(limitMs: number, work: () => T | Promise<T>): Promise<T> {
  const start = performance.now();
  const result = await work();
  expect(performance.now() - start).toBeLessThan(limitMs);
  return result;
}

describe("a pid in the control block", () => {
  const own = BigInt(process.pid);
  const pids: readonly (readonly [string, bigint])[] = [
    ["0", 0n],
    ["1", 1n],
    ["of the process that looks", own],
    ["of that process's parent", BigInt(process.ppid)],
    ["of a process that looks, plus 2^32", 2n ** 32n + own],
    ["larger than any", 2n ** 22n + 1n],
    ["of 64 bits", 2n ** 64n - 1n],
  ];
  const pairs = pids.flatMap((writer) =>
    pids
      .map((reader) => ({ writer, reader }))
      .filter(
        // A reader that may be about to remove its buffer is given a second.
        ({ reader }) => reader[1] !== 0n || writer[1] === own,
      ),
  );

  test("of nobody's buffer makes nobody its reader or writer: it can be cleaned, and its name is free", async () => {
    const name = uniqueName();
    await leaveBuffer(name);
    const image = readFileSync(`/dev/shm/${name}`);
    expect((await run("clean", name)).code).toBe(0);
    for (const { writer, reader } of pairs) {
      const leave = () => {
        writeFileSync(`/dev/shm/${name}`, image);
        setField(name, WRITER, writer[1]);
        setField(name, READER, reader[1]);
      };
      leave();
      expect({ writer, reader, state: stateOf(name) }).toEqual({ writer, reader, state: "stale" });
      expect(cleanBuffer(name)).toMatchObject({ paths: [`/dev/shm/${name}`], obstacle: undefined });
      leave();
      using next = new Reader(name, small);
      next.close();
    }
  });

  test.each(pids.filter(([, pid]) => pid !== 0n))(
    "as the writer's, %s, is nobody's: a reader that waits makes room for the next writer",
    async (_, pid) => {
      const name = uniqueName();
      await using reader = await startReader(name, small);
      setField(name, WRITER, pid);
      await reader.send({ do: "read", frames: 1 }).receive("reading");
      expect(await reader.receive("read")).toMatchObject({
        frames: 0,
        error: { code: "WRITER_DEAD", reason: "died" },
      });
      const writer = startWriter(name, stream);
      await reader.send({ do: "read", frames: 10 }).receive("reading");
      await using connected = await writer;
      await connected.send({ do: "write", frames: 10 }).receive("writing");
      expect(await reader.receive("read")).toMatchObject({ frames: 10, wrong: [], end: "enough" });
      await connected.receive("wrote");
      await endAll(connected, reader);
    },
  );

  test.each(pids)("over our living reader's, %s, ends nothing but what 0 says", async (_, pid) => {
    const name = uniqueName();
    await using reader = await startReader(name, small);
    await using writer = await startWriter(name, stream);
    const before = readFileSync(`/dev/shm/${name}`).readBigUInt64LE(READER);
    setField(name, READER, pid);
    await writer.send({ do: "write", frames: 1e9, writeTimeout: 500 }).receive("writing");
    const { error } = await writer.receive("wrote");
    expect(error).toMatchObject(
      pid === 0n ? { code: "READER_DEAD", reason: "left" } : { code: "BUFFER_FULL", reason: "timeout" },
    );
    expect(stateOf(name)).not.toBe("stale");
    expect(cleanBuffer(name).obstacle).toBeDefined();
    setField(name, READER, before);
    await endAll(writer, reader);
  });

  test.each(pids.filter(([, pid]) => pid !== 0n))(
    "over our living writer's, %s, is another writer's that has taken its place",
    async (_, pid) => {
      const name = uniqueName();
      await using reader = await startReader(name, small);
      await using writer = await startWriter(name, stream);
      setField(name, WRITER, pid);
      await writer.send({ do: "write", frames: 1e9 }).receive("writing");
      expect((await writer.receive("wrote")).error).toMatchObject({ code: "WRITER_ALREADY_CONNECTED" });
      await endAll(writer, reader);
    },
  );

  test("that is both the reader's and the writer's is the reader's: the writer is nobody", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, small);
    setField(name, WRITER, BigInt(reader.pid));
    expect(await listed(name)).toMatchObject({ reader: { alive: true } });
    await reader.send({ do: "read" }).receive("reading");
    expect((await reader.receive("read")).error).toMatchObject({ code: "WRITER_DEAD", reason: "died" });
    await endAll(reader);
  });
});

async function listed(name: string) {
  const { document } = await runJson("list");
  return document.buffers.find((one: { buffer_name: string }) => one.buffer_name === name);
}

describe.each(["write", "read"])("a %s lock of a stranger, for ever,", (kind) => {
  test("on the writer's bytes refuses writers with a message, and keeps no reader from reading and leaving", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, small);
    await using stranger = await hold(name, kind, WRITER);
    const { code, document } = await within(REFUSED_MS, () =>
      runJson("writer", name, "--connect-timeout-ms", "300"),
    );
    expect({ code, error: document.error.code }).toEqual({ code: 1, error: "WRITER_ALREADY_CONNECTED" });
    expect(document.error.message).toContain(name);
    await reader.send({ do: "read", timeoutMs: 500 }).receive("reading");
    expect(await reader.receive("read")).toMatchObject({ frames: 0, end: "timeout" });
    await within(REFUSED_MS, () => reader.succeed());
    expect(existsSync(`/dev/shm/${name}`)).toBe(false);
    await endAll(stranger);
  });

  test("on the reader's bytes refuses readers and clean with a message", async () => {
    const name = uniqueName();
    await leaveBuffer(name);
    await using stranger = await hold(name, kind, READER);
    for (const args of [
      ["reader", name, "--buffer-size", "4096"],
      ["clean", name],
    ]) {
      const { code, document } = await within(REFUSED_MS, () => runJson(...args));
      expect({ args, code, error: document.error.code }).toEqual({
        args,
        code: 1,
        error: "READER_ALREADY_CONNECTED",
      });
    }
    await within(REFUSED_MS, () => run("clean"));
    expect(existsSync(`/dev/shm/${name}`)).toBe(true);
    await endAll(stranger);
    expect((await run("clean", name)).code).toBe(0);
  });

  test("on both, in the middle of a stream, loses no frame and ends no side", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, small);
    await using writer = await startWriter(name, stream);
    await using late = Child.program([holder, name, kind, `${WRITER}`]);
    // Our own lock is there before it.
    expect((await late.exited()).code).toBe(1);
    await reader.send({ do: "read", frames: 1000 }).receive("reading");
    await writer.send({ do: "write", frames: 1000 }).receive("writing");
    expect(await reader.receive("read")).toMatchObject({ frames: 1000, wrong: [] });
    await writer.receive("wrote");
    await endAll(writer, reader);
  });
});

describe("somebody who only looks", () => {
  test.each(["view", "map"])(
    "for ever (%s) keeps a dead buffer from clean, not from --force",
    async (how) => {
      const name = uniqueName();
      await leaveBuffer(name);
      await using viewer = await hold(name, how);
      const { code, document } = await runJson("clean", name);
      expect(code).not.toBe(0);
      expect(JSON.stringify(document.error)).toContain("--force");
      expect(existsSync(`/dev/shm/${name}`)).toBe(true);
      expect((await runJson("clean", "--force", name)).document.removed).toMatchObject([
        { buffer_name: name },
      ]);
      expect(existsSync(`/dev/shm/${name}`)).toBe(false);
      await endAll(viewer);
    },
  );

  test("for ever keeps no reader from the name of one of ours that was killed, nor a death from being told", async () => {
    const name = uniqueName();
    await using dead = await startReader(name, small);
    await using viewer = await hold(name, "view");
    await using writer = await startWriter(name, stream);
    await writer.send({ do: "write", frames: 1e9 }).receive("writing");
    await writer.sleeping();
    await kill(dead);
    expect((await writer.receive("wrote")).error).toMatchObject({ code: "READER_DEAD", reason: "died" });
    await endAll(writer);
    await using next = await startReader(name, small);
    await using second = await startWriter(name, stream);
    await using another = await hold(name, "view");
    await next.send({ do: "read" }).receive("reading");
    await kill(second);
    expect((await next.receive("read")).error).toMatchObject({ code: "WRITER_DEAD", reason: "died" });
    await endAll(next, viewer, another);
  });

  test("again and again disturbs no start, no clean and no death", async () => {
    const name = uniqueName();
    await using looking = Child.fixture("looker.ts", name);
    await looking.receive("looking");
    for (let round = 0; round < 5; round++) {
      await using reader = await startReader(name, small);
      await using writer = await startWriter(name, stream);
      await reader.send({ do: "read" }).receive("reading");
      await kill(writer);
      expect((await reader.receive("read")).error).toMatchObject({ code: "WRITER_DEAD", reason: "died" });
      await kill(reader);
      if (round % 2 === 0) expect((await run("clean", name)).code).toBe(0);
    }
    await looking.end();
    expect((await looking.receive("looked")).times).toBeGreaterThan(10);
    await run("clean", name);
  });
});

test("two that clean side by side remove each buffer once, and neither fails", async () => {
  for (let round = 0; round < 10; round++) {
    const names = Array.from({ length: 4 }, uniqueName);
    for (const name of names) await leaveBuffer(name);
    const reports = await Promise.all([runJson("clean"), runJson("clean")]);
    const removed = reports.flatMap(({ document }) =>
      document.removed.map(({ buffer_name }: { buffer_name: string }) => buffer_name),
    );
    expect(reports.map(({ code }) => code)).toEqual([0, 0]);
    for (const name of names) {
      expect(existsSync(`/dev/shm/${name}`)).toBe(false);
      expect(removed).toContain(name);
    }
  }
});
