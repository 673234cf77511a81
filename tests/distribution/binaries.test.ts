import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unzipSync } from "fflate";
import { type Entry, tarGz, zip } from "../../scripts/binaries/archive.ts";
import { checkExecutable, checkHelper } from "../../scripts/binaries/check.ts";
import { exportsOf, platformOf } from "../../scripts/binaries/formats.ts";
import { sign, verifySignature } from "../../scripts/binaries/signature.ts";
import { cFlags, compile, findCompiler, libraryPath, root } from "../../scripts/build-native.ts";
import { host } from "../../scripts/executable.ts";
import { targetNamed } from "../../scripts/targets.ts";
import { SYMBOLS } from "../../src/native/symbols.ts";
import { Child } from "../support/process.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "zerobuffer-binaries-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

describe("an archive", () => {
  const time = new Date(Date.UTC(2026, 10, 5, 23, 30, 10));
  const entries: Entry[] = [
    { name: "a/run", content: Buffer.from("#!"), isExecutable: true },
    { name: "a/completions/b", content: Buffer.from("b") },
    { name: "a/LICENSE", content: Buffer.from("free") },
  ];

  test("has its entries in order, of one time, and of nobody", async () => {
    const path = join(directory, "archive.tar.gz");
    await Bun.write(path, await tarGz(entries, time));
    const listing = Bun.spawnSync(["tar", "--utc", "--full-time", "--numeric-owner", "-tvzf", path]);
    expect(listing.stdout.toString().replaceAll(/ +/g, " ").trim().split("\n")).toEqual([
      "-rw-r--r-- 0/0 4 2026-11-05 23:30:10 a/LICENSE",
      "-rw-r--r-- 0/0 1 2026-11-05 23:30:10 a/completions/b",
      "-rwxr-xr-x 0/0 2 2026-11-05 23:30:10 a/run",
    ]);
  });

  test("is the same whatever the order of what goes in, and wherever it is made", async () => {
    const script = `
      import { tarGz, zip } from ${JSON.stringify(join(root, "scripts", "binaries", "archive.ts"))};
      const entries = ${JSON.stringify(entries.toReversed())}.map((entry) => ({ ...entry, content: Buffer.from(entry.content) }));
      const time = new Date(${time.getTime()});
      for (const bytes of [await tarGz(entries, time), zip(entries, time)]) console.log(String(Bun.hash(bytes)));`;
    for (const zone of ["UTC", "Asia/Tokyo", "America/St_Johns"]) {
      const { stdout } = Bun.spawnSync([process.execPath, "-e", script], {
        env: { ...process.env, TZ: zone },
      });
      expect(stdout.toString()).toBe(
        `${Bun.hash(await tarGz(entries, time))}\n${Bun.hash(zip(entries, time))}\n`,
      );
    }
  });

  test("for Windows has the same entries", () => {
    const contents = unzipSync(zip(entries, time));
    expect(Object.keys(contents)).toEqual(["a/LICENSE", "a/completions/b", "a/run"]);
    expect(Buffer.from(contents["a/run"]!).toString()).toBe("#!");
  });
});

test("the tests of the command line run the executable that they are given", async () => {
  const [standIn, calls] = [join(directory, "stand-in"), join(directory, "calls")];
  writeFileSync(standIn, `#!/bin/sh\necho "$*" >> '${calls}'\n`, { mode: 0o755 });
  const test = [join(root, "scripts", "test.ts"), "--executable", standIn, "tests/cli/completion.test"];
  await using child = Child.program([process.execPath, ...test]);
  const { code, stdout } = await child.end();
  // It completes nothing.
  expect([code, stdout.toString()]).toEqual([1, expect.stringMatching(/, [1-9]\d* failed\n$/)]);
  expect(readFileSync(calls, "utf8")).toContain("complete");
});

describe("a helper", () => {
  const library = async (name: string, source: string): Promise<string> => {
    const path = join(directory, `${name}.so`);
    writeFileSync(join(directory, `${name}.c`), source);
    await compile(await findCompiler(), {
      sources: [join(directory, `${name}.c`)],
      output: path,
      flags: [...cFlags, "-shared", "-fPIC"],
    });
    return path;
  };
  const returning = (names: readonly string[], value: number) =>
    names.map((name) => `int ${name}(void) { return ${value}; }`).join("\n");

  test("of this source is accepted", () => {
    checkHelper(host, libraryPath);
    const helper = readFileSync(libraryPath);
    expect(platformOf(helper)).toEqual({ os: host.os, arch: host.arch });
    expect(exportsOf(helper)).toEqual(expect.arrayContaining(Object.keys(SYMBOLS)));
  });

  test("for another processor or system is refused", () => {
    const [own, other] = host.arch === "x64" ? ["x64", "arm64"] : ["arm64", "x64"];
    expect(() => checkHelper(targetNamed(`${host.os}-${other}`), libraryPath)).toThrow(
      `it is for ${host.os}-${own} and not for ${host.os}-${other}`,
    );
    writeFileSync(join(directory, "text"), "no library at all");
    expect(() => checkHelper(host, join(directory, "text"))).toThrow("neither ELF nor Mach-O nor PE");
  });

  test("with other functions, or another ABI, is refused", async () => {
    const [first, ...others] = Object.keys(SYMBOLS);
    const fewer = await library("fewer", returning([...others, "zb_more"], 1));
    expect(() => checkHelper(host, fewer)).toThrow(`do not agree on zb_more, ${first}`);
    const newer = await library("newer", returning(Object.keys(SYMBOLS), 12345));
    expect(() => checkHelper(host, newer)).toThrow("it has ABI 12345, and src/native/library.ts needs");
  });

  test("that is not in its executable byte for byte is missed", () => {
    const helper = Buffer.from(readFileSync(libraryPath));
    helper[helper.length - 1]! ^= 1;
    const versions = { version: "1.0.0", commit: "unknown", protocol: "1.0.0", bun: Bun.version };
    expect(() => checkExecutable(host, libraryPath, helper, versions)).toThrow("the helper is not in it");
  });
});

describe("a signature for macOS", () => {
  /** The least that is an executable: a page of code, and a signature of `stale` bytes that is none any more. */
  function executable(codeSize: number, stale: number): Buffer {
    const file = Buffer.alloc(codeSize + stale, 7);
    file.fill(0, 0, 512);
    const segment = (at: number, name: string, offset: number, size: number) => {
      file.writeUInt32LE(0x19, at);
      file.writeUInt32LE(72, at + 4);
      file.write(name, at + 8);
      for (const [field, value] of [
        [32, size],
        [40, offset],
        [48, size],
      ] as const)
        file.writeBigUInt64LE(BigInt(value), at + field);
    };
    file.writeUInt32LE(0xfeedfacf, 0);
    file.writeUInt32LE(0x1000007, 4);
    file.writeUInt32LE(3, 16);
    segment(32, "__TEXT", 0, 4096);
    segment(104, "__LINKEDIT", 4096, codeSize - 4096 + stale);
    file.writeUInt32LE(0x1d, 176);
    file.writeUInt32LE(16, 180);
    file.writeUInt32LE(codeSize, 184);
    file.writeUInt32LE(stale, 188);
    return file;
  }

  test.each([4096 * 3, 4096 * 3 + 1, 4096 * 300 + 17])("covers an executable of %p bytes", (size) => {
    const original = executable(size, 100);
    const signed = sign(original, "zerobuffer");
    expect(verifySignature(signed)).toBe(Math.ceil(size / 4096));
    // Nothing but the signature, and what says where it is, has changed.
    expect(signed.subarray(512, size).equals(original.subarray(512, size))).toBe(true);
    expect(sign(signed, "zerobuffer").equals(signed)).toBe(true);
  });

  test("is wrong once any page has changed, or anything is behind it", () => {
    const signed = sign(executable(4096 * 5, 100), "zerobuffer");
    for (const at of [600, 4096 * 3 + 5, 4096 * 5 - 1]) {
      const changed = Buffer.from(signed);
      changed[at]! ^= 1;
      expect(() => verifySignature(changed)).toThrow("1 of the 5 page hashes of its signature are wrong");
    }
    expect(() => verifySignature(Buffer.concat([signed, Buffer.alloc(1)]))).toThrow("does not end where");
    expect(() => verifySignature(executable(4096 * 5, 100))).toThrow("its signature has no blobs");
  });
});
