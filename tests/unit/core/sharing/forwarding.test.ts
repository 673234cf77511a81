// Frames that are passed on without a copy, and what their references keep.

import { describe, expect, test } from "bun:test";
import { Reader, SharedWriter, Writer } from "../../../../src/core/index.ts";
import { bytesOf, eventually, fieldOf, setField, thrownBy, uniqueName } from "../../../support/buffers.ts";
import { Field, Rings, SIZE, SOURCE, SPACE, TARGET } from "./rings.ts";

describe("a frame that is forwarded", () => {
  test("is read in the source's memory, with its bytes and the target's own number", () => {
    using rings = new Rings();
    rings.pass(bytesOf(1, 100));
    rings.pass(bytesOf(2, SIZE));
    rings.target.readFrame(0).release();
    using frame = rings.target.readFrame(0);
    expect(frame.toArray()).toEqual(bytesOf(2, SIZE));
    expect([frame.isShared, frame.sequence, frame.size]).toEqual([true, 2, SIZE]);
    const { sharing, framesShared, framesCopied, framesLent, framesWritten, bytesWritten } = rings.forwarder;
    expect([sharing, framesShared, framesCopied, framesLent]).toEqual(["active", 1, 1, 1]);
    expect([framesWritten, bytesWritten]).toEqual([2, 100 + SIZE]);
  });

  test("keeps its place in the source until the target's reader has released it", () => {
    using rings = new Rings();
    rings.pass(bytesOf(1, SIZE));
    const frame = rings.target.readFrame(0);
    expect(rings.used).toBe(SPACE);
    for (let i = 2; i <= 40; i++) {
      const written = rings.writer.tryWriteFrame(bytesOf(i, SIZE));
      if (written) rings.source.readFrame(0).release();
      expect(frame.data).toEqual(bytesOf(1, SIZE));
    }
    expect(rings.writer.tryWriteFrame(bytesOf(41, SIZE))).toBe(false);
    frame.release();
    expect(rings.used).toBe(0);
    expect(rings.forwarder.framesLent).toBe(0);
  });

  test("is held by the program until it is released, also after the target's reader has released it", () => {
    using rings = new Rings();
    using frame = rings.read(bytesOf(1, SIZE));
    rings.forwarder.forwardFrame(frame);
    rings.target.readFrame(0).release();
    expect(rings.used).toBe(SPACE);
    frame.release();
    expect(rings.used).toBe(0);
  });

  test("is copied below the least size, before the answer, and if it is no frame of the source", () => {
    using rings = new Rings();
    using small = rings.read(bytesOf(1, 4095));
    expect(rings.forwarder.forwardFrame(small)).toBe("copied");
    using other = new Rings();
    using foreign = other.read(bytesOf(2, SIZE));
    expect(rings.forwarder.forwardFrame(foreign)).toBe("copied");

    using reader = new Reader(uniqueName(), TARGET, { allowPayloadSharing: true });
    using early = new SharedWriter(reader.name, rings.source);
    using frame = rings.read(bytesOf(3, SIZE));
    expect([early.sharing, early.forwardFrame(frame)]).toEqual(["requested", "copied"]);
    using copy = reader.readFrame(0);
    expect([copy.isShared, copy.sequence, early.sharing]).toEqual([false, 1, "active"]);
    expect(copy.data).toEqual(bytesOf(3, SIZE));
    expect(early.forwardFrame(frame)).toBe("shared");
    using shared = reader.readFrame(0);
    expect([shared.isShared, shared.sequence]).toEqual([true, 2]);
  });

  test("that came shared itself is passed on as a copy", () => {
    using rings = new Rings();
    using last = new Reader(uniqueName(), TARGET, { allowPayloadSharing: true });
    using middle = new SharedWriter(last.name, rings.target);
    last.tryReadFrame();
    rings.pass(bytesOf(1, SIZE));
    using shared = rings.target.readFrame(0);
    expect([shared.isShared, middle.sharing, middle.forwardFrame(shared)]).toEqual([
      true,
      "active",
      "copied",
    ]);
    using copy = last.readFrame(0);
    expect(copy.data).toEqual(bytesOf(1, SIZE));
  });

  test("is refused if it would not fit as a copy", () => {
    using rings = new Rings(1, { target: { payloadSize: 4096 } });
    using frame = rings.read(bytesOf(1, SIZE));
    expect(thrownBy(() => rings.forwarder.forwardFrame(frame))).toMatchObject({ code: "FRAME_TOO_LARGE" });
  });

  test("is refused once it is released", () => {
    using rings = new Rings();
    const frame = rings.read(bytesOf(1, SIZE));
    frame.release();
    expect(thrownBy(() => rings.forwarder.forwardFrame(frame))).toMatchObject({ code: "CLOSED" });
  });

  test("is not written without room, and its place stays free of references then", () => {
    using rings = new Rings(1, { target: { payloadSize: 8256 } });
    for (let i = 1; i <= 8; i++) rings.pass(bytesOf(i, 1000));
    using frame = rings.read(bytesOf(9, 1000));
    expect(rings.forwarder.tryForwardFrame(frame)).toBeUndefined();
    expect(rings.forwarder.tryForwardFrame(frame, 5)).toBeUndefined();
    rings.forwarder.writeTimeout = 5;
    expect(thrownBy(() => rings.forwarder.forwardFrame(frame))).toMatchObject({ code: "BUFFER_FULL" });
    expect(rings.forwarder.framesWritten).toBe(8);
    rings.target.readFrames(64, 0).release();
    expect(rings.forwarder.tryForwardFrame(frame)).toBe("copied");
  });
});

describe("references", () => {
  test("of two targets keep a frame until both have released it", () => {
    using rings = new Rings(2);
    rings.pass(bytesOf(1, SIZE));
    const [one, two] = rings.targets.map(({ reader }) => reader.readFrame(0));
    one!.release();
    expect(rings.used).toBe(SPACE);
    expect(two!.data).toEqual(bytesOf(1, SIZE));
    two!.release();
    expect(rings.used).toBe(0);
  });

  test("of younger frames stay while an older one is held", () => {
    using rings = new Rings();
    for (let i = 1; i <= 3; i++) rings.pass(bytesOf(i, SIZE));
    const frames = [1, 2, 3].map(() => rings.target.readFrame(0));
    frames[2]!.release();
    frames[1]!.release();
    expect([rings.used, rings.forwarder.framesLent]).toEqual([3 * SPACE, 3]);
    frames[0]!.release();
    expect([rings.used, rings.forwarder.framesLent]).toEqual([0, 0]);
    expect(fieldOf(rings.target.name, Field.RELEASED_DESCRIPTORS)).toBe(3n);
  });

  test("count descriptors only, whatever comes between them", () => {
    using rings = new Rings();
    for (let round = 0; round < 50; round++) {
      rings.pass(bytesOf(2 * round + 1, 10));
      rings.pass(bytesOf(2 * round + 2, SIZE));
      const frames = [rings.target.readFrame(0), rings.target.readFrame(0)];
      // Space is returned in the order of the frames, so that of both at once where the first one is released last.
      if (round % 2 === 1) frames.reverse();
      frames[0]!.release();
      expect(rings.used).toBe(SPACE);
      frames[1]!.release();
      expect(rings.used).toBe(0);
    }
  });

  test("are dropped once the target's reader has left, and its writer is told", () => {
    using rings = new Rings(2);
    rings.pass(bytesOf(1, SIZE));
    rings.target.close();
    rings.targets[1]!.reader.readFrame(0).release();
    expect(rings.used).toBe(0);
    using frame = rings.read(bytesOf(2, SIZE));
    expect(thrownBy(() => rings.forwarder.forwardFrame(frame))).toMatchObject({
      code: "READER_DEAD",
      reason: "left",
    });
    expect(rings.targets[1]!.writer.forwardFrame(frame)).toBe("shared");
  });

  test("pass to the source when the writer is closed, whatever the target's next writer does", async () => {
    using rings = new Rings();
    rings.pass(bytesOf(1, SIZE));
    rings.pass(bytesOf(2, SIZE));
    const first = rings.target.readFrame(0);
    const second = rings.target.readFrame(0);
    rings.forwarder.close();
    expect(rings.used).toBe(2 * SPACE);
    first.release();
    second.release();
    // Nothing is called on the source: it looks by itself.
    await eventually(
      () => Number(fieldOf(rings.source.name, Field.FREE)) === rings.source.config.payloadSize,
    );
    expect(thrownBy(() => rings.target.readFrame(0))).toMatchObject({ code: "WRITER_DEAD" });
    using next = new SharedWriter(rings.target.name, rings.source);
    using frame = rings.read(bytesOf(3, SIZE));
    rings.target.tryReadFrame();
    expect(next.forwardFrame(frame)).toBe("shared");
    using shared = rings.target.readFrame(0);
    expect(shared.data).toEqual(bytesOf(3, SIZE));
    frame.release();
    shared.release();
    expect(rings.used).toBe(0);
  });

  test("end with the source: the target's reader keeps what it has", () => {
    using rings = new Rings();
    rings.pass(bytesOf(1, SIZE));
    using frame = rings.target.readFrame(0);
    rings.source.close();
    expect(frame.data).toEqual(bytesOf(1, SIZE));
    using other = new Reader(uniqueName(), SOURCE);
    expect(thrownBy(() => rings.forwarder.forwardFrame(other.tryReadFrame()))).toMatchObject({
      code: "CLOSED",
    });
  });

  test("of a writer's next source stay while the target's reader releases frames of the last one", () => {
    using last = new Rings(0);
    using next = new Rings(0);
    using reader = new Reader(uniqueName(), TARGET, { allowPayloadSharing: true });
    using writer = new Writer(reader.name, { requestPayloadSharing: true });
    const share = (rings: Rings, data: Uint8Array) => {
      using frame = rings.read(data);
      writer.forwardFrame(frame);
      return reader.readFrame(0);
    };
    share(last, bytesOf(1, SIZE)).release();
    using old = share(last, bytesOf(2, SIZE));
    last.source.close();
    share(next, bytesOf(1, SIZE)).release();
    const young = share(next, bytesOf(2, SIZE));
    expect([old.isShared, young.isShared, next.used]).toEqual([true, true, SPACE]);
    old.release();
    expect([next.used, writer.framesLent]).toEqual([SPACE, 1]);
    expect(young.data).toEqual(bytesOf(2, SIZE));
    young.release();
    expect([next.used, writer.framesLent]).toEqual([0, 0]);
  });

  test("keep the source's next writer waiting, and no longer", async () => {
    using rings = new Rings();
    rings.pass(bytesOf(1, SIZE));
    const frame = rings.target.readFrame(0);
    rings.writer.close();
    expect(thrownBy(() => rings.source.readFrame(0))).toMatchObject({ code: "WRITER_DEAD" });
    expect(thrownBy(() => new Writer(rings.source.name))).toMatchObject({ code: "PEER_TIMEOUT" });
    const connecting = Writer.connect(rings.source.name, { connectTimeoutMs: Number.POSITIVE_INFINITY });
    frame.release();
    using next = await connecting;
    next.writeFrame(bytesOf(1, SIZE));
    using read = rings.source.readFrame(0);
    expect(read.data).toEqual(bytesOf(1, SIZE));
  });

  test.each([
    ["more than were sent", 2n],
    ["fewer than before", 2n ** 64n - 1n],
  ])("stay if the target counts %s, and its writer fails for good", (_what, count) => {
    using rings = new Rings();
    rings.pass(bytesOf(1, SIZE));
    setField(rings.target.name, Field.RELEASED_DESCRIPTORS, count);
    using frame = rings.read(bytesOf(2, SIZE));
    for (let i = 0; i < 2; i++) {
      expect(thrownBy(() => rings.forwarder.forwardFrame(frame))).toMatchObject({ code: "CORRUPT_BUFFER" });
      setField(rings.target.name, Field.RELEASED_DESCRIPTORS, 1n);
    }
    frame.release();
    expect(rings.used).toBe(2 * SPACE);
    rings.target.close();
    expect(rings.used).toBe(0);
  });
});

describe("the bytes of a frame that others may read", () => {
  test("do not change where a target's reader wants to change them", () => {
    using rings = new Rings(2);
    rings.pass(bytesOf(1, SIZE));
    using one = rings.target.readFrame(0);
    using two = rings.targets[1]!.reader.readFrame(0);
    const span = one.getMutableSpan();
    span.fill(0xee);
    expect([one.data, one.toArray()]).toEqual([span, span]);
    const copy = new Uint8Array(SIZE);
    one.copyTo(copy);
    expect<Uint8Array>(copy).toEqual(span);
    expect(two.data).toEqual(bytesOf(1, SIZE));
  });

  test("do not change where the forwarder wants to, and what it makes of them is passed on as a copy", () => {
    using rings = new Rings(2);
    using frame = rings.read(bytesOf(1, SIZE));
    frame.getMutableSpan()[0] = 0x77;
    rings.forwarder.forwardFrame(frame);
    frame.getMutableSpan().fill(0xee);
    expect(rings.targets[1]!.writer.forwardFrame(frame)).toBe("copied");
    const expected = bytesOf(1, SIZE);
    expected[0] = 0x77;
    using shared = rings.target.readFrame(0);
    expect(shared.data).toEqual(expected);
    using copied = rings.targets[1]!.reader.readFrame(0);
    expect(copied.data).toEqual(new Uint8Array(SIZE).fill(0xee));
  });
});

describe("reads of shared and copied frames", () => {
  const sizes = [10, SIZE, SIZE + 1, 20, 30, SIZE + 2];

  test("as batches hold frames of one kind, in order", () => {
    using rings = new Rings();
    for (const [i, size] of sizes.entries()) rings.pass(bytesOf(i + 1, size));
    const seen: number[] = [];
    const kinds: boolean[] = [];
    while (seen.length < sizes.length) {
      using batch = rings.target.tryReadFrames();
      const all = new Uint8Array(batch.size);
      batch.copyTo(all);
      let done = 0;
      for (let i = 0; i < batch.length; i++) {
        const sequence = batch.sequenceOf(i);
        const expected = bytesOf(sequence, sizes[sequence - 1] as number);
        expect(batch.dataOf(i)).toEqual(expected);
        expect<Uint8Array>(all.subarray(done, done + expected.length)).toEqual(expected);
        done += expected.length;
        seen.push(sequence);
      }
      kinds.push(batch.isShared);
    }
    expect(seen).toEqual([1, 2, 3, 4, 5, 6]);
    expect(kinds).toEqual([false, true, false, true]);
    expect(rings.used).toBe(0);
  });

  test("for the newest one pass over those of both kinds", () => {
    using rings = new Rings();
    for (const [i, size] of sizes.entries()) rings.pass(bytesOf(i + 1, size));
    using frame = rings.target.readLatest(0);
    expect([frame.sequence, rings.target.framesSkipped]).toEqual([6, 5]);
    expect(frame.data).toEqual(bytesOf(6, SIZE + 2));
    expect(rings.used).toBe(SPACE + 2);
  });

  test("find frames whose tokens were lost, also behind an attachment", () => {
    using rings = new Rings(0);
    using reader = new Reader(uniqueName(), TARGET, { allowPayloadSharing: true });
    using writer = new SharedWriter(reader.name, rings.source);
    using frame = rings.read(bytesOf(1, SIZE));
    writer.forwardFrame(frame);
    setField(`sem.sem-w-${reader.name}`, 0, 0n);
    using copy = reader.readFrame(1000);
    expect(copy.data).toEqual(bytesOf(1, SIZE));
    writer.forwardFrame(frame);
    setField(`sem.sem-w-${reader.name}`, 0, 0n);
    using shared = reader.readFrame(1000);
    expect([shared.isShared, shared.sequence]).toEqual([true, 2]);
    expect(shared.data).toEqual(bytesOf(1, SIZE));
  });
});
