import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FrameTooLargeError, InvalidFrameSizeError, ZeroBufferError } from "../../../src/core/errors.ts";
import {
  FRAMINGS,
  FrameJoiner,
  FrameSplitter,
  type Framing,
  type SplitterSizes,
} from "../../../src/frames/framing.ts";

/** What became of a stream: the frames in order, and the error that ended it if there was one. */
interface Outcome {
  frames: Uint8Array[];
  emptyLines: number;
  error?: string;
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function texts(frames: Uint8Array[]): string[] {
  return frames.map((frame) => new TextDecoder().decode(frame));
}

function record(data: Uint8Array, length = data.length): Uint8Array {
  const prefix = new Uint8Array(4);
  new DataView(prefix.buffer).setUint32(0, length, true);
  return Buffer.concat([prefix, data]);
}

/** Takes every frame that is there; the views, not copies. */
function drain(splitter: FrameSplitter): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (let frame = splitter.next(); frame !== undefined; frame = splitter.next()) frames.push(frame);
  return frames;
}

function fault(action: () => unknown): ZeroBufferError {
  try {
    action();
  } catch (error) {
    if (error instanceof ZeroBufferError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

/** Splits chunks that all pass through one piece of memory, overwritten as soon as that is allowed. */
function split(framing: Framing, sizes: SplitterSizes, chunks: Uint8Array[]): Outcome {
  const splitter = new FrameSplitter(framing, sizes);
  const memory = new Uint8Array(Math.max(0, ...chunks.map((chunk) => chunk.length)));
  const frames: Uint8Array[] = [];
  const takeAll = () => {
    for (let frame = splitter.next(); frame !== undefined; frame = splitter.next())
      frames.push(frame.slice());
  };
  try {
    for (const chunk of chunks) {
      memory.set(chunk);
      splitter.push(memory.subarray(0, chunk.length));
      takeAll();
      memory.fill(0xee);
    }
    splitter.end();
    takeAll();
    return { frames, emptyLines: splitter.emptyLines };
  } catch (error) {
    if (!(error instanceof ZeroBufferError) || error.code !== "IO_ERROR") throw error;
    return { frames, emptyLines: splitter.emptyLines, error: error.message };
  }
}

function cut(stream: Uint8Array, points: number[]): Uint8Array[] {
  const edges = [
    0,
    ...points.map((point) => point % (stream.length + 1)).sort((a, b) => a - b),
    stream.length,
  ];
  return edges.slice(1).map((edge, i) => stream.subarray(edges[i], edge));
}

function everyByte(stream: Uint8Array): Uint8Array[] {
  return Array.from(stream, (_, i) => stream.subarray(i, i + 1));
}

const SIZES: SplitterSizes = { frameSize: 7, maxFrameSize: 40 };

const cutPoints = fc.array(fc.nat({ max: 1000 }), { maxLength: 30 });
/** Bytes among which newlines are as common as everything else together. */
const newlineRich = fc.array(fc.oneof(fc.constant(0x0a), fc.nat({ max: 255 })), { maxLength: 300 });
const anyFrames = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 20 });
/** Records, then something that may be part of one, or none at all. */
const recordsAndMore = fc
  .tuple(anyFrames, fc.uint8Array({ maxLength: 20 }))
  .map(([frames, more]) => Buffer.concat([...frames.map((frame) => record(frame)), more]));
const STREAMS: Record<Framing, fc.Arbitrary<Uint8Array>> = {
  fixed: fc.uint8Array({ maxLength: 300 }),
  lines: fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    newlineRich.map((values) => Uint8Array.from(values)),
  ),
  "length-prefixed": fc.oneof(fc.uint8Array({ maxLength: 60 }), recordsAndMore),
};

describe.each(FRAMINGS.map((framing) => [framing]))("splitting a stream with the framing %s", (framing) => {
  test("gives the same frames and the same error wherever the stream is cut into chunks", () => {
    fc.assert(
      fc.property(STREAMS[framing], cutPoints, (stream, points) => {
        const whole = split(framing, SIZES, [stream]);
        expect(split(framing, SIZES, cut(stream, points))).toEqual(whole);
        expect(split(framing, SIZES, everyByte(stream))).toEqual(whole);
      }),
      { numRuns: 300 },
    );
  });

  test("gives no frame of no bytes and none above the maximum", () => {
    fc.assert(
      fc.property(STREAMS[framing], cutPoints, (stream, points) => {
        for (const frame of split(framing, SIZES, cut(stream, points)).frames) {
          expect(frame.length).toBeWithin(1, SIZES.maxFrameSize + 1);
        }
      }),
    );
  });

  test("keeps all frames of a chunk as they were until it is drained", () => {
    fc.assert(
      fc.property(STREAMS[framing], cutPoints, (stream, points) => {
        const splitter = new FrameSplitter(framing, SIZES);
        try {
          for (const chunk of cut(stream, points)) {
            splitter.push(chunk);
            const lent: { frame: Uint8Array; copy: Uint8Array }[] = [];
            for (let frame = splitter.next(); frame !== undefined; frame = splitter.next()) {
              lent.push({ frame, copy: frame.slice() });
              for (const earlier of lent) expect(Buffer.compare(earlier.frame, earlier.copy)).toBe(0);
            }
          }
        } catch (error) {
          if (!(error instanceof ZeroBufferError)) throw error;
        }
      }),
    );
  });

  test("gives nothing for an empty stream", () => {
    expect(split(framing, SIZES, [])).toEqual({ frames: [], emptyLines: 0 });
    expect(split(framing, SIZES, [new Uint8Array(0)])).toEqual({ frames: [], emptyLines: 0 });
  });

  test("goes on giving nothing after the last frame", () => {
    const splitter = new FrameSplitter(framing, SIZES);
    splitter.push(framing === "length-prefixed" ? record(bytes("abc")) : bytes("abc"));
    drain(splitter);
    splitter.end();
    drain(splitter);
    expect(splitter.next()).toBeUndefined();
  });

  test("refuses a chunk, and the end, while frames of the chunk before are left", () => {
    const splitter = new FrameSplitter(framing, SIZES);
    splitter.push(bytes("abcdefghijklmno\n"));
    expect(fault(() => splitter.push(bytes("x"))).code).toBe("INTERNAL");
    expect(fault(() => splitter.end()).code).toBe("INTERNAL");
  });

  test("refuses a chunk, and a second end, after the end", () => {
    const splitter = new FrameSplitter(framing, SIZES);
    splitter.end();
    expect(fault(() => splitter.push(bytes("x"))).code).toBe("INTERNAL");
    expect(fault(() => splitter.end()).code).toBe("INTERNAL");
  });
});

describe("fixed frames", () => {
  test("all have the frame size but the last, which holds what is left", () => {
    const { frames } = split("fixed", { frameSize: 4, maxFrameSize: 4 }, [bytes("abcdefghij")]);
    expect(texts(frames)).toEqual(["abcd", "efgh", "ij"]);
  });

  test("are no more than the stream holds where it is a multiple of the frame size", () => {
    const { frames } = split("fixed", { frameSize: 4, maxFrameSize: 4 }, [bytes("abcdefgh")]);
    expect(texts(frames)).toEqual(["abcd", "efgh"]);
  });

  test("need a size that is a whole number of at least 1", () => {
    for (const frameSize of [0, -1, 1.5, Number.NaN, undefined]) {
      const sizes = frameSize === undefined ? { maxFrameSize: 10 } : { frameSize, maxFrameSize: 10 };
      expect(() => new FrameSplitter("fixed", sizes)).toThrow(InvalidFrameSizeError);
    }
  });

  test("cannot be larger than the maximum", () => {
    expect(() => new FrameSplitter("fixed", { frameSize: 11, maxFrameSize: 10 })).toThrow(FrameTooLargeError);
    expect(() => new FrameSplitter("fixed", { frameSize: 10, maxFrameSize: 10 })).not.toThrow();
  });
});

describe("lines", () => {
  const sizes = { maxFrameSize: 10 };

  test("are frames without their newline, and the last one needs none", () => {
    expect(texts(split("lines", sizes, [bytes("one\ntwo\nthree")]).frames)).toEqual(["one", "two", "three"]);
    expect(texts(split("lines", sizes, [bytes("one\ntwo\nthree\n")]).frames)).toEqual([
      "one",
      "two",
      "three",
    ]);
  });

  test("keep a carriage return and every other byte", () => {
    const { frames } = split("lines", sizes, [Uint8Array.of(0, 0x0d, 0x0a, 0xff, 0x8a, 0x0a)]);
    expect(frames).toEqual([Uint8Array.of(0, 0x0d), Uint8Array.of(0xff, 0x8a)]);
  });

  test("are skipped and counted where they are empty", () => {
    const { frames, emptyLines } = split("lines", sizes, [bytes("\n\none\n"), bytes("\ntwo\n\n\n")]);
    expect(texts(frames)).toEqual(["one", "two"]);
    expect(emptyLines).toBe(5);
  });

  test("may be as long as the maximum, with and without a newline", () => {
    const { frames, error } = split("lines", sizes, [bytes("0123456789\nabcdefghij")]);
    expect(error).toBeUndefined();
    expect(texts(frames)).toEqual(["0123456789", "abcdefghij"]);
  });

  test("that are too long are refused by their byte offset, after the frames before them", () => {
    for (const line of ["0123456789x\n", "0123456789x"]) {
      const outcome = split("lines", sizes, [bytes("one\n\ntwo\n"), bytes(line)]);
      expect(texts(outcome.frames)).toEqual(["one", "two"]);
      expect(outcome.error).toContain("byte offset 9 ");
      expect(outcome.error).toContain("10 bytes");
    }
  });

  test("that are too long are refused before their end is there, and again on every call", () => {
    const splitter = new FrameSplitter("lines", sizes);
    splitter.push(bytes("a\n0123456789"));
    expect(texts(drain(splitter))).toEqual(["a"]);
    splitter.push(bytes("x"));
    for (let call = 0; call < 3; call++) {
      const error = fault(() => splitter.next());
      expect(error.code).toBe("IO_ERROR");
      expect(error.message).toContain("byte offset 2 ");
      expect(error.hint).toBeString();
    }
  });
});

describe("length-prefixed records", () => {
  const sizes = { maxFrameSize: 10 };

  test("are their bytes, after a 32-bit little-endian length", () => {
    const stream = Uint8Array.of(3, 0, 0, 0, 1, 2, 3, 1, 0, 0, 0, 9);
    expect(split("length-prefixed", sizes, [stream]).frames).toEqual([
      Uint8Array.of(1, 2, 3),
      Uint8Array.of(9),
    ]);
  });

  test("may have lengths that take more than one byte of the prefix", () => {
    const data = new Uint8Array(0x010203).fill(7);
    const { frames } = split("length-prefixed", { maxFrameSize: data.length }, [record(data), record(data)]);
    expect(frames).toEqual([data, data]);
  });

  test("cut short by the stream's end are refused by their byte offset, after the frames before them", () => {
    const good = Buffer.concat([record(bytes("one")), record(bytes("four"))]);
    for (const rest of [record(bytes("ab"), 5), record(bytes(""), 5)]) {
      const outcome = split("length-prefixed", sizes, [good, rest]);
      expect(texts(outcome.frames)).toEqual(["one", "four"]);
      expect(outcome.error).toContain("byte offset 15 ");
      expect(outcome.error).toContain(`${rest.length - 4} of its 5 bytes`);
    }
  });

  test("cut short within the prefix are refused by their byte offset, after the frames before them", () => {
    for (const size of [1, 2, 3]) {
      const outcome = split("length-prefixed", sizes, [record(bytes("one")), new Uint8Array(size)]);
      expect(texts(outcome.frames)).toEqual(["one"]);
      expect(outcome.error).toContain("byte offset 7 ");
      expect(outcome.error).toContain(`${size} of the 4 bytes`);
    }
  });

  test("cut short are refused on every call after the end, not only on the first", () => {
    for (const rest of [Uint8Array.of(1), record(bytes("a"), 2)]) {
      const splitter = new FrameSplitter("length-prefixed", sizes);
      splitter.push(rest);
      expect(splitter.next()).toBeUndefined();
      splitter.end();
      for (let call = 0; call < 3; call++) expect(fault(() => splitter.next()).code).toBe("IO_ERROR");
    }
  });

  test("of length 0 are refused by their byte offset, after the frames before them", () => {
    const outcome = split("length-prefixed", sizes, [
      Buffer.concat([record(bytes("one")), record(bytes(""))]),
    ]);
    expect(texts(outcome.frames)).toEqual(["one"]);
    expect(outcome.error).toContain("byte offset 7 ");
    expect(outcome.error).toContain("length of 0");
  });

  test("may be as long as the maximum, and no longer", () => {
    const largest = record(bytes("0123456789"));
    const outcome = split("length-prefixed", sizes, [largest, record(bytes("0123456789x"))]);
    expect(texts(outcome.frames)).toEqual(["0123456789"]);
    expect(outcome.error).toContain("byte offset 14 ");
    expect(outcome.error).toContain("length of 11,");
  });

  test("that are too large are refused as soon as their prefix is there, and again on every call", () => {
    for (const length of [11, 2 ** 31, 2 ** 32 - 1]) {
      const splitter = new FrameSplitter("length-prefixed", sizes);
      const prefix = record(new Uint8Array(0), length);
      splitter.push(prefix.subarray(0, 3));
      expect(splitter.next()).toBeUndefined();
      splitter.push(prefix.subarray(3));
      for (let call = 0; call < 3; call++) {
        const error = fault(() => splitter.next());
        expect(error.code).toBe("IO_ERROR");
        expect(error.message).toContain("byte offset 0 ");
        expect(error.message).toContain(`length of ${length},`);
        expect(error.hint).toBeString();
      }
    }
  });
});

describe("the memory of a splitter", () => {
  const STREAM_OF: Record<Framing, (data: Uint8Array) => Uint8Array> = {
    fixed: (data) => data,
    lines: (data) => Buffer.concat([data, bytes("\n")]),
    "length-prefixed": (data) => record(data),
  };

  test.each(FRAMINGS.map((framing) => [framing]))(
    "is the chunk's own for %s frames within one chunk",
    (framing) => {
      const splitter = new FrameSplitter(framing, { frameSize: 3, maxFrameSize: 10 });
      const data = [bytes("one"), bytes("two"), bytes("six")];
      const chunk = new Uint8Array(Buffer.concat(data.map(STREAM_OF[framing])));
      splitter.push(chunk);
      const frames = drain(splitter);
      expect(frames).toEqual(data);
      for (const frame of frames) expect(frame.buffer).toBe(chunk.buffer);
    },
  );

  test.each(FRAMINGS.map((framing) => [framing]))("doubles as the bytes of %s frames arrive", (framing) => {
    const size = 1000;
    const splitter = new FrameSplitter(framing, { frameSize: size, maxFrameSize: 2 ** 30 });
    const data = new Uint8Array(size).fill(65);
    const frames: Uint8Array[] = [];
    for (const chunk of everyByte(STREAM_OF[framing](data))) {
      splitter.push(chunk);
      frames.push(...drain(splitter));
    }
    expect(frames).toEqual([data]);
    // With no room to grow into, each byte would have cost a copy of all before it.
    expect(frames[0]?.buffer.byteLength).toBeWithin(size + 1, 2 * size + 1);
  });

  test.each(FRAMINGS.map((framing) => [framing]))(
    "never collects more than the largest %s frame",
    (framing) => {
      const sizes = { frameSize: 1000, maxFrameSize: 1000 };
      const splitter = new FrameSplitter(framing, sizes);
      const stream = Buffer.concat(
        Array.from({ length: 50 }, () => STREAM_OF[framing](new Uint8Array(1000).fill(65))),
      );
      const buffers = new Set<ArrayBufferLike>();
      for (let offset = 0; offset < stream.length; offset += 600) {
        splitter.push(new Uint8Array(stream.subarray(offset, offset + 600)));
        for (const frame of drain(splitter)) buffers.add(frame.buffer);
      }
      for (const buffer of buffers) expect(buffer.byteLength).toBeLessThanOrEqual(sizes.maxFrameSize);
      // It is the same buffer for all frames once it has the size.
      expect(buffers.size).toBeLessThan(5);
    },
  );
});

describe.each(FRAMINGS.map((framing) => [framing]))("joining frames with the framing %s", (framing) => {
  const FRAME_SIZE = 8;
  /** Frames that the framing can tell apart: of one size but for the last, or without newlines. */
  const joinable: Record<Framing, fc.Arbitrary<Uint8Array[]>> = {
    fixed: fc
      .tuple(
        fc.array(fc.uint8Array({ minLength: FRAME_SIZE, maxLength: FRAME_SIZE }), { maxLength: 20 }),
        fc.array(fc.uint8Array({ minLength: 1, maxLength: FRAME_SIZE - 1 }), { maxLength: 1 }),
      )
      .map(([frames, last]) => [...frames, ...last]),
    lines: anyFrames.map((frames) =>
      frames.map((frame) => frame.map((byte) => (byte === 0x0a ? 0x0b : byte))),
    ),
    "length-prefixed": anyFrames,
  };

  function join(frames: Uint8Array[], capacity: number): Uint8Array[] {
    const joiner = new FrameJoiner(framing, capacity);
    const written: Uint8Array[] = [];
    for (const frame of frames) {
      if (!joiner.append(frame)) written.push(...joiner.takeWith(frame).map((piece) => piece.slice()));
    }
    written.push(joiner.take().slice());
    return written;
  }

  test("is undone by splitting, whatever the capacity", () => {
    fc.assert(
      fc.property(joinable[framing], fc.nat({ max: 100 }), (frames, capacity) => {
        const sizes = { frameSize: FRAME_SIZE, maxFrameSize: 40 };
        expect(split(framing, sizes, join(frames, capacity))).toEqual({ frames, emptyLines: 0 });
      }),
    );
  });

  test("writes the same bytes whether the frames fit the buffer or not", () => {
    fc.assert(
      fc.property(joinable[framing], fc.nat({ max: 100 }), (frames, capacity) => {
        expect(Buffer.concat(join(frames, capacity))).toEqual(Buffer.concat(join(frames, 10_000)));
      }),
    );
  });

  test("gathers frames up to exactly the capacity and says when one does not fit", () => {
    const frame = bytes("abcdef");
    const framed = Buffer.concat(join([frame], 100)).length;
    const joiner = new FrameJoiner(framing, 2 * framed);
    expect([joiner.append(frame), joiner.append(frame), joiner.append(frame)]).toEqual([true, true, false]);
    expect(joiner.size).toBe(2 * framed);
    expect(Buffer.concat([joiner.take()])).toEqual(Buffer.concat(join([frame, frame], 100)));
    expect(joiner.size).toBe(0);
    expect(joiner.append(frame)).toBe(true);
  });

  test("copies what is appended, so that the frame can be released at once", () => {
    const joiner = new FrameJoiner(framing, 100);
    const frame = bytes("abcdef");
    joiner.append(frame);
    frame.fill(0);
    expect(Buffer.concat([joiner.take()])).toEqual(Buffer.concat(join([bytes("abcdef")], 100)));
  });

  test("does not copy a frame that is taken with the rest", () => {
    const joiner = new FrameJoiner(framing, 16);
    const frame = new Uint8Array(1000);
    joiner.append(bytes("abc"));
    const pieces = joiner.takeWith(frame);
    expect(pieces.some((piece) => piece === frame)).toBe(true);
    expect(pieces.every((piece) => piece.length > 0)).toBe(true);
    expect(joiner.take()).toHaveLength(0);
  });

  test("leaves what was taken alone while the next bytes are appended, until the next take", () => {
    const joiner = new FrameJoiner(framing, 16);
    for (const letter of ["a", "b", "c", "d"]) {
      const frame = bytes(letter.repeat(10));
      joiner.append(frame);
      const taken = joiner.take();
      const copy = taken.slice();
      expect(joiner.append(bytes("0123456789"))).toBe(true);
      expect(taken).toEqual(copy);
      joiner.take();
    }
  });
});

test("a joiner writes fixed frames as they are, lines with a newline, and records after their length", () => {
  const written = (framing: Framing) => {
    const joiner = new FrameJoiner(framing);
    joiner.append(bytes("abc"));
    joiner.append(bytes("d"));
    return [...joiner.take()];
  };
  expect(written("fixed")).toEqual([0x61, 0x62, 0x63, 0x64]);
  expect(written("lines")).toEqual([0x61, 0x62, 0x63, 0x0a, 0x64, 0x0a]);
  expect(written("length-prefixed")).toEqual([3, 0, 0, 0, 0x61, 0x62, 0x63, 1, 0, 0, 0, 0x64]);
});

test("a joiner writes all four bytes of a length, little-endian", () => {
  const frame = new Uint8Array(0x01020304);
  const [prefix] = new FrameJoiner("length-prefixed", 16).takeWith(frame);
  expect(prefix).toEqual(Uint8Array.of(4, 3, 2, 1));
});

describe("a frame of 4 GiB", () => {
  // Its bytes are never looked at.
  const frame = { length: 2 ** 32 } as Uint8Array;

  test("is refused after a length prefix, which holds one byte less, and nothing is taken", () => {
    const joiner = new FrameJoiner("length-prefixed", 16);
    joiner.append(bytes("abc"));
    expect(joiner.append(frame)).toBe(false);
    const error = fault(() => joiner.takeWith(frame));
    expect(error).toBeInstanceOf(FrameTooLargeError);
    expect(error.message).toContain("4294967296 bytes");
    expect(error.message).toContain("up to 4294967295");
    expect([...joiner.take()]).toEqual([3, 0, 0, 0, 0x61, 0x62, 0x63]);
    const [prefix] = joiner.takeWith({ length: 2 ** 32 - 1 } as Uint8Array);
    expect(prefix).toEqual(Uint8Array.of(255, 255, 255, 255));
  });

  test.each([["fixed"], ["lines"]] as const)("is joined with the framing %s", (framing) => {
    const joiner = new FrameJoiner(framing, 16);
    expect(joiner.append(frame)).toBe(false);
    expect(joiner.takeWith(frame)).toContain(frame);
  });
});

test("a joiner gathers 1 MiB where no capacity is given", () => {
  const joiner = new FrameJoiner("fixed");
  expect(joiner.append(new Uint8Array(1024 * 1024))).toBe(true);
  expect(joiner.append(new Uint8Array(1))).toBe(false);
});
