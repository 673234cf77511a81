// Frames between two processes, in numbers that take the ring through every state, checked byte by byte.

import { describe, expect, test } from "bun:test";
import { uniqueName } from "../support/buffers.ts";
import { Child, leavesNoProcessBehind } from "../support/processes.ts";
import { endAll, HEADER, startReader, startWriter } from "./peers.ts";

leavesNoProcessBehind();

const TIMEOUT_MS = 240_000;

describe("the command line transfers", () => {
  test.each([
    { frames: 1_000_000, size: 1024, bufferSize: "16MiB", what: "a million frames of 1 KiB" },
    { frames: 20_000, size: 65_536, bufferSize: "16MiB", what: "20,000 frames of 64 KiB" },
    {
      frames: 30_000,
      size: 1024,
      bufferSize: "4096",
      what: "frames of 1 KiB through a ring for three of them",
    },
    {
      frames: 10_000,
      size: 65_536,
      bufferSize: "196700",
      what: "frames of 64 KiB through a ring for two of them",
    },
    {
      frames: 20_000,
      size: 48,
      bufferSize: "64",
      what: "frames through a ring that holds one of them exactly",
    },
  ])(
    "$what without a wrong byte",
    async ({ frames, size, bufferSize }) => {
      const name = uniqueName();
      const patient = ["--timeout-ms", "60s", "--connect-timeout-ms", "60s", "--json-output"];
      await using reader = Child.cli(
        ...[
          "reader",
          name,
          "--verify",
          "sequential",
          "--size",
          `${size}`,
          "--buffer-size",
          bufferSize,
          ...patient,
        ],
      );
      await using writer = Child.cli(
        "writer",
        name,
        "--frames",
        `${frames}`,
        "--size",
        `${size}`,
        ...patient,
      );
      expect(await writer.document()).toMatchObject({
        exitCode: 0,
        frames_written: frames,
        bytes_written: frames * size,
        errors: [],
      });
      expect(await reader.document()).toMatchObject({
        exitCode: 0,
        frames_read: frames,
        bytes_read: frames * size,
        verification_errors: 0,
        first_error_frame: null,
        errors: [],
      });
    },
    TIMEOUT_MS,
  );

  test(
    "nothing that a wrong pattern would be taken for: every frame of it is counted",
    async () => {
      const name = uniqueName();
      await using reader = Child.cli("reader", name, "--verify", "ones", "--json-output");
      await using writer = Child.cli("writer", name, "--frames", "2000", "--json-output");
      expect(await writer.document()).toMatchObject({ exitCode: 0, frames_written: 2000 });
      expect(await reader.document()).toMatchObject({
        exitCode: 4,
        frames_read: 2000,
        verification_errors: 2000,
        first_error_frame: 0,
        error: { code: "VERIFICATION_FAILED" },
      });
    },
    TIMEOUT_MS,
  );
});

describe("frames of 1 byte to the largest that fits", () => {
  for (const payloadSize of [128, 1024, 8192, 262_144]) {
    for (const how of ["blocking", "async", "holding"] as const) {
      test(
        `arrive whole through a ring of ${payloadSize} bytes, read ${how}`,
        async () => {
          const name = uniqueName();
          const frames = payloadSize > 100_000 ? 2000 : 20_000;
          const stream = { largest: payloadSize - HEADER, sizes: "mixed" } as const;
          await using reader = await startReader(name, { ...stream, payloadSize });
          await using writer = await startWriter(name, stream);
          const write = how === "holding" ? "zero-copy" : how;
          await writer.tell({ do: "write", frames, how: write }).hear("writing");
          // The ring is full when the reader begins, so that it is never read at leisure only.
          await writer.asleep();
          await reader.tell({ do: "read", how, frames }).hear("reading");
          const wrote = await writer.hear("wrote");
          expect(wrote).toMatchObject({ frames });
          expect(wrote.waits).toBeGreaterThan(0);
          expect(await reader.hear("read")).toMatchObject({
            frames,
            bytes: wrote.bytes,
            sequence: frames,
            wrong: [],
            end: "enough",
          });
          await endAll(writer, reader);
        },
        TIMEOUT_MS,
      );
    }
  }
});
