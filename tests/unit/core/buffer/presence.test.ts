// Who is judged to be the peer, with a system that says what the test wants.

import { describe, expect, test } from "bun:test";
import { Peer } from "../../../../src/core/buffer/presence.ts";
import { Role } from "../../../../src/native/memory.ts";

/** Processes by pid: when each started, and whether it has the buffer mapped (undefined: nobody tells). */
type Processes = Record<number, { start: number; maps: boolean | undefined }>;

function peerAmong(processes: Processes, { isHeldHere = false } = {}) {
  const memory = {
    isHeldHere: () => isHeldHere,
    isMappedBy: (pid: number) => processes[pid]?.maps,
  };
  return new Peer(memory, Role.WRITER, (pid) => processes[pid]?.start ?? -1);
}

describe("a pid", () => {
  test.each([0n, 2n ** 22n + 1n, 2n ** 32n + 7n, 2n ** 64n - 1n])(
    "that can be no process's, %s, is dead",
    (pid) => {
      expect(peerAmong({ 7: { start: 1, maps: true } }).isAlive(pid)).toBe(false);
    },
  );

  test("of a process with the buffer mapped is alive until that process ends, and counts once", () => {
    const processes: Processes = { 7: { start: 100, maps: true } };
    const peer = peerAmong(processes);
    for (let look = 0; look < 3; look++) expect(peer.isAlive(7n)).toBe(true);
    expect(peer.processes).toBe(1);
    delete processes[7];
    expect(peer.isAlive(7n)).toBe(false);
    expect(peer.processes).toBe(1);
  });

  test("of a process without the buffer is dead", () => {
    const peer = peerAmong({ 7: { start: 100, maps: false } });
    expect(peer.isAlive(7n)).toBe(false);
    expect(peer.processes).toBe(0);
  });

  test("that is used again for a stranger is dead", () => {
    const processes: Processes = { 7: { start: 100, maps: true } };
    const peer = peerAmong(processes);
    peer.isAlive(7n);
    processes[7] = { start: 200, maps: false };
    for (let look = 0; look < 3; look++) expect(peer.isAlive(7n)).toBe(false);
  });

  test("that is used again for another process with the buffer is alive, and another peer", () => {
    const processes: Processes = { 7: { start: 100, maps: true } };
    const peer = peerAmong(processes);
    peer.isAlive(7n);
    processes[7] = { start: 200, maps: true };
    for (let look = 0; look < 3; look++) expect(peer.isAlive(7n)).toBe(true);
    expect(peer.processes).toBe(2);
  });

  test("counts once where nobody tells what a process has mapped: the next process of that number is a stranger", () => {
    const processes: Processes = { 7: { start: 100, maps: undefined } };
    const peer = peerAmong(processes);
    expect(peer.isAlive(7n)).toBe(true);
    processes[7] = { start: 200, maps: undefined };
    expect(peer.isAlive(7n)).toBe(false);
    processes[8] = { start: 300, maps: undefined };
    expect(peer.isAlive(8n)).toBe(true);
    expect(peer.processes).toBe(2);
  });

  test("whose start cannot be read for a while is the same process's", () => {
    const processes: Processes = { 7: { start: 0, maps: undefined } };
    const peer = peerAmong(processes);
    for (const start of [0, 100, 0, 100]) {
      processes[7] = { start, maps: undefined };
      expect(peer.isAlive(7n)).toBe(true);
    }
    expect(peer.processes).toBe(1);
    // Since then its start is known.
    processes[7] = { start: 200, maps: undefined };
    expect(peer.isAlive(7n)).toBe(false);
  });

  test("of this process is alive if it has the buffer open in that role", () => {
    const own = BigInt(process.pid);
    expect(peerAmong({}, { isHeldHere: true }).isAlive(own)).toBe(true);
    expect(peerAmong({ [process.pid]: { start: 1, maps: true } }).isAlive(own)).toBe(false);
  });

  test("that comes back after another one is another peer", () => {
    const peer = peerAmong({ 7: { start: 100, maps: true }, 8: { start: 100, maps: true } });
    for (const pid of [7n, 8n, 7n]) expect(peer.isAlive(pid)).toBe(true);
    expect(peer.processes).toBe(3);
  });
});
