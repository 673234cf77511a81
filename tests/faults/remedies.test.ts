// What commands say where the machine keeps buffers from working, and whether doing what they say helps.
//
// Each situation is made in a mount namespace of its own, twice: to ask every command, and to follow its advice first.

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { root } from "../../scripts/build-native.ts";
import { canBeAlone } from "../support/alone.ts";
import { runScript } from "../support/namespace.ts";
import { checkSituation, nothing, type Situation, withoutNewBuffers } from "./situations.ts";

if (!canBeAlone) console.error("Mount namespaces are not permitted here: tests of remedies are skipped.");

const program = `${process.execPath} ${join(root, "src", "main.ts")}`;

/** A /dev without /dev/shm. */
const withoutSharedMemory = `
  mount -t tmpfs tmpfs /mnt
  for node in null zero random urandom; do touch /mnt/$node; mount --bind /dev/$node /mnt/$node; done
  mount --move /mnt /dev`;

/** Leaves the buffer of a reader that was killed, and has let go of it: the shell waits for its child, and we for the shell. */
const leaveBuffer = `
  zerobuffer reader cam --buffer-size 64KiB --connect-timeout-ms 1m > /dev/null & child=$!
  until [ -s /dev/shm/cam ] && [ "$(od -An -tu1 -N1 /dev/shm/cam)" -eq 128 ]; do :; done
  kill -9 $(pgrep -P $child || echo $child); wait`;

const SITUATIONS: Readonly<Record<string, Situation>> = {
  "a read-only /tmp": {
    make: "mount -o remount,ro /tmp",
    codes: withoutNewBuffers("PERMISSION_DENIED"),
    message: "The lock directory /tmp/zerobuffer is refused: it is missing, and /tmp is mounted read-only.",
  },
  "a /tmp that is mounted read-only over one that is not": {
    make: `mkdir -p -m 1777 /tmp/zerobuffer; mount --rbind /tmp /tmp; mount -o remount,bind,ro /tmp`,
    codes: withoutNewBuffers("PERMISSION_DENIED"),
    message: "The lock directory /tmp/zerobuffer is refused: it is mounted read-only.",
  },
  "a read-only /dev/shm": {
    make: "mount -o remount,ro /dev/shm",
    codes: withoutNewBuffers("PERMISSION_DENIED"),
    message: "The shared memory of buffer NAME cannot be used: /dev/shm is mounted read-only.",
  },
  "a read-only /dev/shm with what a killed reader has left": {
    // The system refuses as long as the killed reader still has its memory open.
    make: `${leaveBuffer}; until mount -o remount,ro /dev/shm 2> /dev/null; do :; done`,
    codes: {
      ...withoutNewBuffers("PERMISSION_DENIED"),
      writer: "1 PERMISSION_DENIED",
      inspect: "0",
      clean: "1 PERMISSION_DENIED",
    },
    message: undefined,
  },
  "a read-only lock directory with what a killed reader has left": {
    make: `${leaveBuffer}; mount --bind /tmp/zerobuffer /tmp/zerobuffer; mount -o remount,bind,ro /tmp/zerobuffer`,
    // The buffer itself is removed by the first reader.
    codes: { ...withoutNewBuffers("PERMISSION_DENIED"), inspect: "0", clean: "1 PERMISSION_DENIED" },
    message: "The lock directory /tmp/zerobuffer is refused: it is mounted read-only.",
  },
  "no /dev/shm": {
    make: withoutSharedMemory,
    codes: nothing("RESOURCE_EXHAUSTED"),
    message: "There is no shared memory: /dev/shm is missing.",
  },
  "no free inodes in /dev/shm": {
    make: "mount -o remount,nr_inodes=3 /dev/shm; touch /dev/shm/a /dev/shm/b",
    codes: withoutNewBuffers("RESOURCE_EXHAUSTED"),
    message: "Buffer NAME cannot be created: /dev/shm has 0 of 3 inodes free, and a buffer needs 3.",
  },
  "a limit of the file size": {
    limit: "ulimit -S -f 8",
    codes: { ...withoutNewBuffers("RESOURCE_EXHAUSTED"), doctor: "0" },
    message:
      "Buffer NAME needs 77952 bytes of shared memory, and the files of this process are limited to 4096 bytes (ulimit -f).",
  },
  "too little address space for the runtime": {
    limit: "ulimit -S -v 2000000",
    codes: nothing("RESOURCE_EXHAUSTED"),
    message:
      "The native helper cannot be loaded: the runtime needs more address space than the limit of 2048000000 (ulimit -v) allows.",
  },
  "a limit of the file size that the shell may not raise": {
    limit: "ulimit -f 8",
    codes: { ...withoutNewBuffers("RESOURCE_EXHAUSTED"), doctor: "0" },
    message: undefined,
  },
  "too little address space for the runtime, which the shell may not raise": {
    limit: "ulimit -v 2000000",
    codes: nothing("RESOURCE_EXHAUSTED"),
    message: undefined,
  },
  "a lock directory of another user that is not sticky": {
    make: "mkdir -m 777 /tmp/zerobuffer; chown 12345 /tmp/zerobuffer",
    codes: withoutNewBuffers("PERMISSION_DENIED"),
    message:
      "The lock directory /tmp/zerobuffer is refused: it belongs to another user and is not sticky: every user who can write there could replace our files.",
  },
};

describe("every command says what keeps buffers from working, and what helps, where there is", () => {
  test.skipIf(!canBeAlone).each(Object.entries(SITUATIONS))("%s", (_, situation) =>
    checkSituation(program, situation),
  );
});

describe.skipIf(!canBeAlone)("one command says what has failed", () => {
  /** The exit code and the error of the only command in a script that prints JSON. */
  async function failureOf(script: string) {
    const { stdout, stderr } = await runScript(script);
    const [, json, code] = /^(\{.*\})\ncode (\d+)$/m.exec(stdout) ?? [];
    if (json === undefined) throw new Error(`no document:\n${stdout}${stderr}`);
    return { exitCode: Number(code), ...JSON.parse(json).error };
  }

  const reader = `${program} reader cam --buffer-size 64KiB --json-output --connect-timeout-ms`;

  test.each([
    ["a lock file", "cannot be created: its file system is full.", "mkdir -m 1777 /tmp/zerobuffer"],
    ["a lock directory", "is refused: it is missing, and its file system is full.", "true"],
  ])("where there is no room for %s, and works when there is", async (_, message, make) => {
    // The runtime makes directories at home, which may be in /tmp.
    const fill = `export HOME=/nowhere
      ${make}
      mount -o remount,nr_inodes=$(($(df --output=iused /tmp | tail -1) + 8)) /tmp
      i=0; while touch /tmp/surplus$i 2> /dev/null; do i=$((i + 1)); done`;
    expect(await failureOf(`${fill}; ${reader} 1; echo "code $?"`)).toMatchObject({
      exitCode: 1,
      message: expect.stringContaining(message),
      hint: "Remove files from that file system.",
    });
    const helped = await failureOf(`${fill}; rm /tmp/surplus*; ${reader} 1; echo "code $?"`);
    expect(helped.code).toBe("PEER_TIMEOUT");
  });

  test("where the file of its output becomes larger than a limit, instead of being killed", async () => {
    const script = `ulimit -S -f 200
      ${reader} 30s --output /tmp/out & child=$!
      ${program} writer cam -n 20 -s 32KiB --connect-timeout-ms 30s > /dev/null 2>&1
      wait $child; echo "code $?"`;
    expect(await failureOf(script)).toMatchObject({
      exitCode: 2,
      code: "IO_ERROR",
      message: "Cannot write /tmp/out: file too large.",
    });
  });

  test("where a server cannot replace its buffer, instead of ending as if it was done", async () => {
    const script = `
      ${program} duplex serve channel --buffer-size 64KiB --json-output & child=$!
      until [ -s /dev/shm/channel_request ] && [ "$(od -An -tu1 -N1 /dev/shm/channel_request)" -eq 128 ]; do :; done
      mv /tmp/zerobuffer /tmp/old; : > /tmp/zerobuffer
      truncate -s 0 /dev/shm/channel_request
      wait $child; echo "code $?"`;
    expect(await failureOf(script)).toMatchObject({
      exitCode: 1,
      code: "PERMISSION_DENIED",
      message: "The lock directory /tmp/zerobuffer is refused: it is not a directory.",
      hint: "Run this as its owner or as an administrator: rm /tmp/zerobuffer",
    });
  });
});
