// What tests of list, inspect, clean and doctor share: the files of a buffer, and buffers that killed readers have left.

import { expect } from "bun:test";
import { existsSync, rmSync } from "node:fs";
import { kill, startReader } from "../process/peers.ts";
import { runJson } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";

export const LOCKS = "/tmp/zerobuffer";
export const small = { largest: 1000, payloadSize: 4096 };

export const shm = (name: string) => `/dev/shm/${name}`;
export const lockOf = (name: string) => `${LOCKS}/${name}.lock`;
export const objectsOf = (name: string) => [
  shm(name),
  shm(`sem.sem-w-${name}`),
  shm(`sem.sem-r-${name}`),
  lockOf(name),
  `${LOCKS}/locks/${name}.lock`,
];

/** What `list` says of one buffer; undefined if it does not list it. */
export async function listed(name: string, ...args: string[]) {
  const { code, document } = await runJson("list", ...args);
  expect(code).toBe(0);
  return expectValid("list", document).buffers.find(
    ({ buffer_name }: { buffer_name: string }) => buffer_name === name,
  );
}

/** What a reader leaves that is killed. */
export async function leaveStaleBuffer(name: string): Promise<void> {
  await using reader = await startReader(name, small);
  await kill(reader);
  for (const path of objectsOf(name))
    expect({ path, exists: existsSync(path) }).toEqual({ path, exists: true });
}

export function removeAll(paths: string[]): void {
  for (const path of paths) rmSync(path, { force: true });
}
