// What processes that were killed leave behind is swept, and nothing else is.

import { describe, expect, test } from "bun:test";
import {
  existsSync,
  linkSync,
  lstatSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { Reader, Writer, ZeroBufferError } from "../../src/core/index.ts";
import { eventually, filesOfBuffers, thrownBy, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import type { Child } from "../support/process.ts";
import { endAll, kill, startReader, startWriter, sweep } from "./peers.ts";

const PROMPT_MS = 1000;
const stream = { largest: 1000, sizes: "mixed" } as const;
const small = { ...stream, payloadSize: 4096 };

const memoryOf = (name: string) => `/dev/shm/${name}`;
const lockOf = (name: string) => `/tmp/zerobuffer/${name}.lock`;
const objectsOf = (name: string) => [
  `/dev/shm/sem.sem-r-${name}`,
  `/dev/shm/sem.sem-w-${name}`,
  memoryOf(name),
  `/tmp/zerobuffer/locks/${name}.lock`,
  lockOf(name),
];

/** A reader with all its objects, and frames that it has not read; their writer has left. */
async function startNeglectfulReader(name: string): Promise<Child> {
  const reader = await startReader(name, small);
  await using writer = await startWriter(name, stream);
  await writer.send({ do: "write", frames: 2 }).receive("writing");
  await writer.receive("wrote");
  await endAll(writer);
  for (const path of objectsOf(name))
    expect({ path, exists: existsSync(path) }).toEqual({ path, exists: true });
  return reader;
}

/** Leaves a buffer as a reader does that is killed, after `tamper` has changed something about it. */
async function leaveStaleBuffer(name: string, tamper = () => {}): Promise<void> {
  await using reader = await startNeglectfulReader(name);
  tamper();
  await kill(reader);
}

/** Readers of other programs sweep, too: where one is at it, this waits until it is done. */
async function expectSwept(): Promise<void> {
  await eventually(() => filesOfBuffers().length === 0, PROMPT_MS);
}

/** Runs a test with files that have to be there afterwards, as they were, and takes them away. */
async function withFiles(paths: string[], work: () => void | Promise<void>): Promise<void> {
  try {
    const before = paths.map((path) => ({ path, inode: lstatSync(path).ino, content: readFileSync(path) }));
    await work();
    for (const { path, inode, content } of before) {
      expect({ path, exists: existsSync(path) }).toEqual({ path, exists: true });
      expect(lstatSync(path).ino).toBe(inode);
      expect(Buffer.compare(readFileSync(path), content)).toBe(0);
    }
  } finally {
    for (const path of paths) rmSync(path, { force: true });
  }
}

describe("the buffer of a reader that was killed", () => {
  test("is replaced by the next reader of the name, at once and with nothing of its content", async () => {
    const name = uniqueName();
    await leaveStaleBuffer(name);
    const start = performance.now();
    using reader = new Reader(name, { metadataSize: 0, payloadSize: 4096 });
    expect(performance.now() - start).toBeLessThan(PROMPT_MS);
    expect(reader.tryReadFrame().isValid).toBe(false);
    using writer = new Writer(name);
    writer.writeFrame(new Uint8Array([7]));
    using frame = reader.readFrame(WAIT_LIMIT_MS);
    expect([frame.sequence, ...frame.data]).toEqual([1, 7]);
  });

  test("is swept by a reader of any other name, together with the buffers of others that were killed", async () => {
    const names = [uniqueName(), uniqueName(), uniqueName()];
    // Killed together: each one that starts would sweep what the one before has left.
    await using stack = new AsyncDisposableStack();
    const readers: Child[] = [];
    for (const name of names) readers.push(stack.use(await startNeglectfulReader(name)));
    for (const reader of readers) await kill(reader);
    const start = performance.now();
    sweep();
    expect(performance.now() - start).toBeLessThan(PROMPT_MS);
    await expectSwept();
  });

  test("stays as long as its writer lives, for that one to find its reader dead", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, small);
    await using writer = await startWriter(name, stream);
    await kill(reader);
    sweep();
    expect(filesOfBuffers()).toEqual(objectsOf(name));
    await writer.send({ do: "write", frames: 1e9 }).receive("writing");
    expect((await writer.receive("wrote")).error).toMatchObject({ code: "READER_DEAD", reason: "died" });
    await endAll(writer);
    sweep();
    await expectSwept();
  });

  test.each([
    ["its shared memory is", memoryOf],
    ["one of its semaphores is", (name: string) => `/dev/shm/sem.sem-w-${name}`],
    ["its lock file is", lockOf],
  ])("is no obstacle to the next reader of the name when %s missing", async (_, path) => {
    const name = uniqueName();
    await leaveStaleBuffer(name, () => unlinkSync(path(name)));
    using reader = new Reader(name, { metadataSize: 0, payloadSize: 4096 });
    using writer = new Writer(name);
    writer.writeFrame(new Uint8Array([7]));
    using frame = reader.readFrame(WAIT_LIMIT_MS);
    expect(frame.sequence).toBe(1);
  });
});

describe("a lock file that nobody holds", () => {
  test("does not make a sweep remove a live buffer, nor let a second reader have it", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, small);
    await using writer = await startWriter(name, stream);
    const [mainLock = "", foreignLock = ""] = [lockOf(name), `/tmp/zerobuffer/locks/${name}.lock`];
    for (const lock of [mainLock, foreignLock]) {
      unlinkSync(lock);
      writeFileSync(lock, "");
    }
    sweep();
    expect(filesOfBuffers()).toEqual(objectsOf(name));
    expect(thrownBy(() => new Reader(name).close())).toMatchObject({ code: "READER_ALREADY_CONNECTED" });
    await reader.send({ do: "read", frames: 1000 }).receive("reading");
    await writer.send({ do: "write", frames: 1000 }).receive("writing");
    expect(await reader.receive("read")).toMatchObject({ frames: 1000, sequence: 1000, wrong: [] });
    await writer.receive("wrote");
    await endAll(writer, reader);
    sweep();
  });

  const image = () => {
    using reader = new Reader(uniqueName(), { metadataSize: 0, payloadSize: 64 });
    return readFileSync(memoryOf(reader.name));
  };
  const changed = (offset: number, byte: number) => {
    const bytes = image();
    bytes[offset] = byte;
    return bytes;
  };

  test.each([
    ["a few bytes", () => Buffer.from("a note of mine")],
    ["a text", () => Buffer.from("Something else than a buffer. ".repeat(100))],
    ["a buffer of another version", () => changed(4, 2)],
    ["a control block of another size", () => changed(0, 64)],
  ])("does not make a file of /dev/shm with %s ours to remove", async (_, content) => {
    const name = uniqueName();
    writeFileSync(memoryOf(name), content());
    writeFileSync(lockOf(name), "");
    await withFiles([memoryOf(name)], () => {
      sweep();
      expect(thrownBy(() => new Reader(name).close())).toMatchObject({ code: "CORRUPT_BUFFER" });
      expect(thrownBy(() => new Writer(name).close())).toBeInstanceOf(ZeroBufferError);
    });
    rmSync(lockOf(name), { force: true });
  });
});

describe("a link in the place", () => {
  const withVictim = async (work: (victim: string) => Promise<void>) => {
    // A file has two names only within one file system.
    const victim = `${lockOf(uniqueName())}.victim`;
    try {
      await work(victim);
    } finally {
      rmSync(victim, { force: true });
    }
  };

  /** A stale buffer, which a sweep would remove if it were not for the link. */
  const staleImage = async () => {
    const name = uniqueName();
    let bytes = new Uint8Array(0);
    await leaveStaleBuffer(name, () => {
      bytes = readFileSync(memoryOf(name));
    });
    sweep();
    return bytes;
  };

  test("of shared memory is not followed, neither by a sweep nor by a reader or a writer of its name", () =>
    withVictim(async (victim) => {
      const name = uniqueName();
      writeFileSync(victim, await staleImage());
      symlinkSync(victim, memoryOf(name));
      writeFileSync(lockOf(name), "");
      await withFiles([victim, memoryOf(name)], () => {
        sweep();
        expect(thrownBy(() => new Reader(name).close())).toMatchObject({ code: "CORRUPT_BUFFER" });
        expect(thrownBy(() => new Writer(name).close())).toMatchObject({ code: "CORRUPT_BUFFER" });
        expect(lstatSync(memoryOf(name)).isSymbolicLink()).toBe(true);
      });
      rmSync(lockOf(name), { force: true });
    }));

  test.each([
    ["symbolic", symlinkSync],
    ["hard", linkSync],
  ])("of a lock file (%s) is not followed: the buffer stays, and nobody becomes its reader", (_, link) =>
    withVictim(async (victim) => {
      const name = uniqueName();
      writeFileSync(victim, "a file of somebody else");
      await leaveStaleBuffer(name, () => {
        unlinkSync(lockOf(name));
        link(victim, lockOf(name));
      });
      await withFiles([victim, lockOf(name), memoryOf(name)], () => {
        sweep();
        expect(thrownBy(() => new Reader(name).close())).toBeInstanceOf(ZeroBufferError);
      });
      for (const path of objectsOf(name)) rmSync(path, { force: true });
    }),
  );

  test("of a semaphore is not followed by a writer, and replaced by a reader", () =>
    withVictim(async (victim) => {
      const name = uniqueName();
      const semaphore = `/dev/shm/sem.sem-w-${name}`;
      writeFileSync(victim, Buffer.alloc(32));
      await withFiles([victim], () => {
        symlinkSync(victim, semaphore);
        using reader = new Reader(name, { metadataSize: 0, payloadSize: 64 });
        expect(lstatSync(semaphore).isFile()).toBe(true);
        unlinkSync(semaphore);
        symlinkSync(victim, semaphore);
        expect(thrownBy(() => new Writer(name).close())).toMatchObject({ code: "CORRUPT_BUFFER" });
        expect(reader.tryReadFrame().isValid).toBe(false);
      });
      rmSync(semaphore, { force: true });
    }));
});
