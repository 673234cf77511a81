// One writer, a relay and three readers, each a process: slow, stopped, killed, leaving and of version 1.

import { describe, expect, test } from "bun:test";
import { bufferMade, eventually, fieldOf, uniqueName } from "../support/buffers.ts";
import { Child } from "../support/process.ts";
import { Frames } from "./fixtures/frames.ts";
import { kill, PATIENT, startReader, startWriter, sweep } from "./peers.ts";
import { V1 } from "./v1.ts";

const LARGEST = 8192;
const MIXED = { largest: LARGEST, sizes: "mixed" } as const;
const SAME = { largest: LARGEST, sizes: "same" } as const;

/** Where the OIEB keeps `payload_read_count` (docs/protocol.md, section 1). */
const READ_COUNT_OFFSET = 72;

const v1 = await V1.build();

/** Readers of fixtures that take shared frames, and the name of the buffer whose frames they are to get. */
class Targets implements AsyncDisposable {
  readonly input = uniqueName();
  readonly names: readonly string[];
  readonly readers: readonly Child[];

  private constructor(names: readonly string[], readers: readonly Child[]) {
    this.names = names;
    this.readers = readers;
  }

  static async start(stream: Stream, count = 3): Promise<Targets> {
    const names = Array.from({ length: count }, () => uniqueName());
    return new Targets(names, await Promise.all(names.map((name) => startTarget(name, stream))));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await using all = new AsyncDisposableStack();
    for (const reader of this.readers) all.use(reader);
  }
}

type Stream = typeof MIXED | typeof SAME;

async function startTarget(name: string, stream: Stream): Promise<Child> {
  return await startReader(name, { ...stream, payloadSize: 1 << 18, allowPayloadSharing: true });
}

async function beginReading(readers: readonly Child[], frames: number): Promise<void> {
  for (const reader of readers) await reader.send({ do: "read", frames }).receive("reading");
}

/** Each of these readers has read so many frames, and they were those of the writer. */
async function haveRead(readers: readonly Child[], frames: number): Promise<void> {
  for (const reader of readers) {
    expect(await reader.receive("read")).toMatchObject({ frames, wrong: [], sequence: frames });
  }
}

async function startRelay(input: string, ...args: string[]): Promise<Child> {
  const relay = Child.cli([
    "relay",
    input,
    ...args,
    "--buffer-size",
    "1MiB",
    "--json-output",
    ...PATIENT.split(" "),
  ]);
  await bufferMade(input);
  return relay;
}

const byBuffer = (outputs: { buffer: string }[], name: string) =>
  outputs.find(({ buffer }) => buffer === name);

describe("three readers", () => {
  test("get 100,000 frames of mixed sizes each, byte for byte", async () => {
    const frames = 100_000;
    const [input, ...names] = Array.from({ length: 4 }, () => uniqueName()) as [string, ...string[]];
    const readers = names.map((name) =>
      Child.cli(["reader", name, "-o", "-", "--quiet", "--buffer-size", "1MiB", ...PATIENT.split(" ")], {
        shell: '"$@" | sha256sum',
      }),
    );
    for (const name of names) await bufferMade(name);
    await using relay = await startRelay(input, ...names);
    await using writer = await startWriter(input, MIXED);
    writer.send({ do: "write", frames }).closeStdin();
    const hash = new Bun.CryptoHasher("sha256");
    const expected = new Frames(LARGEST, "mixed");
    for (let sequence = 1; sequence <= frames; sequence++) hash.update(expected.bytes(sequence));
    const wanted = hash.digest("hex");
    for (const reader of readers) {
      await using each = reader;
      const { code, stdout } = await each.exited();
      expect([code, stdout.toString().split(" ")[0]]).toEqual([0, wanted]);
    }
    const { code, document } = await relay.report();
    expect([code, document.frames_relayed]).toEqual([0, frames]);
    for (const { frames_shared, frames_relayed, sharing } of document.outputs) {
      expect([frames_relayed, sharing]).toEqual([frames, "active"]);
      expect(frames_shared).toBeGreaterThan(0);
    }
  });

  test("of which one is stopped wait for it, and all get every frame", async () => {
    await using targets = await Targets.start(MIXED);
    const { input, names, readers } = targets;
    await using relay = await startRelay(input, ...names);
    await using writer = await startWriter(input, MIXED);
    const frames = 20_000;
    await beginReading(readers, frames);
    await writer.send({ do: "write", frames }).receive("writing");
    await eventually(() => (fieldOf(names[1]!, READ_COUNT_OFFSET) ?? 0n) > 100n);
    await readers[1]!.stop();
    // The relay waits for the stopped one, and the writer for the relay.
    await eventually(() => {
      const before = fieldOf(names[0]!, READ_COUNT_OFFSET);
      Bun.sleepSync(50);
      return before === fieldOf(names[0]!, READ_COUNT_OFFSET);
    });
    expect(writer.hasEvent).toBe(false);
    readers[1]!.resume();
    await haveRead(readers, frames);
    expect(await writer.receive("wrote")).toMatchObject({ frames });
    await writer.succeed();
    const { code, document } = await relay.report();
    expect([code, document.frames_relayed, document.frames_dropped]).toEqual([0, frames, 0]);
    for (const reader of readers) await reader.succeed();
  });

  test("of which one holds frames, and releases them late and in any order, all get every frame", async () => {
    await using targets = await Targets.start(MIXED);
    const { input, names, readers } = targets;
    await using relay = await startRelay(input, ...names);
    await using writer = await startWriter(input, MIXED);
    const frames = 10_000;
    for (const [i, reader] of readers.entries())
      await reader.send({ do: "read", frames, how: i === 1 ? "holding" : "blocking" }).receive("reading");
    await writer.send({ do: "write", frames }).receive("writing");
    for (const reader of readers) {
      expect(await reader.receive("read")).toMatchObject({ frames, wrong: [], sequence: frames });
    }
    await writer.receive("wrote");
    await writer.succeed();
    const { code, document } = await relay.report();
    expect([code, document.frames_relayed, document.frames_dropped]).toEqual([0, frames, 0]);
    for (const { sharing, frames_shared } of document.outputs)
      expect([sharing, frames_shared > 0]).toEqual(["active", true]);
    for (const reader of readers) await reader.succeed();
  });

  test("of which a stopped one drops do not wait for it", async () => {
    await using targets = await Targets.start(SAME);
    const { input, names, readers } = targets;
    await using relay = await startRelay(input, names[0]!, names[1]!, `${names[2]}:drop`);
    await using writer = await startWriter(input, SAME);
    await readers[2]!.stop();
    const frames = 5000;
    await beginReading(readers.slice(0, 2), frames);
    await writer.send({ do: "write", frames }).receive("writing");
    await haveRead(readers.slice(0, 2), frames);
    await writer.receive("wrote");
    await writer.succeed();
    const { code, document } = await relay.report();
    expect([code, document.frames_relayed, document.frames_dropped]).toEqual([0, frames, 0]);
    const dropping = byBuffer(document.outputs, names[2]!)!;
    expect(dropping).toMatchObject({ frames_shared: 0, sharing: "off" });
    expect(document.outputs[2].frames_relayed + document.outputs[2].frames_dropped).toBe(frames);
    expect(document.outputs[2].frames_dropped).toBeGreaterThan(0);
    readers[2]!.resume();
    for (const reader of readers) await reader.succeed();
  });

  test.each(["is killed", "leaves"])("of which one %s go on without it", async (end) => {
    await using targets = await Targets.start(MIXED);
    const { input, names, readers } = targets;
    await using relay = await startRelay(input, ...names);
    await using writer = await startWriter(input, MIXED);
    const frames = 20_000;
    const [first, victim, third] = readers as readonly [Child, Child, Child];
    await beginReading([first, third], frames);
    await victim
      .send({ do: "read", frames: end === "leaves" ? 500 : frames, how: "holding" })
      .receive("reading");
    await writer.send({ do: "write", frames }).receive("writing");
    if (end === "leaves") {
      expect(await victim.receive("read")).toMatchObject({ frames: 500, wrong: [] });
      await victim.succeed();
    } else {
      await eventually(() => (fieldOf(names[1]!, READ_COUNT_OFFSET) ?? 0n) > 500n);
      await kill(victim);
    }
    await haveRead([first, third], frames);
    await writer.receive("wrote");
    await writer.succeed();
    const { code, document } = await relay.report();
    expect([code, document.error.code, document.frames_relayed]).toEqual([2, "READER_DEAD", frames]);
    expect(document.error.message).toContain(`"${names[1]}"`);
    for (const reader of [first, third]) await reader.succeed();
    sweep();
  });

  test("of which one is started again get on, with --follow", async () => {
    await using targets = await Targets.start(SAME, 2);
    const { input, names, readers } = targets;
    await using relay = await startRelay(input, ...names, "--follow");
    await using writer = await startWriter(input, SAME);
    const [first, victim] = readers as readonly [Child, Child];
    await first.send({ do: "read", frames: 20_000 }).receive("reading");
    await victim.send({ do: "read" }).receive("reading");
    await writer.send({ do: "write", frames: 20_000 }).receive("writing");
    await eventually(() => (fieldOf(names[1]!, READ_COUNT_OFFSET) ?? 0n) > 100n);
    await kill(victim);
    await using again = await startTarget(names[1]!, SAME);
    await again.send({ do: "read", frames: 1 }).receive("reading");
    // Its first frame is not the first one of the stream.
    expect(await again.receive("read")).toMatchObject({ frames: 1, sequence: 1 });
    again.closeStdin();
    await again.exited();
    relay.kill("SIGINT");
    const { code, document } = await relay.report();
    expect(code).toBe(130);
    expect(document.reconnects).toBeGreaterThan(0);
    expect(await first.receive("read")).toMatchObject({ wrong: [], error: { reason: "left" } });
    await first.succeed();
    sweep();
  });
});

describe("peers of version 1", () => {
  test("as the writer get their frames shared, and as one of the readers get copies", async () => {
    const frames = 3000;
    await using targets = await Targets.start(MIXED, 2);
    const { input, names, readers } = targets;
    const old = uniqueName();
    await using oldReader = await v1.reader(old, 1 << 18, { frames, largest: LARGEST });
    await using relay = await startRelay(input, names[0]!, old, names[1]!);
    await beginReading(readers, frames);
    await using writer = v1.writer(input, { frames, largest: LARGEST });
    expect(await writer.receive("wrote")).toMatchObject({ frames, end: "enough" });
    await haveRead(readers, frames);
    expect(await oldReader.receive("read")).toMatchObject({ frames, wrong: 0, end: "enough" });
    await writer.succeed();
    const { document } = await relay.report();
    expect(document.frames_relayed).toBe(frames);
    expect(byBuffer(document.outputs, old)).toMatchObject({ frames_shared: 0, sharing: "off" });
    for (const name of names) expect(byBuffer(document.outputs, name)).toMatchObject({ sharing: "active" });
    for (const reader of [oldReader, ...readers]) await reader.succeed();
  });
});
