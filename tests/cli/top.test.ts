import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { root } from "../../scripts/build-native.ts";
import { Reader, Writer } from "../../src/core/index.ts";
import { kill, startReader } from "../process/peers.ts";
import { eventually, uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { stateOf } from "../support/proc.ts";
import { Child, run, runJson, runOnTerminal, startOnTerminal } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";
import { Screen, type Size } from "../support/screens.ts";

const SMALL: Size = { columns: 80, rows: 24 };
const LARGE: Size = { columns: 200, rows: 50 };

const [CTRL_C, CTRL_BACKSLASH, CTRL_Z] = ["\x03", "\x1c", "\x1a"];
const [ENTER, ESCAPE, DOWN, END] = ["\r", "\x1b", "\x1b[B", "\x1b[F"];

/** What gives the terminal back. */
const LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l";

const FAST = ["top", "--interval-ms", "100"];

/** Prints the code of what it runs, and the settings of the terminal before and after it. */
const WITH_SETTINGS = `trap : INT QUIT TERM HUP; before=$(stty -g); "$@"; echo "code $?"; test "$before" = "$(stty -g)" && echo restored`;

/** Buffers of this process whose names begin alike, so that a filter shows them and nothing else. */
function makeBuffers(count: number): { readonly prefix: string; readonly readers: Reader[] } & Disposable {
  const prefix = `${uniqueName()}x`;
  const readers = Array.from(
    { length: count },
    (_, at) => new Reader(`${prefix}-${String(at).padStart(3, "0")}`, { payloadSize: 4096 }),
  );
  return {
    prefix,
    readers,
    [Symbol.dispose]: () => {
      for (const reader of readers) reader.close();
    },
  };
}

/** top on a terminal of its own, showing the buffers of a prefix alone. */
async function startTop(prefix: string, size: Size, args: readonly string[] = FAST) {
  const child = startOnTerminal(args, size);
  const screen = new Screen(child, size);
  await screen.showsRow(/^q quit/);
  child.write(`/${prefix}${ENTER}`);
  await screen.shows(
    (rows) => rows[0]?.includes("filter (") === true && rows.at(-1)?.startsWith("q quit") === true,
  );
  return { child, screen };
}

describe("the screen", () => {
  test.each([SMALL, LARGE])("shows nothing where there is nothing, at %p", async (size) => {
    const prefix = uniqueName();
    const { child, screen } = await startTop(prefix, size);
    await using _ = child;
    const rows = await screen.shows((rows) =>
      rows.some((row) => /^No buffers?( matches the filter)?\.$/.test(row)),
    );
    expect(rows.at(-1)).toStartWith("q quit");
    expect(screen.isTaken).toBe(true);
    expect((await child.write("q").exited()).code).toBe(0);
    await screen.rows();
    expect(screen.isTaken).toBe(false);
  });

  test.each([SMALL, LARGE])("shows three buffers, and what they do, at %p", async (size) => {
    using buffers = makeBuffers(3);
    const [first, second] = buffers.readers.map(({ name }) => name);
    const { child, screen } = await startTop(buffers.prefix, size);
    await using _ = child;
    using writer = await Writer.connect(first ?? "", { connectTimeoutMs: WAIT_LIMIT_MS });
    const timer = setInterval(() => {
      writer.writeFrame(new Uint8Array(1000));
      buffers.readers[0]?.readFrame(WAIT_LIMIT_MS).release();
    }, 1);
    const cut = size === SMALL ? `${first?.slice(0, 8)}` : first;
    const pid = `${process.pid}`;
    const row = await screen.showsRow(
      new RegExp(`^> ${cut}.* live .* [1-9][\\d,.]* +\\d[\\d.]* [KM]iB +<1s .*${pid}.*${pid}`),
    );
    clearInterval(timer);
    expect(row).toMatch(size === SMALL ? /[░█]{4} +\d+%/ : /[░█]{8} +\d+%.*[▁▂▃▄▅▆▇█]/);
    const rows = await screen.rows();
    const heads = ["NAME", "STATE", "FILL", "FRAMES/S", "BYTES/S", "AGE", "WAITS", "WRITER", "READER"];
    for (const head of heads) expect(rows[1]).toContain(head);
    expect(rows[1]?.includes("LAST MINUTE")).toBe(size === LARGE);
    child.write(DOWN);
    await screen.showsRow(new RegExp(`^${second}  ring of 4.0 KiB: 0 written, 0 read`));
    await screen.showsRow(new RegExp(`^reader +${pid} .*bun`));
    expect((await child.write("q").exited()).code).toBe(0);
  });

  test.each([SMALL, LARGE])("scrolls through 300 buffers, at %p", async (size) => {
    using buffers = makeBuffers(300);
    const { child, screen } = await startTop(buffers.prefix, size);
    await using _ = child;
    await screen.shows(
      ([title, , row]) => title?.includes("filter (300): ") === true && row?.startsWith("> ") === true,
    );
    child.write(END);
    const last = buffers.readers.at(-1)?.name ?? "";
    const rows = await screen.shows((rows) => rows.some((row) => row.startsWith(`${last}  ring`)));
    const selected = rows.findIndex((row) => row.startsWith("> "));
    expect(selected).toBe(size.rows - 7);
    expect(rows.slice(2, selected).every((row) => row.startsWith("  "))).toBe(true);
    child.write("s");
    await screen.showsRow(/STATE▼/);
    child.write("srr");
    await screen.showsRow(/FILL▼/);
    child.write("r");
    await screen.showsRow(/FILL▲/);
    expect((await child.write("q").exited()).code).toBe(0);
  });

  test("goes on when the selected buffer dies, in the list and in its details", async () => {
    using buffers = makeBuffers(2);
    const [first, second] = buffers.readers;
    const { child, screen } = await startTop(buffers.prefix, SMALL);
    await using _ = child;
    await screen.showsRow(new RegExp(`^${first?.name} +ring`));
    first?.close();
    await screen.showsRow(new RegExp(`^${second?.name} +ring`));
    child.write(ENTER);
    await screen.showsRow(new RegExp(`^Buffer +${second?.name}$`));
    await screen.showsRow(/^State +idle, healthy$/);
    second?.close();
    await screen.showsRow(new RegExp(`^Buffer "${second?.name}" is gone\\.$`));
    using again = new Reader(second?.name ?? "", { payloadSize: 8192 });
    await screen.showsRow(/^Used +0 bytes of 8.0 KiB/);
    again.close();
    child.write(ESCAPE);
    await screen.showsRow(/^No buffers?( matches the filter)?\.$/);
    expect((await child.write("q").exited()).code).toBe(0);
  });

  test("shows a buffer whose reader was killed as stale", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, { largest: 1000, payloadSize: 4096 });
    const { child, screen } = await startTop(name, SMALL);
    await using _ = child;
    await screen.showsRow(/^> .* idle /);
    await kill(reader);
    await screen.showsRow(/^> .* stale /);
    await screen.showsRow(new RegExp(`^reader +${reader.pid} dead$`));
    expect((await child.write("q").exited()).code).toBe(0);
    expect((await run("clean", name)).code).toBe(0);
  });

  test("follows the size of the terminal", async () => {
    using buffers = makeBuffers(30);
    const { child, screen } = await startTop(buffers.prefix, SMALL);
    await using _ = child;
    screen.resize({ columns: 150, rows: 40 });
    await screen.shows(
      (rows) => rows[1]?.includes("LAST MINUTE") === true && rows[39]?.startsWith("q quit") === true,
    );
    screen.resize({ columns: 40, rows: 10 });
    const rows = await screen.shows(
      (rows) => rows[9]?.startsWith("q quit") === true && rows[8]?.startsWith("  ") === true,
    );
    expect(rows[1]).toStartWith("  NAME▼");
    expect((await child.write("q").exited()).code).toBe(0);
  });

  test("has no colours with NO_COLOR, and else has them", async () => {
    using buffers = makeBuffers(1);
    for (const [env, hasColours] of [
      [{ NO_COLOR: "1" }, false],
      [{}, true],
    ] as const) {
      await using child = startOnTerminal(FAST, { ...SMALL, env });
      await child.printed(buffers.prefix.slice(0, 8));
      const { stdout } = await child.write("q").exited();
      // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are
      expect(/\x1b\[[\d;]*m/.test(stdout.toString())).toBe(hasColours);
    }
  });

  test("has keys only where stdin is a terminal, and says so", async () => {
    await using child = startOnTerminal(FAST, { ...SMALL, shell: 'exec "$@" </dev/null' });
    using screen = new Screen(child, SMALL);
    await screen.showsRow(/^Ctrl-C leaves; there are no keys/);
    expect((await child.write(CTRL_C).exited()).code).toBe(130);
    await screen.rows();
    expect(screen.isTaken).toBe(false);
  });
});

describe("the terminal is given back", () => {
  test.each([
    ["q", "q", 0],
    ["Ctrl-C", CTRL_C, 130],
    ["Ctrl-\\", CTRL_BACKSLASH, 131],
  ])("at %s", async (_, keys, code) => {
    await using child = startOnTerminal(FAST, { ...SMALL, shell: WITH_SETTINGS });
    using screen = new Screen(child, SMALL);
    await screen.showsRow(/^q quit/);
    const outcome = await child.write(keys).exited();
    const rows = await screen.rows();
    expect(rows).toEqual(expect.arrayContaining([`code ${code}`, "restored"]));
    expect(screen.isTaken).toBe(false);
    const output = outcome.stdout.toString();
    // Nothing of the screen comes after it.
    expect(output.slice(output.lastIndexOf(LEAVE))).not.toContain("q quit");
  });

  test.each(["SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT"] as const)("at %s", async (signal) => {
    await using child = startOnTerminal(FAST, SMALL);
    using screen = new Screen(child, SMALL);
    await screen.showsRow(/^q quit/);
    child.kill(signal);
    const { code } = await child.exited();
    const rows = await screen.rows();
    expect(code).toBe({ SIGTERM: 143, SIGHUP: 129, SIGINT: 130, SIGQUIT: 131 }[signal]);
    expect([screen.isTaken, rows[0]]).toEqual([false, `zerobuffer top: Stopped by ${signal}.`]);
  });

  test("at an error that nothing handles, whose report is seen", async () => {
    const stray = join(import.meta.dir, "fixtures", "stray.ts");
    const command = [process.execPath, "--preload", stray, join(root, "src", "main.ts"), ...FAST];
    await using child = Child.program(command, { ...SMALL, env: { STRAY: "thrown", NO_COLOR: "1" } });
    using screen = new Screen(child, SMALL);
    await screen.showsRow(/^q quit/);
    child.kill("SIGUSR2");
    expect((await child.exited()).code).toBe(70);
    const rows = await screen.rows();
    expect(screen.isTaken).toBe(false);
    expect(rows).toContain("zerobuffer top: astray");
  });

  test("at Ctrl-Z, and taken again when the command goes on", async () => {
    await using child = startOnTerminal(FAST, SMALL);
    using screen = new Screen(child, SMALL);
    await screen.showsRow(/^q quit/);
    for (let round = 1; round <= 2; round++) {
      child.write(CTRL_Z);
      await eventually(() => stateOf(child.pid) === "T");
      // The last that it has printed may still be on its way.
      await screen.shows(() => !screen.isTaken);
      child.resume();
      await screen.shows((rows) => screen.isTaken && rows.some((row) => row.startsWith("q quit")));
    }
    child.write("?");
    await screen.showsRow(/sort by the next/);
    expect((await child.write("q").exited()).code).toBe(0);
  });

  test("and top ends when the terminal is gone", async () => {
    await using child = startOnTerminal(FAST, SMALL);
    using screen = new Screen(child, SMALL);
    await screen.showsRow(/^q quit/);
    child.hangUp();
    expect((await child.exited()).code).toBe(129);
  });
});

describe("one snapshot", () => {
  test("is printed where stdout is no terminal", async () => {
    using buffers = makeBuffers(1);
    const { code, stdout, stderr } = await run(...FAST);
    const lines = stdout.toString().split("\n");
    expect([code, stderr]).toEqual([0, ""]);
    expect(lines[0]).toMatch(/^NAME +STATE +FILL +FRAMES\/S +BYTES\/S +AGE +WAITS +WRITER +READER$/);
    const line = lines.find((line) => line.startsWith(buffers.readers[0]?.name ?? "?"));
    expect(line).toMatch(new RegExp(` idle +0 % +0 +0 B +- +- +- +${process.pid} .*bun`));
    expect(stdout.includes("\x1b")).toBe(false);
  });

  test("is printed on a terminal that is dumb, which is told", async () => {
    using buffers = makeBuffers(1);
    const { code, output } = await runOnTerminal(FAST, { ...LARGE, env: { TERM: "dumb" } });
    expect(code).toBe(0);
    expect(output).toContain("zerobuffer top: A terminal with TERM=dumb has no screen to draw on.");
    expect(output).toMatch(new RegExp(`^${buffers.prefix}-000 +idle `, "m"));
    expect(output).not.toContain("\x1b");
  });

  test("is one JSON object with --json-output, also on a terminal", async () => {
    using buffers = makeBuffers(2);
    using writer = await Writer.connect(buffers.readers[0]?.name ?? "", { connectTimeoutMs: WAIT_LIMIT_MS });
    writer.writeFrame(new Uint8Array(500));
    const { document } = await runJson(...FAST);
    expectValid("top", document);
    const [first, second] = buffers.readers.map(({ name }) =>
      document.buffers.find(({ buffer_name }: { buffer_name: string }) => buffer_name === name),
    );
    expect(first).toMatchObject({
      state: "live",
      used_bytes: 516,
      frame_size: 500,
      frames_per_second: 0,
      bytes_per_second: 0,
      last_frame_age_seconds: null,
      waits: { writer: false, reader: false },
    });
    expect(second).toMatchObject({
      state: "idle",
      frame_size: null,
      waits: { writer: false, reader: false },
    });
    const { code, output } = await runOnTerminal([...FAST, "--json-output"], LARGE);
    expect(code).toBe(0);
    expectValid("top", JSON.parse(output));
  });

  test("follows the other with --json-lines, until it is interrupted", async () => {
    using buffers = makeBuffers(1);
    await using child = Child.cli([...FAST, "--json-lines"]);
    await child.printed(/"snapshot".*\n.*"snapshot"/);
    child.kill("SIGINT");
    const { code, stdout } = await child.exited();
    const lines = stdout
      .toString()
      .trimEnd()
      .split("\n")
      .map((line) => expectValid("event", JSON.parse(line)));
    expect(code).toBe(130);
    expect(lines[0]).toMatchObject({ event: "started", operation: "top" });
    const { event, time, ...result } = lines.at(-1);
    expectValid("top", result);
    const names = lines[1].buffers.map(({ buffer_name }: { buffer_name: string }) => buffer_name);
    expect(names).toContain(buffers.readers[0]?.name);
  });
});
