// The objects of a buffer as files (docs/protocol.md, section 1).

import type { Stats } from "node:fs";
import { Role } from "../../native/memory.ts";
import { files } from "../../runtime/files.ts";
import { isName } from "./names.ts";

/** Where Linux keeps shared memory and semaphores as files. On other systems they have names only, which nobody lists. */
export const SHARED_MEMORY = process.platform === "linux" ? "/dev/shm" : undefined;

const SEMAPHORE_PREFIX = { [Role.WRITER]: "sem.sem-w-", [Role.READER]: "sem.sem-r-" } as const;

/** The file of a buffer's shared memory; undefined where it is none. */
export function memoryPath(name: string): string | undefined {
  return SHARED_MEMORY && `${SHARED_MEMORY}/${name}`;
}

/** The file of one of its semaphores; undefined where it is none. */
export function semaphorePath(name: string, role: Role): string | undefined {
  return SHARED_MEMORY && `${SHARED_MEMORY}/${SEMAPHORE_PREFIX[role]}${name}`;
}

/** How to get rid of what is not ours to remove, as the end of a sentence. */
export function howToRemove(name: string): string {
  if (process.platform === "win32") return "end the processes that have it open: it goes with the last one";
  return SHARED_MEMORY === undefined
    ? "restart the machine"
    : `remove ${memoryPath(name)} if nobody needs it`;
}

/** Names that are in use: of plain files that can be shared memory of a buffer, and of semaphores. */
export function namesInSharedMemory(): { memories: string[]; semaphores: Set<string> } {
  const memories: string[] = [];
  const semaphores = new Set<string>();
  if (SHARED_MEMORY === undefined) return { memories, semaphores };
  for (const entry of files().readdirSync(SHARED_MEMORY, { withFileTypes: true })) {
    const prefix = Object.values(SEMAPHORE_PREFIX).find((prefix) => entry.name.startsWith(prefix));
    if (prefix !== undefined) semaphores.add(entry.name.slice(prefix.length));
    else if (entry.isFile() && isName(entry.name)) memories.push(entry.name);
  }
  return { memories, semaphores: new Set([...semaphores].filter(isName)) };
}

/** What the path itself is, without following a link; undefined if it is nothing, or nothing that we may see. */
export function statusOf(path: string | undefined): Stats | undefined {
  if (path === undefined) return undefined;
  try {
    return files().lstatSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

/** Whether the path is there and belongs to the user of this process. On Windows our directories have one user. */
export function isOurs(path: string): boolean {
  const status = statusOf(path);
  return status !== undefined && (process.geteuid === undefined || status.uid === process.geteuid());
}
