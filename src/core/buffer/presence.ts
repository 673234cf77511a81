// Judges whether the process behind a pid in shared memory is the peer, and lives.

import type { Role, SharedMemory } from "../../native/memory.ts";
import { processStart } from "../../native/process.ts";

/** Largest process id that the system gives out. */
const MAX_PID = process.platform === "win32" ? 2n ** 32n - 1n : 2n ** 22n;

/**
 * One side of a buffer as the other sees it (docs/protocol.md, section 4). A pid may be forged, or used again for
 * another process: at first sight a process must have the buffer mapped, and later it must still be the one that was
 * seen then.
 */
export class Peer {
  readonly #memory: Pick<SharedMemory, "isHeldHere" | "isMappedBy">;
  readonly #role: Role;
  readonly #startOf: (pid: number) => number;
  #pid = 0n;
  #start = 0;
  #processes = 0;

  /** @param startOf when a process started, as {@link processStart} tells it. */
  constructor(memory: Pick<SharedMemory, "isHeldHere" | "isMappedBy">, role: Role, startOf = processStart) {
    this.#memory = memory;
    this.#role = role;
    this.#startOf = startOf;
  }

  /** How many processes have been seen alive, one after the other. Two of them may have had the same pid. */
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
    // If the system does not tell what a process has mapped, a pid counts once: the next process is rather a stranger.
    const takesPart = isOwn || (this.#memory.isMappedBy(Number(pid)) ?? !hadPid);
    if (!takesPart) return false;
    this.#pid = pid;
    this.#start = start;
    this.#processes++;
    return true;
  }
}
