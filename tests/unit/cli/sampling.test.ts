// What two looks at a buffer tell of the time in between.

import { expect, test } from "bun:test";
import { type Sample, Sampler } from "../../../src/cli/sampling.ts";
import { Reader, Writer } from "../../../src/core/index.ts";
import { endAll, startReader, startWriter } from "../../process/peers.ts";
import { eventually, setField, uniqueName, WAIT_LIMIT_MS } from "../../support/buffers.ts";

const WRITTEN_COUNT_OFFSET = 64;

/** A writer and a reader in this process, and what a sampler sees of their buffer at times of the test's choice. */
class Pair implements Disposable {
  readonly name = uniqueName();
  readonly reader: Reader;
  readonly writer: Writer;
  readonly #sampler = new Sampler();

  constructor(payloadSize: number) {
    this.reader = new Reader(this.name, { payloadSize });
    this.writer = new Writer(this.name);
  }

  write(size: number): void {
    this.writer.writeFrame(new Uint8Array(size));
  }

  read(): void {
    this.reader.readFrame(WAIT_LIMIT_MS).release();
  }

  pass(frames: number, size: number): void {
    for (let i = 0; i < frames; i++) {
      this.write(size);
      this.read();
    }
  }

  lookAt(seconds: number): Sample {
    const sample = this.#sampler.look(seconds * 1000).find(({ snapshot }) => snapshot.name === this.name);
    if (sample === undefined) throw new Error("not seen");
    return sample;
  }

  [Symbol.dispose](): void {
    this.writer.close();
    this.reader.close();
  }
}

test("a first look knows no rates, and a second one those since then", () => {
  using pair = new Pair(64 * 1024);
  pair.pass(5, 1000);
  const unknown = {
    framesPerSecond: null,
    bytesPerSecond: null,
    bytesSeen: 0,
    hasMoved: false,
    frameSize: 1000,
  };
  expect(pair.lookAt(10)).toMatchObject(unknown);
  pair.pass(60, 1000);
  expect(pair.lookAt(12)).toMatchObject({
    framesPerSecond: 30,
    bytesPerSecond: 30_000,
    bytesSeen: 60_000,
    hasMoved: true,
    quietSeconds: 0,
  });
});

test("a buffer without new frames keeps what it had, and grows quiet", () => {
  using pair = new Pair(64 * 1024);
  pair.lookAt(0);
  pair.pass(3, 500);
  pair.lookAt(1);
  expect(pair.lookAt(5)).toMatchObject({
    framesPerSecond: 0,
    bytesPerSecond: 0,
    bytesSeen: 1500,
    frameSize: 500,
    hasMoved: true,
    quietSeconds: 4,
  });
});

test("the markers of wraps are no frames", () => {
  // Two frames fit the ring, and the reader is always one behind: each third place is a marker.
  using pair = new Pair(2560);
  pair.write(1000);
  pair.lookAt(0);
  for (let i = 0; i < 30; i++) {
    pair.write(1000);
    pair.read();
  }
  const { framesPerSecond, bytesPerSecond, snapshot } = pair.lookAt(1);
  expect(snapshot.oieb?.payloadWrittenCount).toBe(1 + 30 + 15);
  expect([framesPerSecond, bytesPerSecond]).toEqual([30, 30_000]);
});

test("sizes are the mean of the frames since the start of the ring", () => {
  using pair = new Pair(64 * 1024);
  pair.lookAt(0);
  for (const size of [100, 200, 600]) pair.write(size);
  expect(pair.lookAt(1)).toMatchObject({ frameSize: 300, bytesPerSecond: 900 });
});

test("another buffer of the same name begins anew, however much it has", () => {
  using pair = new Pair(64 * 1024);
  pair.pass(5, 100);
  expect(pair.lookAt(0).bytesSeen).toBe(0);
  pair.pass(5, 100);
  expect(pair.lookAt(1).bytesSeen).toBe(500);
  const { createdMs } = pair.lookAt(2);
  pair.writer.close();
  pair.reader.close();
  using reader = new Reader(pair.name, { payloadSize: 4096 });
  using writer = new Writer(pair.name);
  for (let i = 0; i < 20; i++) {
    writer.writeFrame(new Uint8Array(100));
    reader.readFrame(WAIT_LIMIT_MS).release();
  }
  const sample = pair.lookAt(3);
  expect(sample).toMatchObject({
    framesPerSecond: null,
    bytesPerSecond: null,
    bytesSeen: 0,
    hasMoved: false,
  });
  expect(sample.createdMs).toBeGreaterThan(createdMs ?? 0);
  expect(sample.snapshot.oieb?.payloadWrittenCount).toBe(20);
});

test("a count that goes back makes no rate below 0", () => {
  using pair = new Pair(64 * 1024);
  pair.pass(5, 100);
  pair.lookAt(0);
  setField(pair.name, WRITTEN_COUNT_OFFSET, 1n);
  expect(pair.lookAt(1)).toMatchObject({ framesPerSecond: null, bytesSeen: 0 });
});

test("headers that a hostile writer has filled with nonsense give no sizes, and no error", () => {
  using pair = new Pair(4096);
  pair.write(100);
  const header = 128 + (pair.lookAt(0).snapshot.oieb?.metadataSize ?? 0);
  for (const size of [0n, 2n ** 64n - 1n, 5000n]) {
    setField(pair.name, header, size);
    setField(pair.name, WRITTEN_COUNT_OFFSET, 10n + (size % 7n));
    expect(new Sampler().look().find(({ snapshot }) => snapshot.name === pair.name)?.frameSize).toBeNull();
  }
  setField(pair.name, header, 100n);
  pair.read();
});

test("a buffer that is gone is seen no more", () => {
  const pair = new Pair(4096);
  const sampler = new Sampler();
  const names = () => sampler.look().map(({ snapshot }) => snapshot.name);
  expect(names()).toContain(pair.name);
  pair[Symbol.dispose]();
  expect(names()).not.toContain(pair.name);
});

test("who sleeps is seen: a reader without frames, and a writer without room", async () => {
  const name = uniqueName();
  const sampler = new Sampler();
  const waits = () => sampler.look().find(({ snapshot }) => snapshot.name === name)?.waits;
  await using reader = await startReader(name, { largest: 1000, payloadSize: 4096 });
  await using writer = await startWriter(name, { largest: 1000 });
  expect(waits()).toEqual({ writer: false, reader: false });
  await reader.send({ do: "read", frames: 1 }).receive("reading");
  await eventually(() => waits()?.reader === true);
  await writer.send({ do: "write", frames: 100 }).receive("writing");
  await eventually(() => waits()?.writer === true && waits()?.reader === false);
  await reader.send({ do: "read", frames: 99 }).receive("read");
  await endAll(writer, reader);
});
