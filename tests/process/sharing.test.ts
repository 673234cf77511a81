// Writer, forwarder and the readers of its targets, each a process of its own.

import { describe, expect, test } from "bun:test";
import { closeSync, constants, existsSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../../scripts/build-native.ts";
import { decodeOieb } from "../../src/core/buffer/oieb.ts";
import { Reader, SharedWriter, Writer } from "../../src/core/index.ts";
import { Role, SharedMemory } from "../../src/native/memory.ts";
import { alone, canBeAlone } from "../support/alone.ts";
import { bytesOf, eventually, fieldOf, uniqueName } from "../support/buffers.ts";
import { canContain, container } from "../support/containers.ts";
import { Child, fixtureCommand } from "../support/process.ts";
import { Frames, type Sizes } from "./fixtures/frames.ts";
import { endAll, kill, startWriter, sweep } from "./peers.ts";
import { V1 } from "./v1.ts";

const SIZES = { metadataSize: 64, payloadSize: 1024 * 1024 };

/** Where the OIEB keeps `payload_free_bytes`, `answer` and `released_descriptors` (docs/protocol.md, section 1). */
const FREE_OFFSET = 40;
const ANSWER_OFFSET = 96;
const RELEASED_OFFSET = 104;

/** How soon the death of a target's reader lets the source go on. */
const NOTICED_MS = 1000;

/** The memory of a buffer, also once it has lost its name. */
function openToLook(name: string) {
  const memory = SharedMemory.look(name, "read");
  if (typeof memory === "number") throw new Error(`code ${memory}`);
  return {
    get oieb() {
      return decodeOieb(memory.loadOieb());
    },
    get isRoleLocked() {
      return memory.isRoleLocked(Role.READER);
    },
    [Symbol.dispose]: () => void memory.close(),
  };
}

/** Makes a pipe of that name, of which only {@link read} takes bytes. */
function openPipe(path: string) {
  Bun.spawnSync(["mkfifo", path]);
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const chunk = Buffer.alloc(1 << 16);
  return {
    bytes: Buffer.alloc(0),
    /** Takes what is there, and returns how much that is. */
    read(): number {
      try {
        const length = readSync(descriptor, chunk);
        this.bytes = Buffer.concat([this.bytes, chunk.subarray(0, length)]);
        return length;
      } catch (error) {
        if ((error as { code?: string }).code !== "EAGAIN") throw error;
        return 0;
      }
    },
    [Symbol.dispose]: () => {
      closeSync(descriptor);
      rmSync(path);
    },
  };
}

/** The reader of a target, at its first instruction: it answers the forwarder that comes. */
async function startTarget(name: string, instruction: object): Promise<Child> {
  const reader = Child.fixture("shared-reader.ts", name, SIZES);
  await reader.receive("ready");
  return reader.send(instruction);
}

/** A forwarder whose targets have all accepted to share. */
async function startForwarder(source: string, targets: string[]): Promise<Child> {
  const forwarder = Child.fixture("forwarder.ts", source, SIZES, ...targets);
  await forwarder.receive("ready");
  for (const target of targets)
    expect(await forwarder.receive("connected")).toMatchObject({ target, sharing: "active" });
  return forwarder;
}

function digestOf(frames: number, largest: number, sizes: Sizes = "same"): string {
  const stream = new Frames(largest, sizes);
  const hasher = new Bun.CryptoHasher("sha256");
  for (let sequence = 1; sequence <= frames; sequence++) hasher.update(stream.bytes(sequence));
  return hasher.digest("hex");
}

const isEmpty = (name: string) => Number(fieldOf(name, FREE_OFFSET)) === SIZES.payloadSize;

describe("frames through three processes arrive whole and in order", () => {
  test.each(["blocking", "async"] as const)("to two targets, with %s calls", async (how) => {
    const [source, one, two] = [uniqueName(), uniqueName(), uniqueName()];
    const count = 2000;
    await using first = await startTarget(one, { do: "read", frames: count, how });
    await using second = await startTarget(two, { do: "read", frames: count, how });
    await using forwarder = await startForwarder(source, [one, two]);
    await using writer = await startWriter(source, { largest: 200_000, sizes: "mixed" });
    forwarder.send({ do: "forward", frames: count, how });
    writer.send({ do: "write", frames: count });
    const stream = new Frames(200_000, "mixed");
    let large = 0;
    for (let i = 1; i <= count; i++) if (stream.size(i) >= 4096) large++;
    const expected = { frames: count, shared: large, sha256: digestOf(count, 200_000, "mixed") };
    expect(await first.receive("read")).toMatchObject(expected);
    expect(await second.receive("read")).toMatchObject(expected);
    const shared = [large, count - large];
    expect(await forwarder.receive("forwarded")).toMatchObject({ frames: count, shared: [shared, shared] });
    await eventually(() => fieldOf(one, RELEASED_OFFSET) === BigInt(large));
    await endAll(writer, forwarder, first, second);
  });
});

describe("a full source", () => {
  test("goes on at once when a target releases while the forwarder blocks", async () => {
    const [source, target] = [uniqueName(), uniqueName()];
    const frames = 4 * Math.floor(SIZES.payloadSize / 100_000);
    await using reader = await startTarget(target, { do: "hold", frames: 8 });
    await using forwarder = await startForwarder(source, [target]);
    await using writer = await startWriter(source, { largest: 100_000 });
    forwarder.send({ do: "forward", frames });
    writer.send({ do: "write", frames });
    expect(await reader.receive("held")).toMatchObject({ shared: 8 });
    reader.send({ do: "check" });
    expect(await reader.receive("checked")).toMatchObject({ same: true });
    reader.send({ do: "release" }).send({ do: "read", frames: frames - 8 });
    await reader.receive("released");
    expect(await reader.receive("read")).toMatchObject({ shared: frames - 8 });
    expect(await forwarder.receive("forwarded")).toMatchObject({ frames });
    await endAll(writer, forwarder, reader);
  });
});

describe("a target's reader that is killed", () => {
  test("gives up all that it holds, and the other target gets every frame", async () => {
    const [source, one, two] = [uniqueName(), uniqueName(), uniqueName()];
    const frames = 100;
    await using first = await startTarget(one, { do: "hold", frames: 5 });
    await using second = await startTarget(two, { do: "read", frames });
    await using forwarder = await startForwarder(source, [one, two]);
    await using writer = await startWriter(source, { largest: 100_000 });
    forwarder.send({ do: "forward", frames });
    writer.send({ do: "write", frames });
    await first.receive("held");
    first.kill("SIGKILL");
    await first.exited();
    const start = performance.now();
    expect(await forwarder.receive("lost")).toMatchObject({
      target: one,
      code: "READER_DEAD",
      reason: "died",
    });
    expect(await second.receive("read")).toMatchObject({ frames, sha256: digestOf(frames, 100_000) });
    expect(performance.now() - start).toBeLessThan(10 * NOTICED_MS);
    await forwarder.receive("forwarded");
    forwarder.send({ do: "await-next" });
    await eventually(() => isEmpty(source));
    await endAll(writer, forwarder, second);
    sweep();
  });
});

describe("a forwarder that closes a target with references out", () => {
  test("keeps its frames as they are until the target's reader has released them", async () => {
    const [source, target] = [uniqueName(), uniqueName()];
    await using reader = await startTarget(target, { do: "hold", frames: 3 });
    await using forwarder = await startForwarder(source, [target]);
    await using writer = await startWriter(source, { largest: 100_000 });
    writer.send({ do: "write", frames: 3 });
    forwarder.send({ do: "forward", frames: 3 });
    await reader.receive("held");
    await forwarder.receive("forwarded");
    forwarder.send({ do: "leave", target });
    await forwarder.receive("left");
    // The source goes round several times.
    await writer.receive("writing");
    await writer.receive("wrote");
    forwarder.send({ do: "forward", frames: 40 });
    writer.send({ do: "write", frames: 40 });
    await writer.receive("writing");
    reader.send({ do: "check" });
    expect(await reader.receive("checked")).toMatchObject({ same: true });
    reader.send({ do: "release" });
    await forwarder.receive("forwarded");
    forwarder.send({ do: "await-next" });
    await eventually(() => isEmpty(source));
    await endAll(writer, forwarder, reader);
  });
});

describe("a forwarder that was killed", () => {
  test("starts again at once while a target still reads its old source, which stays as it was", async () => {
    const [source, target] = [uniqueName(), uniqueName()];
    await using reader = await startTarget(target, { do: "hold", frames: 3 });
    await using forwarder = await startForwarder(source, [target]);
    await using writer = await startWriter(source, { largest: 100_000 });
    writer.send({ do: "write", frames: 3 });
    forwarder.send({ do: "forward" });
    await reader.receive("held");
    forwarder.kill("SIGKILL");
    await forwarder.exited();
    writer.kill("SIGKILL");
    await writer.exited();
    using again = new Reader(source, SIZES, { allowPayloadSharing: true });
    expect(again.isWriterConnected()).toBe(false);
    reader.send({ do: "check" });
    expect(await reader.receive("checked")).toMatchObject({ same: true });
    reader.send({ do: "maps", of: source });
    expect(await reader.receive("maps")).toMatchObject({ all: 1, removed: 1 });
    reader.send({ do: "release" });
    await reader.receive("released");
    using next = new SharedWriter(target, again, { connectTimeoutMs: 10_000 });
    next.writeFrame(new Uint8Array(10));
    reader.send({ do: "read", frames: 1 });
    expect(await reader.receive("read")).toMatchObject({ frames: 1 });
    expect(next.sharing).toBe("active");
    reader.send({ do: "maps", of: source });
    expect(await reader.receive("maps")).toMatchObject({ all: 1, removed: 0 });
    await endAll(reader);
  });
});

describe.skipIf(!canBeAlone)("a forwarder that was killed, with shared memory of 64 MiB", () => {
  test("starts again when its target has let go of its old source, of which there is room for one only", async () => {
    const [source, target] = [uniqueName(), uniqueName()];
    await using reader = Child.program(alone(fixtureCommand("shared-reader.ts", target, SIZES), "64m"));
    await reader.receive("ready");
    const beside = ["nsenter", "--target", `${reader.pid}`, "--mount", `--wd=${root}`];
    const start = (...command: unknown[]) =>
      Child.program([...beside, ...fixtureCommand(command[0] as string, ...command.slice(1))]);
    const sizes = { ...SIZES, payloadSize: 40 * 1024 * 1024 };
    await using forwarder = start("forwarder.ts", source, sizes, target);
    await forwarder.receive("ready");
    await using writer = start("writer.ts", source, { largest: 100_000, sizes: "same" });
    await writer.receive("connected");
    reader.send({ do: "read" });
    expect(await forwarder.receive("connected")).toMatchObject({ sharing: "active" });
    forwarder.send({ do: "forward", frames: 3 });
    writer.send({ do: "write", frames: 3 });
    expect(await forwarder.receive("forwarded")).toMatchObject({ shared: [[3, 0]] });
    await reader.stop();
    await kill(forwarder);
    await kill(writer);
    await using again = start("forwarder.ts", source, sizes);
    // It has removed the old one, whose memory stays as long as the target maps it.
    await eventually(() => !existsSync(`/proc/${reader.pid}/root/dev/shm/${source}`));
    reader.resume();
    expect(await reader.receive("read")).toMatchObject({ shared: 3, error: { code: "WRITER_DEAD" } });
    await again.receive("ready");
    reader.send({ do: "read" });
    again.send({ do: "connect", target });
    expect(await again.receive("connected")).toMatchObject({ sharing: "active" });
    await endAll(again);
    expect(await reader.receive("read")).toMatchObject({ error: { reason: "left" } });
    await endAll(reader);
  });
});

describe("a shared frame", () => {
  test("that one of two targets changes keeps its bytes for the other", async () => {
    const [source, one, two] = [uniqueName(), uniqueName(), uniqueName()];
    await using first = await startTarget(one, { do: "hold", frames: 2 });
    await using second = await startTarget(two, { do: "hold", frames: 2 });
    await using forwarder = await startForwarder(source, [one, two]);
    await using writer = await startWriter(source, { largest: 100_000 });
    writer.send({ do: "write", frames: 2 });
    forwarder.send({ do: "forward", frames: 2 });
    expect(await first.receive("held")).toMatchObject({ shared: 2 });
    expect(await second.receive("held")).toMatchObject({ shared: 2 });
    first.send({ do: "change-copy" });
    expect(await first.receive("changed")).toMatchObject({ all: true });
    second.send({ do: "check" });
    expect(await second.receive("checked")).toMatchObject({ same: true });
    await endAll(writer, forwarder, first, second);
  });

  test("that is being written to a pipe when its reader closes stays as it is until that process ends", async () => {
    const size = 200_000;
    const pipe = join(tmpdir(), `zerobuffer-${uniqueName()}`);
    using source = new Reader(uniqueName(), SIZES, { allowPayloadSharing: true });
    using camera = new Writer(source.name, { writeTimeout: 0 });
    const name = uniqueName();
    await using reader = await startTarget(name, { do: "hold", frames: 1 });
    using forwarder = new SharedWriter(name, source);
    await eventually(() => forwarder.sharing === "active");
    camera.writeFrame(bytesOf(1, size));
    using frame = source.readFrame(0);
    expect(forwarder.forwardFrame(frame)).toBe("shared");
    frame.release();
    await reader.receive("held");
    using memory = openToLook(name);
    const isThere = () => [memory.oieb.readerPid, memory.isRoleLocked, forwarder.framesLent];
    const there = [BigInt(reader.pid), true, 1];
    expect(isThere()).toEqual(there);

    using output = openPipe(pipe);
    reader.send({ do: "write", path: pipe });
    await reader.receive("writing");
    // A pipe has room for less than a third of the frame.
    await eventually(() => output.read() > 0);
    reader.send({ do: "close" });
    await reader.receive("closed");
    reader.send({ do: "maps", of: source.name });
    expect(await reader.receive("maps")).toMatchObject({ all: 1 });
    // The source's ring is used as far as it can be.
    for (let i = 2; camera.tryWriteFrame(bytesOf(i, size)); i++) source.readFrame(0).release();
    expect(isThere()).toEqual(there);
    await eventually(() => {
      output.read();
      return output.bytes.length === size;
    });
    await reader.receive("wrote");
    expect(Buffer.compare(output.bytes, bytesOf(1, size))).toBe(0);
    source.tryReadFrame();
    expect(isThere()).toEqual(there);
    await endAll(reader);
    expect(memory.isRoleLocked).toBe(false);
    await eventually(() => isEmpty(source.name));
  });

  test("cannot be changed through its view: the process that tries ends, and nobody else's bytes change", async () => {
    const [source, one, two] = [uniqueName(), uniqueName(), uniqueName()];
    await using first = await startTarget(one, { do: "hold", frames: 1 });
    await using second = await startTarget(two, { do: "hold", frames: 1 });
    await using forwarder = await startForwarder(source, [one, two]);
    await using writer = await startWriter(source, { largest: 100_000 });
    writer.send({ do: "write", frames: 1 });
    forwarder.send({ do: "forward", frames: 1 });
    await first.receive("held");
    await second.receive("held");
    first.send({ do: "change" });
    await first.receive("changing");
    expect(await first.receiveOrEnd()).toBeUndefined();
    second.send({ do: "check" });
    expect(await second.receive("checked")).toMatchObject({ same: true });
    await endAll(writer, forwarder, second);
    sweep();
  });
});

describe.skipIf(!canContain)("a writer of version 1 in another container", () => {
  test("gets its frames copied, the target unmaps the source, and its death is told", async () => {
    const v1 = await V1.build();
    const [source, target] = [uniqueName(), uniqueName()];
    const [frames, largest] = [30, 100_000];
    await using reader = await startTarget(target, { do: "read", frames });
    await using forwarder = await startForwarder(source, [target]);
    forwarder.send({ do: "forward" });
    await using writer = v1.writer(source, { within: container, largest, frames: 1 });
    await writer.receive("wrote");
    // Nothing but the question who has the memory open would show its death: that the target has it, too, would hide it.
    await eventually(() => fieldOf(target, ANSWER_OFFSET) === 0n);
    writer.write(`${frames - 1}\n`);
    const { shared, sha256 } = await reader.receive("read");
    expect(shared).toBeLessThanOrEqual(1);
    expect(sha256).toBe(digestOf(frames, largest, "mixed"));
    reader.send({ do: "maps", of: source });
    expect(await reader.receive("maps")).toMatchObject({ all: 0 });
    await kill(writer);
    const error = { code: "WRITER_DEAD", reason: "died" };
    expect(await forwarder.receive("forwarded")).toMatchObject({ frames, error });
    await endAll(forwarder, reader);
  });
});
