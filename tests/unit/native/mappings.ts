// What this process has mapped, as the system tells it.

import { readFileSync, statSync } from "node:fs";

/** The number of the file that is a buffer's shared memory. */
export function fileOf(buffer: string): number {
  return statSync(`/dev/shm/${buffer}`).ino;
}

/** How many mappings this process has of a file of shared memory, even if the file has no name any more. */
export function mappingsOf(file: number): number {
  const lines = readFileSync("/proc/self/maps", "utf8").split("\n");
  return lines.filter((line) => line.includes("/dev/shm/") && line.split(/\s+/)[4] === `${file}`).length;
}

/** Whether this process has it mapped. */
export function isMapped(file: number): boolean {
  return mappingsOf(file) > 0;
}

/** Whether the file is unmapped once the garbage of this process is collected. */
export function isUnmappedWithGarbage(file: number): boolean {
  Bun.gc(true);
  return !isMapped(file);
}
