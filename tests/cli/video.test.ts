import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Reader } from "../../src/core/index.ts";
import { uniqueName } from "../support/buffers.ts";
import { fastest } from "../support/fastest.ts";
import { Child, run, runJson } from "../support/process.ts";
import { ask, serve, stopped } from "./channels.ts";

/** The metadata of such a video. */
const metadataOf = (format: string, width: number, height: number, rate: string) =>
  `{"type":"video/x-raw","version":"1.0","caps":"video/x-raw, format=(string)${format}, width=(int)${width}, ` +
  `height=(int)${height}, framerate=(fraction)${rate}","element_name":"zerobuffer"}`;

/**
 * Runs a writer, to whose stdin these bytes come through a pipe, against a reader of this test that has room for everything:
 * its report, its metadata, its frames' sizes.
 */
async function write(args: readonly string[], piped?: Uint8Array) {
  using reader = new Reader(uniqueName(), { payloadSize: 4 * 2 ** 20, metadataSize: 512 });
  await using writer = Child.cli(["writer", reader.name, ...args, "--json-output"], {
    stdin: piped === undefined ? "ignore" : "pipe",
  });
  if (piped !== undefined) writer.write(piped).closeStdin();
  const { code, document } = await writer.report();
  const sizes: number[] = [];
  for (let at = 0; at < document.frames_written; at++) {
    using frame = reader.readFrame(0);
    sizes.push(frame.size);
  }
  return { code, document, sizes, metadata: Buffer.from(reader.getMetadata()).toString() };
}

describe("writer --video", () => {
  test("sets the frame size and the metadata", async () => {
    const { code, document, sizes, metadata } = await write([
      "--video",
      "17x13:yuv420p@30000/1001",
      "-n",
      "2",
    ]);
    expect([code, sizes, metadata]).toEqual([0, [347, 347], metadataOf("I420", 17, 13, "30000/1001")]);
    expect(document).toMatchObject({ frame_size: 347, metadata_size: metadata.length, bytes_written: 694 });
  });

  test.each([
    ["RGB@30", "RGB", "30/1"],
    ["rgb24@29.97", "RGB", "2997/100"],
    ["gray", "GRAY8", "0/1"],
  ])("of %s has the caps of GStreamer", async (video, format, rate) => {
    const { metadata } = await write(["--video", `4x3:${video}`, "-n", "1"]);
    expect(metadata).toBe(metadataOf(format, 4, 3, rate));
  });

  test("takes the --size that its frames have, and refuses another one", async () => {
    expect((await write(["--video", "4x3:RGB", "--size", "36", "-n", "1"])).sizes).toEqual([36]);
    using reader = new Reader(uniqueName(), { payloadSize: 4096 });
    for (const [command, name] of [
      ["writer", reader.name],
      ["duplex request", uniqueName()],
    ] as const) {
      const args = [...command.split(" "), name, "--video", "4x3:RGB", "--size", "1024"];
      const { code, document } = await runJson(...args);
      expect([code, document.error]).toEqual([
        3,
        {
          code: "USAGE",
          message: "Option --size 1024 contradicts --video 4x3:RGB, whose frames have 36 bytes.",
          hint: "Leave --size out. If the frames do have that size, check width, height and format.",
        },
      ]);
    }
    expect(reader.isWriterConnected(0)).toBe(false);
  });

  test.each(
    [
      ["640x480:RGB@0", "RATE is a number above 0"],
      ["640x480:RGB@0/5", "RATE is a number above 0"],
      ["640x480", "it takes WIDTHxHEIGHT:FORMAT"],
      ["0x480:RGB", "width and height are 1 to 65536 pixels"],
      ["640x480:mp4", 'there is no format \\"mp4\\"'],
      ["x".repeat(10_000), "it takes WIDTHxHEIGHT:FORMAT"],
    ].map(([video = "", reason = ""]) => ({ video, reason, shown: video.slice(0, 30) })),
  )("of $shown is a usage error", async ({ video, reason }) => {
    for (const command of ["writer", "duplex request"]) {
      const { code, stdout } = await run(
        ...command.split(" "),
        uniqueName(),
        "--video",
        video,
        "--json-output",
      );
      expect([code, JSON.parse(stdout.toString()).error.code]).toEqual([3, "USAGE"]);
      expect(stdout.toString()).toContain(reason);
      expect(stdout.length).toBeLessThan(1000);
    }
  });

  test("is refused with other framings than fixed", async () => {
    for (const framing of ["lines", "length-prefixed"]) {
      const { code, document } = await runJson(
        "writer",
        uniqueName(),
        "--video",
        "4x3:RGB",
        "--framing",
        framing,
      );
      expect([code, document.error.message]).toEqual([
        3,
        `Options --video and --framing ${framing} cannot be combined.`,
      ]);
    }
  });

  test("leaves the metadata to --metadata and --metadata-file", async () => {
    const video = ["--video", "4x3:RGB", "-n", "1"];
    expect((await write([...video, "--metadata", "mine"])).metadata).toBe("mine");
    expect((await write([...video, "--metadata-file", "/etc/hostname"])).metadata).not.toContain(
      "video/x-raw",
    );
  });

  test("fails with code 2 where the input ends within a frame, and delivers the frames before", async () => {
    const { code, document, sizes } = await write(
      ["-i", "-", "--video", "4x3:RGB"],
      Buffer.alloc(36 * 3 + 5),
    );
    expect([code, sizes]).toEqual([2, [36, 36, 36]]);
    expect(document.error).toMatchObject({
      code: "IO_ERROR",
      message: "The stream ends after 5 of the 36 bytes of a frame.",
    });
    const whole = await write(["-i", "-", "--video", "4x3:RGB"], Buffer.alloc(36 * 3));
    expect([whole.code, whole.sizes]).toEqual([0, [36, 36, 36]]);
  });
});

describe("the rate of --video", () => {
  /** How long the frames took when the machine was least busy, in seconds: each time as long as asked for, or longer. */
  async function seconds(limit: number, least: number, args: readonly string[], piped?: Uint8Array) {
    return await fastest(limit, async () => {
      const { duration_seconds } = (await write(args, piped)).document;
      expect(duration_seconds).toBeGreaterThanOrEqual(least - 0.001);
      return duration_seconds;
    });
  }

  test("paces a pattern", async () => {
    expect(await seconds(1, 0.4, ["--video", "4x3:RGB@100", "-n", "41"])).toBeLessThan(1);
  });

  test("paces a file, given by its path or as stdin", async () => {
    const directory = mkdtempSync(join(tmpdir(), "zerobuffer-video-"));
    const path = join(directory, "frames");
    writeFileSync(path, Buffer.alloc(36 * 41));
    expect(await seconds(1, 0.4, ["--video", "4x3:RGB@100", "-i", path])).toBeLessThan(1);
    using reader = new Reader(uniqueName(), { payloadSize: 2 ** 16 });
    const args = ["writer", reader.name, "-i", "-", "--video", "4x3:RGB@100", "--json-output"];
    await using writer = Child.cli(args, { shell: `exec "$@" <${path}` });
    expect((await writer.report()).document.duration_seconds).toBeGreaterThanOrEqual(0.399);
    rmSync(directory, { recursive: true });
  });

  test("leaves a pipe the pace of its program", async () => {
    const args = ["--video", "4x3:RGB@1", "-i", "-"];
    expect(await seconds(5, 0, args, Buffer.alloc(36 * 11))).toBeLessThan(5);
  });

  test("gives way to --rate, also for a pipe", async () => {
    expect(await seconds(5, 0, ["--video", "4x3:RGB@1", "--rate", "10000", "-n", "11"])).toBeLessThan(5);
    const paced = ["--video", "4x3:RGB@1000", "--rate", "100", "-i", "-"];
    expect(await seconds(1, 0.4, paced, Buffer.alloc(36 * 41))).toBeLessThan(1);
  });
});

describe("duplex request --video", () => {
  test("sets the size of requests, their pace, and the metadata", async () => {
    const channel = uniqueName();
    const directory = mkdtempSync(join(tmpdir(), "zerobuffer-video-"));
    const path = join(directory, "metadata");
    await using server = await serve(channel, "--metadata-output", path);
    const { code, document } = await ask(
      channel,
      "--video",
      "17x13:NV12@100",
      "-n",
      "21",
      "--verify",
      "echo",
    );
    expect([code, document.bytes_sent]).toEqual([0, 21 * 347]);
    expect(document.duration_seconds).toBeGreaterThanOrEqual(0.199);
    await stopped(server);
    const metadata = await Bun.file(path).text();
    expect(metadata).toBe(metadataOf("NV12", 17, 13, "100/1"));
    expect(document.metadata_size).toBe(metadata.length);
    rmSync(directory, { recursive: true });
  });

  test("reads pictures end to end, and writes the responses with --framing", async () => {
    const channel = uniqueName();
    const exec = [process.execPath, join(import.meta.dir, "fixtures", "answerer.ts"), "none"].join(" ");
    await using server = await serve(channel, "--exec", exec);
    const args = ["--video", "2x1:RGB", "-i", "-", "-o", "-", "--framing", "lines", "--buffer-size", "1MiB"];
    await using client = Child.cli(["duplex", "request", channel, ...args], { stdin: "pipe" });
    client.write("abc\n1212345\n").closeStdin();
    const { code, stdout } = await client.exited();
    expect([code, stdout.toString()]).toEqual([0, "21\ncba\n\n54321\n"]);
    await using broken = Child.cli(["duplex", "request", channel, ...args], { stdin: "pipe" });
    broken.write("abcdefg").closeStdin();
    const outcome = await broken.exited();
    expect([outcome.code, outcome.stdout.toString()]).toEqual([2, "fedcba\n"]);
    expect(outcome.stderr).toContain("The stream ends after 1 of the 6 bytes of a frame.");
    await stopped(server);
  });
});
