// Signals and blocking calls: a call that blocks ends early, so that the listeners in JavaScript can run.

import { dlopen } from "bun:ffi";
import { describe, expect, test } from "bun:test";
import { constants } from "node:os";
import { uniqueName } from "../support/buffers.ts";
import { Child } from "../support/process.ts";
import { endAll, sweep } from "./peers.ts";

const { SIGUSR2, SIGWINCH, SIGCHLD, SIGCONT, SIGURG, SIGPWR } = constants.signals;

/** How long a call takes that nothing ends, in milliseconds: fixtures/signals.ts. */
const WAIT_MS = 300;

const invalid = { value: false };
const full = { code: "BUFFER_FULL", reason: "signal" };
const notFound = { code: "BUFFER_NOT_FOUND" };

/** The calls of fixtures/blocking-calls.ts, and how a signal ends them. */
const outcomes: Record<string, object> = {
  "reader.readFrame": invalid,
  "reader.readFrames": { value: 0 },
  "reader.isWriterConnected": invalid,
  "writer.writeFrame": full,
  "writer.writeFrames": full,
  "writer.acquireFrame": full,
  "writer.tryWriteFrame": invalid,
  "writer.tryWriteFrames": { value: 0 },
  "writer.tryAcquireFrame": invalid,
  "new Writer": notFound,
  "factory.createClient": notFound,
  "factory.createClient, its place still taken": { code: "CORRUPT_BUFFER" },
  "client.receiveResponse": invalid,
};

const modes = ["adaptive", "spin", "block"];

/** Each call in each mode; clients have no mode. */
const calls = Object.entries(outcomes).flatMap(([call, outcome]) =>
  (/^factory|^client/.test(call) ? ["adaptive"] : modes).map((mode) => [call, mode, outcome] as const),
);

/** By number, as not all of them have names here; to one thread of a process, if it is told which. */
const libc = dlopen("libc.so.6", {
  kill: { args: ["i32", "i32"], returns: "i32" },
  tgkill: { args: ["i32", "i32", "i32"], returns: "i32" },
}).symbols;

/** Any time up to so many milliseconds. */
function randomPause(mostMs: number): Promise<void> {
  return Bun.sleep(Math.random() * mostMs);
}

/** Sends a signal at a random moment of each of the calls, and of what is between them. */
async function interrupt(call: string, mode: string, rounds: number, pauseMs: number): Promise<object[]> {
  await using child = Child.fixture("interrupted.ts", call, mode, uniqueName(), rounds);
  const outcomes: object[] = [];
  for (let round = 1; round <= rounds; round++) {
    await child.receive("blocking");
    await randomPause(pauseMs);
    child.kill("SIGUSR2");
    const { outcome, handled } = await child.receive("ended");
    expect(handled).toBe(round);
    outcomes.push(outcome);
  }
  await endAll(child);
  return outcomes;
}

async function play(scenario: string, ...details: string[]) {
  await using child = Child.fixture("signals.ts", scenario, uniqueName(), ...details);
  const ended = await child.receive("ended");
  await child.succeed();
  return ended;
}

describe("a signal ends a call that would block for ever, and then is handled", () => {
  test.each(calls)("%s (%s), which it comes before", async (call, mode, outcome) => {
    const ended = await play("pending", call, mode);
    expect(ended).toMatchObject({ outcome, handledBefore: 0, handled: 1 });
  });

  test.each(calls)("%s (%s), at any moment", async (call, mode, outcome) => {
    const rounds = 10;
    expect(await interrupt(call, mode, rounds, 2)).toEqual(Array(rounds).fill(outcome));
  });

  test.each(modes)("200 times (%s)", async (mode) => {
    expect(await interrupt("reader.readFrame", mode, 200, 1)).toEqual(Array(200).fill(invalid));
  });

  test("between two of the looks at the writer", async () => {
    expect(await interrupt("reader.readFrame", "block", 20, 220)).toEqual(Array(20).fill(invalid));
  });

  test("if it is listened to only since a moment ago", async () => {
    await using child = Child.fixture("signals.ts", "late", uniqueName());
    await child.receive("ended");
    await child.receive("handled");
    await endAll(child);
  });

  test("while another one is being handled", async () => {
    await play("second");
  });

  test("in the main thread only, whichever thread gets it", async () => {
    await using child = Child.fixture("signals.ts", "worker", uniqueName());
    const { threads } = await child.receive("blocking");
    const others = threads.map(Number).filter((thread: number) => thread !== child.pid);
    expect(others.length).toBeGreaterThan(1);
    await child.sleeping();
    // Some block it; the last one to be started is the Worker's, or one of the runtime's.
    for (const thread of others) libc.tgkill(child.pid, thread, SIGUSR2);
    const { workerTime } = await child.receive("ended");
    expect(workerTime).toBeGreaterThan(1400);
    await endAll(child);
    sweep();
  });
});

describe("a call takes its time", () => {
  test("after one that the signals have ended", async () => {
    const { times, handled } = await play("once");
    expect(times[1]).toBeGreaterThan(WAIT_MS - 1);
    expect(handled).toBe(2);
  });

  test("in the listener of a signal that came while the program ran, and after it", async () => {
    const { times } = await play("handled", "running");
    for (const time of times) expect(time).toBeGreaterThan(WAIT_MS - 1);
  });

  test("in the listener of a signal that came while the program was idle, and after it", async () => {
    await using child = Child.fixture("signals.ts", "handled", uniqueName(), "idle");
    await child.receive("idle");
    await child.sleeping();
    child.kill("SIGUSR2");
    const { times } = await child.receive("ended");
    expect(times.length).toBe(2);
    for (const time of times) expect(time).toBeGreaterThan(WAIT_MS - 1);
    await endAll(child);
  });

  // SIGPWR is the one by which the runtime stops its own threads.
  const others = [SIGWINCH, SIGCHLD, SIGCONT, SIGURG, SIGPWR];
  test.each(modes)("whatever signals come that the program does not listen to (%s)", async (mode) => {
    await using child = Child.fixture("signals.ts", "other", uniqueName(), mode);
    await child.receive("blocking");
    const sending = setInterval(() => {
      for (const signal of others) libc.kill(child.pid, signal);
    }, 20);
    using _stop = { [Symbol.dispose]: () => clearInterval(sending) };
    const { times } = await child.receive("ended");
    clearInterval(sending);
    expect(times[0]).toBeGreaterThan(999);
    await endAll(child);
  });
});

describe("a program that listens no more ends by the signal", () => {
  const removals = ["off", "off, on and off", "once", "removeAllListeners(signal)", "removeAllListeners()"];
  const states = ["blocked", "running", "idle"];
  test.each(removals.flatMap((removal) => states.map((state) => [removal, state] as const)))(
    "(%s), while it is %s",
    async (removal, state) => {
      await using child = Child.fixture("signals.ts", "removed", uniqueName(), removal, state);
      if (removal === "once") await child.receive("handled");
      const { listeners } = await child.receive("unheard");
      expect(listeners).toBe(0);
      child.kill("SIGTERM");
      const { signal } = await child.end();
      expect(signal).toBe("SIGTERM");
      sweep();
    },
  );
});

test("a program finds its own listeners and no others", async () => {
  expect(await play("listeners")).toMatchObject({ own: [true, true] });
});

test("a program may hold two copies of the library", async () => {
  const { times, handled } = await play("copies");
  expect(times[1]).toBeGreaterThan(WAIT_MS - 1);
  expect(handled).toBe(1);
});

test("a program that listens to SIGURG, which the helper has a use for, gets what is sent and no more", async () => {
  const { heard } = await play("mark");
  expect(heard).toEqual(["SIGUSR2", "SIGURG"]);
});
