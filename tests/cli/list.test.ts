import { beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { plain } from "../../src/cli/terminal.ts";
import list from "../../src/commands/list/command.ts";
import { Reader, Writer } from "../../src/core/index.ts";
import { endAll, kill, startReader, startWriter } from "../process/peers.ts";
import { uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { Child, run, runOnTerminal, startOnTerminal } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";
import { listed, lockOf, removeAll, shm, small } from "./stale-buffers.ts";
import { updatesOf } from "./watching.ts";

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
      fault: "its write position 5000 is past the end of its ring",
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
    expect(lines).toContain(`${corrupt}: its write position 5000 is past the end of its ring`);

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
    // On a busy machine neither of them may have had its turn while frames were counted.
    let rate = 0;
    for (let i = 0; rate === 0 && i < 100; i++) rate = (await listed(name)).frames_per_second;
    expect(rate).toBeGreaterThan(0);
    expect((await listed(name, "--interval-ms", "0")).frames_per_second).toBeNull();
    await kill(writer);
    await kill(reader);
    expect((await run("clean", name)).code).toBe(0);
  });

  test("shows a lock file and a semaphore without a buffer, and no other program's files", async () => {
    const [lock, semaphore, other] = [uniqueName(), uniqueName(), uniqueName()];
    const paths = [lockOf(lock), shm(`sem.sem-w-${semaphore}`), shm(other)];
    for (const path of paths) writeFileSync(path, Buffer.alloc(32));
    for (const name of [lock, semaphore])
      expect(await listed(name)).toMatchObject({ state: "stale", size_bytes: null });
    expect(await listed(other)).toBeUndefined();
    removeAll(paths);
  });

  test("says so where there are no buffers", () => {
    expect(list.summarize(list.blank(null, null), plain, false)).toEqual(["No buffers."]);
  });

  test("--watch shows all buffers and their rates again and again, until it is interrupted", async () => {
    const name = uniqueName();
    using reader = new Reader(name, { payloadSize: 4096 });
    await using watch = Child.cli(["list", "--watch", "--interval-ms", "100"]);
    await watch.printed(name);
    using writer = await Writer.connect(name, { connectTimeoutMs: WAIT_LIMIT_MS });
    const timer = setInterval(() => {
      writer.writeFrame(new Uint8Array(64));
      reader.readFrame(WAIT_LIMIT_MS).release();
    }, 1);
    const counted = new RegExp(`^${name} +live .* [\\d,]+ +[\\d,]+ +[1-9][\\d,]* +\\d`, "m");
    await watch.printed(counted);
    clearInterval(timer);
    watch.kill("SIGINT");
    const { code, stderr } = await watch.exited();
    expect([code, stderr]).toEqual([130, "zerobuffer list: Stopped by SIGINT.\n"]);
    await using last = Child.cli(["list", "--watch", "--json-output", "-v"]);
    await last.logged("Watching");
    last.kill("SIGTERM");
    const { document } = await last.report();
    expect(expectValid("list", document).error.code).toBe("INTERRUPTED");
  });

  test("--watch fits a terminal of 80 x 10, however many buffers there are", async () => {
    const readers = Array.from({ length: 12 }, () => new Reader(uniqueName(), { payloadSize: 4096 }));
    const args = ["list", "--watch", "--interval-ms", "100"];
    await using watch = startOnTerminal(args, { columns: 80, rows: 10 });
    await watch.printed("\x1b[J");
    const updates = updatesOf((await watch.write("\x03").exited()).stdout.toString());
    for (const reader of readers) reader.close();
    expect(updates.length).toBeGreaterThanOrEqual(2);
    for (const lines of updates) {
      expect(lines.length).toBe(9);
      for (const line of lines) expect(line.length).toBeLessThanOrEqual(80);
      expect(lines[0]).toMatch(/^NAME +STATE/);
      expect(lines.at(-1)).toMatch(/^… \d+ more lines$/);
    }
  });

  test("--watch ends quietly when nobody reads it any more", async () => {
    const args = ["list", "--watch", "--interval-ms", "100"];
    const { code, output } = await runOnTerminal(args, { shell: '{ "$@"; echo "code $?" >&2; } | head -1' });
    expect([code, output]).toEqual([0, expect.stringMatching(/\r\ncode 0\r\n$/)]);
  });

  test("has colours on a terminal only, and none with NO_COLOR", async () => {
    using reader = new Reader(uniqueName(), { payloadSize: 4096 });
    const { output } = await runOnTerminal(["list"]);
    expect(output).toMatch(new RegExp(`${reader.name} +\x1b\\[32midle`));
    expect((await runOnTerminal(["list"], { env: { NO_COLOR: "1" } })).output).not.toContain("\x1b");
    expect((await run("list")).stdout.toString()).not.toContain("\x1b");
  });
});
