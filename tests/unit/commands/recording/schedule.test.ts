import { expect, test } from "bun:test";
import { Schedule } from "../../../../src/commands/recording/schedule.ts";

const MS = 1_000_000n;

test("frames are due at their times after the first one, however late another was", () => {
  let now = 500;
  const schedule = new Schedule(1, () => now);
  expect(schedule.waitMs(7000n * MS)).toBe(0);
  expect(schedule.waitMs(7010n * MS)).toBe(10);
  now = 525;
  expect(schedule.waitMs(7010n * MS)).toBe(-15);
  expect(schedule.latenessMs).toBe(15);
  expect(schedule.waitMs(7030n * MS)).toBe(5);
});

test.each([
  [2, 50],
  [0.5, 200],
  [Number.POSITIVE_INFINITY, 0],
])("at speed %p a tenth of a second takes %p ms", (speed, expected) => {
  const schedule = new Schedule(speed, () => 0);
  schedule.waitMs(0n);
  expect(schedule.waitMs(100n * MS)).toBe(expected);
  expect(schedule.latenessMs).toBeLessThanOrEqual(0);
});

test("after a restart the next frame is due at once", () => {
  const schedule = new Schedule(1, () => 0);
  schedule.waitMs(0n);
  schedule.restart();
  expect(schedule.latenessMs).toBe(0);
  expect(schedule.waitMs(9000n * MS)).toBe(0);
  expect(schedule.waitMs(9001n * MS)).toBe(1);
});

test("a recording that is older than the one before it follows at once", () => {
  let now = 0;
  const schedule = new Schedule(1, () => now);
  schedule.waitMs(5000n * MS);
  now = 100;
  expect(schedule.waitMs(1000n * MS)).toBe(0);
  expect(schedule.waitMs(1020n * MS)).toBe(20);
});

test("times that no clock has are no trouble", () => {
  const schedule = new Schedule(1, () => 0);
  schedule.waitMs(0n);
  expect(schedule.waitMs(2n ** 64n - 1n)).toBeCloseTo(2 ** 64 / 1e6, -6);
});
