// What a process does while it waits: nothing, but it lets its event loop turn and hears signals.

import { describe, expect, test } from "bun:test";
import { Reader } from "../../src/core/index.ts";
import { uniqueName } from "../support/buffers.ts";
import {
  type Announcement,
  Child,
  hasBuffer,
  leavesNoProcessBehind,
  processorTimeMs,
} from "../support/processes.ts";
import {
  endAll,
  HEADER,
  startDuplexClient,
  startDuplexServer,
  startReader,
  startWriter,
  sweep,
} from "./peers.ts";

leavesNoProcessBehind();

const TIMEOUT_MS = 120_000;
const WINDOW_MS = 1500;
const WINDOWS = 4;
/** Of one processor. A wait that polls every millisecond uses more, and one that spins all of it. */
const MAX_SHARE = 0.05;

const stream = { largest: 1000 };

/** Each has a window in which it does nothing: in others, its runtime may do something of its own. */
async function expectIdle(children: Record<string, Child>): Promise<void> {
  const least = Object.fromEntries(Object.keys(children).map((name) => [name, 1]));
  for (let window = 0; window < WINDOWS; window++) {
    if (Object.values(least).every((share) => share < MAX_SHARE)) break;
    const entries = Object.entries(children).map(([name, { pid }]) => ({
      name,
      pid,
      before: processorTimeMs(pid),
    }));
    const start = performance.now();
    await Bun.sleep(WINDOW_MS);
    const durationMs = performance.now() - start;
    for (const { name, pid, before } of entries) {
      least[name] = Math.min(least[name] ?? 1, (processorTimeMs(pid) - before) / durationMs);
    }
  }
  expect(Object.entries(least).filter(([, share]) => share >= MAX_SHARE)).toEqual([]);
  expect(Object.entries(children).filter(([, { isAtIt }]) => !isAtIt)).toEqual([]);
}

/** A reader that waits for its next frame, however it does that. */
async function startWaitingReader(name: string, how: string): Promise<Child> {
  if (how === "command") {
    const child = Child.cli(`reader ${name} --timeout-ms 0 --connect-timeout-ms 0 --json-output`);
    await hasBuffer(name);
    return child;
  }
  const reader = await startReader(name, { ...stream, payloadSize: 65_536 });
  await reader.tell({ do: "read", how, timeoutMs: 600_000 }).hear("reading");
  return reader;
}

/** A writer that waits for room. */
async function startWaitingWriter(name: string, how: string): Promise<Child> {
  if (how === "command") return Child.cli(`writer ${name} -n 0 --timeout-ms 0 --json-output`);
  const writer = await startWriter(name, stream);
  await writer.tell({ do: "write", how, frames: 1e9, writeTimeout: 600_000 }).hear("writing");
  return writer;
}

describe("hardly any processor time is used", () => {
  test.each([
    ["by readers whose writer is silent", true],
    ["by readers that have no writer", false],
  ])(
    "%s",
    async (_, hasWriter) => {
      await using stack = new AsyncDisposableStack();
      const readers: Record<string, Child> = {};
      for (const how of ["blocking", "async", "iterating", "command"]) {
        const name = uniqueName();
        readers[how] = stack.use(await startWaitingReader(name, how));
        if (!hasWriter) continue;
        const writer = stack.use(await startWriter(name, stream));
        await writer.tell({ do: "write", frames: 10 }).hear("writing");
        await writer.hear("wrote");
      }
      await expectIdle(readers);
      await stack.disposeAsync();
      sweep();
    },
    TIMEOUT_MS,
  );

  test(
    "by writers whose ring is full",
    async () => {
      using stack = new DisposableStack();
      await using children = new AsyncDisposableStack();
      const writers: Record<string, Child> = {};
      for (const how of ["blocking", "async", "zero-copy", "command"]) {
        const reader = stack.use(new Reader(uniqueName(), { metadataSize: 0, payloadSize: 65_536 }));
        writers[how] = children.use(await startWaitingWriter(reader.name, how));
      }
      await expectIdle(writers);
    },
    TIMEOUT_MS,
  );

  test(
    "by duplex servers without a client or with a silent one, and by clients that await a response",
    async () => {
      await using stack = new AsyncDisposableStack();
      const children: Record<string, Child> = {
        lonely: stack.use(await startDuplexServer(uniqueName())),
      };
      for (const how of ["blocking", "async", "silent"]) {
        const channel = uniqueName();
        const server = stack.use(await startDuplexServer(channel, { silentFrom: 1 }));
        const client = stack.use(await startDuplexClient(channel));
        if (how !== "silent") await client.tell({ do: "ask", requests: 1, size: 10, how }).hear("asking");
        children[`${how} client`] = client;
        children[`server of a ${how} client`] = server;
      }
      await expectIdle(children);
      await stack.disposeAsync();
      sweep();
    },
    TIMEOUT_MS,
  );
});

test("a process ends once nothing is awaited, though its reader and writer are open", async () => {
  await using child = Child.fixture("unclosed.ts", uniqueName());
  expect(await child.hear("waited")).toMatchObject({ sequences: [1, 2] });
  expect((await child.end()).code).toBe(0);
  sweep();
});

/** The timer has fired all the time, as often as a busy machine lets it. */
function expectSteady({ turns, longestMs, durationMs }: Announcement["pulse"]): void {
  expect(longestMs).toBeLessThan(1000);
  expect(turns).toBeGreaterThan(durationMs / 100);
}

describe("the event loop keeps turning", () => {
  const FLOOD = 300_000;
  const large = { largest: 64, payloadSize: FLOOD * (64 + HEADER) + 64 };

  test.each(["async", "iterating"])(
    "while a reader waits for frames (%s)",
    async (how) => {
      const name = uniqueName();
      await using reader = await startReader(name, { ...stream, payloadSize: 4096 });
      await using writer = await startWriter(name, stream);
      await reader.tell({ do: "read", how, frames: 1, pulse: true }).hear("reading");
      await Bun.sleep(500);
      await writer.tell({ do: "write", frames: 1 }).hear("writing");
      const { pulse } = await reader.hear("read");
      expect(pulse.durationMs).toBeGreaterThan(400);
      expectSteady(pulse);
      await writer.hear("wrote");
      await endAll(writer, reader);
    },
    TIMEOUT_MS,
  );

  test(
    "while a writer waits for room",
    async () => {
      const name = uniqueName();
      await using reader = await startReader(name, { ...stream, payloadSize: 4096 });
      await using writer = await startWriter(name, stream);
      await writer.tell({ do: "write", how: "async", frames: 10, pulse: true }).hear("writing");
      await Bun.sleep(500);
      await reader.tell({ do: "read", frames: 10 }).hear("reading");
      const { pulse } = await writer.hear("wrote");
      expect(pulse.durationMs).toBeGreaterThan(400);
      expectSteady(pulse);
      await reader.hear("read");
      await endAll(writer, reader);
    },
    TIMEOUT_MS,
  );

  test.each(["async", "iterating"])(
    "while there is always room for the next frame, and always a next frame (%s)",
    async (how) => {
      const name = uniqueName();
      await using reader = await startReader(name, large);
      await using writer = await startWriter(name, { largest: 64 });
      await writer.tell({ do: "write", how: "async", frames: FLOOD, pulse: true }).hear("writing");
      const wrote = await writer.hear("wrote");
      expect(wrote).toMatchObject({ frames: FLOOD, waits: 0 });
      expectSteady(wrote.pulse);
      await reader.tell({ do: "read", how, frames: FLOOD, pulse: true }).hear("reading");
      const read = await reader.hear("read");
      expect(read).toMatchObject({ frames: FLOOD, wrong: [] });
      expectSteady(read.pulse);
      await endAll(writer, reader);
    },
    TIMEOUT_MS,
  );
});

describe("a signal with a handler in JavaScript ends", () => {
  test.each([
    ["reader.readFrame", { event: "returned", value: false }],
    ["reader.isWriterConnected", { event: "returned", value: false }],
    ["writer.writeFrame", { event: "threw", code: "BUFFER_FULL", reason: "signal" }],
    ["writer.acquireFrame", { event: "threw", code: "BUFFER_FULL", reason: "signal" }],
    ["writer.tryWriteFrame", { event: "returned", value: false }],
    ["writer.tryWriteFrames", { event: "returned", value: 0 }],
    ["new Writer", { event: "threw", code: "BUFFER_NOT_FOUND" }],
  ])(
    "%s early, and then is handled",
    async (call, outcome) => {
      await using child = Child.fixture("interrupted.ts", call, uniqueName());
      await child.hear("blocking");
      await child.asleep();
      child.kill("SIGINT");
      // A signal that comes between two slices of a wait ends none of them: it is tried again.
      const again = setInterval(() => child.kill("SIGINT"), 1000);
      using _stop = { [Symbol.dispose]: () => clearInterval(again) };
      expect(await child.hearAny()).toMatchObject(outcome);
      await child.hear("handled");
      await endAll(child);
    },
    TIMEOUT_MS,
  );
});
