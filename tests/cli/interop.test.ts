// The pipelines of docs/interop.md do what the page says, with GStreamer and ffmpeg where they are.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseVideo } from "../../src/frames/video.ts";
import { VIDEO_FORMATS } from "../../src/frames/video-formats.ts";
import { pseudoRandom, uniqueName } from "../support/buffers.ts";
import { blocksOf, Desk, textOf, withUniqueNames } from "../support/pages.ts";
import { Child } from "../support/process.ts";
import { ask, serve, stopped } from "./channels.ts";

const page = textOf("docs/interop.md");

/** The blocks of a language. */
const textsIn = (language: string) =>
  blocksOf(page).flatMap((block) => (block.language === language ? [block.text] : []));

const [gstreamer = "", ffmpeg = "", duplex = "", file = "", ...others] = textsIn("sh");

const lacks = (...programs: string[]) => programs.some((name) => Bun.which(name) === null);

let desk: Desk;
let directory: string;
beforeEach(() => {
  desk = new Desk();
  directory = desk.directory;
});
afterEach(() => desk[Symbol.dispose]());

const bytesOf = (name: string) => desk.read(name);

/** Runs a block with names of buffers that no other test uses. Fails if one of its commands does. */
async function runBlock(block: string): Promise<void> {
  const { code, stderr } = await desk.run(withUniqueNames(block));
  expect([code, stderr]).toEqual([0, expect.any(String)]);
}

/** The frames of a video file: how many, and in which size. */
function probe(name: string): string {
  const show = ["-count_frames", "-show_entries", "stream=width,height,nb_read_frames", "-of", "csv=p=0"];
  return Bun.spawnSync(["ffprobe", "-v", "error", ...show, join(directory, name)])
    .stdout.toString()
    .trim();
}

const caps = (format: string) =>
  `video/x-raw, format=(string)${format}, width=(int)640, height=(int)480, framerate=(fraction)30/1`;

describe("docs/interop.md", () => {
  test("has no other pipeline than these", () => {
    expect(others).toEqual([]);
    expect(file).toContain("cmp");
  });

  test.skipIf(lacks("gst-launch-1.0"))("moves frames from GStreamer to GStreamer", async () => {
    await runBlock(gstreamer);
    expect(bytesOf("cam.i420").length).toBe(30 * parseVideo("640x480:I420").frameSize);
    expect(JSON.parse(bytesOf("cam.json").toString())).toMatchObject({ caps: caps("RGB") });
  });

  test.skipIf(lacks("ffmpeg", "ffprobe"))("moves frames from ffmpeg to ffmpeg", async () => {
    await runBlock(ffmpeg);
    expect(probe("cam.mkv")).toBe("640,480,30");
    expect(JSON.parse(bytesOf("cam.json").toString())).toMatchObject({ caps: caps("I420") });
  });

  test.skipIf(lacks("gst-launch-1.0", "ffmpeg", "ffprobe"))("turns pictures in a channel", async () => {
    await runBlock(duplex);
    expect(probe("turned.mkv")).toBe("640,480,30");
    expect(JSON.parse(bytesOf("filter.json").toString())).toMatchObject({ caps: caps("GRAY8") });
  });

  test.skipIf(lacks("ffmpeg"))("copies a file of raw frames", async () => {
    await runBlock(file);
    expect(statSync(join(directory, "copy.nv12")).size).toBe(20 * parseVideo("320x240:NV12").frameSize);
  });

  test.skipIf(lacks("python3"))("has a handler that knows the width of each client's pictures", async () => {
    const handler = join(directory, "handler.py");
    writeFileSync(handler, textsIn("python")[0] ?? "");
    const channel = uniqueName();
    await using server = await serve(channel, "--exec", `python3 ${handler}`);
    for (const [width, height] of [
      [5, 4],
      [7, 3],
    ] as const) {
      const picture = pseudoRandom(width * height);
      writeFileSync(join(directory, "picture"), picture);
      const rows = Array.from({ length: height }, (_, row) =>
        picture.subarray(row * width, (row + 1) * width),
      );
      const files = ["-i", join(directory, "picture"), "-o", join(directory, "turned")];
      const { code } = await ask(channel, "--video", `${width}x${height}:GRAY8`, ...files);
      expect([code, bytesOf("turned")]).toEqual([0, Buffer.concat(rows.reverse())]);
    }
    await stopped(server);
  });

  test.skipIf(lacks("python3"))("has Python code without mistakes in its syntax", async () => {
    const programs = textsIn("python");
    expect(programs).toHaveLength(3);
    for (const text of programs) {
      writeFileSync(join(directory, "program.py"), text);
      await using check = Child.program(["python3", "-m", "py_compile", join(directory, "program.py")]);
      expect(await check.exited()).toMatchObject({ code: 0, stderr: "" });
    }
  });

  test("lists every format with its names", () => {
    const formats = page.slice(page.indexOf("## Formats"), page.indexOf("## Pipelines"));
    const rows = [...formats.matchAll(/^\| (`.*) \| (.*) \|$/gm)].map(([, ...cells]) =>
      cells.map((cell) => [...cell.matchAll(/`(\w+)`/g)].map(([, name = ""]) => name)),
    );
    const listed = rows.flatMap(([gstreamer = [], ffmpeg = []]) =>
      gstreamer.filter((name) => /^[A-Zx]/.test(name)).map((name, at) => [name, ffmpeg[at]] as const),
    );
    const both = listed.flatMap(([name, alias]) =>
      name.endsWith("LE") && !name.startsWith("GRAY16")
        ? [[name, alias] as const, [name.replace(/LE$/, "BE"), alias?.replace(/le$/, "be")] as const]
        : [[name, alias] as const],
    );
    expect(both.map(([name]) => name).sort()).toEqual(VIDEO_FORMATS.map(({ name }) => name).sort());
    for (const [name, alias] of both) {
      if (alias !== undefined) expect([alias, parseVideo(`2x2:${alias}`).format]).toEqual([alias, name]);
    }
  });
});

describe.skipIf(lacks("gst-launch-1.0"))("GStreamer", () => {
  test("has every format, and frames of the same size where the page says so", async () => {
    const sizes: Record<string, number> = {};
    const waiting = VIDEO_FORMATS.map(({ name }) => name);
    const next = async (): Promise<void> => {
      for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
        const filter = `video/x-raw,format=${name},width=48,height=20`;
        const pipeline = ["videotestsrc", "num-buffers=1", "!", filter, "!", "fdsink"];
        await using launch = Child.program(["gst-launch-1.0", "-q", ...pipeline]);
        sizes[name] = (await launch.exited()).stdout.length;
      }
    };
    await Promise.all([next(), next()]);
    const ours = VIDEO_FORMATS.map(({ name }) => [name, parseVideo(`48x20:${name}`).frameSize]);
    expect(sizes).toEqual(Object.fromEntries(ours));
  });

  test("pads the rows of the page's example", async () => {
    const filter = "video/x-raw,format=RGB,width=642,height=2";
    const pipeline = ["videotestsrc", "num-buffers=1", "!", filter, "!", "fdsink"];
    await using launch = Child.program(["gst-launch-1.0", "-q", ...pipeline]);
    expect((await launch.exited()).stdout.length).toBe(2 * 1928);
    expect(parseVideo("642x2:RGB").frameSize).toBe(2 * 1926);
  });
});
