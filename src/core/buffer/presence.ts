// Whether the process that holds a role of a buffer is there (docs/protocol.md, section 4.4).

import { OiebFlag, Role, type SharedMemory } from "../../native/memory.ts";
import { processStart } from "../../native/process.ts";
import type { Oieb } from "./oieb.ts";

/** Largest process id that the system gives out. */
const MAX_PID = process.platform === "win32" ? 2n ** 32n - 1n : 2n ** 22n;

/**
 * - `alive`: a living process holds the role.
 * - `dead`: none does.
 * - `unknown`: nothing shows which of both, because the process is not visible from here. Its peer takes it for alive, and
 *   nobody takes its place.
 */
export type Presence = "alive" | "dead" | "unknown";

/** The parts of a buffer's memory that the judgement uses. */
export type JudgedMemory = Pick<SharedMemory, "isAlone" | "isHeldHere" | "isRoleLocked" | "mappingsOf">;

/** The fields of a control block that name the holders of its roles. */
export type Holders = Pick<Oieb, "writerPid" | "readerPid" | "mark" | "flags">;

export interface PeerOptions {
  /** Whether this process holds the other role through this memory. Then it has the memory open just once. */
  readonly isHolder?: boolean;
  /** Whether the reader of a buffer, if it is a v1 peer, has left its lock file unlocked behind. */
  readonly hasLeftLock?: () => boolean;
  /** Stands for {@link processStart} in tests. */
  readonly startOf?: (pid: number) => number;
}

/**
 * One side of a buffer as others see it. A pid may be forged, used again for another process, or count in another pid
 * namespace. So the kernel is asked first: which bytes are locked, and whether others have the memory open.
 */
export class Peer {
  readonly #memory: JudgedMemory;
  readonly #role: Role;
  readonly #isHolder: boolean;
  readonly #hasLeftLock: () => boolean;
  readonly #startOf: (pid: number) => number;
  /** The holder that was seen alive last, and when its process started; 0: that is not known. */
  #pid = 0n;
  #start = 0;
  /** Whether it was seen as a process that has the memory mapped. */
  #isVisible = false;
  /** Whether it had the mark of a writer of this package. Without locks of roles every writer is taken for one. */
  #isMarked = false;
  /** Whether only the question who has the memory open has shown it, or nothing at all. */
  #isInferred = false;
  #processes = 0;

  constructor(
    memory: JudgedMemory,
    role: Role,
    { isHolder = false, hasLeftLock = () => false, startOf = processStart }: PeerOptions = {},
  ) {
    this.#memory = memory;
    this.#role = role;
    this.#isHolder = isHolder;
    this.#hasLeftLock = hasLeftLock;
    this.#startOf = startOf;
  }

  /** Number of processes that were seen alive, one after the other. Two of them may have the same pid. */
  get processes(): number {
    return this.#processes;
  }

  /** The pid that was seen alive last; 0 if none was. */
  get lastPid(): bigint {
    return this.#pid;
  }

  /** Whether the writer that was seen alive last is one of this package: it locks its role, and posts a token at its end. */
  get isOurs(): boolean {
    return this.#isMarked;
  }

  /** Whether the last judgement rests on nothing but the question who has the memory open. */
  get isOnlyInferred(): boolean {
    return this.#isInferred;
  }

  /** Forgets the holder that was seen last: the next holder counts as another process, even with the same pid. */
  forget(): void {
    this.#pid = 0n;
    this.#start = 0;
    this.#isVisible = false;
    this.#isMarked = false;
  }

  /** Whether the process behind a pid is there. Without a pid: whether one that has none yet, or none any more, is. */
  judge(holders: Holders): Presence {
    const pid = this.#role === Role.WRITER ? holders.writerPid : holders.readerPid;
    const isLocked = this.#memory.isRoleLocked(this.#role);
    this.#isInferred = false;
    if (isLocked === undefined) return this.#judgeByPid(pid);
    if (isLocked) return this.#noteLocked(pid, holders);
    if (pid === 0n) return "dead";
    const locks = this.#role === Role.WRITER ? holders.mark === pid : areRolesLocked(holders);
    if (locks) return "dead";
    if (pid === BigInt(process.pid)) {
      if (this.#memory.isHeldHere(this.#role)) return this.#note(pid, 0, true);
    } else {
      const seen = this.#judgeVisible(pid, holders.writerPid === holders.readerPid ? 2 : 1);
      if (seen !== undefined) return seen;
    }
    return this.#judgeByKernel(pid);
  }

  /**
   * Whether the process that was seen alive last is known to use the memory no more: it has ended, or has unmapped it, or
   * nobody else has the memory open.
   */
  hasLetGo(): boolean {
    if (this.#memory.isAlone() === true) return true;
    return this.#isVisible && !this.isStillVisible();
  }

  /** Whether the process that was seen alive last is visible here and still has the memory mapped. */
  isStillVisible(): boolean {
    if (!this.#isVisible || !this.#isSameProcess(this.#startOf(Number(this.#pid)))) return false;
    return (this.#memory.mappingsOf(Number(this.#pid)) ?? 1) > 0;
  }

  /** A role whose bytes are locked. Its holder may be about to store its pid, or somebody may have overwritten that. */
  #noteLocked(pid: bigint, { mark }: Holders): Presence {
    if (pid === 0n) return "alive";
    const start = pid === BigInt(process.pid) || pid > MAX_PID ? 0 : Math.max(0, this.#startOf(Number(pid)));
    this.#note(pid, start, false);
    this.#isMarked = mark === pid;
    return "alive";
  }

  /**
   * A process that is visible here is the peer if it has the memory mapped, `least` times. Once seen so, it is dead when it
   * is gone. Undefined: a process of that number, if there is one, is somebody else.
   */
  #judgeVisible(pid: bigint, least: number): Presence | undefined {
    const start = pid > MAX_PID ? -1 : this.#startOf(Number(pid));
    const wasSeen = this.#isVisible && pid === this.#pid;
    if (wasSeen && this.#isSameProcess(start)) return this.#note(pid, start, true);
    if (start >= 0 && (this.#memory.mappingsOf(Number(pid)) ?? 0) >= least)
      return this.#note(pid, start, true);
    return wasSeen ? "dead" : undefined;
  }

  #isSameProcess(start: number): boolean {
    return start >= 0 && (start === this.#start || start === 0 || this.#start === 0);
  }

  #judgeByKernel(pid: bigint): Presence {
    const isAlone = this.#memory.isAlone();
    if (isAlone === true) return "dead";
    this.#isInferred = true;
    // Any other process that has the memory open must be the peer.
    if (isAlone === false && this.#isHolder) return this.#note(pid, 0, false);
    if (isAlone === undefined && this.#isHolder && this.#role === Role.READER && this.#hasLeftLock())
      return "dead";
    return "unknown";
  }

  /** On a system without locks of roles: the process must have the buffer mapped when it is seen first. */
  #judgeByPid(pid: bigint): Presence {
    if (pid < 1n || pid > MAX_PID) return "dead";
    const isOwn = pid === BigInt(process.pid);
    const start = isOwn ? (this.#memory.isHeldHere(this.#role) ? 0 : -1) : this.#startOf(Number(pid));
    if (start < 0) return "dead";
    const wasSeen = pid === this.#pid;
    if (wasSeen && this.#isSameProcess(start)) return this.#noteByPid(pid, start);
    // If the system does not tell what a process has mapped, a pid counts for one process: the next one that gets it is
    // more likely to have nothing to do with the buffer.
    const mappings = isOwn ? 1 : this.#memory.mappingsOf(Number(pid));
    const takesPart = mappings === undefined ? !wasSeen : mappings > 0;
    return takesPart ? this.#noteByPid(pid, start) : "dead";
  }

  #noteByPid(pid: bigint, start: number): Presence {
    this.#note(pid, start, true);
    this.#isMarked = true;
    return "alive";
  }

  /** Notes a living holder. */
  #note(pid: bigint, start: number, isVisible: boolean): "alive" {
    if (pid !== this.#pid || (start !== 0 && this.#start !== 0 && start !== this.#start)) {
      this.#processes++;
      this.#start = 0;
    }
    this.#pid = pid;
    this.#start ||= start;
    this.#isVisible = isVisible;
    this.#isMarked = false;
    return "alive";
  }
}

/** Whether the reader locks its role, and drops tokens without frames: it is one of this package. */
export function areRolesLocked({ flags }: Pick<Oieb, "flags">): boolean {
  return (flags & OiebFlag.LOCKED_ROLES) !== 0n;
}
