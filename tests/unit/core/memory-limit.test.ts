// The limits of cgroups, over the files that Linux would show.

import { describe, expect, test } from "bun:test";
import {
  checkMemoryLimit,
  type MemoryLimit,
  memoryFor,
  memoryLimit,
} from "../../../src/core/memory-limit.ts";
import { thrownBy } from "../../support/buffers.ts";

type Files = Readonly<Record<string, string>>;

const MIB = 2 ** 20;
const GIB = 2 ** 30;
/** What version 1 says where there is no limit. */
const NO_LIMIT = "9223372036854771712\n";

const unified = "31 23 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
const legacy =
  "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n" +
  "33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

/** A machine with 8 GiB. */
function machine(cgroup: string, mountinfo: string, ...cgroups: Files[]): Files {
  return Object.assign(
    {
      "/proc/self/cgroup": cgroup,
      "/proc/self/mountinfo": `25 23 0:22 / /dev/shm rw,nosuid - tmpfs tmpfs rw\n${mountinfo}`,
      "/proc/meminfo":
        "MemTotal:        8388608 kB\nMemFree:         1234567 kB\nSwapFree:              0 kB\n",
    },
    ...cgroups,
  );
}

/** The files of a cgroup of version 2. */
function group(directory: string, limit: number | string, used: number, more: Files = {}): Files {
  const files = {
    "memory.max": `${limit}\n`,
    "memory.current": `${used}\n`,
    "memory.stat": "anon 4096\nfile 8192\nshmem 8192\n",
    ...more,
  };
  return inDirectory(directory, files);
}

/** The files of a cgroup of version 1. */
function legacyGroup(directory: string, limit: number | string, used: number, more: Files = {}): Files {
  const files = {
    "memory.limit_in_bytes": `${limit}\n`,
    "memory.usage_in_bytes": `${used}\n`,
    "memory.stat": "cache 8192\nactive_file 4096\ntotal_cache 8192\n",
    ...more,
  };
  return inDirectory(directory, files);
}

const inDirectory = (directory: string, files: Files) =>
  Object.fromEntries(Object.entries(files).map(([name, text]) => [`${directory}/${name}`, text]));

const limitOf = (files: Files): MemoryLimit | undefined => memoryLimit((path) => files[path]);
const freeOf = (files: Files): number | undefined => limitOf(files)?.freeBytes;

const TOP = "/sys/fs/cgroup";
const LEGACY_TOP = "/sys/fs/cgroup/memory";

describe("the limit of a cgroup", () => {
  test("of version 2 leaves what is not used", () => {
    expect(limitOf(machine("0::/app\n", unified, group(`${TOP}/app`, GIB, 300 * MIB)))).toEqual({
      path: "/sys/fs/cgroup/app/memory.max",
      bytes: GIB,
      freeBytes: GIB - 300 * MIB,
    });
  });

  test("of version 1 leaves what is not used", () => {
    const cgroup = "9:name=systemd:/\n4:cpu,cpuacct:/other\n3:memory:/app\n0::/\n";
    expect(limitOf(machine(cgroup, legacy, legacyGroup(`${LEGACY_TOP}/app`, GIB, 300 * MIB)))).toEqual({
      path: "/sys/fs/cgroup/memory/app/memory.limit_in_bytes",
      bytes: GIB,
      freeBytes: GIB - 300 * MIB,
    });
  });

  test("also leaves what the system reclaims, which shared memory is not", () => {
    const stat = "file 900\nshmem 200\nactive_file 300\ninactive_file 400\nslab_reclaimable 50\nslab 60\n";
    const files = group(`${TOP}/app`, GIB, GIB, { "memory.stat": stat });
    expect(freeOf(machine("0::/app\n", unified, files))).toBe(750);
  });

  test("of version 1 also leaves what the system reclaims in all the cgroups below", () => {
    const stat =
      "active_file 1\ninactive_file 2\ntotal_shmem 5\ntotal_active_file 30\ntotal_inactive_file 40\n";
    const files = legacyGroup(`${LEGACY_TOP}/app`, GIB, GIB, { "memory.stat": stat });
    expect(freeOf(machine("3:memory:/app\n", legacy, files))).toBe(70);
  });

  test("that is exceeded leaves nothing", () => {
    expect(freeOf(machine("0::/app\n", unified, group(`${TOP}/app`, GIB, GIB + 1)))).toBe(0);
  });

  test.each([
    ["the innermost", "/a/b/c"],
    ["one in the middle", "/a/b"],
    ["the outermost", "/a"],
  ])("counts where it leaves the least: %s", (_, tightest) => {
    const groups = ["/a", "/a/b", "/a/b/c"].map((path) =>
      group(TOP + path, 2 * GIB, path === tightest ? 2 * GIB - 5 : 0),
    );
    const top = group(TOP, "max", 0);
    expect(limitOf(machine("0::/a/b/c\n", unified, top, ...groups))).toMatchObject({
      path: `${TOP}${tightest}/memory.max`,
      freeBytes: 5,
    });
    const legacyGroups = ["/a", "/a/b", "/a/b/c"].map((path) =>
      legacyGroup(LEGACY_TOP + path, 2 * GIB, path === tightest ? 2 * GIB - 5 : 0),
    );
    const legacyTop = legacyGroup(LEGACY_TOP, NO_LIMIT, 7 * GIB);
    expect(limitOf(machine("3:memory:/a/b/c\n", legacy, legacyTop, ...legacyGroups))).toMatchObject({
      path: `${LEGACY_TOP}${tightest}/memory.limit_in_bytes`,
      freeBytes: 5,
    });
  });

  test("of another cgroup is nothing to this process", () => {
    const files = [
      group(`${TOP}/app`, "max", 0),
      group(`${TOP}/app2`, 10, 10),
      group(`${TOP}/app/in`, 10, 10),
    ];
    expect(limitOf(machine("0::/app\n", unified, ...files))).toBeUndefined();
  });

  test("counts up to the memory of the machine", () => {
    const files = (limit: number) => machine("0::/app\n", unified, group(`${TOP}/app`, limit, 0));
    expect(freeOf(files(8 * GIB))).toBe(8 * GIB);
    expect(limitOf(files(8 * GIB + 1))).toBeUndefined();
  });
});

describe("there is no limit", () => {
  const files = machine("0::/app\n", unified, group(`${TOP}/app`, GIB, 0));
  const legacyFiles = machine("3:memory:/app\n", legacy, legacyGroup(`${LEGACY_TOP}/app`, GIB, 0));

  test.each([
    ["max", "max\n"],
    ["nothing", ""],
    ["a word", "unlimited\n"],
    ["a negative number", "-1\n"],
    ["two numbers", "1 2\n"],
    ["what version 1 says", NO_LIMIT],
    ["2^64", "18446744073709551615\n"],
  ])("where the file of it says %s", (_, text) => {
    expect(limitOf({ ...files, [`${TOP}/app/memory.max`]: text })).toBeUndefined();
    expect(limitOf({ ...legacyFiles, [`${LEGACY_TOP}/app/memory.limit_in_bytes`]: text })).toBeUndefined();
  });

  test("where a file is missing that is needed to judge it", () => {
    for (const all of [files, legacyFiles]) {
      expect(limitOf(all)).toBeDefined();
      for (const path of Object.keys(all).filter((path) => path !== "/proc/meminfo")) {
        const { [path]: _, ...others } = all;
        expect({ path, limit: limitOf(others) }).toEqual({ path, limit: undefined });
      }
    }
    expect(memoryLimit(() => undefined)).toBeUndefined();
  });

  test("where a file holds anything else", () => {
    for (const all of [files, legacyFiles])
      for (const path of Object.keys(all).filter((path) => !/meminfo|memory.stat/.test(path)))
        for (const text of ["", "\n", "::::", "a b c d e f g - h i j", "\0"])
          expect({ path, text, limit: limitOf({ ...all, [path]: text }) }).toEqual({
            path,
            text,
            limit: undefined,
          });
  });
});

describe("a cgroup is found", () => {
  const limit = group("/sys/fs/cgroup", GIB, 0);

  test("in a namespace, which shows it as the root", () => {
    expect(freeOf(machine("0::/\n", unified, limit))).toBe(GIB);
  });

  test("where only a part of the tree is mounted, as in a container without a namespace", () => {
    const mount = unified.replace("0:27 / ", "0:27 /docker/abc ");
    expect(freeOf(machine("0::/docker/abc\n", mount, limit))).toBe(GIB);
    expect(limitOf(machine("0::/docker/abc/in\n", mount, group(`${TOP}/in`, GIB, 1)))).toMatchObject({
      path: "/sys/fs/cgroup/in/memory.max",
    });
    expect(limitOf(machine("0::/docker/abcd\n", mount, limit))).toBeUndefined();
    const legacyMount = legacy.replaceAll(" / /sys", " /docker/abc /sys");
    const files = legacyGroup(LEGACY_TOP, GIB, 0);
    expect(freeOf(machine("3:memory:/docker/abc\n", legacyMount, files))).toBe(GIB);
  });

  test("in a mount that was made outside of its namespace, as far up as the names are known", () => {
    const mount = unified.replace("0:27 / ", "0:27 /../.. ");
    expect(freeOf(machine("0::/\n", mount, limit))).toBe(GIB);
  });

  test("no more if the process was moved out of its namespace", () => {
    expect(limitOf(machine("0::/../other\n", unified, limit))).toBeUndefined();
  });

  test("in the version that has the memory, where both are mounted", () => {
    const mounts = `${legacy}34 31 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n`;
    const cgroup = "3:memory:/app\n0::/other\n";
    const files = [legacyGroup(`${LEGACY_TOP}/app`, GIB, 1), group(`${TOP}/unified/other`, GIB, 2)];
    expect(freeOf(machine(cgroup, mounts, ...files))).toBe(GIB - 1);
    expect(freeOf(machine("2:cpu:/app\n0::/other\n", mounts, ...files))).toBe(GIB - 2);
  });

  test("in a hierarchy of several controllers, in a directory with a space", () => {
    const mount = "33 31 0:30 / /c\\040g/cpu,memory rw - cgroup cgroup rw,cpu,memory\n";
    const files = legacyGroup("/c g/cpu,memory/a:b", GIB, 1);
    expect(freeOf(machine("3:cpu,memory:/a:b\n", mount, files))).toBe(GIB - 1);
  });
});

describe("swap is left, too,", () => {
  const swapping = (files: Files, kibibytes: number): Files => ({
    ...files,
    "/proc/meminfo": `MemTotal:        8388608 kB\nSwapTotal: 4194304 kB\nSwapFree:  ${kibibytes} kB\n`,
  });
  const withSwap = (more: Files) => machine("0::/app\n", unified, group(`${TOP}/app`, GIB, GIB, more));

  test.each([
    ["up to its own limit", { "memory.swap.max": "1000\n", "memory.swap.current": "300\n" }, 700],
    ["as far as the machine has it", { "memory.swap.max": `${GIB}\n`, "memory.swap.current": "0\n" }, 4096],
    ["as far as the machine has it, without a limit", { "memory.swap.max": "max\n" }, 4096],
    ["as far as the machine has it, if it is not counted", {}, 4096],
    ["but not where it is forbidden", { "memory.swap.max": "0\n", "memory.swap.current": "0\n" }, 0],
    ["but not beyond its own limit", { "memory.swap.max": "100\n", "memory.swap.current": "300\n" }, 0],
  ])("%s", (_, more: Files, free) => {
    expect(freeOf(swapping(withSwap(more), 4))).toBe(free);
    expect(freeOf(withSwap(more))).toBe(0);
  });

  test("but not where shared memory stays in memory", () => {
    const files = swapping(withSwap({}), 4);
    const mountinfo = files["/proc/self/mountinfo"]?.replace("tmpfs tmpfs rw", "tmpfs tmpfs rw,noswap") ?? "";
    expect(freeOf({ ...files, "/proc/self/mountinfo": mountinfo })).toBe(0);
  });

  test.each([
    ["less what is in use of it", `${GIB + 1000}\n`, `${GIB - 50 + 300}\n`, 50 + 700],
    ["not beyond what is left", `${GIB}\n`, `${GIB - 50}\n`, 50],
    ["as far as the machine has it, without a limit", NO_LIMIT, `${GIB}\n`, 50 + 4096],
  ])("in version 1 the limit of both together counts: %s", (_, limit, used, free) => {
    const more = { "memory.memsw.limit_in_bytes": limit, "memory.memsw.usage_in_bytes": used };
    const files = legacyGroup(`${LEGACY_TOP}/app`, GIB, GIB - 50, more);
    expect(freeOf(swapping(machine("3:memory:/app\n", legacy, files), 4))).toBe(free);
  });
});

describe("a buffer", () => {
  const SIZE = 64 * MIB;
  const files = (free: number) => machine("0::/app\n", unified, group(`${TOP}/app`, GIB, GIB - free));
  const check = (all: Files) => checkMemoryLimit("cam", SIZE, (path) => all[path]);

  test("that fits exactly is made", () => {
    check(files(memoryFor(SIZE)));
  });

  test("that lacks a byte is refused, with what it needs and what is free", () => {
    const [needed, free] = [memoryFor(SIZE), memoryFor(SIZE) - 1];
    expect(thrownBy(() => check(files(free)))).toMatchObject({
      name: "ResourceExhaustedError",
      code: "RESOURCE_EXHAUSTED",
      buffer: "cam",
      message: `Buffer "cam" needs ${needed} bytes of memory, and ${free} of the ${GIB} that this process may use are free.`,
      hint: expect.stringMatching(/`payloadSize`.*--memory=.*\/sys\/fs\/cgroup\/app\/memory\.max/),
    });
  });

  test("is made where nothing says how much it may be", () => {
    check(machine("0::/app\n", unified, group(`${TOP}/app`, "max", 0)));
  });
});
