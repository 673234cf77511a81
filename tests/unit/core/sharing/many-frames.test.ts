// Frames that are forwarded with one call, without being handed out.

import { describe, expect, test } from "bun:test";
import { Reader, Writer } from "../../../../src/core/index.ts";
import { bytesOf, thrownBy, uniqueName } from "../../../support/buffers.ts";
import { Rings, SIZE } from "./rings.ts";

const LIMITS = { most: 1000, mostBytes: 1e9, waitMs: 0, sliceMs: 1 };

/** A reader whose frames a writer in this process forwards to another reader. */
class Relay implements Disposable {
  readonly source = new Reader(uniqueName(), { metadataSize: 64, payloadSize: 64 * 1024 });
  writer = new Writer(this.source.name);
  readonly target: Reader;
  readonly forwarder: Writer;

  /** The first frame of the writer has been forwarded. */
  constructor(payloadSize = 64 * 1024) {
    this.target = new Reader(uniqueName(), { metadataSize: 64, payloadSize });
    this.forwarder = new Writer(this.target.name);
    this.begin();
  }

  /** Forwards the first frame of the writer. */
  begin(): void {
    this.writer.writeFrame(bytesOf(1, 10));
    expect(this.forward()).toBeUndefined();
    using frame = this.source.tryReadFrame();
    expect(frame.sequence).toBe(1);
    this.forwarder.forwardFrame(frame);
    this.target.readFrame(0).release();
  }

  write(first: number, last: number, size = 100): void {
    for (let i = first; i <= last; i++) this.writer.writeFrame(bytesOf(i, size));
  }

  forward(limits: Partial<typeof LIMITS> = {}) {
    return this.forwarder.forwardFrames(this.source, { ...LIMITS, ...limits });
  }

  expectToRead(first: number, last: number, size = 100): void {
    for (let i = first; i <= last; i++) {
      using frame = this.target.readFrame(0);
      expect(frame.sequence).toBe(i);
      expect(frame.data).toEqual(bytesOf(i, size));
    }
    expect(this.target.tryReadFrame().isValid).toBe(false);
  }

  [Symbol.dispose](): void {
    for (const end of [this.writer, this.forwarder, this.source, this.target]) end.close();
  }
}

describe("frames that are forwarded with one call", () => {
  test("arrive in order, are released, and count on both sides", () => {
    using relay = new Relay();
    relay.write(2, 201);
    expect(relay.forward()).toEqual({ frames: 200, bytes: 20_000, isPaused: true });
    expect([relay.source.framesRead, relay.source.bytesRead]).toEqual([201, 20_010]);
    const { framesWritten, bytesWritten, framesCopied, framesShared } = relay.forwarder;
    expect([framesWritten, bytesWritten, framesCopied, framesShared]).toEqual([201, 20_010, 201, 0]);
    expect(relay.forward()).toBeUndefined();
    relay.expectToRead(2, 201);
  });

  test("are those that are at hand, too", () => {
    using relay = new Relay();
    relay.write(2, 11);
    using second = relay.source.readFrame(0);
    relay.forwarder.forwardFrame(second);
    expect(relay.forward()).toMatchObject({ frames: 9 });
    relay.expectToRead(2, 11);
  });

  test("are no more than asked for: the next ones are handed out, or forwarded later", () => {
    using relay = new Relay();
    relay.write(2, 21);
    expect(relay.forward({ most: 5 })).toEqual({ frames: 5, bytes: 500, isPaused: false });
    using seventh = relay.source.tryReadFrame();
    expect(seventh.sequence).toBe(7);
    relay.forwarder.forwardFrame(seventh);
    expect(relay.forward({ mostBytes: 5000 })).toMatchObject({ frames: 4, isPaused: false });
    expect(relay.forward()).toMatchObject({ frames: 10, isPaused: true });
    relay.expectToRead(2, 21);
  });

  test("leave a waiting read the next one", async () => {
    using relay = new Relay();
    const read = relay.source.readFrameAsync();
    relay.write(2, 4);
    expect(relay.forward({ most: 1 })).toMatchObject({ frames: 1 });
    expect(await read).toMatchObject({ sequence: 3 });
  });

  test("are those for which there is room", () => {
    using relay = new Relay(1024);
    relay.write(2, 4, 400);
    expect(relay.forward()).toEqual({ frames: 2, bytes: 800, isPaused: false });
    expect(relay.forward()).toBeUndefined();
    relay.expectToRead(2, 3, 400);
    expect(relay.forward()).toMatchObject({ frames: 1 });
    relay.expectToRead(4, 4, 400);
  });

  test("are all of a writer before its end is told, and then come those of the next, without its first", () => {
    using relay = new Relay();
    relay.write(2, 4);
    relay.writer.close();
    expect(relay.forward()).toMatchObject({ frames: 3 });
    expect(thrownBy(() => relay.forward({ waitMs: 100 }))).toMatchObject({
      code: "WRITER_DEAD",
      reason: "left",
    });
    relay.expectToRead(2, 4);
    relay.writer = new Writer(relay.source.name);
    relay.begin();
    relay.write(2, 4);
    expect(relay.forward()).toMatchObject({ frames: 3 });
  });

  test("are shared where that is possible", () => {
    using rings = new Rings();
    rings.pass(bytesOf(1, SIZE));
    rings.target.readFrame(0).release();
    for (let i = 2; i <= 4; i++) rings.writer.writeFrame(bytesOf(i, i === 3 ? 100 : SIZE));
    expect(rings.forwarder.forwardFrames(rings.source, LIMITS)).toMatchObject({ frames: 3 });
    const { framesShared, framesCopied, framesLent } = rings.forwarder;
    expect([framesShared, framesCopied, framesLent]).toEqual([3, 1, 2]);
    for (let i = 2; i <= 4; i++) {
      using frame = rings.target.readFrame(0);
      expect(frame.isShared).toBe(i !== 3);
      expect(frame.data).toEqual(bytesOf(i, i === 3 ? 100 : SIZE));
    }
    expect(rings.used).toBe(0);
  });

  test("are none that lie in another buffer: they are handed out", () => {
    using rings = new Rings();
    rings.pass(bytesOf(1, SIZE));
    using first = rings.target.readFrame(0);
    for (let i = 2; i <= 3; i++) rings.pass(bytesOf(i, SIZE));
    using last = new Reader(uniqueName(), { payloadSize: 64 * 1024 });
    using forwarder = new Writer(last.name);
    for (let i = 2; i <= 3; i++) {
      expect(forwarder.forwardFrames(rings.target, LIMITS)).toBeUndefined();
      using frame = rings.target.tryReadFrame();
      expect([frame.isShared, frame.sequence]).toEqual([true, i]);
    }
    first.release();
  });

  test("are refused once the reader is closed, and while a frame is acquired", () => {
    using relay = new Relay();
    relay.forwarder.acquireFrame(10);
    expect(thrownBy(() => relay.forward())).toMatchObject({ code: "CLOSED" });
    relay.forwarder.cancelFrame();
    relay.source.close();
    expect(thrownBy(() => relay.forward())).toMatchObject({ code: "CLOSED" });
  });
});
