// Byte streams through the command line: what goes into `writer --input -` comes out of `reader --output -`.

import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Framing } from "../../src/frames/framing.ts";
import { uniqueName } from "../support/buffers.ts";
import { peakMemoryMiB } from "../support/proc.ts";
import { Child } from "../support/process.ts";
import { PATIENT } from "./peers.ts";

const MIB = 1024 * 1024;

const fixture = (script: string) => join(import.meta.dir, "fixtures", script);

interface Outcome {
  /** Of what the writer was given. */
  sent: string;
  /** Of what the reader put out. */
  received: { size: number; sha256: string };
  /** The documents of the two commands. */
  reader: { frames_read: number; bytes_read: number; errors: string[] };
  writer: { frames_written: number; bytes_written: number };
  /** The most memory that each has had resident, in MiB. */
  peaks: { reader: number; writer: number };
}

/** Watches how much memory processes take until `ended`. Their peaks only grow: the last look counts. */
async function watchMemory(reader: Child, writer: Child, ended: Promise<unknown>): Promise<Outcome["peaks"]> {
  const peaks = { reader: 0, writer: 0 };
  let isOver = false;
  const over = ended.then(() => {
    isOver = true;
  });
  while (!isOver) {
    peaks.reader = peakMemoryMiB(reader.pid) ?? peaks.reader;
    peaks.writer = peakMemoryMiB(writer.pid) ?? peaks.writer;
    await Promise.race([over, Bun.sleep(10)]);
  }
  return peaks;
}

/** generate | writer --input - … reader --output - | digest, each in a process of its own. */
async function pipeThrough(framing: Framing, size: number, frameSize: number): Promise<Outcome> {
  const name = uniqueName();
  const directory = mkdtempSync(join(tmpdir(), "zerobuffer-test-"));
  try {
    const [input, output] = [join(directory, "input"), join(directory, "output")];
    await using pipes = Child.program(["mkfifo", input, output]);
    await pipes.succeed();
    const common = `--framing ${framing} --json-output ${PATIENT}`;
    await using generator = Child.program([process.execPath, fixture("generate.ts"), framing, `${size}`], {
      shell: `exec "$@" >${input}`,
    });
    await using digest = Child.program([process.execPath, fixture("digest.ts")], {
      shell: `exec "$@" <${output}`,
    });
    await using reader = Child.cli(`reader ${name} --output - --buffer-size 8MiB ${common}`, {
      shell: `exec "$@" >${output}`,
    });
    await using writer = Child.cli(`writer ${name} --input - --size ${frameSize} ${common}`, {
      shell: `exec "$@" <${input}`,
    });
    const children = [generator, digest, reader, writer].map((child) => child.succeed());
    const peaks = await watchMemory(reader, writer, Promise.all(children));
    const [generated, digested, read, written] = await Promise.all(children);
    return {
      sent: `${generated?.stderr.trim()}`,
      received: JSON.parse(`${digested?.stderr}`),
      // The frames own stdout where they are written to it.
      reader: JSON.parse(`${read?.stderr}`),
      writer: JSON.parse(`${written?.stdout}`),
      peaks,
    };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test.each([
  ["fixed", "any bytes", 64 * 1024],
  ["fixed", "any bytes, in frames of a size that divides nothing", 10_007],
  ["lines", "a text", 1024],
  ["length-prefixed", "records", 1024],
] as const)("200 MiB with --framing %s, %s, come out as they went in", async (framing, _, frameSize) => {
  const size = 200 * MIB;
  const { sent, received, reader, writer } = await pipeThrough(framing, size, frameSize);
  expect(received).toEqual({ size, sha256: sent });
  const { frames_written, bytes_written } = writer;
  expect(reader).toMatchObject({ frames_read: frames_written, bytes_read: bytes_written, errors: [] });
  // Newlines and lengths stand between the frames and are no part of them.
  const between = { fixed: 0, lines: 1, "length-prefixed": 4 }[framing];
  expect(bytes_written + frames_written * between).toBe(size);
  if (framing === "fixed") expect(frames_written).toBe(Math.ceil(size / frameSize));
});

test("a stream of 1 GiB takes no more memory than one of 200 MiB", async () => {
  const frameSize = 256 * 1024;
  const short = await pipeThrough("fixed", 200 * MIB, frameSize);
  const long = await pipeThrough("fixed", 1024 * MIB, frameSize);
  expect(long.received).toEqual({ size: 1024 * MIB, sha256: long.sent });
  for (const side of ["reader", "writer"] as const) {
    expect(short.peaks[side]).toBeGreaterThan(0);
    // Garbage may be collected a little later; 64 of the 824 MiB more are what must not be kept.
    expect(long.peaks[side]).toBeLessThan(short.peaks[side] + 64);
  }
});
