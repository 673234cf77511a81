import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  Assembly,
  HEADER_ROOM,
  HEADERS,
  newRun,
  type PartMark,
  partCount,
  partHeaders,
  Runs,
  readMark,
  readPart,
} from "../../../src/frames/wire.ts";

const run = newRun();
const source = (headers: Readonly<Record<string, string>>) => (name: string) => headers[name] ?? "";

/** The parts of a frame, as a publisher sends them. */
function partsOf(sequence: number, size: number, room: number): { mark: PartMark; length: number }[] {
  const parts = partCount(size, room);
  const partSize = Math.ceil(size / parts);
  return Array.from({ length: parts }, (_, i) => ({
    mark: { run, sequence, size, part: i + 1, parts, timeUs: 1 },
    length: Math.min(partSize, size - i * partSize),
  }));
}

describe("headers", () => {
  test("say what was written, and fit their room, whatever the numbers", () => {
    const whole = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
    fc.assert(
      fc.property(whole, fc.integer({ min: 1, max: 2 ** 32 }), fc.nat(1e15), (sequence, size, timeUs) => {
        const mark = { run, sequence, size, part: 1, parts: 1, timeUs };
        const headers = partHeaders(mark);
        expect(readPart(source(headers), size)).toEqual(mark);
        // As a NATS client writes them, with the header of JetStream that tells messages apart.
        const lines = [...Object.entries(headers), ["Nats-Msg-Id", `${run}-${sequence}-${size}`]];
        const bytes = lines.reduce((sum, [name, value]) => sum + `${name}: ${value}\r\n`.length, 12);
        expect(bytes).toBeLessThan(HEADER_ROOM);
      }),
    );
  });

  const good = { run, sequence: 7, size: 10, part: 2, parts: 3, timeUs: 5 };
  test.each<[string, Record<string, string>, number]>([
    ["no run", { [HEADERS.run]: "" }, 4],
    ["a run of other characters", { [HEADERS.run]: "x".repeat(32) }, 4],
    ["a run that is too long", { [HEADERS.run]: "a".repeat(33) }, 4],
    ["frame number 0", { [HEADERS.sequence]: "0" }, 4],
    ["a negative number", { [HEADERS.sequence]: "-1" }, 4],
    ["a number that is not exact", { [HEADERS.sequence]: "9007199254740993" }, 4],
    ["a number of another kind", { [HEADERS.sequence]: "1e3" }, 4],
    ["no size", { [HEADERS.size]: "" }, 4],
    ["a size of 0", { [HEADERS.size]: "0" }, 4],
    ["fewer bytes than parts", { [HEADERS.size]: "2" }, 1],
    ["a part that is not among them", { [HEADERS.part]: "4/3" }, 4],
    ["part 0", { [HEADERS.part]: "0/3" }, 4],
    ["parts without a number", { [HEADERS.part]: "2" }, 4],
    ["a whole frame of another size", { [HEADERS.part]: "1/1" }, 4],
    ["as many bytes as the frame in one of several parts", {}, 10],
    ["no bytes", {}, 0],
  ])("are refused with %s", (_, wrong, length) => {
    expect(readPart(source({ ...partHeaders(good), ...wrong }), length)).toBeUndefined();
    expect(readPart(source(partHeaders(good)), 4)).toEqual(good);
  });

  test("never make reading fail, nor sizes that are no sizes", () => {
    const text = fc.oneof(
      fc.string(),
      fc.string({ unit: fc.constantFrom(..."0123456789/") }),
      fc.constant(run),
    );
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom(...Object.values(HEADERS)), text),
        fc.nat(),
        (headers, length) => {
          const mark = readPart(source(headers), length);
          if (mark === undefined) return;
          expect(Number.isSafeInteger(mark.size) && mark.size >= length && length > 0).toBe(true);
          expect(readMark(source(headers))).toMatchObject({ run: mark.run, sequence: mark.sequence });
        },
      ),
    );
  });

  test("tell no age if the time is malformed", () => {
    expect(readPart(source({ ...partHeaders(good), [HEADERS.time]: "soon" }), 4)?.timeUs).toBeNaN();
  });
});

/** Feeds parts to an assembly, and puts bytes into frames as a receiver does: the sizes of those that became whole. */
class Sink {
  readonly whole: { sequence: number; size: number }[] = [];
  #place: { sequence: number; filled: number } | undefined;

  constructor(readonly assembly: Assembly) {}

  take({ mark, length }: { mark: PartMark; length: number }): string {
    const verdict = this.assembly.take(mark, length);
    if (verdict.kind === "put") {
      if (verdict.isFirst) this.#place = { sequence: mark.sequence, filled: 0 };
      // Bytes never lie outside of the frame, and each has its own place.
      expect(verdict.offset).toBe(this.#place!.filled);
      expect(mark.sequence).toBe(this.#place!.sequence);
      this.#place!.filled += length;
      expect(this.#place!.filled).toBeLessThanOrEqual(mark.size);
      if (verdict.isLast) {
        expect(this.#place!.filled).toBe(mark.size);
        this.whole.push({ sequence: mark.sequence, size: mark.size });
        this.#place = undefined;
      }
    } else if (!this.assembly.isOpen) this.#place = undefined;
    expect(this.assembly.isOpen).toBe(this.#place !== undefined);
    return verdict.kind;
  }
}

const sizesOfFrames = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 30 });
const room = fc.integer({ min: 1, max: 40 });

describe("frames", () => {
  test("in any parts are put together, each once", () => {
    fc.assert(
      fc.property(sizesOfFrames, room, (sizes, room) => {
        const sink = new Sink(new Assembly(0));
        sizes.forEach((size, i) => {
          for (const part of partsOf(i + 1, size, room)) expect(sink.take(part)).toBe("put");
        });
        expect(sink.whole).toEqual(sizes.map((size, i) => ({ sequence: i + 1, size })));
        expect(sink.assembly).toMatchObject({ lost: 0, torn: 0, duplicates: 0 });
      }),
    );
  });

  test("of which messages are missing are dropped whole, and the counts add up", () => {
    fc.assert(
      fc.property(sizesOfFrames, room, fc.func(fc.integer({ min: 0, max: 9 })), (sizes, room, fate) => {
        const sink = new Sink(new Assembly(0));
        const complete: number[] = [];
        sizes.forEach((size, i) => {
          const parts = partsOf(i + 1, size, room);
          const arriving = parts.filter(({ mark }) => fate(mark.sequence, mark.part) > 0);
          for (const part of arriving) sink.take(part);
          if (arriving.length === parts.length) complete.push(i + 1);
        });
        sink.assembly.noteLast(sizes.length);
        expect(sink.whole.map(({ sequence }) => sequence)).toEqual(complete);
        expect(sink.assembly.lost).toBe(sizes.length - complete.length);
        expect(sink.assembly.torn).toBeLessThanOrEqual(sink.assembly.lost);
      }),
    );
  });

  test("that are sent again from any point on, any number of times, come once", () => {
    fc.assert(
      fc.property(
        sizesOfFrames,
        room,
        fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 6 }),
        (sizes, room, outages) => {
          const messages = sizes.flatMap((size, i) => partsOf(i + 1, size, room));
          const sink = new Sink(new Assembly(0));
          let at = 0;
          for (const [on, back] of outages) {
            const until = Math.min(messages.length, at + (on % 20));
            for (; at < until; at++) sink.take(messages[at]!);
            // An outage: everything is sent again from the beginning of a frame on that was not confirmed.
            at = Math.max(0, at - (back % 20));
            while (at > 0 && messages[at]?.mark.part !== 1) at--;
          }
          for (; at < messages.length; at++) sink.take(messages[at]!);
          expect(sink.whole.map(({ sequence }) => sequence)).toEqual(sizes.map((_, i) => i + 1));
          expect(sink.assembly).toMatchObject({ lost: 0, torn: 0 });
        },
      ),
    );
  });

  test("from a hostile publisher never leave their place", () => {
    const hostile = fc.record({
      sequence: fc.integer({ min: 1, max: 4 }),
      size: fc.integer({ min: 1, max: 12 }),
      part: fc.integer({ min: 1, max: 4 }),
      parts: fc.integer({ min: 1, max: 4 }),
      length: fc.integer({ min: 1, max: 12 }),
    });
    fc.assert(
      fc.property(fc.array(hostile, { maxLength: 60 }), (messages) => {
        const sink = new Sink(new Assembly(0));
        for (const { length, ...fields } of messages) {
          const headers = partHeaders({ run, timeUs: 1, ...fields });
          const mark = readPart(source(headers), length);
          if (mark !== undefined) sink.take({ mark, length });
        }
        // Each frame at most once.
        const numbers = sink.whole.map(({ sequence }) => sequence);
        expect(new Set(numbers).size).toBe(numbers.length);
      }),
      { numRuns: 500 },
    );
  });

  test("before the first one that is seen are not lost, nor is one whose beginning was not seen", () => {
    const sink = new Sink(new Assembly(undefined));
    expect(sink.take(partsOf(5, 30, 10)[1]!)).toBe("skip");
    expect(sink.take(partsOf(5, 30, 10)[2]!)).toBe("skip");
    for (const part of partsOf(6, 30, 10)) expect(sink.take(part)).toBe("put");
    expect(sink.assembly).toMatchObject({ lost: 0, torn: 0 });
    sink.take(partsOf(9, 1, 10)[0]!);
    expect(sink.assembly.lost).toBe(2);
  });

  test("that are given up are neither lost nor twice there", () => {
    const sink = new Sink(new Assembly(0));
    const [first, ...others] = partsOf(1, 30, 10);
    sink.take(first!);
    sink.assembly.giveUp();
    for (const part of others) expect(sink.assembly.take(part.mark, part.length).kind).toBe("skip");
    expect(sink.assembly).toMatchObject({ lost: 0, torn: 0, duplicates: 0 });
  });

  test("that are passed over are not lost, but what is missing between them is", () => {
    const assembly = new Assembly(10);
    assembly.pass(12, 20, 5);
    expect(assembly.lost).toBe(1 + 4);
    expect(assembly.take(partsOf(21, 1, 1)[0]!.mark, 1).kind).toBe("put");
    expect(assembly.lost).toBe(5);
  });

  test("are not counted as lost where others get some of them, but torn ones are told", () => {
    const assembly = new Assembly(0, { seesAll: false });
    assembly.take(partsOf(3, 30, 10)[0]!.mark, 10);
    assembly.take(partsOf(7, 30, 10)[0]!.mark, 10);
    expect(assembly).toMatchObject({ lost: 0, torn: 1 });
  });

  test("that contradict their first part are refused", () => {
    const [first, second] = partsOf(1, 30, 10);
    const assembly = new Assembly(0);
    assembly.take(first!.mark, 10);
    expect(assembly.take({ ...second!.mark, size: 31 }, 10).kind).toBe("refuse");
    expect(assembly.take({ ...second!.mark, parts: 4 }, 10).kind).toBe("refuse");
    // More bytes than there is room for: the frame is given up.
    expect(assembly.take(second!.mark, 20).kind).toBe("refuse");
    expect(assembly).toMatchObject({ isOpen: false, lost: 1, torn: 1 });
  });
});

describe("of several runs", () => {
  const [first, second, third] = [newRun(), newRun(), newRun()];

  test("the first one is received until it has ended", () => {
    const runs = new Runs(5000);
    expect(runs.standingOf(first)).toBe("free");
    runs.adopt(first);
    expect(runs.standingOf(first)).toBe("current");
    runs.end();
    expect(runs.standingOf(second)).toBe("free");
  });

  test("another one waits, and is refused once the first one is heard", () => {
    const runs = new Runs(5000);
    runs.adopt(first);
    expect(runs.standingOf(second)).toBe("undecided");
    runs.hear(second);
    expect(runs.standingOf(second)).toBe("undecided");
    runs.hear(first);
    expect(runs.standingOf(second)).toBe("refused");
    expect(runs.standingOf(third)).toBe("undecided");
  });

  test("another one is received once the first one is dead", () => {
    const runs = new Runs(5000);
    runs.adopt(first);
    runs.pass(4999);
    expect(runs).toMatchObject({ isDead: false });
    expect(runs.standingOf(second)).toBe("undecided");
    runs.pass(1);
    expect(runs).toMatchObject({ isDead: true });
    expect(runs.standingOf(second)).toBe("free");
    runs.adopt(second);
    expect(runs).toMatchObject({ isDead: false, current: second });
  });

  test("silence does not count while signs of life cannot come", () => {
    const runs = new Runs(5000);
    runs.adopt(first);
    runs.pass(4999);
    runs.forgive();
    runs.pass(4999);
    expect(runs.isDead).toBe(false);
  });

  test("one may be received sooner than its predecessor is dead, if the broker keeps the order", () => {
    const runs = new Runs(5000, 2500);
    runs.adopt(first);
    runs.pass(3000);
    expect(runs.standingOf(second)).toBe("undecided");
    runs.pass(2500);
    expect(runs.standingOf(second)).toBe("free");
  });
});
