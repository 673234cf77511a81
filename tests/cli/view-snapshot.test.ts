import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stampFrame } from "../../src/core/index.ts";
import { uniqueName } from "../support/buffers.ts";
import { expectPicture, pixelsOfPng } from "../support/golden.ts";
import { encodedPicture, FORMATS, isYuv, PICTURE, pictureIn } from "../support/pictures.ts";
import { Child, runOnTerminal } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";
import { writeFrames } from "../support/view.ts";

const { width, height } = PICTURE;

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "zerobuffer-snapshot-test-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

/** Takes a picture of a frame to stdout. */
async function snapshotOf(frame: Uint8Array, metadata: object | undefined, ...args: string[]) {
  const name = uniqueName();
  await using child = Child.cli(["view", name, "--snapshot", "-", "--buffer-size", "1MiB", ...args]);
  using _ = await writeFrames(name, metadata, frame);
  return await child.exited();
}

describe("a snapshot", () => {
  test.each(FORMATS.map((format) => ({ format, colour: isYuv(format) ? "bt709" : "bt601" })))(
    "of $format is a PNG file with the pixels of the picture",
    async ({ format, colour }) => {
      const { code, stdout, stderr } = await snapshotOf(
        pictureIn(format, colour),
        undefined,
        ...["--video", `${width}x${height}:${format}@30`, "--colour", colour],
      );
      expect([code, stderr]).toEqual([0, expect.stringContaining(`Wrote a picture: ${width}x${height}`)]);
      expectPicture(pixelsOfPng(stdout), format);
    },
  );

  test.each(["jpeg", "png"] as const)("of a frame in %s is a PNG file, too", async (encoding) => {
    const { code, stdout } = await snapshotOf(await encodedPicture(encoding, 1), undefined);
    expect(code).toBe(0);
    const picture = pixelsOfPng(stdout);
    expect([picture.width, picture.height]).toEqual([width, height]);
    if (encoding === "png") expectPicture(picture, "rgb24", 1);
  });

  test("goes to a file, and takes off what is in front of the picture", async () => {
    const name = uniqueName();
    const path = join(directory, "picture.png");
    const args = [
      "view",
      name,
      "--snapshot",
      path,
      "--buffer-size",
      "1MiB",
      "--stamp",
      "--skip-bytes",
      "8",
      "--json-output",
    ];
    await using child = Child.cli(args);
    const frame = new Uint8Array(32 + width * height);
    stampFrame(frame, { number: 1n });
    frame.set(pictureIn("gray8", "bt601"), 32);
    using _ = await writeFrames(name, { width, height, format: "gray8" }, frame);
    const { code, document } = await child.report();
    expect(code).toBe(0);
    expectValid("view", document);
    const bytes = readFileSync(path);
    const taken = { file: path, format: "GRAY8", width, height, file_bytes: bytes.length };
    expect(document).toMatchObject({ snapshot: taken, address: null, frames_read: 1, errors: [] });
    expectPicture(pixelsOfPng(bytes), "gray8");
  });

  test.each([
    ["has no description", new Uint8Array(7), undefined, "Neither the metadata nor --video"],
    [
      "does not fit its description",
      new Uint8Array(7),
      { width, height, format: "rgb24" },
      `a picture of ${width}x${height} in RGB`,
    ],
    ["is a broken JPEG", Uint8Array.of(0xff, 0xd8, 0xff, 1, 2, 3), undefined, "It cannot be decoded"],
    [
      "is of a format that cannot be shown",
      new Uint8Array(12),
      { width: 2, height: 2, format: "p010le" },
      "P010_10LE",
    ],
  ])("of a frame that %s fails and says why", async (_, frame, metadata, reason) => {
    const { code, stdout, stderr } = await snapshotOf(frame, metadata);
    expect([code, stdout.length, stderr]).toEqual([4, 0, expect.stringContaining(reason)]);
  });

  test("to a terminal is refused", async () => {
    const { code, output } = await runOnTerminal(["view", uniqueName(), "--snapshot", "-"]);
    expect([code, output]).toEqual([
      3,
      expect.stringContaining("--snapshot - cannot write frames to a terminal"),
    ]);
  });

  test("of a writer that leaves without a frame fails with --no-follow, and leaves no picture", async () => {
    const name = uniqueName();
    const path = join(directory, "none.png");
    await using child = Child.cli(["view", name, "--snapshot", path, "--buffer-size", "1MiB", "--no-follow"]);
    const writer = await writeFrames(name, undefined);
    writer.close();
    const { code, stderr } = await child.exited();
    expect([code, stderr]).toEqual([2, expect.stringContaining("left without a frame")]);
    expect(existsSync(path) ? readFileSync(path).length : 0).toBe(0);
  });
});
