import { beforeAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  linkSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import {
  CorruptBufferError,
  Reader,
  ReaderAlreadyConnectedError,
  ResourceExhaustedError,
  Writer,
  ZeroBufferError,
} from "../../../../src/core/index.ts";
import { LockFile } from "../../../../src/native/lock-file.ts";
import { Role, SharedMemory } from "../../../../src/native/memory.ts";
import { Semaphore } from "../../../../src/native/semaphore.ts";
import { bytesOf, thrownBy, uniqueName } from "../../../support/buffers.ts";

const SMALL = { metadataSize: 64, payloadSize: 4096 };
const shm = (name: string) => `/dev/shm/${name}`;
const lockOf = (name: string) => `/tmp/zerobuffer/${name}.lock`;

/** A process id that no process has: that of a child that has been waited for. */
const deadPid = Bun.spawnSync(["true"]).pid;

/** What a reader leaves that is killed: everything but its locks. */
function leaveRemains(readerPid: number, { writerPid = 0 } = {}): string {
  const name = uniqueName();
  const memory = SharedMemory.create(name, 128 + 64 + 4096, undefined) as SharedMemory;
  memory.fillOieb(64, 4096, Role.READER, readerPid, 0n);
  memory.link();
  for (const role of [Role.WRITER, Role.READER])
    (Semaphore.create(name, role, undefined) as Semaphore).close();
  memory.publishOieb();
  memory.claim(Role.WRITER, 0, writerPid);
  memory.close();
  writeFileSync(lockOf(name), "");
  return name;
}

function removeRemains(name: string): void {
  for (const file of [shm(name), shm(`sem.sem-w-${name}`), shm(`sem.sem-r-${name}`), lockOf(name)]) {
    rmSync(file, { force: true });
  }
}

// Makes the lock directory.
beforeAll(() => new Reader(uniqueName(), SMALL).close());

describe("what a dead reader left", () => {
  test("is replaced by the next reader of the name", () => {
    const name = leaveRemains(deadPid);
    const inode = statSync(shm(name)).ino;
    using reader = new Reader(name, SMALL);
    expect(statSync(shm(name)).ino).not.toBe(inode);
    using writer = new Writer(name);
    writer.writeFrame(bytesOf(1, 10));
    using frame = reader.readFrame(0);
    expect(frame.sequence).toBe(1);
  });

  test("is swept by a reader of any other name", () => {
    const name = leaveRemains(deadPid);
    using _reader = new Reader(uniqueName(), SMALL);
    for (const file of [shm(name), shm(`sem.sem-w-${name}`), lockOf(name)])
      expect(existsSync(file)).toBe(false);
  });

  test("includes a creation that was cut short, and semaphores alone", () => {
    const name = uniqueName();
    for (const size of [0, 4288]) {
      writeFileSync(shm(name), new Uint8Array(size));
      writeFileSync(shm(`sem.sem-w-${name}`), new Uint8Array(3));
      using _reader = new Reader(name, SMALL);
      expect(readFileSync(shm(name)).readUInt32LE(0)).toBe(128);
    }
  });

  test("stays while its lock is held, and names the holder", () => {
    const name = leaveRemains(process.pid);
    const lock = LockFile.open(lockOf(name), false) as LockFile;
    try {
      const error = thrownBy(() => new Reader(name, SMALL)) as Error;
      expect(error).toBeInstanceOf(ReaderAlreadyConnectedError);
      expect(error.message).toContain(`process ${process.pid}`);
      using _other = new Reader(uniqueName(), SMALL);
      expect(existsSync(shm(name))).toBe(true);
    } finally {
      lock.close({ remove: false });
      removeRemains(name);
    }
  });

  test("stays where a pid lives that really has it open", () => {
    const made = new Reader(uniqueName(), SMALL);
    unlinkSync(lockOf(made.name));
    writeFileSync(lockOf(made.name), "");
    using _other = new Reader(uniqueName(), SMALL);
    expect(existsSync(shm(made.name))).toBe(true);
    expect(thrownBy(() => new Reader(made.name, SMALL))).toBeInstanceOf(ReaderAlreadyConnectedError);
    made.close();
    removeRemains(made.name);
    rmSync(`/tmp/zerobuffer/locks/${made.name}.lock`, { force: true });
  });

  test("is not protected by a process that has got its pid since, not even our own", () => {
    for (const pid of [process.pid, process.ppid]) {
      const name = leaveRemains(pid, { writerPid: pid });
      using _reader = new Reader(name, SMALL);
    }
  });
});

describe("what is no buffer", () => {
  test("is neither removed for a planted lock nor replaced", () => {
    const name = uniqueName();
    const content = Buffer.alloc(4096, "important ");
    writeFileSync(shm(name), content);
    writeFileSync(lockOf(name), "");
    try {
      using _other = new Reader(uniqueName(), SMALL);
      const error = thrownBy(() => new Reader(name, SMALL)) as CorruptBufferError;
      expect(error).toBeInstanceOf(CorruptBufferError);
      expect(error.hint).toContain(shm(name));
      expect(readFileSync(shm(name))).toEqual(content);
    } finally {
      removeRemains(name);
    }
  });

  test("is not followed if it is a link", () => {
    const name = uniqueName();
    const target = `/tmp/${name}.target`;
    writeFileSync(target, "precious");
    symlinkSync(target, shm(name));
    try {
      expect(thrownBy(() => new Reader(name, SMALL))).toBeInstanceOf(CorruptBufferError);
      expect(thrownBy(() => new Writer(name))).toBeInstanceOf(CorruptBufferError);
      expect(readFileSync(target, "utf8")).toBe("precious");
    } finally {
      unlinkSync(target);
      removeRemains(name);
    }
  });

  test("is refused as a lock if it is a link or has a second name", () => {
    for (const plant of [symlinkSync, linkSync]) {
      const name = uniqueName();
      // A file has two names only within one file system.
      const target = `${lockOf(name)}.target`;
      writeFileSync(target, "precious");
      plant(target, lockOf(name));
      try {
        expect(thrownBy(() => new Reader(name, SMALL))).toBeInstanceOf(ZeroBufferError);
        expect(readFileSync(target, "utf8")).toBe("precious");
        expect(existsSync(shm(name))).toBe(false);
      } finally {
        unlinkSync(target);
        removeRemains(name);
      }
    }
  });
});

describe("a buffer that cannot be made", () => {
  test("leaves semaphores of its name as they are: only new memory with that name makes them leftovers", () => {
    const name = uniqueName();
    const semaphores = [shm(`sem.sem-w-${name}`), shm(`sem.sem-r-${name}`)];
    for (const path of semaphores) writeFileSync(path, "of somebody");
    try {
      expect(thrownBy(() => new Reader(name, { payloadSize: 2 ** 45 }))).toBeInstanceOf(
        ResourceExhaustedError,
      );
      expect(semaphores.map((path) => readFileSync(path, "utf8"))).toEqual(["of somebody", "of somebody"]);
      new Reader(name, SMALL).close();
      expect(semaphores.filter((path) => existsSync(path))).toEqual([]);
    } finally {
      removeRemains(name);
    }
  });

  test("says how much is needed and free, and leaves nothing", () => {
    const name = uniqueName();
    const error = thrownBy(() => new Reader(name, { payloadSize: 2 ** 45 })) as ResourceExhaustedError;
    expect(error).toBeInstanceOf(ResourceExhaustedError);
    expect(error.message).toMatch(/needs 35184372101248 bytes of shared memory, and \/dev\/shm has \d+ free/);
    expect(error.hint).toContain("--shm-size");
  });
});

describe("a buffer that is removed or cut under its users", () => {
  test("is reported to both, and closing removes nothing of what took its place", () => {
    const reader = new Reader(uniqueName(), SMALL);
    const writer = new Writer(reader.name, { writeTimeout: 150 });
    unlinkSync(shm(reader.name));
    writeFileSync(shm(reader.name), "another");
    writer.writeFrame(bytesOf(1, 4080));
    expect(thrownBy(() => writer.writeFrame(bytesOf(2, 10)))).toBeInstanceOf(CorruptBufferError);
    reader.readFrame(0).release();
    expect(thrownBy(() => reader.readFrame(300))).toBeInstanceOf(CorruptBufferError);
    writer.close();
    reader.close();
    expect(readFileSync(shm(reader.name), "utf8")).toBe("another");
    unlinkSync(shm(reader.name));
  });

  test("does not kill the process that writes into the hole", () => {
    using reader = new Reader(uniqueName(), SMALL);
    using writer = new Writer(reader.name);
    const slot = writer.acquireFrame(1000);
    truncateSync(shm(reader.name), 0);
    slot.data.fill(1);
    writer.cancelFrame();
    expect(thrownBy(() => writer.writeFrame(bytesOf(1, 1)))).toBeInstanceOf(CorruptBufferError);
  });
});

test("a thousand buffers come and go and leave nothing", () => {
  for (let round = 0; round < 1000; round++) {
    using reader = new Reader(uniqueName(), SMALL);
    using writer = new Writer(reader.name);
    writer.writeFrame(bytesOf(1, 10));
    reader.readFrame(0).release();
  }
});
