// Who is judged to be the peer, with a system that says what the test wants.

import { describe, expect, test } from "bun:test";
import { type Holders, Peer, type PeerOptions } from "../../../../src/core/buffer/presence.ts";
import { OiebFlag, Role } from "../../../../src/native/memory.ts";

/** What the system says; what is missing it does not tell. */
interface System {
  /** Processes by pid: when each started, and how often it has the buffer mapped. */
  processes?: Record<number, { start: number; maps?: number }>;
  isLocked?: boolean;
  isAlone?: boolean;
  isHeldHere?: boolean;
}

function peerIn(system: System, role: Role = Role.WRITER, options: PeerOptions = {}): Peer {
  const memory = {
    isHeldHere: () => system.isHeldHere ?? false,
    isRoleLocked: () => system.isLocked,
    isAlone: () => system.isAlone,
    mappingsOf: (pid: number) => system.processes?.[pid]?.maps,
  };
  return new Peer(memory, role, { startOf: (pid) => system.processes?.[pid]?.start ?? -1, ...options });
}

/** A control block with this writer, or with this reader if that is the role. */
function named(pid: bigint, others: Partial<Holders> = {}): Holders {
  return { writerPid: pid, readerPid: pid === 3n ? 4n : 3n, mark: 0n, flags: 0n, ...others };
}

const own = BigInt(process.pid);

describe("bytes that are locked", () => {
  test("show a living process, whatever the pid says", () => {
    for (const pid of [0n, 7n, own, 2n ** 32n + 7n]) {
      expect(peerIn({ isLocked: true, isAlone: true }).judge(named(pid, { mark: pid }))).toBe("alive");
    }
  });

  test("that are not any more show that a writer with its mark is dead, visible or not", () => {
    const system: System = { isLocked: true, isAlone: false, processes: { 7: { start: 1, maps: 1 } } };
    const peer = peerIn(system, Role.WRITER, { isHolder: true });
    expect(peer.judge(named(7n, { mark: 7n }))).toBe("alive");
    expect(peer.isOurs).toBeTrue();
    system.isLocked = false;
    expect(peer.judge(named(7n, { mark: 7n }))).toBe("dead");
  });

  test("that are not any more show that a reader of this package is dead, and nothing of another one", () => {
    const system: System = { isLocked: false, isAlone: false };
    const reader = peerIn(system, Role.READER, { isHolder: true });
    expect(reader.judge({ writerPid: 3n, readerPid: 7n, mark: 0n, flags: OiebFlag.LOCKED_ROLES })).toBe(
      "dead",
    );
    expect(reader.judge({ writerPid: 3n, readerPid: 7n, mark: 0n, flags: 0n })).toBe("alive");
  });
});

describe("without a lock, a pid", () => {
  test("of 0 names nobody", () => {
    expect(peerIn({ isLocked: false, isAlone: false }).judge(named(0n))).toBe("dead");
  });

  test("of a visible process with the buffer mapped is alive until that process ends, whoever else has it open", () => {
    const system: System = { isLocked: false, isAlone: false, processes: { 7: { start: 100, maps: 1 } } };
    const peer = peerIn(system);
    for (let look = 0; look < 3; look++) expect(peer.judge(named(7n))).toBe("alive");
    expect(peer.isStillVisible()).toBeTrue();
    expect(peer.processes).toBe(1);
    system.processes = {};
    expect(peer.judge(named(7n))).toBe("dead");
    expect(peer.hasLetGo()).toBeTrue();
  });

  test("that another process with the buffer has got is another peer, and one that a stranger has got is dead", () => {
    const system: System = { isLocked: false, isAlone: false, processes: { 7: { start: 100, maps: 1 } } };
    const peer = peerIn(system);
    peer.judge(named(7n));
    system.processes = { 7: { start: 200, maps: 1 } };
    expect(peer.judge(named(7n))).toBe("alive");
    expect(peer.processes).toBe(2);
    system.processes = { 7: { start: 300, maps: 0 } };
    expect(peer.judge(named(7n))).toBe("dead");
  });

  test("of a visible process without the buffer is somebody else's: the kernel says whether its own has it open", () => {
    for (const pid of [7n, 2n ** 32n + 7n]) {
      const system: System = { isLocked: false, processes: { 7: { start: 100, maps: 0 } } };
      expect(peerIn({ ...system, isAlone: true }).judge(named(pid))).toBe("dead");
      expect(peerIn({ ...system, isAlone: false }).judge(named(pid))).toBe("unknown");
      expect(peerIn({ ...system, isAlone: false }, Role.WRITER, { isHolder: true }).judge(named(pid))).toBe(
        "alive",
      );
      expect(peerIn(system, Role.WRITER, { isHolder: true }).judge(named(pid))).toBe("unknown");
    }
  });

  test("that both sides have counts as visible only if that process has the buffer mapped twice", () => {
    const both = { writerPid: 7n, readerPid: 7n, mark: 0n, flags: 0n };
    const system: System = { isLocked: false, isAlone: false, processes: { 7: { start: 100, maps: 1 } } };
    expect(peerIn(system).judge(both)).toBe("unknown");
    system.processes = { 7: { start: 100, maps: 2 } };
    expect(peerIn(system).judge(both)).toBe("alive");
  });

  test("of this process is alive if it holds the role, and otherwise that of another namespace", () => {
    const system: System = {
      isLocked: false,
      isAlone: false,
      processes: { [process.pid]: { start: 1, maps: 1 } },
    };
    expect(peerIn({ ...system, isHeldHere: true }).judge(named(own))).toBe("alive");
    expect(peerIn(system).judge(named(own))).toBe("unknown");
    expect(peerIn({ ...system, isAlone: true }).judge(named(own))).toBe("dead");
  });

  test("of a reader that has left its lock file behind is dead for its writer, where nobody can be asked", () => {
    const hasLeftLock = () => true;
    const block = { writerPid: 3n, readerPid: 7n, mark: 0n, flags: 0n };
    expect(peerIn({ isLocked: false }, Role.READER, { isHolder: true, hasLeftLock }).judge(block)).toBe(
      "dead",
    );
    expect(peerIn({ isLocked: false }, Role.READER, { isHolder: true }).judge(block)).toBe("unknown");
    expect(peerIn({ isLocked: false }, Role.READER, { hasLeftLock }).judge(block)).toBe("unknown");
    expect(peerIn({ isLocked: false }, Role.WRITER, { isHolder: true, hasLeftLock }).judge(block)).toBe(
      "unknown",
    );
  });

  test("that was forgotten is another peer when it comes again", () => {
    const peer = peerIn({ isLocked: false, processes: { 7: { start: 100, maps: 1 } } });
    peer.judge(named(7n));
    peer.forget();
    expect([peer.lastPid, peer.isOurs, peer.hasLetGo()]).toEqual([0n, false, false]);
    peer.judge(named(7n));
    expect(peer.processes).toBe(2);
  });
});

describe("where the system has no locks of roles, a pid", () => {
  test.each([0n, 2n ** 22n + 1n, 2n ** 32n + 7n, 2n ** 64n - 1n])(
    "that can be no process's, %s, is dead",
    (pid) => {
      expect(peerIn({ processes: { 7: { start: 1, maps: 1 } } }).judge(named(pid))).toBe("dead");
    },
  );

  test("of a process without the buffer is dead", () => {
    const peer = peerIn({ processes: { 7: { start: 100, maps: 0 } } });
    expect(peer.judge(named(7n))).toBe("dead");
    expect(peer.processes).toBe(0);
  });

  test("that is used again for a stranger is dead, and for another process with the buffer alive", () => {
    const system: System = { processes: { 7: { start: 100, maps: 1 } } };
    const peer = peerIn(system);
    expect(peer.judge(named(7n))).toBe("alive");
    system.processes = { 7: { start: 200, maps: 0 } };
    for (let look = 0; look < 3; look++) expect(peer.judge(named(7n))).toBe("dead");
    system.processes = { 7: { start: 200, maps: 1 } };
    expect(peer.judge(named(7n))).toBe("alive");
    expect(peer.processes).toBe(2);
  });

  test("counts once where nobody tells what a process has mapped: the next process of that number is a stranger", () => {
    const system: System = { processes: { 7: { start: 100 } } };
    const peer = peerIn(system);
    expect(peer.judge(named(7n))).toBe("alive");
    system.processes = { 7: { start: 200 } };
    expect(peer.judge(named(7n))).toBe("dead");
    system.processes = { 8: { start: 300 } };
    expect(peer.judge(named(8n))).toBe("alive");
    expect(peer.processes).toBe(2);
  });

  test("whose start cannot be read for a while is the same process's", () => {
    const system: System = {};
    const peer = peerIn(system);
    for (const start of [0, 100, 0, 100]) {
      system.processes = { 7: { start } };
      expect(peer.judge(named(7n))).toBe("alive");
    }
    expect(peer.processes).toBe(1);
    // Since then its start is known.
    system.processes = { 7: { start: 200 } };
    expect(peer.judge(named(7n))).toBe("dead");
  });

  test("of this process is alive if it has the buffer open in that role", () => {
    expect(peerIn({ isHeldHere: true }).judge(named(own))).toBe("alive");
    expect(peerIn({ processes: { [process.pid]: { start: 1, maps: 1 } } }).judge(named(own))).toBe("dead");
  });

  test("that comes back after another one is another peer", () => {
    const peer = peerIn({ processes: { 7: { start: 100, maps: 1 }, 8: { start: 100, maps: 1 } } });
    for (const pid of [7n, 8n, 7n]) expect(peer.judge(named(pid))).toBe("alive");
    expect(peer.processes).toBe(3);
  });
});
