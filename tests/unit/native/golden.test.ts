// Memory images that another implementation wrote: each is decoded to what its manifest says, and read on from.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { decodeOieb, faultOfOieb } from "../../../src/core/buffer/oieb.ts";
import { Code } from "../../../src/native/codes.ts";
import { Role, SharedMemory } from "../../../src/native/memory.ts";
import { Look, RingReader, Wait } from "../../../src/native/ring.ts";
import { Semaphore } from "../../../src/native/semaphore.ts";
import images from "../../golden/images.json";
import { bytesOf, uniqueName } from "../../support/buffers.ts";

const readImage = (name: string) => readFileSync(join(import.meta.dir, "..", "..", "golden", name));

describe("an image of another implementation", () => {
  for (const { image, after, oieb } of images) {
    test(`${image} is decoded: ${after}`, () => {
      const bytes = readImage(image);
      const words = new BigUint64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + 128));
      const decoded = decodeOieb(words);
      expect(decoded).toEqual({
        ...oieb,
        version: oieb.version as [number, number, number, number],
        writerPid: BigInt(oieb.writerPid),
        readerPid: BigInt(oieb.readerPid),
        answer: 0n,
        releasedDescriptors: 0,
        mark: 0n,
        flags: 0n,
      });
      expect(faultOfOieb(decoded, bytes.length)).toBeUndefined();
    });
  }
});

describe("a reader placed on an image", () => {
  for (const { image, semaphores, nextSequences } of images) {
    if (nextSequences === undefined) continue;
    test(`${image} delivers frames ${nextSequences.join(", ")} and then none`, () => {
      using place = new PlacedImage(readImage(image), semaphores);
      const reader = place.readFrom(nextSequences[0] as number);
      for (const sequence of nextSequences) expect(reader()).toEqual({ sequence, matches: true });
      expect(reader()).toBeUndefined();
      const { payloadFreeBytes, payloadSize } = decodeOieb(place.memory.loadOieb());
      expect(payloadFreeBytes).toBe(payloadSize);
    });
  }

  test("refuses a frame that does not follow, and says where it is", () => {
    using place = new PlacedImage(readImage("07-wrap-marker.bin"), { written: 2, released: 2 });
    const ring = place.open(7);
    expect(ring.next(0, Look.FOR_TOKENS)).toBe(Code.BAD_SEQUENCE);
    expect(ring.fault).toEqual({ position: 2032, expected: 7, found: 3 });
  });

  test("takes sequence 1 where another was expected for a new writer's first frame", () => {
    using place = new PlacedImage(readImage("04-three-frames.bin"), { written: 3, released: 0 });
    expect(place.open(9).next(0, Look.FOR_TOKENS)).toBe(3);
  });
});

/** An image in real shared memory, with its semaphores. */
class PlacedImage {
  readonly memory: SharedMemory;
  readonly #written: Semaphore;
  readonly #released: Semaphore;
  readonly #rings: RingReader[] = [];

  constructor(image: Uint8Array, tokens: { written: number; released: number }) {
    const name = uniqueName();
    this.memory = SharedMemory.create(name, image.length, undefined) as SharedMemory;
    this.memory.bytes(0, image.length).set(image);
    this.#written = Semaphore.create(name, Role.WRITER, undefined) as Semaphore;
    this.#released = Semaphore.create(name, Role.READER, undefined) as Semaphore;
    this.#written.post(tokens.written);
    this.#released.post(tokens.released);
  }

  open(sequence: number): RingReader {
    const ring = RingReader.open(
      this.memory,
      this.#written,
      this.#released,
      sequence,
      Wait.adaptive,
    ) as RingReader;
    this.#rings.push(ring);
    return ring;
  }

  /** Returns a function that takes the next frame, checks its bytes and releases it. */
  readFrom(first: number): () => { sequence: number; matches: boolean } | undefined {
    const ring = this.open(first);
    let index = 0;
    let available = 0;
    let next = 0;
    return () => {
      if (next === available) {
        next = 0;
        available = ring.next(0, Look.FOR_TOKENS);
        if (available === Code.AGAIN) {
          available = 0;
          return undefined;
        }
      }
      const i = next++;
      const sequence = ring.sequence(i);
      const data = this.memory.bytes(ring.offset(i), ring.size(i));
      const matches = Buffer.compare(data, bytesOf(sequence, data.length)) === 0;
      ring.release(index++, 1);
      return { sequence, matches };
    };
  }

  [Symbol.dispose](): void {
    for (const ring of this.#rings) ring.close();
    for (const object of [this.memory, this.#written, this.#released]) {
      object.unlink();
      object.close();
    }
  }
}
