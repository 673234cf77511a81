// The machine around the program: full or foreign directories, other users, hostile files where it is started.
//
// Each command runs in a mount namespace of its own, where it has /dev/shm, /tmp and everything below for itself.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { root, run } from "../../scripts/build-native.ts";
import { canBeAlone as isPermitted } from "../support/alone.ts";
import { type Outcome, runScript } from "../support/namespace.ts";
import { checkSituation, nothing, withoutNewBuffers } from "./situations.ts";

const command = `${process.execPath} ${join(root, "src", "main.ts")}`;
const reader = (options: string) => `${command} reader buffer --json-output ${options}`;

/** Where mount namespaces are not permitted, the tests are reported as skipped. */
const inNamespace = test.skipIf(!isPermitted);
if (!isPermitted)
  console.error("Mount namespaces are not permitted here: tests of the environment are skipped.");

/** The last line is the listing that every script ends with. */
function documentOf({ stdout, stderr }: Outcome) {
  const line = stdout.split("\n").find((one) => one.startsWith("{"));
  if (line === undefined) throw new Error(`no document:\n${stdout}${stderr}`);
  return JSON.parse(line);
}

describe("a shared memory of 1 MiB", () => {
  inNamespace("refuses a larger buffer, says what is needed and free, and keeps nothing of it", async () => {
    const outcome = await runScript(
      `${reader("--buffer-size 4MiB")}; echo "code $?"; ls /dev/shm /tmp/zerobuffer`,
      "1m",
    );
    expect(documentOf(outcome).error).toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      message: expect.stringMatching(/needs 4206720 bytes of shared memory, and \/dev\/shm has \d+ free/),
      hint: expect.stringContaining("--shm-size"),
    });
    expect(outcome.stdout).toContain("code 1\n/dev/shm:\n\n/tmp/zerobuffer:\nlocks\n");
  });

  inNamespace("takes a buffer that fits, and every byte of it can be written", async () => {
    const outcome = await runScript(
      `${reader("--buffer-size 960KiB --verify sequential -n 20")} & sleep 0
       ${command} writer buffer -n 20 -s 900KiB --connect-timeout-ms 30s --quiet; wait $!; echo "code $?"`,
      "1m",
    );
    expect(documentOf(outcome)).toMatchObject({ frames_read: 20, verification_errors: 0, errors: [] });
    expect(outcome.stdout).toContain("code 0");
  });

  inNamespace("that is full to the last byte is told by every reader that starts", async () => {
    const outcome = await runScript(
      `head -c 1M /dev/zero > /dev/shm/other; ${reader("--buffer-size 64KiB")}; echo "code $?"; ls /dev/shm`,
      "1m",
    );
    expect(documentOf(outcome).error).toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      message: expect.stringMatching(/needs 77952 bytes of shared memory, and \/dev\/shm has 0 free/),
    });
    expect(outcome.stdout).toContain("code 1\nother\n");
  });
});

describe("a lock directory is refused, and left as it is,", () => {
  test.skipIf(!isPermitted).each([
    ["that is a symbolic link", "mkdir /tmp/elsewhere; ln -s /tmp/elsewhere /tmp/zerobuffer"],
    ["that is a file", "echo precious > /tmp/zerobuffer"],
    [
      "that belongs to another user, who could replace what is in it",
      "mkdir /tmp/zerobuffer; chmod 777 /tmp/zerobuffer; chown 12345 /tmp/zerobuffer",
    ],
  ])("%s", async (_, make) => {
    const list =
      "ls -ldR --time-style=+ /tmp/zerobuffer* /tmp/elsewhere 2>/dev/null; ls -A /tmp/zerobuffer/ /dev/shm";
    const { stdout, ...rest } = await runScript(
      `${make}; ${list} > /tmp/before; ${reader("--buffer-size 64KiB")}; ${list} > /tmp/after; cmp /tmp/before /tmp/after && echo same`,
    );
    expect(documentOf({ stdout, ...rest }).error).toMatchObject({
      code: "PERMISSION_DENIED",
      message: expect.stringContaining("The lock directory /tmp/zerobuffer is refused"),
    });
    expect(stdout).toContain("same");
  });
});

describe("the executable", () => {
  let directory: string;
  let executable: string;
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "zerobuffer-executable-"));
    executable = join(root, "dist", "zerobuffer");
    await run([process.execPath, join(root, "scripts", "build-binaries.ts")]);
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  /** A transfer with `prefix` before both commands. */
  const transfer = (prefix: string, writerPrefix = prefix) => `
    ${prefix} ${executable} reader buffer --mode 666 --buffer-size 64KiB --verify sequential -n 100 --json-output & child=$!
    ${writerPrefix} ${executable} writer buffer -n 100 --connect-timeout-ms 30s --quiet; wait $child; echo "code $?"`;

  test.skipIf(!isPermitted).each([
    ["is missing", "TMPDIR=/nonexistent", ""],
    ["is read-only", "TMPDIR=/tmp/mine", "mkdir /tmp/mine; mount -t tmpfs -o ro tmpfs /tmp/mine"],
    ["allows no execution", "TMPDIR=/tmp/mine", "mkdir /tmp/mine; mount -t tmpfs -o noexec tmpfs /tmp/mine"],
  ])("works where its temp directory %s", async (_, environment, make) => {
    const outcome = await runScript(`${make}\n${transfer(`env ${environment}`)}`);
    expect(documentOf(outcome)).toMatchObject({ frames_read: 100, verification_errors: 0, errors: [] });
    expect(outcome.stdout).toContain("code 0");
  });

  test.skipIf(!isPermitted).each([
    [
      "where no directory lets it load its helper",
      {
        make: `for directory in /var/tmp /dev/shm; do mount -t tmpfs -o noexec tmpfs $directory; done
          mount -o remount,noexec /tmp; export HOME=/nonexistent`,
        codes: nothing("PERMISSION_DENIED"),
        message:
          "The native helper cannot be loaded: no directory for temporary files allows it: /tmp is mounted noexec.",
      },
    ],
    [
      "where directories are read-only or allow no programs",
      {
        make: `mount -t tmpfs -o ro tmpfs /var/tmp; mount -o remount,noexec /dev/shm
          mount -o remount,ro,noexec /tmp; export HOME=/nonexistent`,
        codes: nothing("PERMISSION_DENIED"),
        message:
          "The native helper cannot be loaded: no directory for temporary files allows it: /tmp is mounted read-only and noexec.",
      },
    ],
    [
      "where it may not write the file of its helper",
      {
        limit: "ulimit -S -f 8",
        codes: nothing("RESOURCE_EXHAUSTED"),
        message:
          "The native helper cannot be loaded: it is a larger file than the limit of 4096 (ulimit -f) allows.",
      },
    ],
    [
      "where it may not open the file of its helper",
      { limit: "ulimit -n 5", codes: nothing("RESOURCE_EXHAUSTED"), message: undefined },
    ],
    [
      "where it may open few files",
      {
        limit: "ulimit -n 7",
        codes: { ...withoutNewBuffers("RESOURCE_EXHAUSTED"), doctor: "0" },
        message: undefined,
      },
    ],
    [
      "where it has too little address space",
      {
        limit: "ulimit -S -v 2000000",
        codes: nothing("RESOURCE_EXHAUSTED"),
        message:
          "The native helper cannot be loaded: the runtime needs more address space than the limit of 2048000000 (ulimit -v) allows.",
      },
    ],
  ] as const)("says what helps %s", (_, situation) => checkSituation(executable, situation));

  inNamespace("leaves one file in the temp directory, however often it starts", async () => {
    const { stdout } = await runScript(
      `for i in 1 2 3; do ${executable} list > /dev/null || echo failed; done; ls -d .*.so`,
    );
    expect(stdout).toMatch(/^\.bun-0-[0-9a-f]+\.so\n$/);
  });

  const other = "setpriv --reuid=12345 --regid=12345 --clear-groups env HOME=/nonexistent";
  test.skipIf(!isPermitted).each([
    ["", ""],
    [", and there is no execution", "mount -o remount,noexec /tmp"],
  ])("leaves no file where another user has taken the name of its helper%s", async (_, restrict) => {
    const { stdout, stderr } = await runScript(`
      ${restrict}
      ${other} ${executable} list > /dev/null
      name=$(ls -d .bun-*)
      for make in 'echo foreign >' 'ln -s /etc/passwd' 'mkdir'; do
        rm -rf "$name"
        eval "$make $name"
        for i in 1 2; do ${other} ${executable} list > /dev/null || echo failed; done
        ls -d .*.so
      done`);
    expect(stderr).toBe("");
    expect(stdout).toMatch(/^(\.bun-12345-[0-9a-f]+\.so\n){3}$/);
  });

  /** A reader that gets its buffer: nobody writes. */
  const idle = () => `${executable} reader buffer --buffer-size 64KiB --connect-timeout-ms 1 --json-output`;

  inNamespace(
    "removes nothing that belongs to another user, whatever locks are planted beside it",
    async () => {
      const outcome = await runScript(
        `${executable} reader buffer --mode 666 --buffer-size 64KiB --connect-timeout-ms 1m > /dev/null & child=$!
       until [ -s /dev/shm/buffer ] && [ "$(od -An -tu1 -N1 /dev/shm/buffer)" -eq 128 ]; do :; done
       kill -9 $child; wait $child
       chown 54321 /dev/shm/buffer
       chown 12345 /tmp/zerobuffer/buffer.lock
       ${other} ${idle().replace("reader buffer", "reader another")} > /dev/null
       ${other} ${idle()}
       ls /dev/shm`,
      );
      expect(documentOf(outcome).error).toMatchObject({
        code: "PERMISSION_DENIED",
        message: 'Buffer "buffer" exists and belongs to another user.',
      });
      expect(outcome.stdout).toContain("\nbuffer\n");
    },
  );

  inNamespace("opens lock directories of its own user to everybody", async () => {
    const outcome = await runScript(`
      mkdir -m 755 /tmp/zerobuffer /tmp/zerobuffer/locks
      ${idle()} > /dev/null
      stat -c %a /tmp/zerobuffer /tmp/zerobuffer/locks >&2
      ${other} ${idle()}`);
    expect(outcome.stderr).toContain("1777\n1777\n");
    expect(documentOf(outcome).error.code).toBe("PEER_TIMEOUT");
  });

  test.skipIf(!isPermitted).each([
    ["a lock directory of another user", "mkdir -m 755 /tmp/zerobuffer", "/tmp/zerobuffer is refused"],
    ["a sticky one", "mkdir -m 1755 /tmp/zerobuffer", "/tmp/zerobuffer is refused"],
    [
      "a read-only one",
      "mkdir /tmp/zerobuffer; mount -t tmpfs -o ro,mode=1777 tmpfs /tmp/zerobuffer",
      "/tmp/zerobuffer is refused",
    ],
    ["a temp directory", "chmod 755 /tmp", "/tmp/zerobuffer is refused"],
    ["shared memory", "chmod 755 /dev/shm", "/dev/shm cannot be written"],
  ])("says which command makes %s usable", async (_, restrict, reason) => {
    const refused = await runScript(`${restrict}; ${other} ${idle()}`);
    const { code, message, hint } = documentOf(refused).error;
    expect([code, message]).toEqual(["PERMISSION_DENIED", expect.stringContaining(reason)]);
    const command = /^Run this as (?:its owner or as )?an administrator: (.+)$/.exec(hint)?.[1];
    const outcome = await runScript(`${restrict}; ${command}; ${other} ${idle()}`);
    expect(documentOf(outcome).error.code).toBe("PEER_TIMEOUT");
  });

  test.skipIf(!isPermitted).each(["list", "clean"])(
    "says which command lets %s look into shared memory",
    async (name) => {
      const ask = (script: string) =>
        runScript(
          `chmod 711 /dev/shm\n${script}\n${other} ${executable} ${name} --json-output; echo "code $?"`,
        );
      const refused = await ask("");
      const { code, hint } = documentOf(refused).error;
      expect([code, refused.stdout]).toEqual(["PERMISSION_DENIED", expect.stringContaining("code 1")]);
      const helped = await ask(/administrator: (.+)$/.exec(hint)?.[1] ?? "");
      expect(helped.stdout).toContain("code 0");
    },
  );

  const noPrograms = (directory: string) => `mount -t tmpfs -o noexec,mode=1777 tmpfs ${directory}`;

  test
    .skipIf(!isPermitted)
    .each([
      ["shared memory", "error", "mount -o remount,size=512k /dev/shm"],
      ["shared memory", "warning", "mount -o remount,size=64m /dev/shm"],
      ["shared memory", "warning", "mount -t ramfs -o mode=1777 ramfs /dev/shm"],
      ["shared memory", "error", "chmod 755 /dev/shm"],
      ["lock directory", "error", ": > /tmp/zerobuffer"],
      ["lock directory", "error", "mkdir -m 777 /tmp/zerobuffer"],
      ["lock directory", "warning", "mkdir -m 1700 /tmp/zerobuffer; chown 12345 /tmp/zerobuffer"],
      ["C# locks", "warning", "mkdir -m 1777 /tmp/zerobuffer; mkdir -m 777 /tmp/zerobuffer/locks"],
      ["temp directory", "warning", "export TMPDIR=/nonexistent"],
      ["temp directory", "warning", "mount -o remount,noexec /tmp"],
      ["temp directory", "warning", `mount -o remount,noexec /tmp; ${noPrograms("/var/tmp")}`],
      ["address space", "warning", "ulimit -S -v 16000000"],
      ["file size", "warning", "ulimit -S -f 1000"],
      ...(availableParallelism() > 1 ? [["processors", "warning", "taskset -pc 0 $$"]] : []),
      ["processes", "warning", "mount -t proc -o hidepid=2 proc /proc"],
    ])("has a doctor that says which command fixes this: %s, %s, after %s", async (check, status, make) => {
    const examine = async (script: string) => {
      const outcome = await runScript(`${script}\n${other} ${executable} doctor --json-output`, "512m");
      return documentOf(outcome).checks.find((finding: { check: string }) => finding.check === check);
    };
    const { remedy, ...finding } = await examine(make);
    expect(finding).toMatchObject({ status });
    expect(await examine(`${make}\n${remedy}`)).toMatchObject({ status: "ok", remedy: null });
  });

  test.skipIf(!isPermitted).each([755, 1755])(
    "passes over the C# lock directory of another user, with mode %d",
    async (mode) => {
      const outcome = await runScript(`
        mkdir -m 1777 /tmp/zerobuffer; mkdir -m ${mode} /tmp/zerobuffer/locks
        ${other} ${idle()}
        find /tmp/zerobuffer -type f`);
      expect(documentOf(outcome).error.code).toBe("PEER_TIMEOUT");
      expect(outcome.stdout.trim().split("\n").length).toBe(1);
    },
  );

  inNamespace("executes and reads nothing of the directory that it is started in", async () => {
    const outcome = await runScript(`
      mkdir hostile && cd hostile
      printf 'preload = ["./evil.ts"]\\n[run]\\npreload = ["./evil.ts"]\\n' > bunfig.toml
      echo 'require("fs").writeFileSync("/tmp/executed", "")' > evil.ts
      echo '{"scripts": {}, "imports": {"#x": "./evil.ts"}}' > package.json
      printf 'TMPDIR=/tmp/hostile/mine\\nNODE_OPTIONS=--require=/tmp/hostile/evil.ts\\n' > .env
      cp .env .env.local; cp .env .env.production
      mkdir mine
      ${transfer("")}
      ls /tmp/executed mine`);
    expect(documentOf(outcome)).toMatchObject({ frames_read: 100, errors: [] });
    expect(outcome.stdout).toEndWith("mine:\n");
    expect(outcome.stderr).toContain("/tmp/executed");
  });

  inNamespace("connects to the reader of another user, whose process it may not even look at", async () => {
    const outcome = await runScript(
      transfer("", "setpriv --reuid=12345 --regid=12345 --clear-groups env HOME=/nonexistent"),
    );
    expect(documentOf(outcome)).toMatchObject({ frames_read: 100, verification_errors: 0, errors: [] });
    expect(outcome.stdout).toContain("code 0");
  });
});
