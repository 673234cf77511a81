// Random sequences of what a source, its forwarder and two targets can do, against a model that is lists of frames.

import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  type Frame,
  type FrameBatch,
  FrameTooLargeError,
  Reader,
  ReaderDeadError,
  SharedWriter,
  Writer,
  WriterDeadError,
} from "../../../../src/core/index.ts";
import { fieldOf, thrownBy, uniqueName } from "../../../support/buffers.ts";
import { Field } from "./rings.ts";

const TARGETS = 2;
/** Frames of this size and larger are shared. */
const SHARE_LEAST = 4096;

type Operation =
  | { kind: "film" | "pass"; size: number }
  | { kind: "take" | "next-camera" }
  | { kind: "forward"; which: number; target: number }
  | { kind: "copy"; which: number; target: number }
  | { kind: "change" | "release"; which: number }
  | { kind: "read" | "close-reader" | "close-writer" | "reopen"; target: number }
  | { kind: "read-together"; target: number; most: number }
  | { kind: "change-read" | "release-read"; target: number; which: number };

const target = fc.nat({ max: TARGETS - 1 });
const which = fc.nat({ max: 1000 });
const size = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: SHARE_LEAST, max: 2 * SHARE_LEAST }) },
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 200 }) },
  { weight: 1, arbitrary: fc.integer({ min: SHARE_LEAST - 2, max: SHARE_LEAST + 2 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 6 * SHARE_LEAST }) },
);
const of = <K extends Operation["kind"], D extends object>(
  kind: K,
  details: { [key in keyof D]: fc.Arbitrary<D[key]> },
) => fc.record({ kind: fc.constant(kind), ...details }) as unknown as fc.Arbitrary<Operation>;

const operations = fc.array(
  fc.oneof(
    { weight: 10, arbitrary: of("film", { size }) },
    { weight: 10, arbitrary: of("take", {}) },
    { weight: 10, arbitrary: of("pass", { size }) },
    { weight: 16, arbitrary: of("forward", { which, target }) },
    { weight: 2, arbitrary: of("copy", { which, target }) },
    { weight: 2, arbitrary: of("change", { which }) },
    { weight: 8, arbitrary: of("release", { which }) },
    { weight: 12, arbitrary: of("read", { target }) },
    { weight: 4, arbitrary: of("read-together", { target, most: fc.integer({ min: 1, max: 70 }) }) },
    { weight: 2, arbitrary: of("change-read", { target, which }) },
    { weight: 14, arbitrary: of("release-read", { target, which }) },
    { weight: 2, arbitrary: of("close-writer", { target }) },
    { weight: 1, arbitrary: of("close-reader", { target }) },
    { weight: 4, arbitrary: of("reopen", { target }) },
    { weight: 1, arbitrary: of("next-camera", {}) },
  ),
  { minLength: 20, maxLength: 200, size: "max" },
);

const scenario = fc.record({
  sourceSize: fc.integer({ min: 4, max: 20 }).map((frames) => frames * SHARE_LEAST),
  targetSize: fc.integer({ min: 1, max: 10 }).map((frames) => frames * SHARE_LEAST + 64),
  operations,
});

/** The content of a frame. */
interface Content {
  readonly size: number;
  readonly seed: number;
}

function bytesOf({ size, seed }: Content): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = seed * 31 + i * 7;
  return bytes;
}

function expectContent(data: Uint8Array, content: Content): void {
  expect(Buffer.compare(data, bytesOf(content))).toBe(0);
}

/** A frame of the source that the forwarder holds. */
interface Taken {
  readonly frame: Frame;
  content: Content;
  /** Whether a target may read it, and whether it is a private copy since. */
  isPassedOn: boolean;
  isPrivate: boolean;
}

/** A frame in the ring of a target. */
interface Sent {
  readonly sequence: number;
  readonly isShared: boolean;
  content: Content;
  isReleased: boolean;
}

/** Frames that a target's reader holds. */
interface Held {
  readonly frame: Frame | FrameBatch;
  readonly sent: Sent[];
  /** The bytes of one of them. */
  dataOf(index: number): Uint8Array;
}

/** A target, and what must be in it. */
class Target {
  readonly name = uniqueName();
  readonly #source: Reader;
  readonly #size: number;
  reader: Reader;
  writer: SharedWriter | undefined;
  #sequence = 0;
  readonly unread: Sent[] = [];
  readonly held: Held[] = [];
  /** Those whose space is not returned: of those behind one that is held, too. */
  #inRing: Sent[] = [];

  constructor(source: Reader, size: number) {
    this.#source = source;
    this.#size = size;
    this.reader = this.#openReader();
    this.writer = this.#openWriter();
  }

  #openReader(): Reader {
    return new Reader(this.name, { metadataSize: 0, payloadSize: this.#size }, { allowPayloadSharing: true });
  }

  #openWriter(): SharedWriter {
    return new SharedWriter(this.name, this.#source, { writeTimeout: 0, connectTimeoutMs: 0 });
  }

  /** How many frames of the source it has. */
  get lent(): number {
    return this.#inRing.filter(({ isShared }) => isShared).length;
  }

  forward(taken: Taken): void {
    const { writer } = this;
    if (writer === undefined) return;
    const { frame, content } = taken;
    if (content.size > writer.maxFrameSize) {
      expect(thrownBy(() => writer.tryForwardFrame(frame))).toBeInstanceOf(FrameTooLargeError);
      return;
    }
    const isShared = content.size >= SHARE_LEAST && writer.sharing === "active" && !taken.isPrivate;
    const outcome = writer.tryForwardFrame(frame);
    if (outcome === undefined) {
      expect(this.#inRing.length > 0 || writer.sharing === "requested").toBe(true);
      return;
    }
    expect(outcome).toBe(isShared ? "shared" : "copied");
    taken.isPassedOn = true;
    this.#note(content, isShared);
  }

  copy({ frame, content }: Taken): void {
    if (this.writer === undefined || content.size > this.writer.maxFrameSize) return;
    if (this.writer.tryWriteFrame(frame.data)) this.#note(content, false);
  }

  #note(content: Content, isShared: boolean): void {
    const sent = { sequence: ++this.#sequence, isShared, content, isReleased: false };
    this.unread.push(sent);
    this.#inRing.push(sent);
  }

  read(): void {
    const frame = this.#unlessLeft(() => this.reader.tryReadFrame());
    const sent = this.unread.shift();
    expect(frame?.isValid ?? false).toBe(sent !== undefined);
    if (frame === undefined || sent === undefined) return;
    const { sequence, isShared } = frame;
    expect({ sequence, isShared }).toEqual({ sequence: sent.sequence, isShared: sent.isShared });
    this.#hold({ frame, sent: [sent], dataOf: () => frame.data });
  }

  /** Those of one kind that one look brings. */
  readTogether(most: number): void {
    const batch = this.#unlessLeft(() => this.reader.tryReadFrames(most));
    expect((batch?.length ?? 0) > 0).toBe(this.unread.length > 0);
    if (batch === undefined || batch.length === 0) return;
    const sent = this.unread.splice(0, batch.length);
    expect(sent.map((_, i) => [batch.sequenceOf(i), batch.isShared])).toEqual(
      sent.map(({ sequence, isShared }) => [sequence, isShared]),
    );
    this.#hold({ frame: batch, sent, dataOf: (index) => batch.dataOf(index) });
  }

  /** Undefined if it reports that its writer has left. */
  #unlessLeft<T>(read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      expect(error).toBeInstanceOf(WriterDeadError);
      expect(this.writer).toBeUndefined();
      return undefined;
    }
  }

  #hold(held: Held): void {
    this.#check(held);
    this.held.push(held);
  }

  #check({ sent, dataOf }: Held): void {
    for (const [index, { content }] of sent.entries()) expectContent(dataOf(index), content);
  }

  /** Changes a frame that it holds, of which others may have the bytes. */
  change(which: number, seed: number): void {
    const held = this.held[which % this.held.length];
    if (held === undefined || !("getMutableSpan" in held.frame)) return;
    const sent = held.sent[0]!;
    sent.content = { size: sent.content.size, seed };
    held.frame.getMutableSpan().set(bytesOf(sent.content));
  }

  release(which: number): void {
    const [held] = this.held.splice(which % this.held.length, 1);
    if (held === undefined) return;
    this.#check(held);
    held.frame.release();
    for (const sent of held.sent) sent.isReleased = true;
    while (this.#inRing[0]?.isReleased) this.#inRing.shift();
  }

  closeWriter(): void {
    this.writer?.close();
    this.writer = undefined;
  }

  /** Closes its reader, of which its writer learns, and makes both anew. */
  closeReader(taken: Taken | undefined): void {
    const { writer } = this;
    this.reader.close();
    this.unread.length = this.held.length = this.#inRing.length = 0;
    if (writer !== undefined && taken !== undefined && taken.content.size <= writer.maxFrameSize)
      expect(thrownBy(() => writer.forwardFrame(taken.frame))).toBeInstanceOf(ReaderDeadError);
    this.closeWriter();
    this.reader = this.#openReader();
    this.#connect();
  }

  /** Its next writer comes if there is none and its ring is empty. */
  reopen(): void {
    if (this.writer !== undefined || this.#inRing.length > 0) return;
    // There may be an attachment in it.
    this.read();
    this.#connect();
  }

  #connect(): void {
    this.writer = this.#openWriter();
    this.#sequence = 0;
  }

  drain(): void {
    while (this.unread.length > 0) this.read();
    while (this.held.length > 0) this.release(0);
  }

  close(): void {
    this.writer?.close();
    this.reader.close();
  }
}

/** The source, its camera and its targets. */
class Model {
  readonly #source: Reader;
  #camera: Writer;
  readonly #targets: readonly Target[];
  readonly #written: Content[] = [];
  readonly #taken: Taken[] = [];
  #seed = 0;

  constructor(sourceSize: number, targetSize: number) {
    this.#source = new Reader(
      uniqueName(),
      { metadataSize: 0, payloadSize: sourceSize },
      { allowPayloadSharing: true },
    );
    this.#camera = new Writer(this.#source.name, { writeTimeout: 0 });
    this.#targets = Array.from({ length: TARGETS }, () => new Target(this.#source, targetSize));
  }

  apply(operation: Operation): void {
    this.#perform(operation);
    this.#check();
  }

  #check(): void {
    this.#source.sharing.collect(false);
    for (const { writer, lent } of this.#targets)
      if (writer !== undefined) expect(writer.framesLent).toBe(lent);
    for (const { frame, content } of this.#taken) expectContent(frame.data, content);
    if (!this.#isUsed)
      expect(Number(fieldOf(this.#source.name, Field.FREE))).toBe(this.#source.config.payloadSize);
  }

  /** Whether anybody has a frame of the source. */
  get #isUsed(): boolean {
    return this.#written.length + this.#taken.length > 0 || this.#targets.some(({ lent }) => lent > 0);
  }

  #perform(operation: Operation): void {
    switch (operation.kind) {
      case "film":
        this.#film(operation.size);
        break;
      case "take":
        this.#take();
        break;
      case "pass":
        this.#pass(operation.size);
        break;
      case "forward":
        this.#withTaken(operation.which, (taken) => this.#target(operation).forward(taken));
        break;
      case "copy":
        this.#withTaken(operation.which, (taken) => this.#target(operation).copy(taken));
        break;
      case "change":
        this.#withTaken(operation.which, (taken) => this.#change(taken));
        break;
      case "release":
        this.#withTaken(operation.which, (taken) => this.#release(taken));
        break;
      case "read":
        this.#target(operation).read();
        break;
      case "read-together":
        this.#target(operation).readTogether(operation.most);
        break;
      case "change-read":
        this.#target(operation).change(operation.which, this.#seed++);
        break;
      case "release-read":
        this.#target(operation).release(operation.which);
        break;
      case "close-writer":
        this.#target(operation).closeWriter();
        break;
      case "close-reader":
        this.#target(operation).closeReader(this.#taken[0]);
        break;
      case "reopen":
        this.#target(operation).reopen();
        break;
      case "next-camera":
        this.#nextCamera();
        break;
    }
  }

  #target({ target }: { target: number }): Target {
    return this.#targets[target]!;
  }

  #film(size: number): void {
    if (size > this.#camera.maxFrameSize) return;
    const content = { size, seed: this.#seed++ };
    if (this.#camera.tryWriteFrame(bytesOf(content))) this.#written.push(content);
    else expect(this.#isUsed).toBe(true);
  }

  #take(): void {
    const frame = this.#source.tryReadFrame();
    const content = this.#written.shift();
    expect(frame.isValid).toBe(content !== undefined);
    if (content !== undefined) this.#taken.push({ frame, content, isPassedOn: false, isPrivate: false });
  }

  /** What a relay does with each frame, from the one that is next. */
  #pass(size: number): void {
    this.#film(size);
    this.#take();
    const taken = this.#taken.at(-1);
    if (taken === undefined) return;
    for (const target of this.#targets) target.forward(taken);
    this.#release(taken);
  }

  #withTaken(which: number, act: (taken: Taken) => void): void {
    const taken = this.#taken[which % this.#taken.length];
    if (taken !== undefined) act(taken);
  }

  #change(taken: Taken): void {
    taken.content = { size: taken.content.size, seed: this.#seed++ };
    taken.isPrivate ||= taken.isPassedOn;
    taken.frame.getMutableSpan().set(bytesOf(taken.content));
  }

  #release(taken: Taken): void {
    taken.frame.release();
    this.#taken.splice(this.#taken.indexOf(taken), 1);
  }

  #nextCamera(): void {
    if (this.#isUsed) return;
    this.#camera.close();
    this.#camera = new Writer(this.#source.name, { writeTimeout: 0 });
  }

  /** Everything is read and released: the whole ring can be used again. */
  finish(): void {
    for (const taken of [...this.#taken]) this.#release(taken);
    while (this.#written.length > 0) {
      this.#take();
      this.#release(this.#taken[0]!);
    }
    for (const target of this.#targets) target.drain();
    this.#check();
    this.apply({ kind: "film", size: this.#camera.maxFrameSize });
    expect(this.#written.length).toBe(1);
  }

  close(): void {
    for (const target of this.#targets) target.close();
    this.#camera.close();
    this.#source.close();
  }
}

test("whatever is forwarded, held, changed, released and closed in any order, each target reads what it was sent", () => {
  fc.assert(
    fc.property(scenario, ({ sourceSize, targetSize, operations }) => {
      const model = new Model(sourceSize, targetSize);
      try {
        for (const operation of operations) model.apply(operation);
        model.finish();
      } finally {
        model.close();
      }
    }),
    { numRuns: 200 },
  );
}, 120_000);
