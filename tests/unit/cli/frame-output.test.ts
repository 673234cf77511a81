import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FrameOutput } from "../../../src/cli/frame-output.ts";
import { ByteOutput } from "../../../src/cli/streams.ts";

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "zerobuffer-output-"));
  path = join(directory, "out");
});
afterEach(() => rmSync(directory, { recursive: true }));

test("a frame that its length prefix cannot announce is refused, and the frames before it are written", async () => {
  {
    using file = await ByteOutput.open(path, new AbortController().signal);
    const output = new FrameOutput(file, "length-prefixed");
    expect(output.append(Buffer.from("abc"))).toBe(true);
    // Its bytes are never looked at.
    const frame = { length: 2 ** 32 } as Uint8Array;
    expect(output.append(frame)).toBe(false);
    expect(await output.write(frame).catch((error) => error.code)).toBe("FRAME_TOO_LARGE");
    await output.flush();
  }
  expect(readFileSync(path)).toEqual(Buffer.from([3, 0, 0, 0, 0x61, 0x62, 0x63]));
});
