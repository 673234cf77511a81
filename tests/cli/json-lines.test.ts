import { describe, expect, test } from "bun:test";
import { Reader, Writer } from "../../src/core/index.ts";
import type { documents } from "../../src/schemas/index.ts";
import { bufferMade, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { Child, type Outcome, run } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";

// biome-ignore lint/suspicious/noExplicitAny: every event has its own keys, which the tests check
type Line = any;

const SMALL = ["--buffer-size", "64KiB"];

/** The events, each as the schema says, with the document of the last one as that of the command. */
function eventsOf(text: string, document: keyof typeof documents): Line[] {
  expect(text.endsWith("\n")).toBe(true);
  const lines = text
    .trimEnd()
    .split("\n")
    .map((line) => expectValid("event", JSON.parse(line)));
  const { event, time, ...result } = lines.at(-1);
  expect(event).toBe("result");
  expect(Date.parse(time)).toBeLessThanOrEqual(Date.now());
  expectValid(document, result);
  expect(lines.filter((line) => line.event === "result")).toHaveLength(1);
  return lines;
}

/** The kinds of events in their order, without progress; those of peers with what has changed. */
function story(lines: readonly Line[]): string[] {
  return lines
    .filter(({ event }) => event !== "progress")
    .map(({ event, role, change }) => (event === "peer" ? `${role} ${change}` : event));
}

const outputOf = ({ stdout }: Outcome) => stdout.toString();

describe("--json-lines tells the whole run", () => {
  test("of a writer and a reader, with the progress", async () => {
    const name = uniqueName();
    await using reader = Child.cli(["reader", name, ...SMALL, "--json-lines", "--interval-ms", "20"]);
    await bufferMade(name);
    const writing = await run(
      "writer",
      name,
      "-n",
      "60",
      "-s",
      "1000",
      "--rate",
      "200",
      "--json-lines",
      "--interval-ms",
      "20",
    );
    const written = eventsOf(outputOf(writing), "writer");
    const read = eventsOf(outputOf(await reader.exited()), "reader");
    expect(story(written)).toEqual(["started", "reader came", "result"]);
    expect(story(read)).toEqual(["started", "ready", "writer came", "writer left", "result"]);
    expect(written[0]).toMatchObject({ operation: "write" });
    expect(read[1].buffer).toBe(name);
    for (const lines of [written, read]) {
      const progress = lines.filter(({ event }) => event === "progress");
      expect(progress.length).toBeGreaterThan(3);
      for (const { frames, bytes } of progress) expect(bytes).toBe(frames * 1000);
      const counts = progress.map(({ frames }) => frames);
      expect(counts).toEqual(counts.toSorted((a, b) => a - b));
      expect(progress.some(({ frames_per_second }) => frames_per_second > 0)).toBe(true);
    }
    expect(read.at(-1)).toMatchObject({ frames_read: 60, errors: [] });
  });

  test("of a relay whose ends change", async () => {
    const [input, output] = [uniqueName(), uniqueName()];
    await using relay = Child.cli(["relay", input, output, ...SMALL, "--follow", "--json-lines"]);
    const first = new Reader(output, { payloadSize: 4096 });
    const camera = await Writer.connect(input, { connectTimeoutMs: WAIT_LIMIT_MS });
    camera.writeFrame(Buffer.from("1"));
    (await first.readFrameAsync(WAIT_LIMIT_MS)).release();
    first.close();
    await relay.printed('"role":"reader","change":"left"');
    using second = new Reader(output, { payloadSize: 4096 });
    expect(await second.isWriterConnectedAsync(WAIT_LIMIT_MS)).toBe(true);
    camera.close();
    await relay.printed('"role":"writer","change":"left"');
    relay.kill("SIGTERM");
    const outcome = await relay.exited();
    expect(outcome.code).toBe(143);
    const told = story(eventsOf(outputOf(outcome), "relay"));
    expect(told.toSorted()).toEqual(
      [
        "started",
        "ready",
        "reader came",
        "writer came",
        "reader left",
        "reader came",
        "writer left",
        "result",
      ].toSorted(),
    );
  });

  test("of a channel, of both sides", async () => {
    const channel = uniqueName();
    await using server = Child.cli(["duplex", "serve", channel, ...SMALL, "-n", "10", "--json-lines"]);
    const client = await run(
      ...["duplex", "request", channel, ...SMALL, "-n", "10", "-s", "100", "--connect-timeout-ms", "60s"],
      "--json-lines",
    );
    expect(story(eventsOf(outputOf(client), "duplex-request"))).toEqual(["started", "server came", "result"]);
    const served = await server.exited();
    expect(story(eventsOf(outputOf(served), "duplex-serve")).slice(0, 3)).toEqual([
      "started",
      "ready",
      "client came",
    ]);
  });

  test("of a peer that is killed", async () => {
    const name = uniqueName();
    await using reader = Child.cli(["reader", name, ...SMALL, "--json-lines"]);
    await bufferMade(name);
    await using writer = Child.cli(["writer", name, "-n", "0", "--rate", "50", "--json-lines"]);
    await reader.printed('"change":"came"');
    writer.kill("SIGKILL");
    const outcome = await reader.exited();
    expect(outcome.code).toBe(2);
    const lines = eventsOf(outputOf(outcome), "reader");
    expect(story(lines)).toEqual(["started", "ready", "writer came", "writer died", "result"]);
    expect(lines.at(-1).error.code).toBe("WRITER_DEAD");
  });

  test("of warnings, with and without --verbose", async () => {
    for (const verbose of [[], ["-v"]]) {
      const name = uniqueName();
      await using reader = Child.cli([
        "reader",
        name,
        ...SMALL,
        "--json-lines",
        "--verify",
        "zero",
        ...verbose,
      ]);
      await bufferMade(name);
      await run("writer", name, "-n", "3", "-s", "10", "--pattern", "ones");
      const outcome = await reader.exited();
      const lines = eventsOf(outputOf(outcome), "reader");
      const warnings = lines.filter(({ event }) => event === "warning").map(({ message }) => message);
      expect(warnings).toEqual(
        [0, 1, 2].map(
          (i) => `Frame ${i} failed verification: it does not match the zero pattern of sequence ${i + 1}.`,
        ),
      );
      expect(outcome.stderr.includes("warn: Frame 1 failed")).toBe(verbose.length > 0);
      expect(outcome.code).toBe(4);
    }
  });

  test.each(["SIGINT", "SIGHUP", "SIGTERM", "SIGQUIT"] as const)("also when %s ends it", async (signal) => {
    const name = uniqueName();
    await using reader = Child.cli(["reader", name, ...SMALL, "--json-lines"]);
    await bufferMade(name);
    reader.kill(signal);
    const outcome = await reader.exited();
    const lines = eventsOf(outputOf(outcome), "reader");
    expect(lines.at(-1).error).toMatchObject({ code: "INTERRUPTED", message: `Stopped by ${signal}.` });
  });

  test("of list --watch and inspect --watch", async () => {
    const name = uniqueName();
    const reader = new Reader(name, { payloadSize: 4096 });
    await using list = Child.cli(["list", "--watch", "--json-lines", "--interval-ms", "100"]);
    await using inspect = Child.cli(["inspect", name, "--watch", "--json-lines", "--interval-ms", "100"]);
    for (const watching of [list, inspect]) await watching.printed(/"snapshot".*\n.*"snapshot"/);
    reader.close();
    const seen = eventsOf(outputOf(await inspect.exited()), "inspect");
    const [snapshot] = seen.filter(({ event }) => event === "snapshot");
    expect(snapshot).toMatchObject({ buffer_name: name, state: "idle", payload_size: 4096 });
    list.kill("SIGINT");
    const listed = eventsOf(outputOf(await list.exited()), "list");
    const buffers = listed.find(({ event }) => event === "snapshot").buffers;
    expect(buffers.find((entry: Line) => entry.buffer_name === name)).toMatchObject({ state: "idle" });
  });
});

describe("--json-lines", () => {
  test("ends with a result after a usage error, too", async () => {
    const outcome = await run("reader", "cam", "--json-lines", "--size", "many");
    const lines = eventsOf(outputOf(outcome), "reader");
    expect([outcome.code, lines.length, lines[0].error.code]).toEqual([3, 1, "USAGE"]);
  });

  test("cannot be combined with --json-output", async () => {
    const outcome = await run("writer", "cam", "--json-lines", "--json-output");
    const lines = eventsOf(outputOf(outcome), "writer");
    expect([outcome.code, lines.at(-1).error.code]).toEqual([3, "USAGE"]);
  });

  test("goes to stderr, alone, where frames go to stdout", async () => {
    const name = uniqueName();
    await using reader = Child.cli([
      "reader",
      name,
      ...SMALL,
      "-o",
      "-",
      "--framing",
      "lines",
      "--json-lines",
      "-v",
    ]);
    await bufferMade(name);
    await using writer = Child.cli(["writer", name, "-i", "-", "--framing", "lines"], {
      stdin: Buffer.from("a\nb\n"),
    });
    await writer.exited();
    const { stdout, stderr } = await reader.exited();
    expect(stdout.toString()).toBe("a\nb\n");
    expect(story(eventsOf(stderr, "reader"))).toEqual([
      "started",
      "ready",
      "writer came",
      "writer left",
      "result",
    ]);
  });

  test("ends a command whose events nobody reads any more, quietly", async () => {
    const name = uniqueName();
    // The shell waits for both ends of its pipe.
    await using reader = Child.cli(["reader", name, ...SMALL, "--json-lines", "--interval-ms", "10"], {
      shell: '{ "$@"; echo "code $?" >&2; } | head -n 2',
    });
    const { stdout, stderr } = await reader.exited();
    const lines = stdout
      .toString()
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(story(lines)).toEqual(["started", "ready"]);
    expect(stderr).toBe("code 0\n");
  });

  test("tells what bench does", async () => {
    const outcome = await run(
      "bench",
      "throughput",
      "--sizes",
      "64",
      "--frames",
      "64",
      "--repeat",
      "1",
      "--json-lines",
    );
    const lines = eventsOf(outputOf(outcome), "bench");
    expect(story(lines)).toEqual(["started", "result"]);
  });

  test("is unknown to a command that is done at once", async () => {
    const { code, stdout } = await run("clean", "--json-lines");
    expect([code, JSON.parse(stdout.toString()).error.code]).toEqual([3, "USAGE"]);
  });
});
