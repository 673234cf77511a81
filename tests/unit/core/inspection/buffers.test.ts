// What is seen of a buffer from outside, of every image of another implementation and of memory that cannot be right.

import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, openSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cleanBuffer } from "../../../../src/core/buffer/stale.ts";
import { Reader, Writer } from "../../../../src/core/index.ts";
import { inspectBuffer, listBuffers } from "../../../../src/core/inspection/buffers.ts";
import { Role } from "../../../../src/native/memory.ts";
import { Semaphore } from "../../../../src/native/semaphore.ts";
import images from "../../../golden/images.json";
import { eventually, thrownBy, uniqueName } from "../../../support/buffers.ts";

const WRITER_PID_OFFSET = 80;
const READER_PID_OFFSET = 88;

type Bytes = Buffer<ArrayBuffer>;

const shm = (name: string) => `/dev/shm/${name}`;
const lockOf = (name: string) => `/tmp/zerobuffer/${name}.lock`;
const readImage = (name: string) => readFileSync(join(import.meta.dir, "..", "..", "..", "golden", name));

/** A process id that no process has: that of a child that has been waited for. */
const deadPid = BigInt(Bun.spawnSync(["true"]).pid);

const planted: string[] = [];
afterEach(() => {
  for (const path of planted.splice(0)) rmSync(path, { force: true });
});
beforeAll(() => {
  // Makes the lock directories.
  new Reader(uniqueName(), { metadataSize: 0, payloadSize: 64 }).close();
});

function plant(path: string, content: Uint8Array | string): void {
  planted.push(path);
  writeFileSync(path, content);
}

/** Puts bytes where the shared memory of a buffer is. */
function plantMemory(bytes: Uint8Array | string): string {
  const name = uniqueName();
  plant(shm(name), bytes);
  return name;
}

/** An image whose processes are dead, with `change` made to it. */
function deadImage(change: (bytes: Bytes) => void = () => {}, image = "04-three-frames.bin"): Bytes {
  const bytes = readImage(image);
  bytes.writeBigUInt64LE(deadPid, WRITER_PID_OFFSET);
  bytes.writeBigUInt64LE(deadPid, READER_PID_OFFSET);
  change(bytes);
  return bytes;
}

function lookAt(name: string) {
  const view = inspectBuffer(name);
  return view?.snapshot();
}

describe("an image of another implementation", () => {
  for (const { image, after, oieb, semaphores } of images) {
    test(`${image} is shown as it is: ${after}`, () => {
      const bytes = readImage(image);
      const name = plantMemory(bytes);
      for (const [role, count] of [
        [Role.WRITER, semaphores.written],
        [Role.READER, semaphores.released],
      ] as const) {
        const semaphore = Semaphore.create(name, role, undefined) as Semaphore;
        semaphore.post(count);
        semaphore.close();
        planted.push(shm(`sem.sem-${role === Role.WRITER ? "w" : "r"}-${name}`));
      }
      const view = inspectBuffer(name);
      expect(view?.snapshot()).toMatchObject({
        name,
        fault: null,
        size: bytes.length,
        oieb: { ...oieb, writerPid: BigInt(oieb.writerPid), readerPid: BigInt(oieb.readerPid), flags: 0n },
      });
      expect(view?.semaphores()).toEqual(semaphores);
      expect(view?.framesWritten()).toBe(oieb.payloadWrittenCount);
      const size = oieb.metadataWrittenBytes - 8;
      if (size < 0) expect(view?.metadata()).toBeNull();
      else expect(view?.metadata()).toMatchObject({ size, encoding: "text", isTruncated: false });
      expect(readFileSync(shm(name))).toEqual(bytes);
    });
  }

  test("is stale when its processes are dead, and found without a lock or a semaphore", () => {
    const name = plantMemory(deadImage());
    expect(listBuffers()).toContain(name);
    const pid = Number(deadPid);
    expect(lookAt(name)).toMatchObject({
      state: "stale",
      writer: { pid, alive: false, command: null },
      reader: { pid, alive: false, command: null },
    });
  });
});

describe("an OIEB that cannot be right", () => {
  const HUGE = 2n ** 64n - 1n;

  test.each([
    ["a size of 64", (bytes: Bytes) => bytes.writeUInt32LE(64, 0)],
    ["no size and frames written", (bytes: Bytes) => bytes.writeUInt32LE(0, 0)],
    ["another version", (bytes: Bytes) => bytes.writeUInt8(2, 4)],
  ])("with %s is no buffer's: it is shown, and not removed", (_, change) => {
    const name = plantCorrupt(change);
    const bytes = readFileSync(shm(name));
    expect(cleanBuffer(name)).toMatchObject({
      paths: [],
      obstacle: { code: "CORRUPT_BUFFER" },
    });
    expect(readFileSync(shm(name))).toEqual(bytes);
    expect(statSync(lockOf(name)).isFile()).toBe(true);
  });

  test.each([
    ["a ring larger than the file", (bytes: Bytes) => bytes.writeBigUInt64LE(HUGE, 32)],
    ["a ring without room for a frame", (bytes: Bytes) => bytes.writeBigUInt64LE(16n, 32)],
    ["metadata larger than the file", (bytes: Bytes) => bytes.writeBigUInt64LE(2n ** 63n, 8)],
    ["more free than there is", (bytes: Bytes) => bytes.writeBigUInt64LE(4033n, 40)],
    ["a write position past the end", (bytes: Bytes) => bytes.writeBigUInt64LE(4033n, 48)],
    ["a read position past the end", (bytes: Bytes) => bytes.writeBigUInt64LE(HUGE, 56)],
  ])("with %s is corrupt: it is shown, and removed unless somebody has it open", (_, change) => {
    const name = plantCorrupt(change);
    const descriptor = openSync(shm(name), "r");
    expect(cleanBuffer(name)).toMatchObject({ paths: [], obstacle: { code: "CORRUPT_BUFFER" } });
    expect(statSync(shm(name)).isFile()).toBe(true);
    closeSync(descriptor);
    expect(cleanBuffer(name)).toMatchObject({ paths: [shm(name), lockOf(name)], obstacle: undefined });
  });

  /** A buffer of dead processes whose control block is not right, with its lock file. */
  function plantCorrupt(change: (bytes: Bytes) => void): string {
    const name = plantMemory(deadImage(change));
    plant(lockOf(name), "");
    expect(listBuffers()).toContain(name);
    const view = inspectBuffer(name);
    expect(view?.snapshot()).toMatchObject({ state: "corrupt", fault: expect.any(String) });
    expect(view?.metadata()).toBeNull();
    return name;
  }

  test.each([0n, 1n << 22n, 1n << 32n, HUGE])("and the pid %p is no process", (pid) => {
    const name = plantMemory(
      deadImage((bytes) => {
        bytes.writeBigUInt64LE(pid, WRITER_PID_OFFSET);
        bytes.writeBigUInt64LE(pid, READER_PID_OFFSET);
      }),
    );
    expect(lookAt(name)).toMatchObject({ state: "stale" });
  });

  test.each(["this", "another"])("and %s process, which has it not open, is not the peer", async (which) => {
    const child = Bun.spawn(["cat"], { stdin: "pipe" });
    const pid = BigInt(which === "this" ? process.pid : child.pid);
    const name = plantMemory(
      deadImage((bytes) => {
        bytes.writeBigUInt64LE(pid, WRITER_PID_OFFSET);
        bytes.writeBigUInt64LE(pid, READER_PID_OFFSET);
      }),
    );
    expect(lookAt(name)?.state).toBe("stale");
    await child.stdin.end();
    await child.exited;
  });

  test.each([7, 57, 2 ** 40])("and a metadata length of %p is not believed", (length) => {
    const name = plantMemory(deadImage((bytes) => bytes.writeBigUInt64LE(BigInt(length), 128)));
    const view = inspectBuffer(name);
    expect(view?.metadata()).toBeNull();
  });
});

test("metadata that would reach into the ring is not believed", () => {
  const change = (bytes: Bytes) => {
    bytes.writeBigUInt64LE(2000n, 24);
    bytes.writeBigUInt64LE(1992n, 128);
  };
  const view = inspectBuffer(plantMemory(deadImage(change)));
  expect(view?.metadata()).toBeNull();
});

describe("the state", () => {
  test("follows the processes from making to closing", () => {
    const name = uniqueName();
    expect(lookAt(name)).toBeUndefined();
    const reader = new Reader(name, { metadataSize: 64, payloadSize: 4096 });
    expect(lookAt(name)).toMatchObject({
      state: "idle",
      reader: { pid: process.pid, alive: true },
      writer: null,
    });
    const writer = new Writer(name);
    expect(lookAt(name)).toMatchObject({ state: "live", writer: { pid: process.pid, alive: true } });
    writer.close();
    expect(lookAt(name)?.state).toBe("idle");
    reader.close();
    expect(lookAt(name)).toBeUndefined();
  });

  test("of a buffer that waits for a reader is orphan", () => {
    const name = uniqueName();
    using _writer = new Writer(name, { create: { payloadSize: 4096 } });
    expect(lookAt(name)).toMatchObject({ state: "orphan", reader: null });
    using _reader = new Reader(name);
    expect(lookAt(name)?.state).toBe("live");
  });

  test("of a lock that nobody holds, without memory, is stale", () => {
    const name = uniqueName();
    plant(lockOf(name), "");
    expect(listBuffers()).toContain(name);
    expect(lookAt(name)).toMatchObject({ state: "stale", size: null, oieb: null });
  });
});

describe("the metadata", () => {
  const previewOf = (metadata: Uint8Array) => {
    using reader = new Reader(uniqueName(), { metadataSize: 4096, payloadSize: 4096 });
    using writer = new Writer(reader.name);
    writer.setMetadata(metadata);
    const view = inspectBuffer(reader.name);
    return view?.metadata();
  };

  test("is shown as text if all of it can be printed", () => {
    const text = '{"width": 1920,\n\t"unit": "µm"}';
    expect(previewOf(Buffer.from(text))).toEqual({
      size: Buffer.byteLength(text),
      preview: text,
      encoding: "text",
      isTruncated: false,
    });
  });

  test.each([
    ["no UTF-8", Buffer.from([0x61, 0xff]), "61ff"],
    ["an escape sequence", Buffer.from("\x1b[2J"), "1b5b324a"],
    ["text that changes its direction", Buffer.from("a\u202e"), "61e280ae"],
  ])("is shown in hexadecimal if it holds %s", (_, metadata, preview) => {
    expect(previewOf(metadata)).toMatchObject({ encoding: "hex", preview });
  });

  test("is cut after 256 bytes, not within a character", () => {
    const text = `x${"é".repeat(200)}`;
    expect(previewOf(Buffer.from(text))).toEqual({
      size: 401,
      preview: `x${"é".repeat(127)}`,
      encoding: "text",
      isTruncated: true,
    });
  });
});

describe("files that are no buffers", () => {
  test.each([
    ["text", Buffer.from("Something else than a buffer. ".repeat(100))],
    ["zeros", Buffer.alloc(4096)],
    ["a few bytes", Buffer.from("a note")],
    ["nothing", Buffer.alloc(0)],
  ])("are not listed, and not removed by their name: %s", (_, bytes) => {
    const name = plantMemory(bytes);
    expect(listBuffers()).not.toContain(name);
    expect(cleanBuffer(name).obstacle).toMatchObject({ code: "CORRUPT_BUFFER" });
    expect(readFileSync(shm(name))).toEqual(bytes);
  });

  test("are not followed where they are links", () => {
    const target = plantMemory(deadImage());
    const name = uniqueName();
    symlinkSync(shm(target), shm(name));
    planted.push(shm(name));
    expect(listBuffers()).not.toContain(name);
    expect(lookAt(name)).toMatchObject({ state: "corrupt", oieb: null });
    expect(cleanBuffer(name).obstacle).toMatchObject({ code: "CORRUPT_BUFFER" });
    expect(statSync(shm(name)).isFile()).toBe(true);
  });

  test("are not opened where they are FIFOs: who waits there is not woken", async () => {
    const name = uniqueName();
    planted.push(shm(name));
    Bun.spawnSync(["mkfifo", shm(name)]);
    const writer = Bun.spawn(["sh", "-c", 'echo here > "$1"', "sh", shm(name)]);
    await eventually(() => / S /.test(readFileSync(`/proc/${writer.pid}/stat`, "utf8")));
    expect(lookAt(name)?.state).toBe("corrupt");
    expect(listBuffers()).not.toContain(name);
    const { stdout } = Bun.spawnSync(["timeout", "10", "cat", shm(name)]);
    expect(stdout.toString()).toBe("here\n");
    await writer.exited;
  });

  test("have names that no buffer can have", () => {
    expect(thrownBy(() => inspectBuffer("../shm"))).toMatchObject({ code: "INVALID_NAME" });
    plant(shm(`sem.${uniqueName()}`), deadImage());
    plant(shm(`.${uniqueName()}`), deadImage());
    expect(listBuffers().filter((name) => !/^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(name))).toEqual([]);
  });

  test("include those of which only semaphores are left", () => {
    const name = uniqueName();
    plant(shm(`sem.sem-w-${name}`), Buffer.alloc(32));
    expect(listBuffers()).toContain(name);
    expect(inspectBuffer(name)?.snapshot()).toMatchObject({ state: "stale", size: null });
    expect(cleanBuffer(name, { dryRun: true }).paths).toEqual([shm(`sem.sem-w-${name}`)]);
    expect(cleanBuffer(name).paths).toEqual([shm(`sem.sem-w-${name}`)]);
    expect(listBuffers()).not.toContain(name);
    expect(inspectBuffer(name)).toBeUndefined();
  });
});
