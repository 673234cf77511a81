// Peers of version 1: the same buffer, used by a program that has nothing of ours.

import { describe, expect, test } from "bun:test";
import { Reader, Writer } from "../../src/core/index.ts";
import { bufferMade, thrownBy, uniqueName } from "../support/buffers.ts";
import { Child } from "../support/process.ts";
import { endAll, HEADER, PATIENT, startReader, startWriter } from "./peers.ts";
import { STEPS, V1 } from "./v1.ts";

const FRAMES = 50_000;
const v1 = await V1.build();

describe("a writer of version 1", () => {
  test.each([
    { how: "blocking", frames: FRAMES, largest: 400, payloadSize: 8192 },
    { how: "async", frames: FRAMES, largest: 400, payloadSize: 8192 },
    { how: "iterating", frames: FRAMES, largest: 600, payloadSize: 12_288 },
    // Larger frames than half a ring could make it wait for ever: it does not begin anew in an empty one.
    { how: "holding", frames: 5000, largest: 1024 / 2 - HEADER, payloadSize: 1024 },
  ])(
    "is read to the last byte, whatever it leaves at the end: $frames frames, up to $largest bytes, $how",
    async ({ how, frames, largest, payloadSize }) => {
      const name = uniqueName();
      await using reader = await startReader(name, { largest, sizes: "mixed", payloadSize });
      await using writer = v1.writer(name, { frames, largest });
      await reader.send({ do: "read", how, frames }).receive("reading");
      const { bytes, markers, tails, exactFits } = await writer.receive("wrote");
      expect(await reader.receive("read")).toMatchObject({
        frames,
        bytes,
        sequence: frames,
        wrong: [],
        end: "enough",
      });
      // All that is special about it has been met.
      expect(Math.min(markers, tails)).toBeGreaterThan(10);
      expect(exactFits).toBeGreaterThan(0);
      expect(await reader.send({ do: "metadata" }).receive("metadata")).toMatchObject({
        text: "metadata of version 1",
      });
      await endAll(writer, reader);
    },
  );

  test.each(["left", "died"] as const)(
    "that %s without a word has delivered everything, and makes room for one of ours",
    async (reason) => {
      const name = uniqueName();
      const stream = { largest: 100, sizes: "mixed" } as const;
      await using reader = await startReader(name, { ...stream, payloadSize: 1024 * 1024 });
      await using writer = v1.writer(name, { frames: 1000, largest: stream.largest });
      await writer.receive("wrote");
      if (reason === "died") writer.kill("SIGKILL");
      await writer.end();
      await reader.send({ do: "read" }).receive("reading");
      expect(await reader.receive("read")).toMatchObject({
        frames: 1000,
        wrong: [],
        error: { code: "WRITER_DEAD", reason },
      });
      await using next = await startWriter(name, stream);
      await reader.send({ do: "read", frames: 1000 }).receive("reading");
      await next.send({ do: "write", frames: 1000 }).receive("writing");
      expect(await reader.receive("read")).toMatchObject({ frames: 1000, sequence: 1000, wrong: [] });
      await next.receive("wrote");
      await endAll(next, reader);
    },
  );

  test.each([
    ["published its last frame and not yet announced it", "published", 100],
    ["wrapped and not yet written its next frame", "wrapped", 99],
  ])(
    "that is killed when it has %s leaves whole frames, and room for one of ours",
    async (_, step, frames) => {
      const name = uniqueName();
      const stream = { largest: 100, sizes: "mixed" } as const;
      await using reader = await startReader(name, { ...stream, payloadSize: 65_536 });
      await using writer = v1.writer(name, { frames: 100, largest: stream.largest, manners: [step] });
      await writer.receive("wrote");
      writer.kill("SIGKILL");
      await writer.end();
      await reader.send({ do: "read" }).receive("reading");
      expect(await reader.receive("read")).toMatchObject({
        frames,
        sequence: frames,
        wrong: [],
        error: { code: "WRITER_DEAD", reason: "died" },
      });
      await using next = await startWriter(name, stream);
      await reader.send({ do: "read", frames: 1000 }).receive("reading");
      await next.send({ do: "write", frames: 1000 }).receive("writing");
      expect(await reader.receive("read")).toMatchObject({ frames: 1000, sequence: 1000, wrong: [] });
      await next.receive("wrote");
      await endAll(next, reader);
    },
  );

  test("is read by the command line", async () => {
    const name = uniqueName();
    await using reader = Child.cli(`reader ${name} --buffer-size 8192 --json-output ${PATIENT}`);
    await bufferMade(name);
    await using writer = v1.writer(name, { frames: FRAMES, largest: 400 });
    const { bytes } = await writer.receive("wrote");
    await writer.succeed();
    expect(await reader.report()).toMatchObject({
      code: 0,
      document: { frames_read: FRAMES, bytes_read: bytes, metadata_size: 21 },
    });
  });
});

describe("a reader of version 1", () => {
  test.each([
    { how: "blocking", frames: FRAMES, largest: 200, payloadSize: 2048 },
    { how: "async", frames: FRAMES, largest: 1000, payloadSize: 16_384 },
    { how: "zero-copy", frames: 2000, largest: 1024 - HEADER, payloadSize: 1024 },
  ])(
    "gets every byte, though it credits wraps too early: $frames frames, up to $largest bytes, $how",
    async ({ how, frames, largest, payloadSize }) => {
      const name = uniqueName();
      await using reader = await v1.reader(name, payloadSize, { frames, largest });
      await using writer = await startWriter(name, { largest, sizes: "mixed" });
      await writer.send({ do: "metadata", text: "metadata of ours" }).receive("sent");
      await writer.send({ do: "write", frames, how }).receive("writing");
      const { bytes, ...wrote } = await writer.receive("wrote");
      expect(wrote).toMatchObject({ frames });
      const { markers, ...read } = await reader.receive("read");
      expect(read).toMatchObject({ frames, bytes, wrong: 0, metadata: "metadata of ours", end: "enough" });
      expect(markers).toBeGreaterThan(0);
      await reader.succeed();
      await writer.send({ do: "write", frames: 1e9 }).receive("writing");
      expect((await writer.receive("wrote")).error).toMatchObject({ code: "READER_DEAD", reason: "left" });
      await endAll(writer);
    },
  );

  test("is waited for while it makes its buffer, and every step before the last is refused", async () => {
    const name = uniqueName();
    await using reader = v1.steppingReader(name, 4096, { frames: 100 });
    const stream = { largest: 1000, sizes: "mixed" } as const;
    const patient = startWriter(name, stream);
    for (const step of STEPS) {
      await reader.receive(step);
      const code = step === "locked" ? "BUFFER_NOT_FOUND" : "PEER_TIMEOUT";
      expect(thrownBy(() => new Writer(name))).toMatchObject({ code });
      expect(thrownBy(() => new Reader(name))).toMatchObject({ code: "READER_ALREADY_CONNECTED" });
      reader.write("\n");
    }
    await reader.receive("ready");
    await using writer = await patient;
    await writer.send({ do: "write", frames: 100 }).receive("writing");
    expect(await writer.receive("wrote")).toMatchObject({ frames: 100 });
    expect(await reader.receive("read")).toMatchObject({ frames: 100, wrong: 0 });
    await endAll(writer, reader);
  });

  test("that is killed is noticed by our writer, and its buffer replaced by our reader", async () => {
    const name = uniqueName();
    const stream = { largest: 1000, sizes: "mixed" } as const;
    await using reader = await v1.reader(name, 4096, { frames: 1e6 });
    await using writer = await startWriter(name, stream);
    await writer.send({ do: "write", frames: 1e9 }).receive("writing");
    reader.kill("SIGKILL");
    await reader.end();
    expect((await writer.receive("wrote")).error).toMatchObject({ code: "READER_DEAD", reason: "died" });
    await endAll(writer);
    await using ours = await startReader(name, { ...stream, payloadSize: 4096 });
    await endAll(ours);
  });
});
