// Judges whether the process behind a pid in shared memory is the peer, and lives.

import type { Role, SharedMemory } from "../../native/memory.ts";
import { processStart } from "../../native/process.ts";

/** Largest process id that the system gives out. */
const MAX_PID = process.platform === "win32" ? 2n ** 32n - 1n : 2n ** 22n;

/**
 * One side of a buffer as the other sees it (PROTOCOL.md, section 4). A pid may be recycled or forged: at first sight
 * its process must have the buffer mapped, and later it must still be the one that started then.
 */
export class Peer {
  readonly #memory: SharedMemory;
  readonly #role: Role;
  #pid = 0n;
  #start = 0;

  constructor(memory: SharedMemory, role: Role) {
    this.#memory = memory;
    this.#role = role;
  }

  /** Whether `pid`, as loaded from the OIEB, is a living process that takes part in this buffer. */
  isAlive(pid: bigint): boolean {
    if (pid < 1n || pid > MAX_PID) return false;
    if (pid === BigInt(process.pid)) return this.#memory.isHeldHere(this.#role);
    const start = processStart(Number(pid));
    if (start < 0) return false;
    if (pid === this.#pid) return start === this.#start || start === 0 || this.#start === 0;
    if (this.#memory.isMappedBy(Number(pid)) === false) return false;
    this.#pid = pid;
    this.#start = start;
    return true;
  }
}
