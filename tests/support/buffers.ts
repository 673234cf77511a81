// What tests of buffers share: names of their own, what these names have left, and waiting for a condition.

import { closeSync, existsSync, openSync, readdirSync, readlinkSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { OIEB_SIZE } from "../../src/core/config.ts";

/** The limit of every wait in the tests. Nothing takes this long, however busy the machine is. */
export const WAIT_LIMIT_MS = 60_000;

/** Where the OIEB keeps `payload_free_bytes` (docs/protocol.md, section 1). */
const PAYLOAD_FREE_OFFSET = 40;

const prefix = `test-${process.pid}-`;
let count = 0;

/** A buffer name that no other test uses. */
export function uniqueName(): string {
  count++;
  return `${prefix}${count}`;
}

/** The files of the buffers that this test process has named, in shared memory and among the locks. */
export function filesOfBuffers(): string[] {
  return ["/dev/shm", "/tmp/zerobuffer", "/tmp/zerobuffer/locks"]
    .flatMap((directory) => entriesOf(directory).map((entry) => join(directory, entry)))
    .filter((path) => path.includes(prefix))
    .sort();
}

/** What the open descriptors of this process refer to, without those that its runtime makes when it first needs them. */
export function openDescriptors(): string[] {
  return entriesOf("/proc/self/fd").flatMap((descriptor) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${descriptor}`);
      return /^anon_inode:\[(eventpoll|eventfd|timerfd)\]$|^\/proc\//.test(target) ? [] : [target];
    } catch {
      return [];
    }
  });
}

function entriesOf(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** Waits until a reader has made the buffer: it stores the size of the control block last. */
export async function bufferMade(name: string): Promise<void> {
  await eventually(() => BigInt.asUintN(32, fieldOf(name, 0) ?? 0n) === BigInt(OIEB_SIZE));
}

/** Waits until a buffer has no room for a frame of this size. */
export async function bufferFull(name: string, frameSize: number): Promise<void> {
  await eventually(() => Number(fieldOf(name, PAYLOAD_FREE_OFFSET)) < frameSize + 16);
}

/** A field of eight bytes of a buffer's control block; undefined if it is not there. */
export function fieldOf(name: string, offset: number): bigint | undefined {
  const path = `/dev/shm/${name}`;
  if (!existsSync(path)) return undefined;
  const descriptor = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(8);
    return readSync(descriptor, bytes, 0, 8, offset) === 8 ? bytes.readBigUInt64LE() : undefined;
  } finally {
    closeSync(descriptor);
  }
}

/** Puts a value into a field of eight bytes of a buffer's control block. */
export function setField(name: string, offset: number, value: bigint): void {
  const descriptor = openSync(`/dev/shm/${name}`, "r+");
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  writeSync(descriptor, bytes, 0, 8, offset);
  closeSync(descriptor);
}

/** Waits until the condition holds. */
export async function eventually(condition: () => boolean, limitMs = WAIT_LIMIT_MS): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`still not so after ${limitMs} ms: ${condition}`);
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

/** Pseudo-random bytes, the same every time. */
export function pseudoRandom(size: number): Buffer {
  const result = Buffer.alloc(size);
  let state = size >>> 0 || 1;
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    result[i] = state >>> 24;
  }
  return result;
}

/** Counts the listeners that are on a signal: returns how many more there are than at the call. */
export function listenersOn(signal: AbortSignal): () => number {
  let listeners = 0;
  const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
  signal.addEventListener = (...parameters: Parameters<typeof add>) => {
    listeners++;
    add(...parameters);
  };
  signal.removeEventListener = (...parameters: Parameters<typeof remove>) => {
    listeners--;
    remove(...parameters);
  };
  return () => listeners;
}
