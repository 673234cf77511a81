import { describe, expect, test } from "bun:test";
import { chmodSync, chownSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { DuplexChannelFactory, Reader, Writer } from "../../src/core/index.ts";
import { uniqueName } from "../support/buffers.ts";
import { Child, run, runJson, runOnTerminal, startOnTerminal } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";
import { shm } from "./stale-buffers.ts";
import { updatesOf } from "./watching.ts";

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
    expect(expectValid("inspect", document)).toMatchObject({
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

  test("says which buffer of a channel honours cancellation, and which has a table", async () => {
    const channel = uniqueName();
    const factory = DuplexChannelFactory.getInstance();
    using server = factory.createImmutableServer(channel, { payloadSize: 4096 });
    server.start((request) => request.data);
    using _ = factory.createClient(channel, { config: { payloadSize: 4096 } });
    for (const [side, cancellation, words] of [
      ["request", "heeded", "flags 24, honours cancellation"],
      ["response", "table", "flags 26, cancellation table"],
    ] as const) {
      const { document } = await runJson("inspect", `${channel}_${side}`);
      expect(expectValid("inspect", document)).toMatchObject({ cancellation });
      expect((await run("inspect", `${channel}_${side}`)).stdout.toString()).toContain(words);
    }
  });

  test("shows the owner and the mode of each file", async () => {
    const name = uniqueName();
    using reader = new Reader(name, { payloadSize: 4096, mode: 0o640 });
    chmodSync(shm(name), 0o604);
    const isRoot = process.getuid?.() === 0;
    // A user and a group that have no names.
    if (isRoot) chownSync(shm(name), 54321, 54322);
    const { document } = await runJson("inspect", reader.name);
    const { files } = expectValid("inspect", document);
    const paths = [shm(name), shm(`sem.sem-w-${name}`), shm(`sem.sem-r-${name}`)];
    expect(files.slice(0, 3).map(({ path }: { path: string }) => path)).toEqual(paths);
    expect(files.slice(3).every(({ path }: { path: string }) => path.endsWith(`/${name}.lock`))).toBe(true);
    expect(files.length).toBeGreaterThan(3);
    expect(files.slice(0, 3).map(({ mode }: { mode: string }) => mode)).toEqual(["0604", "0640", "0640"]);
    const { uid, gid } = statSync(shm(name));
    expect(files[0]).toMatchObject({ uid, gid });
    const [user, group] = ["-un", "-gn"].map((what) => Bun.spawnSync(["id", what]).stdout.toString().trim());
    expect(files[1]).toMatchObject({ owner: user, group, uid: process.getuid?.(), gid: process.getgid?.() });
    const shown = (await run("inspect", name)).stdout.toString();
    const owner = isRoot ? "54321:54322" : `${user}:${group}`;
    expect(shown).toMatch(
      new RegExp(`^Files +0604 ${owner} ${shm(name)}\n +0640 ${user}:${group} /dev/shm/sem`, "m"),
    );
    if (!isRoot) return;
    expect(files[0]).toMatchObject({ owner: null, group: null });
    chownSync(shm(name), 0, 0);
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
    expect([missing.code, expectValid("inspect", missing.document).error.code]).toEqual([
      1,
      "BUFFER_NOT_FOUND",
    ]);
    const name = uniqueName();
    using reader = new Reader(name, { payloadSize: 4096 });
    const intact = readFileSync(shm(name));
    writeFileSync(shm(name), Buffer.from(intact).fill(0xff, 32, 40));
    const corrupt = await runJson("inspect", name);
    expect([corrupt.code, expectValid("inspect", corrupt.document).error.code]).toEqual([
      4,
      "CORRUPT_BUFFER",
    ]);
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
    expectValid("inspect", document);
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

  test("--watch starts below what the shell has printed after Ctrl-Z", async () => {
    using reader = new Reader(uniqueName(), { payloadSize: 4096 });
    await using watch = startOnTerminal(["inspect", reader.name, "--watch", "--interval-ms", "100"]);
    await watch.printed("\x1b[J");
    await watch.stop();
    watch.resume();
    await watch.printed("\x1b[?7h\x1b[?7l");
    expect((await watch.write("\x03").exited()).code).toBe(130);
  });

  test("--watch fits a terminal of 80 x 10", async () => {
    using reader = new Reader(uniqueName().padEnd(120, "x"), { payloadSize: 4096 });
    const args = ["inspect", reader.name, "--watch", "--interval-ms", "100"];
    await using watch = startOnTerminal(args, { columns: 80, rows: 10 });
    await watch.printed("\x1b[J");
    const updates = updatesOf((await watch.write("\x03").exited()).stdout.toString());
    expect(updates.length).toBeGreaterThanOrEqual(2);
    for (const lines of updates) {
      expect(lines.length).toBe(9);
      for (const line of lines) expect(line.length).toBeLessThanOrEqual(80);
      expect(lines[0]).toEndWith("xxx…");
      expect(lines.at(-1)).toMatch(/^… \d more lines$/);
    }
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
