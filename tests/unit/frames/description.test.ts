import { expect, describe as group, test } from "bun:test";
import fc from "fast-check";
import { describe, usualColour } from "../../../src/frames/description.ts";
import { encodingOf } from "../../../src/frames/encoded.ts";
import { parseVideo, videoMetadata } from "../../../src/frames/video.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** What metadata describes, in short. */
function described(text: string): string | undefined {
  const found = describe(bytes(text));
  if (typeof found !== "object") return found;
  const { video, colour } = found;
  return `${video.width}x${video.height} ${video.format} ${video.frameSize}${colour === undefined ? "" : ` ${colour}`}`;
}

const CAPS = "video/x-raw, format=(string)RGB, width=(int)640, height=(int)480, framerate=(fraction)30/1";

group("a picture is described by", () => {
  test.each([
    ["caps", CAPS],
    [
      "caps with features, without types",
      "video/x-raw(memory:SystemMemory), format=RGB, width=640, height=480;",
    ],
    ["caps in quotes", `video/x-raw,format="RGB",width=640,height=480`],
    ["JSON with caps, as writer --video sends it", videoMetadata(parseVideo("640x480:rgb24@30"))],
    [
      "JSON with caps and more",
      JSON.stringify({ type: "zerosink", version: "1.0", caps: CAPS, element_name: "z0" }),
    ],
    ["JSON with an object of caps", JSON.stringify({ caps: { width: 640, height: 480, format: "RGB" } })],
    ["a JSON text of caps", JSON.stringify(CAPS)],
    ["JSON with width, height and format", '{"width":640,"height":480,"format":"rgb24"}'],
    ["JSON with numbers as texts", '{"width":"640","height":"480","format":"RGB","extra":[{}]}'],
  ])("%s", (_, text) => {
    expect(described(text)).toBe("640x480 RGB 921600");
  });
});

group("colours are those of the caps", () => {
  test.each([
    ["bt601", "bt601"],
    ["bt709", "bt709"],
    ["1:4:0:1", "bt601-full"],
    ["2:3:5:1", "bt709"],
    ["1:3:5:1", "bt709-full"],
    ["bt2020", ""],
  ])("%s", (colorimetry, colour) => {
    const text = `video/x-raw, format=NV12, width=4, height=2, colorimetry=(string)${colorimetry}`;
    expect(described(text)).toBe(`4x2 NV12 12${colour && ` ${colour}`}`);
  });

  test("or, without any, those that GStreamer takes by the height", () => {
    expect([576, 577].map((height) => usualColour({ height }))).toEqual(["bt601", "bt709"]);
  });
});

group("metadata that describes no picture", () => {
  test.each([
    "",
    "hello",
    "{}",
    "[]",
    "null",
    '{"width":640,"height":480}',
    '{"caps":"image/jpeg, width=(int)640, height=(int)480"}',
    '{"__proto__":{"width":640,"height":480,"format":"RGB"}}',
    `{"width":640,"height":480,"format":"RGB","more":"${"x".repeat(70_000)}"}`,
    `${"[".repeat(60_000)}`,
    `${'{"a":'.repeat(10_000)}`,
  ])("%.60s", (text) => {
    expect(described(text)).toBeUndefined();
  });

  test("is told from metadata that describes an impossible one", () => {
    expect(described('{"width":640.5,"height":480,"format":"RGB"}')).toContain("no whole number");
    expect(described('{"width":-1,"height":480,"format":"RGB"}')).toContain("no whole number");
    expect(described('{"width":1e99,"height":480,"format":"RGB"}')).toContain("no whole number");
    expect(described('{"width":99999,"height":480,"format":"RGB"}')).toContain("65536");
    expect(described('{"width":640,"height":480,"format":"toString"}')).toContain('no format "toString"');
  });

  test("never does harm, whatever it is", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.json().map(bytes), fc.string().map(bytes)),
        (any) => {
          describe(any);
        },
      ),
    );
  });
});

test("JPEG and PNG are known by their first bytes", () => {
  expect(encodingOf(Uint8Array.of(0xff, 0xd8, 0xff, 0xe0))).toBe("jpeg");
  expect(encodingOf(Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a))).toBe("png");
  for (const other of [[], [0xff, 0xd8], [0x89, 0x50, 0x4e, 0x47]]) {
    expect(encodingOf(Uint8Array.from(other))).toBeUndefined();
  }
});
