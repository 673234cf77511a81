import { describe, expect, test } from "bun:test";
import { bufferMade, eventually, uniqueName } from "../support/buffers.ts";
import { stateOf } from "../support/proc.ts";
import { Child, runOnTerminal, startOnTerminal } from "../support/process.ts";

const CTRL_C = "\x03";
const CTRL_Z = "\x1a";

/** What hides and shows the cursor, and empties its line. */
const HIDDEN = "\x1b[?25l";
const SHOWN = "\x1b[?25h";
const CLEARED = "\x1b[1G\x1b[2K";

/** Redirects stdout, so that the terminal shows stderr alone. */
const STDERR_ONLY = 'exec "$@" >/dev/null';

/** What a writer shows on a terminal while a reader takes its frames. */
async function write(args: string[], options: Parameters<typeof runOnTerminal>[1] = {}) {
  const name = uniqueName();
  await using reader = Child.cli(["reader", name, "--buffer-size", "1MiB"]);
  await bufferMade(name);
  const { code, output } = await runOnTerminal(["writer", name, ...args], options);
  await reader.exited();
  expect(code).toBe(0);
  return output;
}

/** How often the line of progress was drawn: each time from its first column. */
const redraws = (output: string) => output.split("\x1b[1G").length - 1;

describe("progress", () => {
  test("shows frames, rate, bytes, time, percent and what is left, and goes away", async () => {
    const output = await write(["-n", "100", "--rate", "100"], { shell: STDERR_ONLY });
    expect(output).toMatch(/Writing █+░+ \d+ %, \d+ s left: \d+ frames, [\d.]+ \w+, \d+ frames\/s, \d+ s/);
    expect(output).toContain("\x1b[?25l");
    expect(output).toContain("\x1b[?25h");
    const shown = output.slice(output.lastIndexOf("\x1b[2K"));
    expect(shown).toStartWith("\x1b[2K\x1b[1mWrote 100 frames");
    expect(shown).not.toContain("Writing");
  });

  test("counts requests where those are what is sent", async () => {
    const channel = uniqueName();
    const sizes = ["--buffer-size", "64KiB"];
    await using server = Child.cli(["duplex", "serve", channel, "-n", "100", ...sizes]);
    await bufferMade(`${channel}_request`);
    const { code, output } = await runOnTerminal(
      ["duplex", "request", channel, "-n", "100", "--rate", "100", ...sizes],
      { shell: STDERR_ONLY },
    );
    expect([code, (await server.exited()).code]).toEqual([0, 0]);
    expect(output).toMatch(
      /Requesting █+░+ \d+ %, \d+ s left: \d+ requests, [\d.]+ \w+, \d+ requests\/s, \d+ s/,
    );
  });

  test("is drawn ten times a second at the most", async () => {
    const output = await write(["-n", "150", "--rate", "100"], { shell: STDERR_ONLY });
    expect(redraws(output)).toBeGreaterThan(3);
    expect(redraws(output)).toBeLessThanOrEqual(15 + 1);
  });

  test("knows no percent where there is no end", async () => {
    const output = await write(["-i", "-", "-s", "64KiB"], {
      shell: 'head -c 300M /dev/zero | "$@" >/dev/null',
    });
    expect(output).toContain("Writing: ");
    expect(output).not.toContain("%");
  });

  test.each([["--quiet"], ["--json-output"]])("is not shown with %p", async (option) => {
    const output = await write(["-n", "50", "--rate", "100", option], { shell: STDERR_ONLY });
    expect(output).not.toContain("Writing");
    expect(output).not.toContain("\x1b");
  });

  test("goes away at Ctrl-C, and the cursor comes back", async () => {
    await using reader = startOnTerminal(["reader", uniqueName(), "--buffer-size", "64KiB"]);
    await reader.printed("Reading: 0 frames");
    const { code, stdout } = await reader.write(CTRL_C).exited();
    const output = stdout.toString();
    expect(code).toBe(130);
    expect(output.lastIndexOf("\x1b[?25h")).toBeGreaterThan(output.lastIndexOf("\x1b[?25l"));
    expect(output).toEndWith("zerobuffer reader: \x1b[31mStopped by SIGINT.\x1b[39m\r\n");
  });

  test("gives the terminal back at Ctrl-Z, and is shown again when the command goes on", async () => {
    await using reader = startOnTerminal(["reader", uniqueName(), "--buffer-size", "64KiB"]);
    await reader.printed("Reading: 0 frames");
    reader.write(CTRL_Z);
    await eventually(() => stateOf(reader.pid) === "T");
    await reader.printed(`${SHOWN}${CLEARED}`);
    reader.resume();
    await reader.printed(`${CLEARED}${HIDDEN}`);
    expect((await reader.write(CTRL_C).exited()).code).toBe(130);
  });

  test("is not shown where stderr is no terminal", async () => {
    const output = await write(["-n", "50", "--rate", "100"], { shell: 'exec "$@" 2>/dev/null' });
    expect(output).toBe("");
  });
});

describe("colour", () => {
  test("is on a terminal", async () => {
    expect(await write(["-n", "5"])).toContain("\x1b[1mWrote 5 frames\x1b[22m");
  });

  test("is not where NO_COLOR is set", async () => {
    const output = await write(["-n", "5"], { env: { NO_COLOR: "1" } });
    expect(output).toContain("Wrote 5 frames");
    expect(output).not.toContain("\x1b[1m");
  });

  test("and progress are not on a terminal that is dumb", async () => {
    const output = await write(["-n", "50", "--rate", "100"], { env: { TERM: "dumb" } });
    expect(output).toContain("Wrote 50 frames");
    expect(output).not.toContain("\x1b");
  });

  test.each([
    [{ FORCE_COLOR: "1" }, true],
    [{ CLICOLOR_FORCE: "1" }, true],
    [{ FORCE_COLOR: "0" }, false],
    [{ CLICOLOR_FORCE: "0" }, false],
    [{ FORCE_COLOR: "1", NO_COLOR: "1" }, false],
  ])("without a terminal and with %p: %p", async (wishes, isColoured) => {
    const env = { NO_COLOR: "", FORCE_COLOR: undefined, ...wishes };
    await using child = Child.cli(["writer", uniqueName(), "--connect-timeout-ms", "0"], { env });
    expect((await child.exited()).stderr.includes("\x1b[31m")).toBe(isColoured);
  });

  test("is in the message of an error", async () => {
    const { code, output } = await runOnTerminal(["writer", uniqueName(), "--connect-timeout-ms", "0"]);
    expect(code).toBe(1);
    expect(output).toContain("\x1b[31mThere is no buffer");
  });
});

describe("frames", () => {
  test("are not written to a terminal", async () => {
    const { code, output } = await runOnTerminal(["reader", uniqueName(), "--output", "-"]);
    expect(code).toBe(3);
    expect(output).toContain("--output - cannot write frames to a terminal");
  });
});
