// list, inspect, clean and doctor beside real processes: what they tell is so, and they harm nothing.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Check, Errors } from "typebox/schema";
import { cFlags, compile, findCompiler, root } from "../../scripts/build-native.ts";
import { schemaDirectory } from "../../scripts/build-schema.ts";
import { plain } from "../../src/cli/terminal.ts";
import list from "../../src/commands/list/command.ts";
import { Reader, Writer } from "../../src/core/index.ts";
import { endAll, startReader, startWriter } from "../process/peers.ts";
import { bufferMade, eventually, uniqueName } from "../support/buffers.ts";
import { Child, run, runJson, runOnTerminal, startOnTerminal } from "../support/process.ts";

const LOCKS = "/tmp/zerobuffer";
const small = { largest: 1000, payloadSize: 4096 };

const shm = (name: string) => `/dev/shm/${name}`;
const lockOf = (name: string) => `${LOCKS}/${name}.lock`;
const objectsOf = (name: string) => [
  shm(name),
  shm(`sem.sem-w-${name}`),
  shm(`sem.sem-r-${name}`),
  lockOf(name),
  `${LOCKS}/locks/${name}.lock`,
];

/** Fails unless a document is as its published schema says; returns it. */
// biome-ignore lint/suspicious/noExplicitAny: every command has its own keys
function valid(file: "list" | "inspect" | "clean" | "doctor", document: any): any {
  const schema = JSON.parse(readFileSync(join(schemaDirectory, `${file}.json`), "utf8"));
  if (!Check(schema, document)) throw new Error(JSON.stringify(Errors(schema, document), undefined, 2));
  return document;
}

/** What `list` says of one buffer; undefined if it does not list it. */
async function listed(name: string, ...args: string[]) {
  const { code, document } = await runJson("list", ...args);
  expect(code).toBe(0);
  return valid("list", document).buffers.find(
    ({ buffer_name }: { buffer_name: string }) => buffer_name === name,
  );
}

async function kill(child: Child): Promise<void> {
  child.kill("SIGKILL");
  await child.exited();
}

/** What a reader leaves that is killed. */
async function leaveStaleBuffer(name: string): Promise<void> {
  await using reader = await startReader(name, small);
  await kill(reader);
  for (const path of objectsOf(name))
    expect({ path, exists: existsSync(path) }).toEqual({ path, exists: true });
}

function removeAll(paths: string[]): void {
  for (const path of paths) rmSync(path, { force: true });
}

beforeAll(() => {
  // Makes the lock directories.
  new Reader(uniqueName(), { metadataSize: 0, payloadSize: 64 }).close();
});

describe("list", () => {
  test("shows who uses each buffer: live, idle, orphan, stale, corrupt", async () => {
    const names = { live: uniqueName(), idle: uniqueName(), orphan: uniqueName(), stale: uniqueName() };
    const corrupt = uniqueName();
    await using live = await startReader(names.live, small);
    await using liveWriter = await startWriter(names.live, small);
    await using idle = await startReader(names.idle, small);
    await using orphan = await startReader(names.orphan, small);
    await using orphanWriter = await startWriter(names.orphan, small);
    await using clobbered = await startReader(corrupt, small);
    await using stale = await startReader(names.stale, small);
    await kill(orphan);
    await kill(stale);
    const file = Bun.file(shm(corrupt));
    const intact = Buffer.from(await file.arrayBuffer());
    const bytes = Buffer.from(intact);
    bytes.writeBigUInt64LE(5000n, 48);
    writeFileSync(shm(corrupt), bytes);

    for (const [state, name] of Object.entries(names))
      expect(await listed(name)).toMatchObject({ state, fault: null });
    expect(await listed(names.live)).toMatchObject({
      size_bytes: 128 + 256 + 4096,
      payload_size: 4096,
      used_bytes: 0,
      used_percent: 0,
      writer: { pid: liveWriter.pid, alive: true, command: expect.stringContaining("writer.ts") },
      reader: { pid: live.pid, alive: true, command: expect.stringContaining("reader.ts") },
    });
    expect(await listed(names.orphan)).toMatchObject({
      reader: { pid: orphan.pid, alive: false, command: null },
    });
    expect(await listed(corrupt)).toMatchObject({
      state: "corrupt",
      fault: "its write position 5000 lies past its end",
      used_bytes: null,
    });

    const { code, stdout, stderr } = await run("list");
    expect([code, stderr]).toEqual([0, ""]);
    const lines = stdout.toString().split("\n");
    expect(lines[0]).toMatch(/^NAME +STATE +SIZE +USED +WRITTEN +READ +FRAMES\/S +WRITER +READER$/);
    const line = (name: string) => lines.find((line) => line.startsWith(`${name} `));
    expect(line(names.live)).toMatch(
      new RegExp(` live +4\\.4 KiB +0 bytes +0 % +0 +0 +0 +${liveWriter.pid} \\S+.* +${live.pid} \\S+`),
    );
    expect(line(names.stale)).toMatch(new RegExp(` stale .* ${stale.pid} dead$`));
    expect(lines).toContain(`${corrupt}: its write position 5000 lies past its end`);

    // Looking has changed nothing: all go on, and the next reader sweeps what is left.
    writeFileSync(shm(corrupt), intact);
    await endAll(liveWriter, live, idle, orphanWriter, clobbered);
    for (const name of [names.orphan, names.stale]) expect((await run("clean", name)).code).toBe(0);
  });

  test("counts frames for a rate, unless told not to", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, { ...small, payloadSize: 65_536 });
    await using writer = await startWriter(name, small);
    await reader.send({ do: "read", frames: 1e9 }).receive("reading");
    await writer.send({ do: "write", frames: 1e9 }).receive("writing");
    expect((await listed(name)).frames_per_second).toBeGreaterThan(0);
    expect((await listed(name, "--interval-ms", "0")).frames_per_second).toBeNull();
    await kill(writer);
    await kill(reader);
    expect((await run("clean", name)).code).toBe(0);
  });

  test("shows a lock file without a buffer, and neither semaphores nor other programs' files", async () => {
    const [lock, semaphore, other] = [uniqueName(), uniqueName(), uniqueName()];
    const paths = [lockOf(lock), shm(`sem.sem-w-${semaphore}`), shm(other)];
    for (const path of paths) writeFileSync(path, Buffer.alloc(32));
    expect(await listed(lock)).toMatchObject({ state: "stale", size_bytes: null });
    expect(await listed(semaphore)).toBeUndefined();
    expect(await listed(other)).toBeUndefined();
    removeAll(paths);
  });

  test("says so where there are no buffers", () => {
    expect(list.summarize(list.blank(null, null), plain, false)).toEqual(["No buffers."]);
  });

  test("has colours on a terminal only, and none with NO_COLOR", async () => {
    using reader = new Reader(uniqueName(), { payloadSize: 4096 });
    const { output } = await runOnTerminal(["list"]);
    expect(output).toMatch(new RegExp(`${reader.name} +\x1b\\[32midle`));
    expect((await runOnTerminal(["list"], { env: { NO_COLOR: "1" } })).output).not.toContain("\x1b");
    expect((await run("list")).stdout.toString()).not.toContain("\x1b");
  });
});

describe("inspect", () => {
  test("shows everything, and changes nothing", async () => {
    const name = uniqueName();
    using reader = new Reader(name, { metadataSize: 256, payloadSize: 4096 });
    using writer = new Writer(name);
    writer.setMetadata(Buffer.from('{"format":"rgb24"}'));
    writer.writeFrame(new Uint8Array(1000));
    writer.writeFrame(new Uint8Array(500));
    const before = readFileSync(shm(name));
    const { code, document } = await runJson("inspect", name);
    expect(code).toBe(0);
    expect(valid("inspect", document)).toMatchObject({
      operation: "inspect",
      buffer_name: name,
      state: "live",
      health: "healthy",
      used_bytes: 1532,
      used_percent: 37.4,
      frames_written: 2,
      frames_read: 0,
      writer: { pid: process.pid, alive: true },
      oieb: { oieb_size: 128, version: "1.0.0", payload_free_bytes: 4096 - 1532, payload_write_pos: 1532 },
      semaphores: { written: 2, released: 0 },
      metadata: { size_bytes: 18, encoding: "text", preview: '{"format":"rgb24"}', truncated: false },
      errors: [],
    });
    const shown = (await run("inspect", name)).stdout.toString();
    expect(shown).toMatch(/^State +live, healthy$/m);
    expect(shown).toMatch(/^Semaphores +written 2, released 0$/m);
    expect(shown).toMatch(/^Metadata +18 bytes: {"format":"rgb24"}$/m);
    expect(readFileSync(shm(name))).toEqual(before);
    expect([reader.readFrame(0).size, reader.readFrame(0).size]).toEqual([1000, 500]);
  });

  test.each([
    [79, "healthy"],
    [80, "degraded"],
    [95, "degraded"],
    [96, "critical"],
  ])("judges a ring that is %p %% full as %s", async (percent, health) => {
    using reader = new Reader(uniqueName(), { payloadSize: 6400 });
    using writer = new Writer(reader.name);
    writer.writeFrame(new Uint8Array(percent * 64 - 16));
    const { document } = await runJson("inspect", reader.name);
    expect(document).toMatchObject({ used_percent: percent, health });
  });

  test("ends with code 1 where there is no buffer, and with 4 where it is corrupt", async () => {
    const missing = await runJson("inspect", uniqueName(), "--watch");
    expect([missing.code, valid("inspect", missing.document).error.code]).toEqual([1, "BUFFER_NOT_FOUND"]);
    const name = uniqueName();
    using reader = new Reader(name, { payloadSize: 4096 });
    const intact = readFileSync(shm(name));
    writeFileSync(shm(name), Buffer.from(intact).fill(0xff, 32, 40));
    const corrupt = await runJson("inspect", name);
    expect([corrupt.code, valid("inspect", corrupt.document).error.code]).toEqual([4, "CORRUPT_BUFFER"]);
    expect(corrupt.document).toMatchObject({ state: "corrupt", health: null, metadata: null });
    expect((await run("inspect", name)).stdout.toString()).toMatch(/^State +corrupt, its sizes/m);
    writeFileSync(shm(name), intact);
    expect(reader.tryReadFrame().isValid).toBe(false);
  });

  test("--watch prints block after block until the buffer goes away, and ends with 0", async () => {
    const name = uniqueName();
    using reader = new Reader(name, { payloadSize: 4096 });
    await using watch = Child.cli(["inspect", name, "--watch", "--interval-ms", "100"]);
    await watch.printed("idle");
    using _writer = new Writer(name);
    await watch.printed("live");
    reader.close();
    const { code, stdout, stderr } = await watch.exited();
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout.toString()).not.toContain("\x1b");
    const blocks = stdout.toString().trimEnd().split("\n\n");
    expect(blocks.length).toBeGreaterThanOrEqual(2);
    for (const block of blocks) expect(block).toMatch(/^Buffer +test-/);
  });

  test("--watch --json-output prints what was seen last, once", async () => {
    const name = uniqueName();
    using reader = new Reader(name, { payloadSize: 4096 });
    await using watch = Child.cli([
      "inspect",
      name,
      "--watch",
      "--interval-ms",
      "100",
      "--json-output",
      "-v",
    ]);
    await watch.logged("Watching");
    reader.close();
    const { code, document } = await watch.report();
    expect(code).toBe(0);
    valid("inspect", document);
  });

  test("--watch draws over what it has drawn on a terminal, until Ctrl-C", async () => {
    using reader = new Reader(uniqueName(), { payloadSize: 4096 });
    await using watch = startOnTerminal(["inspect", reader.name, "--watch", "--interval-ms", "100"]);
    await watch.printed("\x1b[J");
    const { code, stdout } = await watch.write("\x03").exited();
    const output = stdout.toString();
    expect(code).toBe(130);
    expect(output).toContain("A\x1b[J\x1b[?7l");
    expect(output.lastIndexOf("\x1b[?7h")).toBeGreaterThan(output.lastIndexOf("\x1b[?7l"));
  });

  test.each([
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const)("--watch is ended by %s", async (signal, exitCode) => {
    using reader = new Reader(uniqueName(), { payloadSize: 4096 });
    await using watch = Child.cli(["inspect", reader.name, "--watch"]);
    await watch.printed("Reader");
    watch.kill(signal);
    expect((await watch.exited()).code).toBe(exitCode);
  });

  test("--watch ends quietly when nobody reads it any more", async () => {
    using reader = new Reader(uniqueName(), { payloadSize: 4096 });
    const { code, output } = await runOnTerminal(
      ["inspect", reader.name, "--watch", "--interval-ms", "100"],
      { shell: '{ "$@"; echo "code $?" >&2; } | head -1' },
    );
    expect(code).toBe(0);
    expect(output).toMatch(/^Buffer +\S+\r\ncode 0\r\n$/);
  });
});

describe("clean", () => {
  test("removes what a killed reader left, and --dry-run only says so", async () => {
    const name = uniqueName();
    await leaveStaleBuffer(name);
    const dry = await runJson("clean", "--dry-run", name);
    expect(dry.code).toBe(0);
    const removed = [{ buffer_name: name, paths: objectsOf(name), bytes: 128 + 256 + 4096 + 2 * 32 }];
    expect(valid("clean", dry.document)).toMatchObject({ dry_run: true, removed, left: [] });
    for (const path of objectsOf(name)) expect(existsSync(path)).toBe(true);
    const { code, document } = await runJson("clean");
    expect(code).toBe(0);
    expect(valid("clean", document).removed).toContainEqual(removed[0]);
    expect(document.dry_run).toBe(false);
    for (const path of objectsOf(name)) expect(existsSync(path)).toBe(false);
  });

  test("finds a stale buffer whose lock file is gone, and leaves none of its own", async () => {
    const name = uniqueName();
    await leaveStaleBuffer(name);
    unlinkSync(lockOf(name));
    const { code, stdout } = await run("clean", name);
    expect([code, stdout.toString()]).toEqual([
      0,
      `Removed ${name}: 4 files, 4.4 KiB.\nRemoved 4.4 KiB in all.\n`,
    ]);
    for (const path of objectsOf(name)) expect(existsSync(path)).toBe(false);
  });

  test("removes leftover semaphores and locks", async () => {
    const [semaphore, lock] = [uniqueName(), uniqueName()];
    const paths = [shm(`sem.sem-r-${semaphore}`), lockOf(lock)];
    for (const path of paths) writeFileSync(path, Buffer.alloc(32));
    const { document } = await runJson("clean");
    const removed = document.removed.flatMap(({ paths }: { paths: string[] }) => paths);
    for (const path of paths) {
      expect(removed).toContain(path);
      expect(existsSync(path)).toBe(false);
    }
  });

  test.each([
    ["live", "READER_ALREADY_CONNECTED"],
    ["idle", "READER_ALREADY_CONNECTED"],
    ["orphan", "WRITER_ALREADY_CONNECTED"],
  ])("leaves a buffer that is %s, and says why", async (state, errorCode) => {
    const name = uniqueName();
    await using reader = await startReader(name, small);
    await using writer = state === "idle" ? undefined : await startWriter(name, small);
    if (state === "orphan") await kill(reader);
    const named = await runJson("clean", name);
    expect([named.code, valid("clean", named.document).error.code]).toEqual([1, errorCode]);
    const all = await runJson("clean");
    expect(all.code).toBe(0);
    expect(valid("clean", all.document).left).toContainEqual({
      buffer_name: name,
      code: errorCode,
      reason: expect.stringContaining("lives"),
    });
    for (const path of objectsOf(name)) expect(existsSync(path)).toBe(true);
    if (writer !== undefined) await endAll(writer);
    if (state !== "orphan") await endAll(reader);
    else expect((await run("clean", name)).code).toBe(0);
  });

  test("beside a pair that is moving frames loses none of them, though their locks are gone", async () => {
    const name = uniqueName();
    const frames = 100_000;
    await using reader = await startReader(name, { ...small, payloadSize: 65_536 });
    await using writer = await startWriter(name, small);
    await reader.send({ do: "read", frames }).receive("reading");
    await writer.send({ do: "write", frames }).receive("writing");
    for (let round = 0; round < 3; round++) {
      removeAll([lockOf(name), `${LOCKS}/locks/${name}.lock`]);
      if (round === 2) writeFileSync(lockOf(name), "");
      expect((await runJson("clean", name)).document.error.code).toBe("READER_ALREADY_CONNECTED");
      expect((await run("list")).code).toBe(0);
      expect((await run("inspect", name)).code).toBe(0);
    }
    expect(await reader.receive("read")).toMatchObject({ frames, sequence: frames, wrong: [] });
    await writer.receive("wrote");
    await endAll(writer, reader);
    removeAll([lockOf(name)]);
  });

  test("does what it can of several names, and fails for the others", async () => {
    const [stale, missing] = [uniqueName(), uniqueName()];
    await leaveStaleBuffer(stale);
    using reader = new Reader(uniqueName(), { payloadSize: 4096 });
    // The reader above has swept: another stale one.
    await leaveStaleBuffer(stale);
    const { code, document } = await runJson("clean", reader.name, stale, missing);
    expect(code).toBe(1);
    expect(valid("clean", document)).toMatchObject({
      removed: [{ buffer_name: stale }],
      left: [{ buffer_name: reader.name }],
      errors: [
        `Buffer "${reader.name}" was left: its reader (process ${process.pid}) lives.`,
        `There is no buffer "${missing}".`,
      ],
      error: { code: "BUFFER_NOT_FOUND" },
    });
  });

  test("touches nothing if one of the names cannot be a buffer's", async () => {
    const name = uniqueName();
    await leaveStaleBuffer(name);
    const { code, document } = await runJson("clean", name, "../etc");
    expect([code, document.error.code, document.removed]).toEqual([3, "INVALID_NAME", []]);
    expect(existsSync(shm(name))).toBe(true);
    expect((await run("clean", name)).code).toBe(0);
  });

  test("removes nothing of a file that a planted lock and semaphore name", async () => {
    const name = uniqueName();
    const text = "The file of another program. ".repeat(20);
    writeFileSync(shm(name), text);
    writeFileSync(lockOf(name), "");
    expect((await runJson("clean", name)).document.error.code).toBe("CORRUPT_BUFFER");
    expect((await run("clean")).code).toBe(0);
    expect(readFileSync(shm(name), "utf8")).toBe(text);
    removeAll([shm(name), lockOf(name)]);
  });

  test.each([
    ["symbolic link", (victim: string, path: string) => symlinkSync(victim, path)],
    ["hard link", (victim: string, path: string) => linkSync(victim, path)],
    ["FIFO", (_: string, path: string) => void Bun.spawnSync(["mkfifo", path])],
    ["directory", (_: string, path: string) => mkdirSync(path)],
  ])("follows and removes no lock that is a %s", async (_, plant) => {
    const name = uniqueName();
    const victim = join(LOCKS, `${name}.victim`);
    await leaveStaleBuffer(name);
    writeFileSync(victim, "precious");
    unlinkSync(lockOf(name));
    plant(victim, lockOf(name));
    const { code, document } = await runJson("clean", name);
    expect([code, document.removed]).toEqual([1, []]);
    expect(document.left[0].reason).toContain("its lock cannot be taken");
    expect(existsSync(shm(name))).toBe(true);
    expect(readFileSync(victim, "utf8")).toBe("precious");
    expect(statSync(lockOf(name), { throwIfNoEntry: false })).toBeDefined();
    for (const path of [...objectsOf(name), victim]) rmSync(path, { recursive: true, force: true });
  });
});

/** Where this process may become another user, and give a program its own mounts. */
const isRoot = process.geteuid?.() === 0 && Bun.which("setpriv") !== null;

/** The command line as a bundle, which looks for its helper in the working directory. */
const bundleIn = (place: string) => ["sh", "-c", `cd ${place} && exec ${directory}/bun main.js "$@"`, "sh"];

let directory: string;
let bundle: string[];
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "zerobuffer-tools-"));
  chmodSync(directory, 0o755);
  // A copy of everything that any user can run.
  copyFileSync(process.execPath, join(directory, "bun"));
  await Bun.build({ entrypoints: [join(root, "src", "main.ts")], outdir: directory, target: "bun" });
  bundle = bundleIn(directory);
});
afterAll(() => rmSync(directory, { recursive: true }));

describe.skipIf(!isRoot)("another user's buffer", () => {
  const NOBODY = 65_534;
  const asNobody = (...args: string[]) =>
    Child.program(
      ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", ...bundle, ...args],
      { env: { TMPDIR: "/tmp" } },
    );

  /** A buffer of nobody's whose reader was killed. */
  async function leaveNobodysBuffer(name: string): Promise<void> {
    await using reader = asNobody("reader", name, "--buffer-size", "4096");
    await bufferMade(name);
    reader.kill("SIGKILL");
    await reader.exited();
  }

  test("is left, even by root, until its owner cleans", async () => {
    const name = uniqueName();
    await leaveNobodysBuffer(name);
    expect(await listed(name)).toMatchObject({ state: "stale" });
    const { code, document } = await runJson("clean", name);
    expect([code, document.error.code]).toEqual([1, "PERMISSION_DENIED"]);
    expect((await run("clean")).code).toBe(0);
    for (const path of objectsOf(name))
      expect({ path, exists: existsSync(path) }).toEqual({ path, exists: true });
    await using owner = asNobody("clean", name);
    expect((await owner.exited()).code).toBe(0);
    for (const path of objectsOf(name)) expect(existsSync(path)).toBe(false);
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
      hint: expect.stringContaining("start the server with a umask"),
    });
    reader.close();
    await leaveStaleBuffer(name);
    chmodSync(shm(name), 0o644);
    await using successor = asNobody("reader", name, "--json-output");
    expect((await successor.report()).document.error).toMatchObject({
      code: "PERMISSION_DENIED",
      message: `Buffer "${name}" is there already, and belongs to another user.`,
      hint: `Use another name, or have its owner remove it: zerobuffer clean ${name}.`,
    });
    expect((await run("clean", name)).code).toBe(0);
  });

  test("is not where only its semaphore and lock are theirs: those are left", async () => {
    const name = uniqueName();
    await leaveStaleBuffer(name);
    const theirs = [shm(`sem.sem-r-${name}`), lockOf(name)];
    for (const path of theirs) chownSync(path, NOBODY, NOBODY);
    const { code, document } = await runJson("clean", name);
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
    expect([code, valid("inspect", document).error.code, document.state]).toEqual([
      1,
      "PERMISSION_DENIED",
      null,
    ]);
    await using list = asNobody("list", "--json-output");
    expect(valid("list", (await list.report()).document).buffers).toContainEqual(
      expect.objectContaining({ buffer_name: reader.name, state: null, size_bytes: 128 + 4096 + 4096 }),
    );
  });

  test("loses nothing by a lock that its enemy planted, nor does a leftover of theirs by root's sweep", async () => {
    const [ours, theirs] = [uniqueName(), uniqueName()];
    using reader = new Reader(ours, { payloadSize: 4096 });
    removeAll([lockOf(ours)]);
    const plant = `: > ${lockOf(ours)}; : > ${lockOf(theirs)}; head -c 32 /dev/zero > ${shm(`sem.sem-w-${theirs}`)}`;
    Bun.spawnSync(["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", "sh", "-c", plant]);
    await using clean = asNobody("clean", "--json-output", ours);
    expect((await clean.report()).code).toBe(1);
    expect((await runJson("clean", theirs)).document.error.code).toBe("PERMISSION_DENIED");
    // A reader that starts sweeps by the same rule.
    new Reader(uniqueName(), { metadataSize: 0, payloadSize: 64 }).close();
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
      `mount --bind ${directory} /mnt && mount -t tmpfs -o mode=1777 tmpfs /tmp && cd /tmp && ${prepare}; ` +
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

describe.skipIf(!isRoot)("a reader in another pid namespace", () => {
  test("is told by its lock, and its buffer is not taken for stale", async () => {
    const name = uniqueName();
    // The shell stays process 1 of the namespace: the one of this name here may be out of sight.
    const init = ["sh", "-c", '"$@"; exit $?', "sh"];
    const namespace = ["unshare", "--pid", "--fork", "--kill-child", ...init, ...bundle];
    await using reader = Child.program([...namespace, "reader", name, "--buffer-size", "4096"]);
    await bufferMade(name);
    const expected = { state: "idle", reader: { command: null, alive: true } };
    expect(await listed(name)).toMatchObject(expected);
    for (const args of [["--dry-run"], []]) {
      const { document } = await runJson("clean", name, ...args);
      expect(document).toMatchObject({ removed: [], left: [{ code: "READER_ALREADY_CONNECTED" }] });
      expect(document.left[0].reason).toContain("pid namespace");
    }
    reader.kill("SIGKILL");
    await reader.exited();
    await eventually(() => Bun.spawnSync(["flock", "-n", lockOf(name), "true"]).exitCode === 0);
    expect((await run("clean", name)).code).toBe(0);
  });
});

describe("a reader of another implementation", () => {
  const program = () => join(directory, "v1-peer");
  beforeAll(async () => {
    const source = join(root, "tests", "process", "fixtures", "v1-peer.c");
    const flags = [...cFlags, "-O2", "-lrt"];
    await compile(await findCompiler(), { sources: [source], output: program(), flags });
  });

  test.each([
    ["locked", 1],
    ["opened", 2],
    ["sized", 2],
    ["filled", 2],
    ["claimed", 2],
    ["ready", 4],
  ] as const)(
    "is not disturbed when it is %s, and cleaned up after when it is killed then",
    async (step, files) => {
      const name = uniqueName();
      await using reader = Child.program([program(), "reader", name, "100", "1000", "4096"]);
      for (let announced = ""; announced !== step; reader.write(announced === step ? "" : "\n")) {
        announced = (await reader.receiveAny()).event;
      }
      expect(await listed(name)).toMatchObject({ state: "idle", reader: { alive: true } });
      expect((await runJson("clean", name)).document.error.code).toBe("READER_ALREADY_CONNECTED");
      await kill(reader);
      expect((await listed(name)).state).toBe("stale");
      const { code, document } = await runJson("clean", name);
      expect([code, document.removed[0].paths.length]).toEqual([0, files]);
      for (const path of objectsOf(name)) expect(existsSync(path)).toBe(false);
    },
  );
});

describe("doctor", () => {
  const checkOf = (document: { checks: { check: string }[] }, name: string) =>
    document.checks.find(({ check }) => check === name);

  test("looks at everything, and finds the helper loaded", async () => {
    const { code, document } = await runJson("doctor");
    valid("doctor", document);
    expect(code).toBe(document.error === undefined ? 0 : 1);
    expect(checkOf(document, "helper")).toMatchObject({ status: "ok", remedy: null });
    expect(checkOf(document, "libc")).toMatchObject({
      status: "ok",
      message: expect.stringMatching(/glibc \d|musl/),
    });
    const { stdout } = await run("doctor");
    expect(stdout.toString().split("\n").length).toBeGreaterThan(document.checks.length);
  });

  test("works where the helper cannot be loaded, and says so", async () => {
    const broken = join(directory, "broken");
    mkdirSync(broken);
    for (const file of readdirSync(directory)) {
      if (/\.(js|so)$/.test(file)) copyFileSync(join(directory, file), join(broken, file));
      if (file.endsWith(".so")) writeFileSync(join(broken, file), "no library");
    }
    const program = bundleIn(broken);
    await using doctor = Child.program([...program, "doctor", "--json-output"]);
    const { code, document } = await doctor.report();
    expect([code, valid("doctor", document).error.code]).toEqual([1, "PERMISSION_DENIED"]);
    expect(checkOf(document, "helper")).toMatchObject({ status: "error", remedy: expect.any(String) });
    for (const args of [["list"], ["inspect", "cam"], ["clean"]]) {
      await using other = Child.program([...program, ...args, "--json-output"]);
      expect((await other.report()).document.error.code).toBe("PERMISSION_DENIED");
    }
  });

  test("finds a temp directory that is missing, and few open files", async () => {
    const missing = join(directory, "no such directory");
    await using doctor = Child.program([...bundle, "doctor", "--json-output"], {
      shell: 'ulimit -n 60; exec "$@"',
      env: { TMPDIR: missing },
    });
    const { document } = await doctor.report();
    expect(checkOf(document, "temp directory")).toMatchObject({
      status: "warning",
      remedy: `mkdir -p '${missing}'`,
    });
    expect(checkOf(document, "open files")).toMatchObject({ status: "warning", remedy: "ulimit -n 1024" });
  });

  test.skipIf(!isRoot)(
    "finds small shared memory, hostile lock directories and a noexec temp directory",
    async () => {
      const script =
        "mount -t tmpfs -o size=900k tmpfs /dev/shm && mount -t tmpfs -o noexec tmpfs /mnt && " +
        'mount -t tmpfs -o mode=755,uid=1 tmpfs /tmp/zerobuffer && exec "$@"';
      await using doctor = Child.program(
        ["unshare", "--mount", "sh", "-c", script, "sh", ...bundle, "doctor", "--json-output"],
        { env: { TMPDIR: "/mnt" } },
      );
      const { code, document } = await doctor.report();
      expect([code, document.error.code]).toEqual([1, "RESOURCE_EXHAUSTED"]);
      expect(checkOf(document, "shared memory")).toMatchObject({
        status: "error",
        remedy: expect.stringMatching(/size=/),
      });
      expect(checkOf(document, "lock directory")).toMatchObject({
        status: "error",
        remedy: "chmod 1777 /tmp/zerobuffer",
      });
      expect(checkOf(document, "temp directory")).toMatchObject({
        status: "warning",
        remedy: "mount -o remount,exec /mnt",
      });
    },
  );
});

describe("arguments", () => {
  test.each([
    [["list", "surplus"]],
    [["list", "--interval", "1"]],
    [["list", "--interval-ms", "x"]],
    [["inspect"]],
    [["inspect", "a", "b"]],
    [["inspect", "a", "--interval-ms", "-1"]],
    [["clean", "--dryrun"]],
    [["clean", "--dry-run=yes"]],
    [["doctor", "--fix"]],
  ])("%p are refused with code 3", async (args) => {
    const { code, document } = await runJson(...args);
    expect([code, valid(args[0] as "list", document).error.code]).toEqual([3, "USAGE"]);
  });

  test("have help", async () => {
    expect((await run("clean", "--help")).stdout.toString()).toContain("zerobuffer clean [names…] [options]");
    for (const command of ["list", "inspect", "doctor"]) expect((await run(command, "--help")).code).toBe(0);
  });
});
