// Buffers and locks of other users.

import { beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, chownSync, existsSync, statSync, writeFileSync } from "node:fs";
import { Reader } from "../../src/core/index.ts";
import { bufferMade, uniqueName } from "../support/buffers.ts";
import { Bundle, isRoot } from "../support/bundle.ts";
import { Child, type Report, run, runJson } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";
import { leaveStaleBuffer, listed, lockOf, objectsOf, removeAll, shm } from "./stale-buffers.ts";

beforeAll(() => {
  // Makes the lock directories.
  new Reader(uniqueName(), { metadataSize: 0, payloadSize: 64 }).close();
});

const bundle = await Bundle.build();

const checkOf = ({ document }: Report, name: string) =>
  document.checks.find(({ check }: { check: string }) => check === name);

describe.skipIf(!isRoot)("another user's buffer", () => {
  const NOBODY = 65_534;
  const STRANGER = 12_345;
  const asUser = (user: number, ...args: string[]) =>
    Child.program(
      ["setpriv", `--reuid=${user}`, `--regid=${user}`, "--clear-groups", ...bundle.command(args)],
      { env: { TMPDIR: "/tmp" } },
    );
  const asNobody = (...args: string[]) => asUser(NOBODY, ...args);

  /** A buffer of nobody's whose reader was killed. */
  async function leaveNobodysBuffer(name: string): Promise<void> {
    await using reader = asNobody("reader", name, "--buffer-size", "4096");
    await bufferMade(name);
    reader.kill("SIGKILL");
    await reader.exited();
  }

  test.each(["its owner", "root"])("is left by a third one, until %s cleans", async (who) => {
    const name = uniqueName();
    await leaveNobodysBuffer(name);
    expect(await listed(name)).toMatchObject({ state: "stale" });
    await using third = asUser(STRANGER, "clean", name, "--json-output");
    expect(await third.report()).toMatchObject({
      code: 1,
      document: { error: { code: "PERMISSION_DENIED" } },
    });
    await using all = asUser(STRANGER, "clean");
    expect((await all.exited()).code).toBe(0);
    for (const path of objectsOf(name))
      expect({ path, exists: existsSync(path) }).toEqual({ path, exists: true });
    if (who === "root") {
      expect((await run("clean", name)).code).toBe(0);
    } else {
      await using owner = asNobody("clean", name);
      expect((await owner.exited()).code).toBe(0);
    }
    for (const path of objectsOf(name)) expect(existsSync(path)).toBe(false);
  });

  test("is replaced by a reader of root's, whoever has left it", async () => {
    const name = uniqueName();
    await leaveNobodysBuffer(name);
    using reader = new Reader(name, { metadataSize: 0, payloadSize: 64 });
    expect(reader.config.payloadSize).toBe(64);
  });

  test("is refused to a reader and a writer, who are told what they can do", async () => {
    const name = uniqueName();
    using reader = new Reader(name, { payloadSize: 4096, mode: 0o644 });
    await using writer = asNobody("writer", name, "--json-output");
    expect((await writer.report()).document.error).toMatchObject({
      code: "PERMISSION_DENIED",
      hint: expect.stringContaining("wider permissions (--mode)"),
    });
    using _requests = new Reader(`${name}_request`, { payloadSize: 4096, mode: 0o644 });
    await using client = asNobody("duplex", "request", name, "--json-output");
    expect((await client.report()).document.error).toMatchObject({
      code: "PERMISSION_DENIED",
      hint: expect.stringContaining("or give both sides wider --permissions"),
    });
    reader.close();
    await leaveStaleBuffer(name);
    chmodSync(shm(name), 0o644);
    await using successor = asNobody("reader", name, "--json-output");
    expect((await successor.report()).document.error).toMatchObject({
      code: "PERMISSION_DENIED",
      message: `Buffer "${name}" exists and belongs to another user.`,
      hint: `Use another name, or have its owner remove it: zerobuffer clean ${name}.`,
    });
    expect((await run("clean", name)).code).toBe(0);
  });

  test("is a channel's that others may use where both sides say so", async () => {
    const channel = uniqueName();
    const wide = ["--permissions", "0666", "--buffer-size", "64KiB", "--json-output"];
    await using server = asUser(STRANGER, "duplex", "serve", channel, "-n", "5", ...wide);
    await bufferMade(`${channel}_request`);
    await using client = asNobody("duplex", "request", channel, "-n", "5", ...wide);
    expect(await client.report()).toMatchObject({ code: 0, document: { responses: 5 } });
    expect(await server.report()).toMatchObject({ code: 0, document: { requests: 5 } });
  });

  test("keeps its name from a third one, who is told to have its owner remove it, and that helps", async () => {
    const channel = uniqueName();
    const name = `${channel}_request`;
    await leaveNobodysBuffer(name);
    const commands = [
      ["reader", name, "--buffer-size", "4096", "--connect-timeout-ms", "1"],
      ["relay", name, uniqueName(), "--buffer-size", "4096", "--connect-timeout-ms", "1"],
      ["duplex", "serve", channel, "--buffer-size", "4096"],
    ];
    const reportOf = async (args: string[]) => {
      await using child = asUser(STRANGER, ...args, "--json-output");
      return await child.report();
    };
    for (const args of commands) {
      const { code, document } = await reportOf(args);
      expect({ args, code, error: document.error }).toEqual({
        args,
        code: 1,
        error: {
          code: "PERMISSION_DENIED",
          message: `Buffer "${name}" exists and belongs to another user.`,
          hint: `Use another name, or have its owner remove it: zerobuffer clean ${name}.`,
        },
      });
    }
    expect(checkOf(await reportOf(["doctor"]), "leftovers")).toMatchObject({
      status: "ok",
      message: expect.stringContaining("dead processes of other users have left"),
      remedy: null,
    });
    await using owner = asNobody("clean", name);
    expect((await owner.exited()).code).toBe(0);
    expect((await reportOf(commands[0]!)).document.error.code).toBe("PEER_TIMEOUT");
  });

  test("has a lock that only they may open, and the reader is told what helps", async () => {
    const name = uniqueName();
    writeFileSync(lockOf(name), "", { mode: 0o600 });
    const args = ["reader", name, "--buffer-size", "4096", "--connect-timeout-ms", "1", "--json-output"];
    await using reader = asNobody(...args);
    expect(await reader.report()).toMatchObject({
      code: 1,
      document: {
        error: {
          code: "PERMISSION_DENIED",
          message: `The lock file ${lockOf(name)} cannot be used: the operating system refuses access.`,
          hint: "Another user has created it: use another name, or remove it as that user.",
        },
      },
    });
    removeAll([lockOf(name)]);
    await using next = asNobody(...args);
    expect((await next.report()).document.error.code).toBe("PEER_TIMEOUT");
  });

  test("of which only a semaphore is left keeps the name, and the reader is told which file that is", async () => {
    const name = uniqueName();
    const path = shm(`sem.sem-r-${name}`);
    writeFileSync(path, "");
    await using reader = asNobody("reader", name, "--buffer-size", "4096", "--json-output");
    expect((await reader.report()).document.error).toMatchObject({
      code: "PERMISSION_DENIED",
      message: `A semaphore of buffer "${name}" belongs to another user: ${path}.`,
    });
    removeAll([path]);
    expect(objectsOf(name).filter((left) => existsSync(left))).toEqual([]);
  });

  test("is not where only its semaphore and lock are theirs: those are left", async () => {
    const name = uniqueName();
    await leaveNobodysBuffer(name);
    const theirs = [shm(`sem.sem-r-${name}`), lockOf(name)];
    for (const path of theirs) chownSync(path, STRANGER, STRANGER);
    await using clean = asNobody("clean", name, "--json-output");
    const { code, document } = await clean.report();
    expect(code).toBe(0);
    expect(document.removed[0].paths).toEqual(objectsOf(name).filter((path) => !existsSync(path)));
    for (const path of theirs) expect({ path, exists: existsSync(path) }).toEqual({ path, exists: true });
    expect(existsSync(shm(name))).toBe(false);
    removeAll(objectsOf(name));
  });

  test("is judged right while it lives, in both directions", async () => {
    const [theirs, ours] = [uniqueName(), uniqueName()];
    await using reader = asNobody("reader", theirs, "--buffer-size", "4096");
    await bufferMade(theirs);
    expect(await listed(theirs)).toMatchObject({ state: "idle", reader: { pid: reader.pid, alive: true } });
    using _own = new Reader(ours, { payloadSize: 4096, mode: 0o644 });
    await using look = asNobody("inspect", ours, "--json-output");
    expect((await look.report()).document).toMatchObject({
      state: "idle",
      reader: { pid: process.pid, alive: true },
      semaphores: { written: 0, released: 0 },
    });
    await using clean = asNobody("clean", ours, "--json-output");
    expect((await clean.report()).document.error.code).toBe("PERMISSION_DENIED");
    reader.kill("SIGINT");
    await reader.exited();
  });

  test("that may not be read is shown without a state", async () => {
    using reader = new Reader(uniqueName(), { payloadSize: 4096, mode: 0o600 });
    await using look = asNobody("inspect", reader.name, "--json-output");
    const { code, document } = await look.report();
    expect([code, expectValid("inspect", document).error.code, document.state]).toEqual([
      1,
      "PERMISSION_DENIED",
      null,
    ]);
    await using list = asNobody("list", "--json-output");
    expect(expectValid("list", (await list.report()).document).buffers).toContainEqual(
      expect.objectContaining({ buffer_name: reader.name, state: null, size_bytes: 128 + 4096 + 4096 }),
    );
  });

  test.each([
    ["an empty file", 0],
    ["a file of zeros", 8192],
  ])("lock file makes %s no leftover: it stays for sweeps, for clean and for a reader", async (_, size) => {
    const name = uniqueName();
    writeFileSync(shm(name), new Uint8Array(size));
    const plant = [`: > ${lockOf(name)}; head -c 32 /dev/zero > ${shm(`sem.sem-w-${name}`)}`];
    Bun.spawnSync([
      "setpriv",
      `--reuid=${NOBODY}`,
      `--regid=${NOBODY}`,
      "--clear-groups",
      "sh",
      "-c",
      ...plant,
    ]);
    new Reader(uniqueName(), { metadataSize: 0, payloadSize: 64 }).close();
    expect((await runJson("clean", name)).document.error).toMatchObject({ code: "CORRUPT_BUFFER" });
    if (size > 0) {
      const { document } = await runJson(
        "reader",
        name,
        "--buffer-size",
        "4096",
        "--connect-timeout-ms",
        "1",
      );
      expect(document.error).toMatchObject({ code: "CORRUPT_BUFFER" });
    }
    expect(statSync(shm(name)).size).toBe(size);
    removeAll(objectsOf(name));
  });

  test("loses nothing by a lock that its enemy planted, nor does a leftover of theirs by another one's sweep", async () => {
    const [ours, theirs] = [uniqueName(), uniqueName()];
    using reader = new Reader(ours, { payloadSize: 4096 });
    removeAll([lockOf(ours)]);
    const plant = `: > ${lockOf(ours)}; : > ${lockOf(theirs)}; head -c 32 /dev/zero > ${shm(`sem.sem-w-${theirs}`)}`;
    Bun.spawnSync(["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", "sh", "-c", plant]);
    await using clean = asNobody("clean", "--json-output", ours);
    expect((await clean.report()).code).toBe(1);
    await using third = asUser(STRANGER, "clean", theirs, "--json-output");
    expect((await third.report()).document.error.code).toBe("PERMISSION_DENIED");
    // A reader that starts sweeps by the same rule.
    await using sweeper = asUser(
      STRANGER,
      "reader",
      uniqueName(),
      "--buffer-size",
      "64",
      "--connect-timeout-ms",
      "1",
    );
    await sweeper.exited();
    for (const path of [shm(ours), lockOf(theirs), shm(`sem.sem-w-${theirs}`)])
      expect(existsSync(path)).toBe(true);
    await using owner = asNobody("clean", theirs);
    expect((await owner.exited()).code).toBe(0);
    reader.close();
    removeAll([lockOf(ours)]);
  });
});

describe.skipIf(!isRoot)("a lock directory", () => {
  /** Runs a command line where /tmp is empty but for what `prepare` puts there; /mnt is the bundle. */
  async function runWith(prepare: string, ...args: string[]) {
    const script =
      `mount --bind ${bundle.directory} /mnt && mount -t tmpfs -o mode=1777 tmpfs /tmp && cd /tmp && ${prepare}; ` +
      'cd /mnt; ./bun main.js "$@"; code=$?; find /tmp -name "*.lock" >&2; exit $code';
    await using child = Child.program(["unshare", "--mount", "sh", "-c", script, "sh", ...args]);
    return await child.exited();
  }

  const linked = "mkdir victim; : > victim/cam.lock; ln -s victim zerobuffer";
  const foreign = "mkdir zerobuffer; : > zerobuffer/cam.lock; chown -R 65534 zerobuffer";

  test.each([
    ["that is a link", linked, "/tmp/victim/cam.lock"],
    ["of another user that is not sticky", foreign, "/tmp/zerobuffer/cam.lock"],
  ])("%s is refused, and nothing in it is removed", async (_, prepare, lock) => {
    for (const args of [["clean"], ["clean", "cam"], ["list"], ["reader", "other", "--buffer-size", "64"]]) {
      const { code, stderr } = await runWith(prepare, ...args);
      expect(stderr).toContain(lock);
      expect({ args, code }).toEqual({ args, code: args.length > 1 ? 1 : 0 });
    }
  });

  test("that is a file is no obstacle to looking", async () => {
    expect((await runWith(": > zerobuffer", "list")).code).toBe(0);
    expect((await runWith(": > zerobuffer", "doctor")).stdout.toString()).toContain("rm /tmp/zerobuffer");
  });
});
