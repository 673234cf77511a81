// A buffer has one reader and one writer at a time, whoever else tries.

import { describe, expect, test } from "bun:test";
import { basename } from "node:path";
import { Reader, Writer } from "../../src/core/index.ts";
import { filesOfBuffers, thrownBy, uniqueName } from "../support/buffers.ts";
import { Child } from "../support/process.ts";
import { endAll, startReader, startWriter } from "./peers.ts";

const ROUNDS = 1000;
/** Time for two processes to hear that they are to try. */
const NOTICE_MS = 4;

const stream = { largest: 1000, sizes: "mixed" } as const;

describe("beside a pair that is transferring frames", () => {
  const transfer = async (intrude: (name: string) => Promise<void>) => {
    const name = uniqueName();
    const half = 20_000;
    await using reader = await startReader(name, { ...stream, payloadSize: 65_536 });
    await using writer = await startWriter(name, stream);
    await reader.send({ do: "read", frames: 2 * half }).receive("reading");
    await writer.send({ do: "write", frames: half }).receive("writing");
    await intrude(name);
    await writer.receive("wrote");
    await writer.send({ do: "write", frames: half }).receive("writing");
    expect(await writer.receive("wrote")).toMatchObject({ frames: 2 * half });
    expect(await reader.receive("read")).toMatchObject({
      frames: 2 * half,
      sequence: 2 * half,
      wrong: [],
      end: "enough",
    });
    await endAll(writer, reader);
  };

  test("a second reader is refused, and changes nothing", () =>
    transfer(async (name) => {
      await using other = Child.fixture("reader.ts", name, { ...stream, payloadSize: 64 });
      expect(await other.receive("refused")).toMatchObject({ code: "READER_ALREADY_CONNECTED" });
      await endAll(other);
      expect(thrownBy(() => new Reader(name))).toMatchObject({ code: "READER_ALREADY_CONNECTED" });
    }));

  test("a second writer is refused, and changes nothing", () =>
    transfer(async (name) => {
      await using other = Child.fixture("writer.ts", name, stream);
      expect(await other.receive("refused")).toMatchObject({ code: "WRITER_ALREADY_CONNECTED" });
      await endAll(other);
      expect(thrownBy(() => new Writer(name))).toMatchObject({ code: "WRITER_ALREADY_CONNECTED" });
    }));
});

/** Has all of them try at the same moment. The one that won, as the others lost for the right reason. */
async function contest(contestants: Child[], code: string): Promise<Child> {
  const at = performance.timeOrigin + performance.now() + NOTICE_MS;
  for (const contestant of contestants) contestant.send({ do: "try", at });
  const outcomes = await Promise.all(contestants.map((contestant) => contestant.receiveAny()));
  const winners = contestants.filter((_, index) => outcomes[index]?.event === "won");
  const losses = outcomes.filter(({ event }) => event === "lost").map((outcome) => outcome.code);
  expect(winners.length).toBe(1);
  expect(losses).toEqual(new Array(contestants.length - 1).fill(code));
  return winners[0]!;
}

async function startContestants(role: "reader" | "writer", name: string, count: number): Promise<Child[]> {
  const all = Array.from({ length: count }, () => Child.fixture("contestant.ts", role, name));
  for (const contestant of all) await contestant.receive("ready");
  return all;
}

async function leave(children: Child[]): Promise<void> {
  for (const child of children) child.send({ do: "leave" });
  for (const child of children) await child.receive("left");
}

/** How many start at once. */
const crowds = [2, 8];

/** Contests of readers go on side by side, since each lasts: who finds the lock held makes sure for 50 ms. */
const LANES = 4;

async function contestOfReaders(count: number, rounds: number): Promise<void> {
  const name = uniqueName();
  await using stack = new AsyncDisposableStack();
  const all = await startContestants("reader", name, count);
  for (const contestant of all) stack.use(contestant);
  for (let round = 0; round < rounds; round++) {
    await contest(all, "READER_ALREADY_CONNECTED");
    using writer = new Writer(name);
    writer.writeFrame(new Uint8Array([round]));
    writer.close();
    await leave(all);
    expect(filesOfBuffers().filter((path) => nameOf(path) === name)).toEqual([]);
  }
  await endAll(...all);
}

/** The name of the buffer that an object belongs to. */
function nameOf(path: string): string {
  return basename(path)
    .replace(/^sem\.sem-[rw]-/, "")
    .replace(/\.lock$/, "");
}

test.each(crowds)(
  "of %d readers that start at the same time exactly one gets the buffer, every time",
  async (count) => {
    await Promise.all(Array.from({ length: LANES }, () => contestOfReaders(count, ROUNDS / LANES)));
  },
);

test.each(crowds)(
  "of %d writers that start at the same time exactly one gets the buffer, every time",
  async (count) => {
    const name = uniqueName();
    using reader = new Reader(name, { metadataSize: 0, payloadSize: 4096 });
    await using stack = new AsyncDisposableStack();
    const all = await startContestants("writer", name, count);
    for (const contestant of all) stack.use(contestant);
    for (let round = 0; round < ROUNDS; round++) {
      const winner = await contest(all, "WRITER_ALREADY_CONNECTED");
      expect(thrownBy(() => new Writer(name))).toMatchObject({
        code: "WRITER_ALREADY_CONNECTED",
        message: expect.stringContaining(`${winner.pid}`),
      });
      await leave(all);
    }
    await endAll(...all);
    expect(reader.framesRead).toBe(0);
  },
);

test.each(["reader", "writer"])("the command line says so when there is a %s already", async (role) => {
  const name = uniqueName();
  using _reader = new Reader(name, { metadataSize: 0, payloadSize: 4096 });
  using _writer = new Writer(name);
  await using command = Child.cli(`${role} ${name} --json-output --connect-timeout-ms 1`);
  expect(await command.report()).toMatchObject({
    code: 1,
    document: { error: { code: `${role.toUpperCase()}_ALREADY_CONNECTED` } },
  });
});
