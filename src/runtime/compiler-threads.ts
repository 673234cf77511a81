// The threads in which the JavaScript engine compiles what runs often.

import { files } from "./files.ts";

/** What the engine calls them. */
const NAME = "JITWorker";

/** Where Linux has the threads of this process. */
const THREADS = "/proc/self/task";

/**
 * Lets them run only while few others want the processor. Compiling takes up to 5 ms at a time, and a frame that comes
 * meanwhile waits for it, in this process or in one beside it. For streams with pauses, in which there is time enough. Does
 * nothing on systems that do not list threads.
 */
export function compileInPauses(): void {
  if (process.platform !== "linux") return;
  for (const thread of listed()) lower(thread);
}

function listed(): string[] {
  try {
    return files().readdirSync(THREADS);
  } catch {
    // A sandbox forbids it: compiling stays as it was.
    return [];
  }
}

function lower(thread: string): void {
  // An import would load it at start.
  const { constants, setPriority } = process.getBuiltinModule("node:os");
  try {
    const name = files().readFileSync(`${THREADS}/${thread}/comm`, "latin1");
    if (name.startsWith(NAME)) setPriority(Number(thread), constants.priority.PRIORITY_LOW);
  } catch {
    // It has just ended, or a sandbox forbids this.
  }
}
