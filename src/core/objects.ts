// The objects of a buffer as files (PROTOCOL.md, section 1).

import type { Stats } from "node:fs";
import { join } from "node:path";
import { files } from "../files.ts";
import { Role } from "../native/handles.ts";
import { isName } from "./names.ts";

/** Where the system keeps shared memory and semaphores. */
export const SHARED_MEMORY = "/dev/shm";

const SEMAPHORE_PREFIX = { [Role.WRITER]: "sem.sem-w-", [Role.READER]: "sem.sem-r-" } as const;

/** The file of a buffer's shared memory. */
export function memoryPath(name: string): string {
  return join(SHARED_MEMORY, name);
}

/** The file of one of its semaphores. */
export function semaphorePath(name: string, role: Role): string {
  return join(SHARED_MEMORY, SEMAPHORE_PREFIX[role] + name);
}

/** Names that are in use: of plain files that can be shared memory of a buffer, and of semaphores. */
export function namesInSharedMemory(): { memories: string[]; semaphores: Set<string> } {
  const memories: string[] = [];
  const semaphores = new Set<string>();
  for (const entry of files().readdirSync(SHARED_MEMORY, { withFileTypes: true })) {
    const prefix = Object.values(SEMAPHORE_PREFIX).find((prefix) => entry.name.startsWith(prefix));
    if (prefix !== undefined) semaphores.add(entry.name.slice(prefix.length));
    else if (entry.isFile() && isName(entry.name)) memories.push(entry.name);
  }
  return { memories, semaphores: new Set([...semaphores].filter(isName)) };
}

/** What the path itself is, without following a link; undefined if it is nothing, or nothing that we may see. */
export function statusOf(path: string): Stats | undefined {
  try {
    return files().lstatSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

/** Whether the path is there and belongs to the user of this process. */
export function isOurs(path: string): boolean {
  return statusOf(path)?.uid === process.geteuid?.();
}
