// Judges whether the process behind a pid in shared memory is the peer, and lives.

import type { Role, SharedMemory } from "../../native/memory.ts";
import { processStart } from "../../native/process.ts";

/** Largest process id that the system gives out. */
const MAX_PID = process.platform === "win32" ? 2n ** 32n - 1n : 2n ** 22n;

/**
 * One side of a buffer as the other sees it (docs/protocol.md, section 4). A pid may be forged, or used again for another
 * process. So the process must have the buffer mapped when it is seen first, and must be the same one later.
 */
export class Peer {
  readonly #memory: Pick<SharedMemory, "isHeldHere" | "isMappedBy">;
  readonly #role: Role;
  readonly #startOf: (pid: number) => number;
  #pid = 0n;
  #start = 0;
  #processes = 0;

  /** @param startOf stands for {@link processStart} in tests. */
  constructor(memory: Pick<SharedMemory, "isHeldHere" | "isMappedBy">, role: Role, startOf = processStart) {
    this.#memory = memory;
    this.#role = role;
    this.#startOf = startOf;
  }

  /** Number of processes that were seen alive, one after the other. Two of them may have the same pid. */
  get processes(): number {
    return this.#processes;
  }

  /** Whether `pid`, as loaded from the OIEB, is a living process that takes part in this buffer. */
  isAlive(pid: bigint): boolean {
    if (pid < 1n || pid > MAX_PID) return false;
    const isOwn = pid === BigInt(process.pid);
    const start = isOwn ? (this.#memory.isHeldHere(this.#role) ? 0 : -1) : this.#startOf(Number(pid));
    if (start < 0) return false;
    const hadPid = pid === this.#pid;
    if (hadPid && (start === this.#start || start === 0 || this.#start === 0)) {
      this.#start ||= start;
      return true;
    }
    // If the system does not tell what a process has mapped, a pid counts for one process: the next one that gets it is
    // more likely to have nothing to do with the buffer.
    const takesPart = isOwn || (this.#memory.isMappedBy(Number(pid)) ?? !hadPid);
    if (!takesPart) return false;
    this.#pid = pid;
    this.#start = start;
    this.#processes++;
    return true;
  }
}
