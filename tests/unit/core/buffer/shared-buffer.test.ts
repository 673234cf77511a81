// The objects of a buffer are closed and its locks given up whatever fails in between.

import { afterEach, describe, expect, mock, spyOn, test } from "bun:test";
import { existsSync } from "node:fs";
import { Reader, Writer } from "../../../../src/core/index.ts";
import { SharedMemory } from "../../../../src/native/memory.ts";
import { RingReader, RingWriter } from "../../../../src/native/ring.ts";
import { Semaphore } from "../../../../src/native/semaphore.ts";
import { Waiter } from "../../../../src/native/waiter.ts";
import { thrownBy, uniqueName } from "../../../support/buffers.ts";
import { fileOf, isMapped } from "../../native/mappings.ts";

afterEach(() => {
  mock.restore();
});

type Method = readonly [prototype: object, method: string];

/** Has a method throw after it has done its work. */
function failAfterwards([prototype, method]: Method): Error {
  const error = new Error(`${method} failed`);
  const original = Reflect.get(prototype, method) as (...args: unknown[]) => unknown;
  const spy = spyOn(prototype as Record<string, () => unknown>, method);
  spy.mockImplementation(function (this: unknown, ...args: unknown[]) {
    const result = original.apply(this, args);
    // A claim with a pid takes a role, which is part of no end.
    if (method === "claim" && args[2] !== 0) return result;
    throw error;
  });
  return error;
}

const methods: Readonly<Record<string, Method>> = {
  "the end of its waiter": [Waiter.prototype, "close"],
  "giving its role back": [SharedMemory.prototype, "claim"],
  "the last post": [Semaphore.prototype, "post"],
  "removing the name of a semaphore": [Semaphore.prototype, "unlink"],
  "removing the name of the memory": [SharedMemory.prototype, "unlink"],
  "closing the memory": [SharedMemory.prototype, "close"],
  "closing a semaphore": [Semaphore.prototype, "close"],
};

describe("a reader leaves nothing behind and throws the error when this fails:", () => {
  for (const [what, method] of [
    ...Object.entries(methods),
    ["the end of its ring", [RingReader.prototype, "close"]],
  ]) {
    test(what as string, async () => {
      const name = uniqueName();
      const reader = new Reader(name, { payloadSize: 65536 });
      const read = reader.readFrameAsync().catch(() => {}); // opens a waiter
      const file = fileOf(name);
      const error = failAfterwards(method as Method);
      expect(thrownBy(() => reader.close())).toBe(error);
      expect(isMapped(file)).toBeFalse();
      expect(existsSync(`/tmp/zerobuffer/${name}.lock`)).toBeFalse();
      await read;
    });
  }
});

describe("a writer that made its buffer leaves nothing behind and throws the error when this fails:", () => {
  for (const [what, method] of [
    ...Object.entries(methods),
    ["the end of its ring", [RingWriter.prototype, "close"]],
  ]) {
    test(what as string, async () => {
      const name = uniqueName();
      const writer = new Writer(name, { create: { payloadSize: 65536 } });
      const waiting = writer.isReaderConnectedAsync(60_000).catch(() => {}); // opens a waiter
      const file = fileOf(name);
      const error = failAfterwards(method as Method);
      expect(thrownBy(() => writer.close())).toBe(error);
      expect(isMapped(file)).toBeFalse();
      await waiting;
    });
  }
});
