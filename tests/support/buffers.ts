// What tests of buffers share: names of their own, and the proof that nothing is left behind.

import { afterEach, beforeEach, expect } from "bun:test";
import { readdirSync } from "node:fs";

let count = 0;

/** A buffer name that no other test uses. */
export function uniqueName(): string {
  count++;
  return `${prefix}${count}`;
}

const prefix = `test-${process.pid}-`;

/** Other programs may use the same directories meanwhile. */
function ownNamesIn(directory: string): string[] {
  return namesIn(directory).filter((name) => name.includes(prefix));
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}

/** This test file's buffers and locks, and this process's open descriptors, as they are now. */
export function footprint(): { shm: string[]; locks: string[]; foreignLocks: string[]; descriptors: number } {
  return {
    shm: ownNamesIn("/dev/shm"),
    locks: ownNamesIn("/tmp/zerobuffer"),
    foreignLocks: ownNamesIn("/tmp/zerobuffer/locks"),
    descriptors: namesIn("/proc/self/fd").length,
  };
}

/** Every test of the file leaves shared memory, locks and descriptors as it found them. */
export function leavesNothingBehind(): void {
  let before: ReturnType<typeof footprint>;
  beforeEach(() => {
    before = footprint();
  });
  afterEach(async () => {
    // A stream that was cancelled closes its descriptor a turn of the event loop later.
    await eventually(() => footprint().descriptors <= before.descriptors);
    const after = footprint();
    expect({ ...after, descriptors: 0 }).toEqual({ ...before, descriptors: 0 });
    expect(after.descriptors).toBeLessThanOrEqual(before.descriptors);
  });
}

/** Waits until the condition holds; fails after `timeoutMs`. */
export async function eventually(condition: () => boolean, timeoutMs = 5000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`still not so after ${timeoutMs} ms: ${condition}`);
    await Bun.sleep(1);
  }
}

/** The error that `action` throws; fails if it throws none. */
export function thrownBy(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error(`nothing was thrown by ${action}`);
}

/** The error that a promise rejects with; fails if it resolves. */
export async function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    (value) => {
      throw new Error(`resolved to ${value}`);
    },
    (error: unknown) => error,
  );
}

/** `size` bytes whose values tell the frame they belong to. */
export function bytesOf(sequence: number, size: number): Uint8Array {
  const data = new Uint8Array(size);
  for (let i = 0; i < size; i++) data[i] = (sequence - 1 + i) & 0xff;
  return data;
}
