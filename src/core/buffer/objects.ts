// The files of a buffer's objects (docs/protocol.md, section 1).

import type { Stats } from "node:fs";
import { Role } from "../../native/memory.ts";
import { files } from "../../runtime/files.ts";
import { isName } from "./names.ts";

/** The directory where Linux keeps shared memory and semaphores. On other systems they are not files and cannot be listed. */
export const SHARED_MEMORY = process.platform === "linux" ? "/dev/shm" : undefined;

const SEMAPHORE_PREFIX = { [Role.WRITER]: "sem.sem-w-", [Role.READER]: "sem.sem-r-" } as const;

/** The file of a buffer's shared memory; undefined on systems without such files. */
export function memoryPath(name: string): string | undefined {
  return SHARED_MEMORY && `${SHARED_MEMORY}/${name}`;
}

/** The file of one of its semaphores; undefined on systems without such files. */
export function semaphorePath(name: string, role: Role): string | undefined {
  return SHARED_MEMORY && `${SHARED_MEMORY}/${SEMAPHORE_PREFIX[role]}${name}`;
}

/** How a user can remove a buffer that this package leaves alone, as the end of a sentence. */
export function removalAdvice(name: string): string {
  if (process.platform === "win32") return "end all processes that have it open";
  return SHARED_MEMORY === undefined
    ? "restart the machine"
    : `remove ${memoryPath(name)} if nobody needs it`;
}

/** The names found in shared memory: of plain files that may be buffers, and of the buffers that semaphores belong to. */
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

/** Whether files that have lost their names take room in shared memory: processes have them mapped. */
export function hasNamelessMemory(): boolean {
  if (SHARED_MEMORY === undefined) return false;
  const { blocks, bfree, bsize } = files().statfsSync(SHARED_MEMORY);
  const sizes = files()
    .readdirSync(SHARED_MEMORY)
    .map((name) => 512 * (statusOf(`${SHARED_MEMORY}/${name}`)?.blocks ?? 0));
  return (blocks - bfree) * bsize > sizes.reduce((sum, size) => sum + size, 0);
}

/** The status of the path itself, without following a link; undefined if nothing is there, or nothing that we may see. */
export function statusOf(path: string | undefined): Stats | undefined {
  if (path === undefined) return undefined;
  try {
    return files().lstatSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

/** Whether the path exists and this user may remove what dead processes have left there: its owner, and root. */
export function isOurs(path: string): boolean {
  const status = statusOf(path);
  if (status === undefined) return false;
  // On Windows our directories have one user.
  const user = process.geteuid?.();
  return user === undefined || user === 0 || status.uid === user;
}

/**
 * Whether a semaphore, or one of these lock files, shows that the memory of a name is a buffer's. It must have the memory's
 * owner: anybody can make a file of that name.
 */
export function hasEvidence(name: string, lockFiles: readonly string[]): boolean {
  const memory = statusOf(memoryPath(name));
  if (memory === undefined) return true;
  const semaphores = [semaphorePath(name, Role.WRITER), semaphorePath(name, Role.READER)];
  return [...semaphores, ...lockFiles].some((path) => statusOf(path)?.uid === memory.uid);
}
