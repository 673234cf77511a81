// Asynchronous forwards that wait for room, while other calls of the same thread take the tokens that would wake them.

import { describe, expect, test } from "bun:test";
import { Reader, SharedWriter, Writer } from "../../../../src/core/index.ts";
import { bytesOf, uniqueName } from "../../../support/buffers.ts";
import { Rings, SIZE, SOURCE, TARGET } from "./rings.ts";

/** Long enough for a wait that blocks the thread, in milliseconds. */
const BLOCKED_MS = 5;

describe("an asynchronous forward that waits", () => {
  test.each<[string, (rings: Rings) => boolean]>([
    ["a read of the source", ({ source }) => source.readFrame(BLOCKED_MS).isValid],
    [
      "a write to another target",
      ({ targets }) => targets[1]!.writer.tryWriteFrame(bytesOf(3, SIZE), BLOCKED_MS),
    ],
  ])("goes on when %s ends that has blocked the thread", async (_, block) => {
    using rings = new Rings(2, { forwarder: { maxFramesLent: 1 } });
    rings.pass(bytesOf(1, SIZE));
    using frame = rings.read(bytesOf(2, SIZE));
    const forwarded = rings.forwarder.forwardFrameAsync(frame);
    rings.target.readFrame(0).release();
    expect(rings.forwarder.framesShared).toBe(1);
    expect(block(rings)).toBe(false);
    // Before any turn of the event loop, in which its own wait could end.
    expect(rings.forwarder.framesShared).toBe(2);
    expect(await forwarded).toBe("shared");
    using shared = rings.target.readFrame(0);
    expect(shared.data).toEqual(bytesOf(2, SIZE));
  });

  test("goes on when a write to its own target ends that has blocked the thread", async () => {
    using rings = new Rings();
    const small = bytesOf(1, 1000);
    while (rings.forwarder.tryWriteFrame(small)) {}
    while (rings.forwarder.tryWriteFrame(small.subarray(0, 8))) {}
    using frame = rings.read(bytesOf(2, SIZE));
    const forwarded = rings.forwarder.forwardFrameAsync(frame);
    rings.target.readFrame(0).release();
    expect(rings.forwarder.framesShared).toBe(0);
    // There is room for a descriptor now, but not for this frame.
    expect(rings.forwarder.tryWriteFrame(bytesOf(3, SIZE), BLOCKED_MS)).toBe(false);
    expect(rings.forwarder.framesShared).toBe(1);
    expect(await forwarded).toBe("shared");
  });

  test("goes on when a read of a source that shares nothing ends that has blocked the thread", async () => {
    using source = new Reader(uniqueName(), SOURCE);
    using camera = new Writer(source.name);
    using reader = new Reader(uniqueName(), TARGET);
    using forwarder = new SharedWriter(reader.name, source);
    while (forwarder.tryWriteFrame(bytesOf(1, SIZE))) {}
    camera.writeFrame(bytesOf(2, SIZE));
    using frame = source.readFrame(0);
    const forwarded = forwarder.forwardFrameAsync(frame);
    reader.readFrame(0).release();
    const { framesCopied } = forwarder;
    expect(source.readFrame(BLOCKED_MS).isValid).toBe(false);
    expect(forwarder.framesCopied).toBe(framesCopied + 1);
    expect(await forwarded).toBe("copied");
  });
});
