// Commands whose stdin, stdout or stderr is closed, full, slow or gone: frames are not lost, and the exit code is right.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Reader, Writer } from "../../src/core/index.ts";
import {
  bufferMade,
  bytesOf,
  eventually,
  pseudoRandom,
  uniqueName,
  WAIT_LIMIT_MS,
} from "../support/buffers.ts";
import { Child, type ChildOptions, run } from "../support/process.ts";

/** How many frames of 1,000 bytes go through; more than a ring of 64 KiB takes. */
const FRAMES = 300;
const input = Buffer.concat(Array.from({ length: FRAMES }, (_, i) => bytesOf(i + 1, 1000)));
const RING = ["--buffer-size", "64KiB"];

/** Runs the command line behind a redirection. */
function redirected(redirection: string): ChildOptions {
  return { shell: `exec "$@" ${redirection}` };
}

/** What comes out of the reader if all of `input` goes into the writer, both behind the same redirection. */
async function transfer(redirection: string, options: string[]) {
  const name = uniqueName();
  const behind = redirected(redirection);
  await using reader = Child.cli(["reader", name, "-o", "-", ...RING, ...options], behind);
  await bufferMade(name);
  const args = ["writer", name, "-i", "-", "-s", "1000", ...options];
  await using writer = Child.cli(args, { ...behind, stdin: input });
  return await Promise.all([writer.exited(), reader.exited()]);
}

describe.each([
  ["closed", "2>&-"],
  ["full", "2>/dev/full"],
])("a stderr that is %s", (_, redirection) => {
  test.each([[[]], [["-v"]]])("costs a transfer no frame, with options %p", async (options) => {
    const [written, read] = await transfer(redirection, options);
    expect([written.code, read.code]).toEqual([0, 0]);
    expect(Buffer.compare(read.stdout, input)).toBe(0);
    expect(written.stdout.length).toBe(0);
  });

  test("does not get into the way of the exit code", async () => {
    for (const [args, code] of [
      [["writer", uniqueName(), "--connect-timeout-ms", "0"], 1],
      [["writer", "--unknown"], 3],
      [["unknown"], 3],
    ] as const) {
      await using child = Child.cli(args, redirected(redirection));
      expect((await child.exited()).code).toBe(code);
    }
  });

  test("costs a relay nothing", async () => {
    const name = uniqueName();
    using display = new Reader(uniqueName(), { payloadSize: 65_536 });
    const args = ["relay", name, display.name, ...RING, "--json-output", "-v", "--log-interval", "10"];
    await using relay = Child.cli(args, redirected(redirection));
    await bufferMade(name);
    await using writer = Child.cli(["writer", name, "-i", "-", "-s", "1000"], { stdin: input });
    for (let i = 1; i <= FRAMES; i++) {
      using frame = await display.readFrameAsync(WAIT_LIMIT_MS);
      expect(Buffer.compare(frame.data, bytesOf(i, 1000))).toBe(0);
    }
    expect((await writer.exited()).code).toBe(0);
    const { code, document } = await relay.report();
    expect([code, document.frames_relayed]).toEqual([0, FRAMES]);
  });

  test("costs a duplex channel nothing", async () => {
    const channel = uniqueName();
    const behind = redirected(redirection);
    const args = [
      "duplex",
      "serve",
      channel,
      ...RING,
      "-n",
      "100",
      "--handler",
      "reverse",
      "--json-output",
      "-v",
    ];
    await using server = Child.cli(args, behind);
    await using client = Child.cli(
      ["duplex", "request", channel, ...RING, "-n", "100", "--verify", "reverse", "--json-output", "-v"],
      behind,
    );
    const [asked, served] = [await client.report(), await server.report()];
    expect([asked.code, asked.document.responses]).toEqual([0, 100]);
    expect([served.code, served.document.responses]).toEqual([0, 100]);
  });
});

test("a stdin that is closed is an input without frames, and disturbs no command that needs none", async () => {
  const name = uniqueName();
  await using reader = Child.cli(["reader", name, ...RING, "--json-output"], redirected("<&-"));
  await bufferMade(name);
  await using writer = Child.cli(["writer", name, "-i", "-", "--json-output"], redirected("<&-"));
  expect((await writer.report()).document).toMatchObject({ frames_written: 0, errors: [] });
  expect((await reader.report()).document).toMatchObject({ frames_read: 0, errors: [] });
});

test("a stdout that is closed takes nothing, and its descriptor is nobody else's", async () => {
  const name = uniqueName();
  await using reader = Child.cli(["reader", name, "-o", "-", ...RING, "--json-output"], redirected(">&-"));
  await bufferMade(name);
  await using writer = Child.cli(["writer", name, "-i", "-", "-s", "1000"], {
    ...redirected(">&-"),
    stdin: input,
  });
  expect((await writer.exited()).code).toBe(0);
  const { code, stdout, stderr } = await reader.exited();
  expect([code, stdout.length]).toEqual([0, 0]);
  expect(JSON.parse(stderr)).toMatchObject({ frames_read: FRAMES, errors: [] });
});

test("an output that is full stops the reader, and its writer knows", async () => {
  const name = uniqueName();
  await using reader = Child.cli(
    ["reader", name, "-o", "-", ...RING, "--json-output"],
    redirected(">/dev/full"),
  );
  await bufferMade(name);
  await using writer = Child.cli([
    "writer",
    name,
    "-n",
    "0",
    "-s",
    "1000",
    "--timeout-ms",
    "0",
    "--json-output",
  ]);
  const { code, stderr } = await reader.exited();
  const read = JSON.parse(stderr);
  expect([code, read.error.code]).toEqual([2, "IO_ERROR"]);
  expect(read.duration_seconds).toBeGreaterThan(0);
  expect(read.errors).toHaveLength(1);
  const written = await writer.report();
  expect([written.code, written.document.error.code]).toEqual([2, "READER_DEAD"]);
  // What is not read is what the ring holds.
  expect(written.document.frames_written - read.frames_read).toBeLessThanOrEqual(65);
});

test("a stderr that takes nothing loses lines of the log, which are counted, and holds nothing up", async () => {
  const name = uniqueName();
  const frames = 50_000;
  const { path, readEnd, writeEnd } = openPipe();
  const args = ["reader", name, "-v", "--checksum", "--json-output", ...RING];
  await using reader = Child.cli(args, redirected(`2>${path}`));
  await bufferMade(name);
  expect((await run("writer", name, "-n", `${frames}`, "-s", "10")).code).toBe(0);
  await using log = Child.program(["cat", path]);
  await eventually(() => log.isOver || reader.isOver);
  for (const end of [readEnd, writeEnd]) closeSync(end);
  expect((await reader.report()).document.frames_read).toBe(frames);
  const text = (await log.exited()).stdout.toString();
  expect(text.length).toBeLessThan(1024 * 1024);
  const lost = [...text.matchAll(/^warn: ([\d,]+) lines lost, because/gm)].map(([, lines = ""]) =>
    Number(lines.replaceAll(",", "")),
  );
  const checksums = text.match(/^info: Frame \d+ has MD5 [0-9a-f]{32}\.$/gm)?.length ?? 0;
  const others = text.match(/^info: (?!Frame)/gm)?.length ?? 0;
  expect(lost.length).toBeGreaterThan(0);
  expect(lost.reduce((sum, lines) => sum + lines, checksums)).toBeGreaterThanOrEqual(frames);
  expect(lost.reduce((sum, lines) => sum + lines, checksums) - frames).toBeLessThanOrEqual(3 - others);
});

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "zerobuffer-streams-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

const hashOf = (bytes: Uint8Array) => Bun.hash(bytes).toString(16);

/** Both ends of a new pipe. */
function openPipe() {
  const pipe = join(directory, uniqueName());
  Bun.spawnSync(["mkfifo", pipe]);
  const readEnd = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
  return { path: pipe, readEnd, writeEnd: openSync(pipe, constants.O_WRONLY) };
}

describe("an output", () => {
  test("whose reader goes away ends the command quietly, and no more frames are taken", async () => {
    const name = uniqueName();
    const { readEnd, writeEnd } = openPipe();
    await using reader = Child.cli(["reader", name, "-o", "-", "--buffer-size", "64KiB"], {
      stdout: writeEnd,
    });
    closeSync(writeEnd);
    await bufferMade(name);
    using writer = await Writer.connect(name, {
      connectTimeoutMs: WAIT_LIMIT_MS,
      writeTimeout: WAIT_LIMIT_MS,
    });
    closeSync(readEnd);
    writer.writeFrame(pseudoRandom(1000));
    const { code, stderr } = await reader.exited();
    expect(code).toBe(0);
    expect(stderr).toMatch(/^Read 1 frame /);
  });

  test.each([
    ["no writer has come", false],
    ["the writer is idle", true],
  ])(
    "whose reader goes away while %s ends the command quietly, and its name is free",
    async (_, hasWriter) => {
      const name = uniqueName();
      const { readEnd, writeEnd } = openPipe();
      await using reader = Child.cli(
        [
          "reader",
          name,
          "-o",
          "-",
          "-v",
          "--buffer-size",
          "64KiB",
          "--connect-timeout-ms",
          "0",
          "--timeout-ms",
          "0",
        ],
        { stdout: writeEnd },
      );
      closeSync(writeEnd);
      await reader.logged("Created buffer");
      using writer = hasWriter ? await Writer.connect(name, { connectTimeoutMs: WAIT_LIMIT_MS }) : undefined;
      if (hasWriter) await reader.logged("A writer connected");
      closeSync(readEnd);
      expect((await reader.exited()).code).toBe(0);
      expect(writer?.isReaderConnected()).not.toBe(true);
      using _next = new Reader(name, { payloadSize: 4096 });
    },
  );

  test("that is full is an I/O error", async () => {
    const name = uniqueName();
    const full = openSync("/dev/full", constants.O_WRONLY);
    await using reader = Child.cli(["reader", name, "-o", "-", "--json-output", "--buffer-size", "64KiB"], {
      stdout: full,
    });
    closeSync(full);
    await bufferMade(name);
    await run("writer", name, "-n", "1");
    const { code, stderr } = await reader.exited();
    expect(code).toBe(2);
    expect(JSON.parse(stderr).error).toMatchObject({
      code: "IO_ERROR",
      message: expect.stringContaining("stdout"),
    });
  });

  test("that is full for the result is an I/O error as well", async () => {
    for (const args of [["--json-output"], []]) {
      const full = openSync("/dev/full", constants.O_WRONLY);
      await using child = Child.cli(["writer", "--help", ...args], { stdout: full });
      closeSync(full);
      const { code, stderr } = await child.exited();
      expect(code).toBe(2);
      expect(stderr).toContain("Cannot print the result: no space left on device.");
    }
  });

  test.each([
    ["blocks", 0],
    ["does not block", constants.O_NONBLOCK],
  ])("that is a full pipe and %s gets the help once there is room", async (_, flag) => {
    const page = (await run("reader", "--help")).stdout;
    const pipe = join(directory, uniqueName());
    Bun.spawnSync(["mkfifo", pipe]);
    const readEnd = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
    const filler = openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK);
    const filled = fill(filler);
    const writeEnd = openSync(pipe, constants.O_WRONLY | flag);
    await using child = Child.cli(["reader", "--help"], { stdout: writeEnd });
    for (const descriptor of [filler, writeEnd]) closeSync(descriptor);
    const chunks: Buffer[] = [];
    for await (const chunk of Bun.file(readEnd).stream()) chunks.push(Buffer.from(chunk));
    closeSync(readEnd);
    expect((await child.exited()).code).toBe(0);
    expect(Buffer.concat(chunks).subarray(filled).toString()).toBe(page.toString());
  });

  test("whose reader is gone ends the help quietly", async () => {
    const pipe = join(directory, uniqueName());
    Bun.spawnSync(["mkfifo", pipe]);
    const readEnd = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
    const writeEnd = openSync(pipe, constants.O_WRONLY);
    closeSync(readEnd);
    await using child = Child.cli(["--help"], { stdout: writeEnd });
    closeSync(writeEnd);
    const { code, stderr } = await child.exited();
    expect([code, stderr]).toEqual([0, ""]);
  });

  test("that is slow gets everything before the end", async () => {
    const name = uniqueName();
    const input = pseudoRandom(5 * 1024 * 1024);
    const pipe = join(directory, "slow");
    Bun.spawnSync(["mkfifo", pipe]);
    await using reader = Child.cli(["reader", name, "-o", pipe, "--buffer-size", "8MiB"]);
    const readEnd = openSync(pipe, constants.O_RDONLY);
    await bufferMade(name);
    await using writing = Child.cli(["writer", name, "-i", "-", "-s", "10000"], { stdin: input });
    expect((await writing.exited()).code).toBe(0);
    const chunks: Buffer[] = [];
    for await (const chunk of Bun.file(readEnd).stream()) chunks.push(Buffer.from(chunk));
    closeSync(readEnd);
    expect((await reader.exited()).code).toBe(0);
    expect(hashOf(Buffer.concat(chunks))).toBe(hashOf(input));
  });
});

/** Writes until there is no room; returns how many bytes. */
function fill(descriptor: number): number {
  const block = Buffer.alloc(512);
  for (let filled = 0; ; filled += block.length) {
    try {
      writeSync(descriptor, block);
    } catch (error) {
      expect((error as NodeJS.ErrnoException).code).toBe("EAGAIN");
      return filled;
    }
  }
}
