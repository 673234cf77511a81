// Who may share with whom, and who asks when.

import { describe, expect, test } from "bun:test";
import { chmodSync, chownSync, renameSync } from "node:fs";
import { Reader, SharedWriter, Writer } from "../../../../src/core/index.ts";
import { OiebFlag } from "../../../../src/native/memory.ts";
import { bytesOf, eventually, fieldOf, setField, thrownBy, uniqueName } from "../../../support/buffers.ts";
import { isRoot } from "../../../support/bundle.ts";
import { Field, Rings, SIZE, SOURCE, TARGET } from "./rings.ts";

const allowed = { allowPayloadSharing: true };

describe("a writer copies all frames", () => {
  test("if the target's reader does not take descriptors", () => {
    using rings = new Rings(0);
    using reader = new Reader(uniqueName(), TARGET);
    using writer = new SharedWriter(reader.name, rings.source);
    using frame = rings.read(bytesOf(1, SIZE));
    expect([writer.forwardFrame(frame), writer.sharing]).toEqual(["copied", "off"]);
    using copy = reader.readFrame(0);
    expect(copy.data).toEqual(bytesOf(1, SIZE));
  });

  test("if the source does not allow to share, and is closed with it all the same", () => {
    using source = new Reader(uniqueName(), SOURCE);
    using from = new Writer(source.name);
    using reader = new Reader(uniqueName(), TARGET, allowed);
    using writer = new SharedWriter(reader.name, source);
    from.writeFrame(bytesOf(1, SIZE));
    using frame = source.readFrame(0);
    reader.tryReadFrame();
    expect([writer.forwardFrame(frame), writer.sharing]).toEqual(["copied", "off"]);
    source.close();
    expect(thrownBy(() => writer.writeFrame(bytesOf(2, 10)))).toMatchObject({ code: "CLOSED" });
    expect(thrownBy(() => new SharedWriter(reader.name, source))).toMatchObject({ code: "CLOSED" });
  });

  test("if it was not told to share", () => {
    using rings = new Rings(0);
    using reader = new Reader(uniqueName(), TARGET, allowed);
    using writer = new Writer(reader.name);
    using frame = rings.read(bytesOf(1, SIZE));
    expect([writer.forwardFrame(frame), writer.sharing]).toEqual(["copied", "off"]);
  });

  test("if everybody may write to the target's memory", () => {
    using rings = new Rings(0);
    using reader = new Reader(uniqueName(), { ...TARGET, mode: 0o666 }, allowed);
    using writer = new SharedWriter(reader.name, rings.source);
    expect(writer.sharing).toBe("off");
  });

  test.skipIf(!isRoot)("if the target's memory belongs to another user", () => {
    using rings = new Rings(0);
    using reader = new Reader(uniqueName(), TARGET, allowed);
    chownSync(`/dev/shm/${reader.name}`, 65534, 0);
    using writer = new SharedWriter(reader.name, rings.source);
    expect(writer.sharing).toBe("off");
    chownSync(`/dev/shm/${reader.name}`, 0, 0);
    writer.checkReader();
    expect(writer.sharing).toBe("requested");
  });

  test("if nobody has the lock of the target's reader, whatever its flags are", () => {
    using rings = new Rings(0);
    using writer = new SharedWriter(uniqueName(), rings.source, { create: TARGET });
    setField(writer.name, Field.FLAGS, (fieldOf(writer.name, Field.FLAGS) as bigint) | OiebFlag.SHARING);
    writer.checkReader();
    expect(writer.sharing).toBe("off");
  });

  test.each<[string, (name: string) => void, RegExp]>([
    [
      "everybody may write to the source's memory",
      (name) => chmodSync(`/dev/shm/${name}`, 0o666),
      /refuses access/,
    ],
    [
      "the source has lost its name",
      (name) => renameSync(`/dev/shm/${name}`, `/dev/shm/${name}-`),
      /no object/,
    ],
    [
      "the source's control block is impossible",
      (name) => setField(name, Field.FREE, 2n ** 40n),
      /free bytes/,
    ],
  ])("if the target's reader refuses, because %s", (_why, spoil, reason) => {
    using rings = new Rings(0);
    using reader = new Reader(uniqueName(), TARGET, allowed);
    using writer = new SharedWriter(reader.name, rings.source);
    using frame = rings.read(bytesOf(1, SIZE));
    const path = `/dev/shm/${rings.source.name}`;
    const free = fieldOf(rings.source.name, Field.FREE) as bigint;
    spoil(rings.source.name);
    reader.tryReadFrame();
    try {
      renameSync(`${path}-`, path);
    } catch {
      setField(rings.source.name, Field.FREE, free);
    }
    expect([writer.sharing, writer.forwardFrame(frame)]).toEqual(["refused", "copied"]);
    expect(reader.sharingRefusal).toMatch(reason);
    using copy = reader.readFrame(0);
    expect(copy.data).toEqual(bytesOf(1, SIZE));
  });

  test("if another writer's pid is in its place", () => {
    using rings = new Rings();
    using frame = rings.read(bytesOf(1, SIZE));
    const pid = fieldOf(rings.target.name, Field.WRITER_PID) as bigint;
    setField(rings.target.name, Field.WRITER_PID, 1n);
    expect(rings.forwarder.forwardFrame(frame)).toBe("copied");
    setField(rings.target.name, Field.WRITER_PID, pid);
  });
});

describe("a writer shares", () => {
  test("the frames of the first reader of which it forwards one, if it was told to", () => {
    using rings = new Rings(0);
    using reader = new Reader(uniqueName(), TARGET, allowed);
    using writer = new Writer(reader.name, { requestPayloadSharing: true });
    using frame = rings.read(bytesOf(1, SIZE));
    expect([writer.sharing, writer.forwardFrame(frame), writer.sharing]).toEqual([
      "off",
      "copied",
      "requested",
    ]);
    reader.readFrame(0).release();
    expect([writer.sharing, writer.forwardFrame(frame)]).toEqual(["active", "shared"]);
    rings.source.close();
    writer.writeFrame(bytesOf(2, 10));
    using shared = reader.readFrame(0);
    expect(shared.data).toEqual(bytesOf(1, SIZE));
    // The source has ended: it is taken back.
    using plain = reader.readFrame(0);
    expect([plain.size, writer.sharing, fieldOf(reader.name, Field.ANSWER)]).toEqual([10, "off", 0n]);
  });

  test("with a reader that adopts its buffer", async () => {
    using rings = new Rings(0);
    const name = uniqueName();
    using writer = new SharedWriter(name, rings.source, { create: TARGET });
    using first = rings.read(bytesOf(1, SIZE));
    expect([writer.sharing, writer.forwardFrame(first)]).toEqual(["off", "copied"]);
    using reader = new Reader(name, TARGET, allowed);
    using copy = reader.readFrame(0);
    expect(copy.data).toEqual(bytesOf(1, SIZE));
    expect(writer.isReaderConnected()).toBe(true);
    writer.checkReader();
    reader.tryReadFrame();
    expect([writer.sharing, writer.forwardFrame(first)]).toEqual(["active", "shared"]);
    using shared = reader.readFrame(0);
    expect(shared.data).toEqual(bytesOf(1, SIZE));
  });

  test("no sooner than the frame that it fills in place is committed", () => {
    using rings = new Rings(0);
    const name = uniqueName();
    using writer = new SharedWriter(name, rings.source, { create: TARGET });
    const slot = writer.acquireFrame(100);
    using reader = new Reader(name, TARGET, allowed);
    writer.checkReader();
    expect(writer.sharing).toBe("off");
    slot.data.set(bytesOf(1, 100));
    writer.commitFrame();
    using frame = reader.readFrame(0);
    expect(frame.data).toEqual(bytesOf(1, 100));
    writer.checkReader();
    expect(writer.sharing).toBe("requested");
  });

  test("also if it comes while the target's reader learns that the last one has left", () => {
    using rings = new Rings();
    rings.forwarder.close();
    const next: SharedWriter[] = [];
    // The reader calls this after it has judged the writer, and before it looks at the ring.
    rings.target.sharing.look = () => {
      if (next.length === 0) next.push(new SharedWriter(rings.target.name, rings.source));
    };
    expect(rings.target.readFrame(0).isValid).toBe(false);
    using writer = next[0]!;
    using frame = rings.read(bytesOf(1, SIZE));
    expect([writer.sharing, writer.forwardFrame(frame)]).toEqual(["active", "shared"]);
    using shared = rings.target.readFrame(0);
    expect([shared.isShared, shared.sequence]).toEqual([true, 1]);
  });

  test("again with the target's next writer, under another answer", () => {
    using rings = new Rings();
    const before = fieldOf(rings.target.name, Field.ANSWER);
    rings.forwarder.close();
    expect(thrownBy(() => rings.target.readFrame(0))).toMatchObject({ code: "WRITER_DEAD" });
    expect(fieldOf(rings.target.name, Field.ANSWER)).toBe(0n);
    using next = new SharedWriter(rings.target.name, rings.source);
    rings.target.tryReadFrame();
    expect(next.sharing).toBe("active");
    expect(fieldOf(rings.target.name, Field.ANSWER)).not.toBe(before);
  });
});

describe("without blocking", () => {
  test("a frame that waits for room is held until it is passed on, also after its release", async () => {
    using rings = new Rings(1, { target: { payloadSize: 128 } });
    for (let i = 1; i <= 2; i++) rings.pass(bytesOf(i, 40));
    const frame = rings.read(bytesOf(3, SIZE));
    expect(thrownBy(() => rings.forwarder.forwardFrame(frame))).toMatchObject({ code: "FRAME_TOO_LARGE" });
    frame.release();

    using wide = new Rings(1, { target: { payloadSize: 8256 } });
    for (let i = 1; i <= 8; i++) wide.pass(bytesOf(i, 1000));
    const waiting = wide.read(bytesOf(9, SIZE));
    const passed = wide.forwarder.forwardFrameAsync(waiting);
    waiting.release();
    for (let i = 10; i <= 60; i++)
      if (wide.writer.tryWriteFrame(bytesOf(i, SIZE))) wide.source.readFrame(0).release();
    wide.target.readFrames(8, 0).release();
    expect(await passed).toBe("shared");
    using shared = wide.target.readFrame(0);
    expect(shared.data).toEqual(bytesOf(9, SIZE));
  });

  test("one that is given up while it waits is given back", async () => {
    using rings = new Rings(1, { target: { payloadSize: 8256 } });
    for (let i = 1; i <= 8; i++) rings.pass(bytesOf(i, 1000));
    const frame = rings.read(bytesOf(9, 1000));
    const ended = new AbortController();
    const passed = rings.forwarder.forwardFrameAsync(frame, { signal: ended.signal });
    frame.release();
    const used = rings.used;
    ended.abort("enough");
    expect(await passed.catch((error) => error)).toBe("enough");
    expect([used, rings.used]).toEqual([1016, 0]);
  });

  test("a full source goes on as soon as a target has released, while a read waits for its next frame", async () => {
    using rings = new Rings();
    let written = 0;
    while (rings.writer.tryWriteFrame(bytesOf(written + 1, SIZE))) {
      using frame = rings.source.readFrame(0);
      rings.forwarder.forwardFrame(frame);
      written++;
    }
    const reading = rings.source.readFrameAsync(Number.POSITIVE_INFINITY);
    const writing = rings.writer.writeFrameAsync(bytesOf(written + 1, SIZE));
    await Bun.sleep(0);
    for (let i = 1; i <= written; i++) {
      using frame = rings.target.readFrame(0);
      expect(frame.data).toEqual(bytesOf(i, SIZE));
    }
    await writing;
    using frame = await reading;
    expect(frame.sequence).toBe(written + 1);
  });

  test("what is released is noted although the program calls nothing", async () => {
    using rings = new Rings();
    rings.pass(bytesOf(1, SIZE));
    rings.target.readFrame(0).release();
    await eventually(
      () => Number(fieldOf(rings.source.name, Field.FREE)) === rings.source.config.payloadSize,
    );
  });
});
