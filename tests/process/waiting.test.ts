// What a process does while it waits: nothing, but it lets its event loop turn.

import { describe, expect, test } from "bun:test";
import { Reader } from "../../src/core/index.ts";
import { bufferMade, uniqueName } from "../support/buffers.ts";
import { processorTimeMs } from "../support/proc.ts";
import { Child, type Event } from "../support/process.ts";
import {
  endAll,
  HEADER,
  startDuplexClient,
  startDuplexServer,
  startReader,
  startWriter,
  sweep,
} from "./peers.ts";

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
  expect(Object.entries(children).filter(([, child]) => child.hasEvent || child.isOver)).toEqual([]);
}

/** A reader that waits for its next frame, however it does that. */
async function startWaitingReader(name: string, how: string): Promise<Child> {
  if (how === "command") {
    const child = Child.cli(`reader ${name} --timeout-ms 0 --connect-timeout-ms 0 --json-output`);
    await bufferMade(name);
    return child;
  }
  const reader = await startReader(name, { ...stream, payloadSize: 65_536 });
  await reader.send({ do: "read", how, timeoutMs: 600_000 }).receive("reading");
  return reader;
}

/** A writer that waits for room. */
async function startWaitingWriter(name: string, how: string): Promise<Child> {
  if (how === "command") return Child.cli(`writer ${name} -n 0 --timeout-ms 0 --json-output`);
  const writer = await startWriter(name, stream);
  await writer.send({ do: "write", how, frames: 1e9, writeTimeout: 600_000 }).receive("writing");
  return writer;
}

describe("hardly any processor time is used", () => {
  test.each([
    ["by readers whose writer is silent", true],
    ["by readers that have no writer", false],
  ])("%s", async (_, hasWriter) => {
    await using stack = new AsyncDisposableStack();
    const readers: Record<string, Child> = {};
    for (const how of ["blocking", "async", "iterating", "command"]) {
      const name = uniqueName();
      readers[how] = stack.use(await startWaitingReader(name, how));
      if (!hasWriter) continue;
      const writer = stack.use(await startWriter(name, stream));
      await writer.send({ do: "write", frames: 10 }).receive("writing");
      await writer.receive("wrote");
    }
    await expectIdle(readers);
    await stack.disposeAsync();
    sweep();
  });

  test("by writers whose ring is full", async () => {
    using stack = new DisposableStack();
    await using children = new AsyncDisposableStack();
    const writers: Record<string, Child> = {};
    for (const how of ["blocking", "async", "zero-copy", "command"]) {
      const reader = stack.use(new Reader(uniqueName(), { metadataSize: 0, payloadSize: 65_536 }));
      writers[how] = children.use(await startWaitingWriter(reader.name, how));
    }
    await expectIdle(writers);
  });

  test("by duplex servers without a client or with a silent one, and by clients that await a response", async () => {
    await using stack = new AsyncDisposableStack();
    const children: Record<string, Child> = {
      lonely: stack.use(await startDuplexServer(uniqueName())),
    };
    for (const how of ["blocking", "async", "silent"]) {
      const channel = uniqueName();
      const server = stack.use(await startDuplexServer(channel, { silentFrom: 1 }));
      const client = stack.use(await startDuplexClient(channel));
      if (how !== "silent") await client.send({ do: "ask", requests: 1, size: 10, how }).receive("asking");
      children[`${how} client`] = client;
      children[`server of a ${how} client`] = server;
    }
    await expectIdle(children);
    await stack.disposeAsync();
    sweep();
  });
});

test("a process ends once nothing is awaited, though its reader and writer are open", async () => {
  await using child = Child.fixture("unclosed.ts", uniqueName());
  expect(await child.receive("waited")).toMatchObject({ sequences: [1, 2] });
  expect((await child.end()).code).toBe(0);
  sweep();
});

/** The timer has fired all the time, as often as a busy machine lets it. */
function expectSteady({ turns, longestMs, durationMs }: Event["pulse"]): void {
  expect(longestMs).toBeLessThan(1000);
  expect(turns).toBeGreaterThan(durationMs / 100);
}

describe("the event loop keeps turning", () => {
  const FLOOD = 300_000;
  const large = { largest: 64, payloadSize: FLOOD * (64 + HEADER) + 64 };

  test.each(["async", "iterating"])("while a reader waits for frames (%s)", async (how) => {
    const name = uniqueName();
    await using reader = await startReader(name, { ...stream, payloadSize: 4096 });
    await using writer = await startWriter(name, stream);
    await reader.send({ do: "read", how, frames: 1, pulse: true }).receive("reading");
    await Bun.sleep(500);
    await writer.send({ do: "write", frames: 1 }).receive("writing");
    const { pulse } = await reader.receive("read");
    expect(pulse.durationMs).toBeGreaterThan(400);
    expectSteady(pulse);
    await writer.receive("wrote");
    await endAll(writer, reader);
  });

  test("while a writer waits for room", async () => {
    const name = uniqueName();
    await using reader = await startReader(name, { ...stream, payloadSize: 4096 });
    await using writer = await startWriter(name, stream);
    await writer.send({ do: "write", how: "async", frames: 10, pulse: true }).receive("writing");
    await Bun.sleep(500);
    await reader.send({ do: "read", frames: 10 }).receive("reading");
    const { pulse } = await writer.receive("wrote");
    expect(pulse.durationMs).toBeGreaterThan(400);
    expectSteady(pulse);
    await reader.receive("read");
    await endAll(writer, reader);
  });

  test.each(["async", "iterating"])(
    "while there is always room for the next frame, and always a next frame (%s)",
    async (how) => {
      const name = uniqueName();
      await using reader = await startReader(name, large);
      await using writer = await startWriter(name, { largest: 64 });
      await writer.send({ do: "write", how: "async", frames: FLOOD, pulse: true }).receive("writing");
      const wrote = await writer.receive("wrote");
      expect(wrote).toMatchObject({ frames: FLOOD, waits: 0 });
      expectSteady(wrote.pulse);
      await reader.send({ do: "read", how, frames: FLOOD, pulse: true }).receive("reading");
      const read = await reader.receive("read");
      expect(read).toMatchObject({ frames: FLOOD, wrong: [] });
      expectSteady(read.pulse);
      await endAll(writer, reader);
    },
  );
});
