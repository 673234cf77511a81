// What this process has mapped, as the system tells it.

import { readFileSync, statSync } from "node:fs";

/** The number of the file that is a buffer's shared memory. */
export function fileOf(buffer: string): number {
  return statSync(`/dev/shm/${buffer}`).ino;
}

/** Whether this process has a file of shared memory mapped, even if the file has no name any more. */
export function isMapped(file: number): boolean {
  const maps = readFileSync("/proc/self/maps", "utf8");
  return maps.split("\n").some((line) => line.includes("/dev/shm/") && line.split(/\s+/)[4] === `${file}`);
}

/** Whether the file is unmapped once the garbage of this process is collected. */
export function isUnmappedWithGarbage(file: number): boolean {
  Bun.gc(true);
  return !isMapped(file);
}
