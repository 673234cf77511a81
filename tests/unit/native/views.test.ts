// Views of shared memory and how long it stays mapped. What may crash runs in a process of its own.

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { Reader, Writer } from "../../../src/core/index.ts";
import { Role, SharedMemory } from "../../../src/native/memory.ts";
import { bytesOf, eventually, uniqueName } from "../../support/buffers.ts";
import { Child } from "../../support/process.ts";
import { fileOf, isMapped, isUnmappedWithGarbage } from "./mappings.ts";

const PAYLOAD_SIZE = 1024 * 1024;

/** New shared memory, whose bytes are their offsets. */
function createMemory(): { memory: SharedMemory; file: number } {
  const name = uniqueName();
  const memory = SharedMemory.create(name, PAYLOAD_SIZE, undefined);
  if (typeof memory === "number") throw new Error(`code ${memory}`);
  memory.link();
  const file = fileOf(name);
  memory.unlink();
  memory.bytes(128, PAYLOAD_SIZE - 128).forEach((_, i, bytes) => {
    bytes[i] = 128 + i;
  });
  return { memory, file };
}

describe("a view", () => {
  test("is the same one at the next look at the same bytes", () => {
    const { memory } = createMemory();
    const view = memory.bytes(256, 64);
    expect(view).toEqual(new Uint8Array(64).map((_, i) => i));
    expect(memory.bytes(256, 64)).toBe(view);
    expect(memory.bytes(256, 65).length).toBe(65);
    expect(memory.bytes(257, 64)[0]).toBe(1);
    memory.close();
  });

  test("has length 0 once the memory is closed, which is unmapped at once", () => {
    const { memory, file } = createMemory();
    const view = memory.bytes(256, 64);
    expect(isMapped(file)).toBeTrue();
    memory.close();
    expect(view.length).toBe(0);
    expect(isMapped(file)).toBeFalse();
    expect(() => memory.bytes(256, 64)).toThrow("SharedMemory is closed");
  });

  test("is made again after the program has transferred its buffer", () => {
    const { memory } = createMemory();
    const view = memory.bytes(256, 64);
    structuredClone(0, { transfer: [view.buffer as ArrayBuffer] });
    expect(view.length).toBe(0);
    expect(memory.bytes(256, 64)).toEqual(new Uint8Array(64).map((_, i) => i));
    expect(memory.bytes(512, 64)).toEqual(new Uint8Array(64).map((_, i) => i));
    memory.close();
  });
});

describe("memory whose window was transferred", () => {
  test("stays mapped as long as the program has that window, and no longer", async () => {
    const { memory, file } = createMemory();
    let taken: ArrayBuffer | undefined = structuredClone(memory.bytes(256, 64).buffer as ArrayBuffer, {
      transfer: [memory.bytes(256, 64).buffer as ArrayBuffer],
    });
    memory.close();
    expect(new Uint8Array(taken as ArrayBuffer)[256]).toBe(0);
    expect(new Uint8Array(taken as ArrayBuffer)[300]).toBe(44);
    expect(isMapped(file)).toBeTrue();
    taken = undefined;
    await eventually(() => isUnmappedWithGarbage(file));
  });

  test("stays mapped as long as a Worker has it, beyond the reader's close", async () => {
    const name = uniqueName();
    const reader = new Reader(name, { payloadSize: PAYLOAD_SIZE });
    const writer = new Writer(name);
    const file = fileOf(name);
    using worker = new Holder();
    writer.writeFrame(bytesOf(1, 1000));
    writer.writeFrame(bytesOf(2, 1000));
    const { buffer: window, byteOffset: offset, length: size } = reader.readFrame().data;
    expect(await worker.ask({ window, offset, size }, window as ArrayBuffer)).toEqual(bytesOf(1, 1000));
    expect(reader.readFrame().data).toEqual(bytesOf(2, 1000));
    reader.close();
    writer.close();
    expect(await worker.ask("look")).toEqual(bytesOf(1, 1000));
    expect(isMapped(file)).toBeTrue();
    expect(await worker.ask("drop")).toBeUndefined();
    await eventually(() => isUnmappedWithGarbage(file));
  });
});

class Holder implements Disposable {
  readonly #worker = new Worker(join(import.meta.dir, "fixtures", "holder.ts"));

  /** What it answers to a message, which may give it a buffer. */
  async ask(message: unknown, ...given: ArrayBuffer[]): Promise<unknown> {
    const answer = new Promise((resolve) => {
      this.#worker.onmessage = ({ data }) => resolve(data);
    });
    this.#worker.postMessage(message, given);
    return await answer;
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}

describe("a reader that is closed while another thread works on its frame", () => {
  for (const operation of ["fs.write", "fs.promises.writeFile", "zlib.deflate", "zlib.zstdCompress"]) {
    test(`leaves ${operation} its bytes, copies nothing, and is unmapped afterwards`, async () => {
      const fixture = join(import.meta.dir, "fixtures", "pinned.ts");
      await using child = Child.program([process.execPath, fixture, uniqueName(), operation]);
      const { found, closingMiB } = await child.receive("done");
      expect(found).toBeTrue();
      expect(closingMiB).toBeLessThan(32);
      await child.receive("unmapped");
      await child.succeed();
    });
  }
});

test("a role is taken by one mapping of a process only", () => {
  const name = uniqueName();
  using reader = new Reader(name);
  const [one, other] = [SharedMemory.open(name), SharedMemory.open(name)] as [SharedMemory, SharedMemory];
  expect(one.claim(Role.WRITER, 0, process.pid)).toBeTrue();
  expect(other.claim(Role.WRITER, process.pid, 0)).toBeFalse();
  expect(other.claim(Role.WRITER, process.pid, process.pid)).toBeFalse();
  expect(reader.writerPid).toBe(BigInt(process.pid));
  expect(one.claim(Role.WRITER, process.pid, 0)).toBeTrue();
  expect(other.claim(Role.WRITER, 0, process.pid)).toBeTrue();
  one.close();
  other.close();
});
