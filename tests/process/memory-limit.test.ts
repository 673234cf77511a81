// Buffers in a cgroup whose memory is limited: refused in time, instead of a process that is killed without a word.

import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { canBeAlone } from "../support/alone.ts";
import { eventually, uniqueName } from "../support/buffers.ts";
import { Child, type ChildOptions, program } from "../support/process.ts";

const MIB = 2 ** 20;

/** A cgroup that tests make. */
interface Cgroup {
  readonly directory: string;
  /** The file of its limit. */
  readonly limit: string;
}

/** Makes a cgroup below the topmost one; undefined where that is not permitted. */
function makeCgroup(): Cgroup | undefined {
  const name = `zerobuffer-test-${process.pid}`;
  for (const [top, file] of [
    ["/sys/fs/cgroup/memory", "memory.limit_in_bytes"],
    ["/sys/fs/cgroup", "memory.max"],
  ] as const) {
    const directory = join(top, name);
    try {
      mkdirSync(directory);
      const limit = join(directory, file);
      if (existsSync(limit)) return { directory, limit };
      rmdirSync(directory);
    } catch {
      // There is no such hierarchy, or it is not ours.
    }
  }
  return undefined;
}

const cgroup = makeCgroup();
if (cgroup === undefined) console.error("Cgroups may not be made here: their tests are skipped.");
afterAll(async () => {
  if (cgroup === undefined) return;
  // A process that has ended leaves its cgroup a moment later.
  await eventually(() => readFileSync(join(cgroup.directory, "cgroup.procs"), "utf8") === "");
  rmdirSync(cgroup.directory);
});

const scratch = mkdtempSync(join(tmpdir(), "zerobuffer-cgroup-"));
afterAll(() => rmSync(scratch, { recursive: true }));

describe.skipIf(cgroup === undefined)("in a cgroup that may use 160 MiB", () => {
  const { directory, limit } = cgroup ?? { directory: "", limit: "" };
  const inCgroup: ChildOptions = { shell: `echo $$ > ${directory}/cgroup.procs && exec "$@"` };

  beforeEach(() => writeFileSync(limit, `${160 * MIB}`));

  /** What becomes of a reader that nobody writes to: PEER_TIMEOUT if it has got its buffer. */
  async function tryReader(size: string) {
    const args = `reader ${uniqueName()} --buffer-size ${size} --connect-timeout-ms 1 --json-output`;
    await using reader = Child.cli(args, inCgroup);
    const { code, document } = await reader.report();
    expect(code).toBe(1);
    return document.error;
  }

  async function examine() {
    await using doctor = Child.cli("doctor --json-output", inCgroup);
    const { document } = await doctor.report();
    return document.checks.find(({ check }: { check: string }) => check === "memory limit");
  }

  test("a buffer of 256 MiB is refused, until it is smaller or the limit is raised", async () => {
    const { code, message, hint } = await tryReader("256MiB");
    expect(code).toBe("RESOURCE_EXHAUSTED");
    const [, needed, free, allowed] =
      /needs (\d+) bytes of memory, and (\d+) of the (\d+)/.exec(message) ?? [];
    expect(Number(needed)).toBeGreaterThan(256 * MIB);
    expect(Number(free)).toBeGreaterThan(64 * MIB);
    expect(Number(free)).toBeLessThan(160 * MIB);
    expect(Number(allowed)).toBe(160 * MIB);
    expect(hint).toContain(`(--buffer-size), or raise the limit`);
    expect(hint).toEndWith(`elsewhere in ${limit}.`);
    expect(await tryReader("64MiB")).toMatchObject({ code: "PEER_TIMEOUT" });
    writeFileSync(limit, `${320 * MIB}`);
    expect(await tryReader("256MiB")).toMatchObject({ code: "PEER_TIMEOUT" });
  });

  test("doctor says so, and how much would be enough", async () => {
    const { status, message, remedy } = await examine();
    expect([status, message]).toEqual([
      "warning",
      expect.stringMatching(/^this process may use 160 MiB, 1\d\d MiB of it free: a buffer needs 256 MiB/),
    ]);
    Bun.spawnSync(["sh", "-c", remedy]);
    expect(await examine()).toMatchObject({ status: "ok", remedy: null });
    expect(await tryReader("256MiB")).toMatchObject({ code: "PEER_TIMEOUT" });
  });

  test("every byte of a buffer that fits can be written, even if files have taken the memory before", async () => {
    const name = uniqueName();
    const file = join(scratch, "file");
    await using copy = Child.program(
      ["dd", "if=/dev/zero", `of=${file}`, "bs=1M", "count=200", "conv=fsync"],
      inCgroup,
    );
    expect((await copy.exited()).code).toBe(0);
    await using reader = Child.cli(`reader ${name} --buffer-size 112MiB -n 10 --json-output`, inCgroup);
    await using writer = Child.cli(`writer ${name} -n 10 -s 100MiB --connect-timeout-ms 30s --json-output`);
    expect(await writer.report()).toMatchObject({ code: 0, document: { frames_written: 10 } });
    expect(await reader.report()).toMatchObject({ code: 0, document: { frames_read: 10 } });
  });

  test("an output that a relay or a server makes is refused in the same way", async () => {
    const [input, output] = [uniqueName(), uniqueName()];
    for (const args of [
      `relay ${input} ${output} --create-output --buffer-size 96MiB --json-output`,
      `duplex serve ${input} --buffer-size 256MiB --json-output`,
    ]) {
      await using child = Child.cli(args, inCgroup);
      const { code, document } = await child.report();
      expect({ args, code, error: document.error.code }).toEqual({
        args,
        code: 1,
        error: "RESOURCE_EXHAUSTED",
      });
    }
  });
});

describe.skipIf(!canBeAlone)("where the files of version 2 say so", () => {
  /** Runs a command where the files of cgroups are those of `tree`, and the process is in /app. */
  async function report(tree: string, args: string) {
    const show = `mount --bind ${tree}/cgroups /sys/fs/cgroup && mount --bind ${tree}/cgroup /proc/$$/cgroup &&
      mount --bind ${tree}/mountinfo /proc/$$/mountinfo && exec "$@"`;
    await using child = Child.program([
      "unshare",
      "--mount",
      "sh",
      "-c",
      show,
      "sh",
      ...program,
      ...args.split(" "),
    ]);
    return await child.report();
  }

  function makeTree(limit: string, used: number): string {
    const tree = mkdtempSync(join(scratch, "tree-"));
    const app = join(tree, "cgroups", "app");
    mkdirSync(app, { recursive: true });
    writeFileSync(join(tree, "cgroup"), "0::/app\n");
    writeFileSync(join(tree, "mountinfo"), "31 23 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    writeFileSync(join(app, "memory.max"), `${limit}\n`);
    writeFileSync(join(app, "memory.current"), `${used}\n`);
    writeFileSync(join(app, "memory.stat"), "anon 0\ninactive_file 0\n");
    return tree;
  }

  test("a buffer is refused before it takes memory", async () => {
    const args = `reader ${uniqueName()} --buffer-size 64MiB --connect-timeout-ms 1 --json-output`;
    const tree = makeTree(`${128 * MIB}`, 96 * MIB);
    expect((await report(tree, args)).document.error).toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      message: expect.stringContaining(
        `and ${32 * MIB} of the ${128 * MIB} that this process may use are free`,
      ),
      hint: expect.stringContaining("/sys/fs/cgroup/app/memory.max"),
    });
    const { checks } = (await report(tree, "doctor --json-output")).document;
    expect(checks).toContainEqual(expect.objectContaining({ check: "memory limit", status: "warning" }));
  });

  test("a buffer is made where there is no limit", async () => {
    const args = `reader ${uniqueName()} --buffer-size 64MiB --connect-timeout-ms 1 --json-output`;
    const tree = makeTree("max", 96 * MIB);
    expect((await report(tree, args)).document.error.code).toBe("PEER_TIMEOUT");
    const { checks } = (await report(tree, "doctor --json-output")).document;
    expect(checks).toContainEqual(
      expect.objectContaining({ check: "memory limit", status: "ok", message: "none" }),
    );
  });
});
