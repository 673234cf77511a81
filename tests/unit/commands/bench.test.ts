import { describe, expect, test } from "bun:test";
import { framesPerLook, type WorkerSettings } from "../../../src/commands/bench/plan.ts";
import { Schedule, Span } from "../../../src/commands/bench/span.ts";

function settingsOf(some: Partial<WorkerSettings>): WorkerSettings {
  return {
    role: "source",
    work: "throughput",
    sink: 0,
    sharing: false,
    transport: "zerobuffer",
    frameSize: 64,
    rate: 0,
    length: { frames: 100, durationMs: 0 },
    wait: "adaptive",
    batchSize: 1,
    buffer: "",
    bufferSize: 4096,
    parent: process.ppid,
    input: 0,
    output: 0,
    ...some,
  };
}

/** Does what a source does, without sending anything. */
function runToEnd(span: Span): number {
  let done = 0;
  while (!span.isOver) {
    const count = span.next;
    span.add(count);
    done += count;
  }
  return done;
}

describe("a span", () => {
  test("counts as many frames as wanted, after a fifth more", () => {
    for (const frames of [1, 2, 5, 63, 64, 65, 1000]) {
      const span = new Span(settingsOf({ length: { frames, durationMs: 0 } }));
      expect(runToEnd(span)).toBe(frames + Math.ceil(frames / 5));
      expect(span.usage.frames).toBe(frames);
    }
  });

  test("counts them where they are added one by one, as they come", () => {
    const span = new Span(settingsOf({ length: { frames: 100, durationMs: 0 } }));
    for (let i = 0; i < 120; i++) {
      expect(span.counts).toBe(i >= 20);
      span.add(1);
    }
    expect(span.usage.frames).toBe(100);
  });

  test("lasts as long as wanted", () => {
    const span = new Span(settingsOf({ length: { frames: undefined, durationMs: 20 } }));
    runToEnd(span);
    const { seconds, frames, cpuSeconds, peakMemoryBytes } = span.usage;
    expect(seconds).toBeGreaterThanOrEqual(0.02);
    expect(frames % 64).toBe(0);
    expect(frames).toBeGreaterThan(0);
    expect(cpuSeconds).toBeGreaterThan(0);
    expect(peakMemoryBytes).toBeGreaterThan(1e6);
  });

  test("is over when the process that wanted it is gone", () => {
    const length = { frames: undefined, durationMs: 1e9 };
    const span = new Span(settingsOf({ length, parent: process.pid }));
    runToEnd(span);
    expect(span.counts).toBe(false);
  });

  test("looks at the clock after each frame that is paced or large, and seldom otherwise", () => {
    const frames = (frameSize: number, rate: number, batchSize = 1) =>
      framesPerLook({ frameSize, rate, batchSize });
    expect(frames(64, 30)).toBe(1);
    expect(frames(1_000_000, 0)).toBe(1);
    expect(frames(16_384, 0)).toBe(4);
    expect(frames(64, 0)).toBe(64);
    expect(frames(64, 0, 7)).toBe(70);
    expect(frames(1_000_000, 0, 7)).toBe(7);
  });

  test.each([64, 1024, 16_384, 1_000_000])(
    "handles %p-byte frames in whole calls, also in the warm-up",
    (frameSize) => {
      for (const length of [
        { frames: 70, durationMs: 0 },
        { frames: undefined, durationMs: 2 },
      ]) {
        const span = new Span(settingsOf({ frameSize, batchSize: 7, length }));
        while (!span.isOver) {
          expect(span.next % 7).toBe(0);
          span.add(span.next);
        }
        expect(span.usage.frames).toBeGreaterThan(0);
      }
    },
  );
});

describe("a schedule", () => {
  const intervalNs = 1e6;

  /** Counts from the first frame on. */
  function warmSpan(): Span {
    const span = new Span(settingsOf({ rate: 1000, length: { frames: 1000, durationMs: 0 } }));
    for (let i = 0; i < 200; i++) span.add(1);
    expect(span.counts).toBe(true);
    return span;
  }

  test("never lets a frame go before it is due", () => {
    const schedule = new Schedule(1000, warmSpan());
    const first = schedule.next();
    for (let i = 1; i < 20; i++) {
      expect(schedule.next()).toBeCloseTo(first + i * intervalNs, 0);
      expect(Bun.nanoseconds()).toBeGreaterThanOrEqual(first + i * intervalNs);
    }
  });

  test("tells when a frame was due, however late it is", () => {
    const schedule = new Schedule(1000, warmSpan());
    const first = schedule.next();
    Bun.sleepSync(20);
    const second = schedule.next();
    expect(second).toBeCloseTo(first + intervalNs, 0);
    expect(Bun.nanoseconds() - second).toBeGreaterThan(15e6);
  });

  test("begins anew when the warm-up is over", () => {
    const span = new Span(settingsOf({ rate: 1000, length: { frames: 5, durationMs: 0 } }));
    const schedule = new Schedule(1000, span);
    schedule.next();
    Bun.sleepSync(20);
    span.add(1);
    expect(span.counts).toBe(true);
    const calledAt = Bun.nanoseconds();
    expect(schedule.next()).toBeGreaterThanOrEqual(calledAt);
  });

  test("has everything due at once without a rate", () => {
    const schedule = new Schedule(0, warmSpan());
    const before = Bun.nanoseconds();
    for (let i = 0; i < 3; i++) expect(schedule.next()).toBeGreaterThanOrEqual(before);
  });
});
