// What commands say where the machine keeps buffers from working, and whether doing what they say helps.
//
// Each situation is made in a mount namespace of its own, twice: to ask every command, and to follow its advice first.

import { describe, test } from "bun:test";
import { join } from "node:path";
import { root } from "../../scripts/build-native.ts";
import { canBeAlone } from "../support/alone.ts";
import { checkSituation, nothing, type Situation, withoutNewBuffers } from "./situations.ts";

if (!canBeAlone) console.error("Mount namespaces are not permitted here: tests of remedies are skipped.");

const program = `${process.execPath} ${join(root, "src", "main.ts")}`;

/** A /dev without /dev/shm. */
const withoutSharedMemory = `
  mount -t tmpfs tmpfs /mnt
  for node in null zero random urandom; do touch /mnt/$node; mount --bind /dev/$node /mnt/$node; done
  mount --move /mnt /dev`;

/** Leaves the buffer of a reader that was killed. */
const leaveBuffer = `
  zerobuffer reader cam --buffer-size 64KiB --connect-timeout-ms 1m > /dev/null & child=$!
  until [ -s /dev/shm/cam ] && [ "$(od -An -tu1 -N1 /dev/shm/cam)" -eq 128 ]; do :; done
  kill -9 $(pgrep -P $child) $child; wait`;

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
    make: `${leaveBuffer}; mount -o remount,ro /dev/shm`,
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
