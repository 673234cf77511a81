// The reader of a target and the memory that it maps to read its frames.

import { describe, expect, spyOn, test } from "bun:test";
import { closeSync, openSync, truncateSync } from "node:fs";
import { Reader, SharedWriter, Writer } from "../../../../src/core/index.ts";
import { Code } from "../../../../src/native/codes.ts";
import { Role, SharedMemory } from "../../../../src/native/memory.ts";
import { RingTarget } from "../../../../src/native/target.ts";
import { bytesOf, fieldOf, rejectionOf, setField, thrownBy, uniqueName } from "../../../support/buffers.ts";
import { fileOf, mappingsOf } from "../../native/mappings.ts";
import { Field, Rings, SIZE, SOURCE, TARGET } from "./rings.ts";

const allowed = { allowPayloadSharing: true };
const shm = (name: string) => `/dev/shm/${name}`;

/** A reader that has been asked to share, and has not answered. */
class Asked implements Disposable {
  readonly rings = new Rings(0);
  readonly reader = new Reader(uniqueName(), TARGET, allowed);
  readonly writer = new SharedWriter(this.reader.name, this.rings.source);

  /** Lets it answer, and expects that it refuses and gets a copy. */
  expectRefusal(reason: RegExp): void {
    using frame = this.rings.read(bytesOf(1, SIZE));
    this.reader.tryReadFrame();
    expect([this.writer.sharing, this.writer.forwardFrame(frame)]).toEqual(["refused", "copied"]);
    expect(this.reader.sharingRefusal).toMatch(reason);
    using copy = this.reader.readFrame(0);
    expect([copy.isShared, Buffer.compare(copy.data, bytesOf(1, SIZE))]).toEqual([false, 0]);
  }

  [Symbol.dispose](): void {
    this.writer.close();
    this.reader.close();
    this.rings[Symbol.dispose]();
  }
}

describe("a source", () => {
  test("is mapped before the answer", () => {
    using asked = new Asked();
    const answers: unknown[] = [];
    const { map } = SharedMemory.prototype;
    const mapping = spyOn(SharedMemory.prototype, "map").mockImplementation(function (this: SharedMemory) {
      answers.push(fieldOf(asked.reader.name, Field.ANSWER));
      return map.call(this);
    });
    try {
      asked.reader.tryReadFrame();
    } finally {
      mapping.mockRestore();
    }
    expect([answers, asked.writer.sharing]).toEqual([[0n], "active"]);
  });

  test("that cannot be mapped is refused", () => {
    using asked = new Asked();
    const mapping = spyOn(SharedMemory.prototype, "map").mockReturnValueOnce(Code.NO_MEMORY);
    try {
      asked.expectRefusal(/memory/);
    } finally {
      mapping.mockRestore();
    }
    expect(fieldOf(asked.reader.name, Field.ANSWER)).not.toBe(0n);
    asked.writer.close();
    expect(thrownBy(() => asked.reader.tryReadFrame())).toMatchObject({ code: "WRITER_DEAD" });
    expect(fieldOf(asked.reader.name, Field.ANSWER)).toBe(0n);
  });

  test.each(["../shm/", "./", "/"])("whose name begins with %s is refused, whatever it means", (path) => {
    const { attach } = RingTarget.prototype;
    const attaching = spyOn(RingTarget.prototype, "attach").mockImplementation(function (
      this: RingTarget,
      id,
      name,
    ) {
      return attach.call(this, id, `${path}${name}`);
    });
    using asked = new Asked();
    attaching.mockRestore();
    asked.expectRefusal(/name is invalid/);
  });

  test.each([
    ["has not been completed", 0, 1n << 32n],
    ["has another version", 0, 128n | (2n << 32n)],
    ["claims more metadata than it has memory", 8, 1n << 40n],
    ["claims a larger ring than it has memory", 32, 1n << 40n],
    ["claims a ring without room for a frame", 32, 16n],
    ["has its writer beyond the ring", 48, 1n << 40n],
    ["has its reader beyond the ring", 56, 1n << 40n],
  ])("that %s is refused", (_what, offset, value) => {
    using asked = new Asked();
    const { name } = asked.rings.source;
    using frame = asked.rings.read(bytesOf(1, SIZE));
    const before = fieldOf(name, offset) as bigint;
    setField(name, offset, value);
    asked.reader.tryReadFrame();
    setField(name, offset, before);
    expect([asked.writer.sharing, asked.writer.forwardFrame(frame)]).toEqual(["refused", "copied"]);
  });

  test("is unmapped before its target's reader gives its place up", () => {
    using rings = new Rings();
    rings.pass(bytesOf(1, SIZE));
    using frame = rings.target.readFrame(0);
    const file = fileOf(rings.source.name);
    const before = mappingsOf(file);
    const after: number[] = [];
    const { claim } = SharedMemory.prototype;
    const claiming = spyOn(SharedMemory.prototype, "claim").mockImplementation(function (
      this: SharedMemory,
      role,
      expected,
      pid,
    ) {
      if (role === Role.READER && pid === 0) after.push(mappingsOf(file));
      return claim.call(this, role, expected, pid);
    });
    try {
      rings.target.close();
    } finally {
      claiming.mockRestore();
    }
    expect(after).toEqual([before - 1]);
    expect(thrownBy(() => frame.data)).toMatchObject({ code: "CLOSED" });
  });
});

/**
 * Gives a source a writer that nothing shows but that somebody has its memory open, as one of version 1 in another container.
 * The source has no other writer.
 */
function inferredWriter(source: string): Disposable {
  let descriptor: number | undefined = openSync(shm(source), "r");
  // A process that is there and has nothing to do with it.
  setField(source, Field.WRITER_PID, 1n);
  return {
    [Symbol.dispose]: () => {
      if (descriptor !== undefined) closeSync(descriptor);
      descriptor = undefined;
    },
  };
}

/** A forwarder without a writer, and `frames` frames that it holds. */
function withoutWriter(frames: number) {
  const rings = new Rings();
  for (let i = 1; i <= frames; i++) rings.writer.writeFrame(bytesOf(i, SIZE));
  const held = Array.from({ length: frames }, () => rings.source.readFrame(0));
  rings.writer.close();
  expect(thrownBy(() => rings.source.readFrame(0))).toMatchObject({ code: "WRITER_DEAD", reason: "left" });
  return { rings, held, forward: (i: number) => rings.forwarder.forwardFrame(held[i]!) };
}

describe("a forwarder that meets a writer whose death only the question who has the memory open would show", () => {
  test("copies from then on, and its target unmaps the source with the last frame of it", () => {
    const { rings, held, forward } = withoutWriter(3);
    using _ = rings;
    const file = fileOf(rings.source.name);
    const own = mappingsOf(file) - 1;
    expect(forward(0)).toBe("shared");
    const first = rings.target.readFrame(0);
    using writer = inferredWriter(rings.source.name);
    expect(rings.source.readFrame(0).isValid).toBe(false);
    expect([rings.forwarder.sharing, forward(1)]).toEqual(["off", "copied"]);
    using second = rings.target.readFrame(0);
    expect([second.isShared, fieldOf(rings.target.name, Field.ANSWER)]).toEqual([false, 0n]);
    expect(Buffer.compare(second.data, bytesOf(2, SIZE))).toBe(0);
    expect([first.isShared, Buffer.compare(first.data, bytesOf(1, SIZE))]).toEqual([true, 0]);
    expect(mappingsOf(file) - own).toBe(1);
    first.release();
    expect(mappingsOf(file) - own).toBe(0);
    // Now its death can be seen. After that it asks again.
    writer[Symbol.dispose]();
    expect(thrownBy(() => rings.source.readFrame(0))).toMatchObject({ code: "WRITER_DEAD", reason: "died" });
    expect(rings.source.readFrame(0).isValid).toBe(false);
    expect(rings.forwarder.sharing).toBe("requested");
    rings.target.tryReadFrame();
    expect(forward(2)).toBe("shared");
    for (const frame of held) frame.release();
    using third = rings.target.readFrame(0);
    expect([third.isShared, Buffer.compare(third.data, bytesOf(3, SIZE))]).toEqual([true, 0]);
  });

  test("copies also if its target has no room to be told", () => {
    const { rings, held, forward } = withoutWriter(1);
    using _ = rings;
    for (const size of [1000, 1]) while (rings.forwarder.tryWriteFrame(bytesOf(1, size))) {}
    using __ = inferredWriter(rings.source.name);
    expect(rings.source.readFrame(0).isValid).toBe(false);
    rings.target.readFrames(9, 0).release();
    expect(forward(0)).toBe("copied");
    held[0]!.release();
  });

  test("does not ask to share", () => {
    using rings = new Rings(0);
    rings.writer.close();
    expect(thrownBy(() => rings.source.readFrame(0))).toMatchObject({ code: "WRITER_DEAD" });
    using __ = inferredWriter(rings.source.name);
    using reader = new Reader(uniqueName(), TARGET, allowed);
    using writer = new SharedWriter(reader.name, rings.source);
    expect(writer.sharing).toBe("off");
  });
});

describe("a source that somebody truncates", () => {
  const corrupt = (name: string) => ({
    code: "CORRUPT_BUFFER",
    buffer: name,
    message: expect.stringContaining(name),
  });

  test.each([0, SIZE])("to %d bytes is named by the next call, and kills nobody", async (size) => {
    using rings = new Rings(2);
    const { name } = rings.source;
    const other = rings.targets[1]!.reader;
    rings.pass(bytesOf(1, SIZE));
    const frame = rings.target.readFrame(0);
    rings.pass(bytesOf(2, SIZE));
    truncateSync(shm(name), size);
    expect(frame.data.at(-1)).toBe(0);
    for (let i = 0; i < 2; i++) {
      expect(thrownBy(() => rings.target.readFrame(0))).toMatchObject(corrupt(name));
      expect(await rejectionOf(rings.target.readFrameAsync(0))).toMatchObject(corrupt(name));
    }
    frame.release();
    // One that has touched none of it finds out with its first frame.
    using late = other.readFrame(0);
    expect(late.toArray().at(-1)).toBe(0);
    late.release();
    using unread = other.tryReadFrame();
    expect(unread.isValid).toBe(true);
  });

  test("while frames of it are held although it was replaced is named by the next call, too", () => {
    const { rings, held, forward } = withoutWriter(1);
    using _ = rings;
    const { name } = rings.source;
    forward(0);
    const frame = rings.target.readFrame(0);
    using writer = inferredWriter(name);
    rings.source.readFrame(0);
    expect(rings.target.readFrame(0).isValid).toBe(false);
    writer[Symbol.dispose]();
    truncateSync(shm(name), 0);
    expect(frame.data.at(-1)).toBe(0);
    for (let i = 0; i < 2; i++) {
      expect(thrownBy(() => rings.target.readFrame(0))).toMatchObject(corrupt(name));
      frame.release();
    }
    held[0]!.release();
  });
});

describe("a source that is removed and made anew under its name", () => {
  test("stays as it was for the target that reads it, until the new one is attached", () => {
    using rings = new Rings();
    const { name } = rings.source;
    const file = fileOf(name);
    rings.pass(bytesOf(1, SIZE));
    rings.pass(bytesOf(2, SIZE));
    const frame = rings.target.readFrame(0);
    rings.writer.close();
    rings.source.close();
    using again = new Reader(name, SOURCE, allowed);
    using writer = new Writer(name);
    writer.writeFrame(bytesOf(9, SIZE));
    expect(Buffer.compare(frame.data, bytesOf(1, SIZE))).toBe(0);
    using second = rings.target.readFrame(0);
    expect(Buffer.compare(second.data, bytesOf(2, SIZE))).toBe(0);
    frame.release();
    second.release();
    expect(thrownBy(() => rings.target.readFrame(0))).toMatchObject({ code: "WRITER_DEAD" });
    expect(mappingsOf(file)).toBe(0);
    using forwarder = new SharedWriter(rings.target.name, again);
    rings.target.tryReadFrame();
    using ninth = again.readFrame(0);
    expect(forwarder.forwardFrame(ninth)).toBe("shared");
    using third = rings.target.readFrame(0);
    expect([third.isShared, Buffer.compare(third.data, bytesOf(9, SIZE))]).toEqual([true, 0]);
  });
});
