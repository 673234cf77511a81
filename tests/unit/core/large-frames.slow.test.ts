// A frame of more than 2 GiB beyond the first 4 GiB of its ring is read and copied. Needs 6 GiB of memory; with less, the
// same is done with a frame of 8 MiB.

import { expect, setDefaultTimeout, test } from "bun:test";
import { closeSync, openSync, statfsSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { freemem } from "node:os";
import { OiebWord } from "../../../src/core/buffer/oieb.ts";
import { Reader } from "../../../src/core/index.ts";
import { OiebFlag, Role, SharedMemory } from "../../../src/native/memory.ts";
import { Semaphore } from "../../../src/native/semaphore.ts";
import { uniqueName } from "../../support/buffers.ts";

setDefaultTimeout(300_000);

const GIB = 2 ** 30;
const NEEDED = 6 * GIB;
const { bavail, bsize } = statfsSync("/dev/shm");
const hasRoom = bavail * bsize >= NEEDED && freemem() >= NEEDED;
const size = hasRoom ? 2 * GIB + 17 : 8 * 2 ** 20;
if (!hasRoom) console.error("There is too little memory for frames of 2 GiB: they have 8 MiB here.");

const M = 64;
const P = 7 * GIB;
const POSITION = 4 * GIB + 1000;

test("a frame of more than 2 GiB beyond 4 GiB is read, viewed and copied, alone and in a batch", () => {
  const name = uniqueName();
  const path = `/dev/shm/${name}`;
  // A writer's buffer, of which a reader would make every page.
  writeFileSync(path, "");
  truncateSync(path, 128 + M + P);
  const memory = SharedMemory.open(name) as SharedMemory;
  memory.fillOieb(M, P, Role.WRITER, process.pid, OiebFlag.CREATED_BY_WRITER);
  memory.publishOieb();
  const released = Semaphore.create(name, Role.READER, undefined) as Semaphore;
  const written = Semaphore.create(name, Role.WRITER, undefined) as Semaphore;
  const file = openSync(path, "r+");
  const store = (offset: number, ...values: number[]) =>
    writeSync(file, BigUint64Array.from(values, BigInt), 0, 8 * values.length, offset);
  const storeByte = (offset: number, value: number) => writeSync(file, Uint8Array.of(value), 0, 1, offset);
  const start = 128 + M + POSITION;
  storeByte(start + 16, 1);
  storeByte(start + 16 + size - 1, 2);
  const write = (sequence: number) => {
    store(start, size, sequence);
    store(8 * OiebWord.payloadReadPos, POSITION);
    store(8 * OiebWord.payloadFreeBytes, P - 16 - size);
    written.post();
  };
  const expectIsFrame = (bytes: Uint8Array) =>
    expect([bytes.length, bytes[0], bytes.at(-1)]).toEqual([size, 1, 2]);

  using reader = new Reader(name);
  const target = new Uint8Array(size);
  write(1);
  const frame = reader.readFrame(1000);
  expect(frame.size).toBe(size);
  expectIsFrame(frame.data);
  frame.copyTo(target);
  expectIsFrame(target);
  frame.release();
  target.fill(0, 0, 1);
  target.fill(0, size - 1);
  write(2);
  using batch = reader.readFrames(2, 1000);
  expect([batch.length, batch.size]).toEqual([1, size]);
  expectIsFrame(batch.dataOf(0));
  batch.copyTo(target);
  expectIsFrame(target);

  closeSync(file);
  for (const object of [written, released, memory]) object.close();
});
