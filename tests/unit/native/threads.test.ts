// Workers that are terminated without closing anything, and Workers that want the same role.

import { expect, test } from "bun:test";
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Reader, ReaderDeadError, Writer, WriterDeadError } from "../../../src/core/index.ts";
import { eventually, thrownBy, uniqueName } from "../../support/buffers.ts";
import { Child } from "../../support/process.ts";
import { fileOf, isUnmappedWithGarbage } from "./mappings.ts";

const fixtures = join(import.meta.dir, "fixtures");

/** Where an OIEB has the pid of its writer. */
const WRITER_PID_OFFSET = 80;

class PeerWorker implements Disposable {
  readonly #worker = new Worker(join(fixtures, "peer-worker.ts"));

  /** Tells it what to do, and returns its answer. */
  async ask(instruction: object): Promise<unknown> {
    const answer = new Promise((resolve) => {
      this.#worker.onmessage = ({ data }) => resolve(data);
    });
    this.#worker.postMessage(instruction);
    return await answer;
  }

  terminate(): void {
    this.#worker.terminate();
  }

  [Symbol.dispose](): void {
    this.terminate();
  }
}

/** Threads of Workers and of what they have opened, which has their name. */
function workerThreads(): number {
  const isWorker = (thread: string) => {
    try {
      return readFileSync(`/proc/self/task/${thread}/comm`, "utf8") === "Worker\n";
    } catch {
      return false; // it has just ended
    }
  };
  return readdirSync("/proc/self/task").filter(isWorker).length;
}

test("a reader in a terminated Worker gives its role and its lock up, and its wait ends", async () => {
  const buffer = uniqueName();
  using worker = new PeerWorker();
  expect(await worker.ask({ buffer, role: "reader" })).toBe("open");
  const writer = new Writer(buffer);
  // The wait needs one or the other, besides the thread of the Worker.
  expect(workerThreads() - 1 + urings()).toBeGreaterThan(0);
  worker.terminate();
  await eventually(() => !writer.isReaderConnected());
  expect(thrownBy(() => writer.checkReader())).toBeInstanceOf(ReaderDeadError);
  expect((thrownBy(() => writer.checkReader()) as ReaderDeadError).reason).toBe("died");
  writer.close();
  await eventually(() => workerThreads() + urings() === 0);
  const reader = new Reader(buffer);
  new Writer(buffer).close();
  reader.close();
});

/** The io_urings that this process has. */
function urings(): number {
  const isUring = (descriptor: string) => {
    try {
      return readlinkSync(`/proc/self/fd/${descriptor}`) === "anon_inode:[io_uring]";
    } catch {
      return false; // it has just been closed
    }
  };
  return readdirSync("/proc/self/fd").filter(isUring).length;
}

test("a writer in a terminated Worker gives its role up, and its memory is unmapped", async () => {
  const buffer = uniqueName();
  const reader = new Reader(buffer, { payloadSize: 65536 });
  using worker = new PeerWorker();
  expect(await worker.ask({ buffer, role: "writer" })).toBe("open");
  expect(reader.isWriterConnected()).toBeTrue();
  const file = fileOf(buffer);
  worker.terminate();
  await eventually(() => reader.writerPid === 0n);
  const error = thrownBy(() => reader.readFrame());
  expect(error).toBeInstanceOf(WriterDeadError);
  expect((error as WriterDeadError).reason).toBe("died");
  const writer = new Writer(buffer);
  writer.writeFrame(new Uint8Array(100));
  expect(reader.readFrame().size).toBe(100);
  writer.close();
  reader.close();
  expect(isUnmappedWithGarbage(file)).toBeTrue();
});

test("another process sees that a Worker of a living process has died", async () => {
  const [asReader, asWriter] = [uniqueName(), uniqueName()];
  const reader = new Reader(asWriter, { payloadSize: 65536 });
  await using writing = Child.program([
    process.execPath,
    join(fixtures, "worker-host.ts"),
    asWriter,
    "writer",
  ]);
  await using reading = Child.program([
    process.execPath,
    join(fixtures, "worker-host.ts"),
    asReader,
    "reader",
  ]);
  await writing.receive("open");
  await reading.receive("open");
  const writer = new Writer(asReader);
  expect(reader.writerPid).toBe(BigInt(writing.pid));
  await writing.write("\n").receive("terminated");
  await reading.write("\n").receive("terminated");
  expect((thrownBy(() => reader.readFrame(20_000)) as WriterDeadError).reason).toBe("died");
  await eventually(() => !writer.isReaderConnected());
  writer.close();
  reader.close();
  const next = new Reader(asReader);
  await writing.succeed();
  await reading.succeed();
  next.close();
});

test("of two Workers that connect at the same moment one becomes the writer", async () => {
  const buffer = uniqueName();
  const reader = new Reader(buffer, { payloadSize: 65536 });
  using one = new PeerWorker();
  using other = new PeerWorker();
  const descriptor = openSync(`/dev/shm/${buffer}`, "r+");
  const pid = new BigUint64Array([BigInt(process.pid)]);
  for (let round = 0; round < 20; round++) {
    // As a writer of an earlier process with this number would have left it: each contender takes it away.
    writeSync(descriptor, pid, 0, 8, WRITER_PID_OFFSET);
    const counter = new Int32Array(new SharedArrayBuffer(8));
    const instruction = { buffer, contend: { counter, at: 2 } };
    const answers = await Promise.all([one.ask(instruction), other.ask(instruction)]);
    expect(answers.filter((answer) => answer === "open").length).toBeLessThanOrEqual(1);
  }
  closeSync(descriptor);
  reader.close();
});
