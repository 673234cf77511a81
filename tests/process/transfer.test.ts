// Frames between two processes, in numbers that take the ring through every state, checked byte by byte.

import { describe, expect, test } from "bun:test";
import { uniqueName } from "../support/buffers.ts";
import { Child } from "../support/process.ts";
import { endAll, HEADER, PATIENT, startReader, startWriter } from "./peers.ts";

describe("the command line transfers", () => {
  test.each([
    { what: "a million frames of 1 KiB", frames: 1_000_000, size: 1024, bufferSize: "16MiB" },
    { what: "20,000 frames of 64 KiB", frames: 20_000, size: 65_536, bufferSize: "16MiB" },
    { what: "frames of 1 KiB through a ring for three", frames: 5000, size: 1024, bufferSize: "4096" },
    { what: "frames of 64 KiB through a ring for two", frames: 3000, size: 65_536, bufferSize: "196700" },
    { what: "frames through a ring that one fills", frames: 1000, size: 48, bufferSize: "64" },
  ])("$what without a wrong byte", async ({ frames, size, bufferSize }) => {
    const name = uniqueName();
    const common = `--size ${size} --json-output ${PATIENT}`;
    await using reader = Child.cli(
      `reader ${name} --verify sequential --buffer-size ${bufferSize} ${common}`,
    );
    await using writer = Child.cli(`writer ${name} --frames ${frames} ${common}`);
    expect(await writer.report()).toMatchObject({
      code: 0,
      document: { frames_written: frames, bytes_written: frames * size, errors: [] },
    });
    expect(await reader.report()).toMatchObject({
      code: 0,
      document: {
        frames_read: frames,
        bytes_read: frames * size,
        verification_errors: 0,
        first_error_frame: null,
        errors: [],
      },
    });
  });

  test("frames whose every wrong one is counted", async () => {
    const name = uniqueName();
    await using reader = Child.cli(`reader ${name} --verify ones --json-output ${PATIENT}`);
    await using writer = Child.cli(`writer ${name} --frames 2000 --json-output ${PATIENT}`);
    expect(await writer.report()).toMatchObject({ code: 0, document: { frames_written: 2000 } });
    expect(await reader.report()).toMatchObject({
      code: 4,
      document: {
        frames_read: 2000,
        verification_errors: 2000,
        first_error_frame: 0,
        error: { code: "VERIFICATION_FAILED" },
      },
    });
  });
});

describe("frames of 1 byte to the largest that fits", () => {
  const FRAMES = 30_000;
  /** Where each frame costs two processes a wake-up and the processors are busy, fewer of them have to do. */
  const ENOUGH_MS = 2000;

  for (const payloadSize of [128, 1024, 8192, 262_144]) {
    for (const [write, how] of [
      ["blocking", "blocking"],
      ["async", "async"],
      ["zero-copy", "holding"],
      ["trying", "blocking"],
    ] as const) {
      test(`arrive whole through a ring of ${payloadSize} bytes, written ${write}, read ${how}`, async () => {
        const name = uniqueName();
        const stream = { largest: payloadSize - HEADER, sizes: "mixed" } as const;
        await using reader = await startReader(name, { ...stream, payloadSize });
        await using writer = await startWriter(name, stream);
        const write = { blocking: "blocking", async: "async", holding: "zero-copy", iterating: "trying" }[
          how
        ];
        await writer
          .send({ do: "write", frames: FRAMES, how: write, enoughMs: ENOUGH_MS })
          .receive("writing");
        // The ring is full when the reader begins.
        await writer.sleeping();
        await reader.send({ do: "read", how }).receive("reading");
        const { frames, bytes, waits, error } = await writer.receive("wrote");
        expect({ error, waited: waits > 0, many: frames > 100 }).toEqual({
          error: undefined,
          waited: true,
          many: true,
        });
        await endAll(writer);
        expect(await reader.receive("read")).toMatchObject({
          frames,
          bytes,
          sequence: frames,
          wrong: [],
          error: { code: "WRITER_DEAD", reason: "left" },
        });
        await endAll(reader);
      });
    }
  }
});
