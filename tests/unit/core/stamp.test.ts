import { expect, test } from "bun:test";
import { ageUs, readStamp, STAMP_SIZE, stampFrame } from "../../../src/core/index.ts";
import { thrownBy } from "../../support/buffers.ts";

test("a stamp is three little-endian numbers before the bytes of a frame", () => {
  const frame = new Uint8Array(30).fill(9);
  stampFrame(frame, { number: 3n, time: 0x0102030405060708n, exposure: 5n });
  expect([...frame]).toEqual([
    ...[3, 0, 0, 0, 0, 0, 0, 0],
    ...[8, 7, 6, 5, 4, 3, 2, 1],
    ...[5, 0, 0, 0, 0, 0, 0, 0],
    ...[9, 9, 9, 9, 9, 9],
  ]);
  expect(readStamp(frame)).toEqual({ number: 3n, time: 0x0102030405060708n, exposure: 5n });
});

test("a stamp has the system's time, and no exposure, unless it is told", () => {
  const frame = new Uint8Array(STAMP_SIZE);
  const before = Date.now();
  stampFrame(frame, { number: 0n });
  const after = Date.now();
  const { time, exposure } = readStamp(frame);
  const ms = Number(time / 1_000_000n);
  expect(ms).toBeGreaterThanOrEqual(before);
  expect(ms).toBeLessThanOrEqual(after);
  expect(exposure).toBe(2n ** 64n - 1n);
});

test("a stamp is written into a part of memory, and nothing around it", () => {
  const memory = new Uint8Array(40);
  stampFrame(memory.subarray(8, 34), { number: 2n ** 64n - 1n, time: 0n, exposure: 0n });
  expect([...memory.subarray(0, 8)]).toEqual(new Array(8).fill(0));
  expect(readStamp(memory.subarray(8)).number).toBe(2n ** 64n - 1n);
});

test("the age of a stamp is the time since", () => {
  const now = BigInt(Date.now()) * 1_000_000n;
  expect(ageUs({ time: now - 5_000_000_000n })).toBeGreaterThanOrEqual(4_990_000);
  expect(ageUs({ time: now + 60_000_000_000n })).toBeLessThan(0);
});

test("a frame that is too short has no stamp", () => {
  const short = new Uint8Array(STAMP_SIZE - 1);
  expect(thrownBy(() => readStamp(short))).toBeInstanceOf(RangeError);
  expect(thrownBy(() => stampFrame(short, { number: 1n }))).toBeInstanceOf(RangeError);
  expect([...short]).toEqual(new Array(STAMP_SIZE - 1).fill(0));
});
