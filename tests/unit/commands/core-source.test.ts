import { expect, test } from "bun:test";
import { type Msg, MsgHdrsImpl } from "@nats-io/transport-node";
import type { Broker } from "../../../src/commands/bridge/broker.ts";
import { CoreSource } from "../../../src/commands/bridge/core-source.ts";
import type { Arrival, Receiver } from "../../../src/commands/bridge/receiver.ts";
import { subjectsOf } from "../../../src/commands/bridge/subjects.ts";
import { newRun, partHeaders } from "../../../src/frames/wire.ts";

const subjects = subjectsOf("cam", undefined);
const run = newRun();

/** A source whose messages are given to it by hand. The receiver takes each at once, or when `work` is done. */
function openSource() {
  const takers = new Map<string, (message: Msg) => void>();
  const broker = {
    subscribe: (subject: string, take: (message: Msg) => void) => takers.set(subject, take),
    publish() {},
    fail(error: unknown) {
      throw error;
    },
    onBack: [],
    garbage: { note() {} },
  };
  const taken: number[][] = [];
  const state = { work: undefined as Promise<void> | undefined };
  const note = (arrival: Arrival) => {
    if (arrival.kind === "part") taken.push([...arrival.data]);
  };
  const receiver = {
    maxFrameSize: 1000,
    hear() {},
    take: (arrival: Arrival) => {
      if (state.work === undefined) note(arrival);
      return state.work?.then(() => note(arrival));
    },
  };
  new CoreSource(broker as unknown as Broker, subjects, undefined, receiver as unknown as Receiver).open();
  let sequence = 0;
  /** A frame of the bytes of `chunk` at a place, as the client hands out what it has received. */
  const arrive = (chunk: Buffer, start: number, size: number) => {
    const fields = partHeaders({ run, sequence: ++sequence, size, part: 1, parts: 1, timeUs: 1 });
    const headers = MsgHdrsImpl.fromRecord(
      Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, [value]])),
    );
    const data = chunk.subarray(start, start + size);
    takers.get(subjects.frames)?.({ subject: subjects.frames, data, headers } as unknown as Msg);
  };
  return { arrive, taken, state };
}

/** Memory of its own, as the client receives it. */
const chunkOf = (...bytes: number[]) => Buffer.from(new Uint8Array(bytes).buffer);

test("the memory of messages is free as soon as a message comes in other memory", () => {
  const { arrive, taken } = openSource();
  const [first, second] = [chunkOf(1, 2, 3, 4), chunkOf(5, 6)];
  arrive(first, 0, 2);
  arrive(first, 2, 2);
  expect(first.buffer.byteLength).toBe(4);
  arrive(second, 0, 2);
  expect(first.buffer.byteLength).toBe(0);
  expect(second.buffer.byteLength).toBe(2);
  expect(taken).toEqual([
    [1, 2],
    [3, 4],
    [5, 6],
  ]);
});

test("a message that is being taken keeps its memory, and those that wait meanwhile are copies", async () => {
  const { arrive, taken, state } = openSource();
  const { promise, resolve } = Promise.withResolvers<void>();
  state.work = promise;
  const [first, second, third] = [chunkOf(1, 2, 3, 4), chunkOf(5, 6), chunkOf(7, 8)];
  arrive(first, 0, 2);
  arrive(first, 2, 2);
  arrive(second, 0, 2);
  arrive(third, 0, 2);
  expect(first.buffer.byteLength).toBe(4);
  expect(second.buffer.byteLength).toBe(0);
  resolve();
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  expect(taken).toEqual([
    [1, 2],
    [3, 4],
    [5, 6],
    [7, 8],
  ]);
});
