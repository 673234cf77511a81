import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { parseVideo, VideoFault, videoMetadata } from "../../../src/frames/video.ts";
import { VIDEO_FORMATS } from "../../../src/frames/video-formats.ts";
import { thrownBy } from "../../support/buffers.ts";

/** Bytes of a raw frame of ffmpeg, of 17x13, 1x1 and 642x481 pixels, by the names of GStreamer and ffmpeg. */
const SIZES: readonly (readonly [names: string, odd: number, one: number, large: number])[] = [
  ["RGB rgb24", 663, 3, 926406],
  ["BGR bgr24", 663, 3, 926406],
  ["RGBA rgba", 884, 4, 1235208],
  ["BGRA bgra", 884, 4, 1235208],
  ["ARGB argb", 884, 4, 1235208],
  ["ABGR abgr", 884, 4, 1235208],
  ["RGBx rgb0", 884, 4, 1235208],
  ["BGRx bgr0", 884, 4, 1235208],
  ["xRGB 0rgb", 884, 4, 1235208],
  ["xBGR 0bgr", 884, 4, 1235208],
  ["RGB16 rgb565le rgb565", 442, 2, 617604],
  ["BGR16 bgr565le bgr565", 442, 2, 617604],
  ["RGB15 rgb555le rgb555", 442, 2, 617604],
  ["BGR15 bgr555le bgr555", 442, 2, 617604],
  ["GRAY8 gray", 221, 1, 308802],
  ["GRAY16_LE gray16le gray16", 442, 2, 617604],
  ["GRAY16_BE gray16be", 442, 2, 617604],
  ["YUY2 yuyv422", 468, 4, 617604],
  ["UYVY uyvy422", 468, 4, 617604],
  ["YVYU yvyu422", 468, 4, 617604],
  ["I420 yuv420p", 347, 3, 463524],
  ["Y42B yuv422p", 455, 3, 617604],
  ["Y444 yuv444p", 663, 3, 926406],
  ["Y41B yuv411p", 351, 3, 463684],
  ["YUV9 yuv410p", 261, 3, 347764],
  ["A420 yuva420p", 568, 4, 772326],
  ["GBR gbrp", 663, 3, 926406],
  ["GBRA gbrap", 884, 4, 1235208],
  ["NV12 nv12", 347, 3, 463524],
  ["NV21 nv21", 347, 3, 463524],
  ["NV16 nv16", 455, 3, 617604],
  ["NV24 nv24", 663, 3, 926406],
  ["RGBA64_LE rgba64le rgba64", 1768, 8, 2470416],
  ["RGBA64_BE rgba64be", 1768, 8, 2470416],
  ["BGRA64_LE bgra64le bgra64", 1768, 8, 2470416],
  ["BGRA64_BE bgra64be", 1768, 8, 2470416],
  ["P010_10LE p010le p010", 694, 6, 927048],
  ["P010_10BE p010be", 694, 6, 927048],
  ["P016_LE p016le p016", 694, 6, 927048],
  ["P016_BE p016be", 694, 6, 927048],
  ["I420_10LE yuv420p10le yuv420p10", 694, 6, 927048],
  ["I420_10BE yuv420p10be", 694, 6, 927048],
  ["I420_12LE yuv420p12le yuv420p12", 694, 6, 927048],
  ["I420_12BE yuv420p12be", 694, 6, 927048],
  ["I422_10LE yuv422p10le yuv422p10", 910, 6, 1235208],
  ["I422_10BE yuv422p10be", 910, 6, 1235208],
  ["I422_12LE yuv422p12le yuv422p12", 910, 6, 1235208],
  ["I422_12BE yuv422p12be", 910, 6, 1235208],
  ["Y444_10LE yuv444p10le yuv444p10", 1326, 6, 1852812],
  ["Y444_10BE yuv444p10be", 1326, 6, 1852812],
  ["Y444_12LE yuv444p12le yuv444p12", 1326, 6, 1852812],
  ["Y444_12BE yuv444p12be", 1326, 6, 1852812],
  ["Y444_16LE yuv444p16le yuv444p16", 1326, 6, 1852812],
  ["Y444_16BE yuv444p16be", 1326, 6, 1852812],
  ["A420_10LE yuva420p10le yuva420p10", 1136, 8, 1544652],
  ["A420_10BE yuva420p10be", 1136, 8, 1544652],
  ["A422_10LE yuva422p10le yuva422p10", 1352, 8, 1852812],
  ["A422_10BE yuva422p10be", 1352, 8, 1852812],
  ["A444_10LE yuva444p10le yuva444p10", 1768, 8, 2470416],
  ["A444_10BE yuva444p10be", 1768, 8, 2470416],
  ["GBR_10LE gbrp10le gbrp10", 1326, 6, 1852812],
  ["GBR_10BE gbrp10be", 1326, 6, 1852812],
  ["GBR_12LE gbrp12le gbrp12", 1326, 6, 1852812],
  ["GBR_12BE gbrp12be", 1326, 6, 1852812],
  ["GBRA_10LE gbrap10le gbrap10", 1768, 8, 2470416],
  ["GBRA_10BE gbrap10be", 1768, 8, 2470416],
  ["GBRA_12LE gbrap12le gbrap12", 1768, 8, 2470416],
  ["GBRA_12BE gbrap12be", 1768, 8, 2470416],
  // Only GStreamer has names for these, but their frames are as large as those of their mirror images.
  ["AYUV", 884, 4, 1235208],
  ["VUYA", 884, 4, 1235208],
  ["VYUY", 468, 4, 617604],
  ["YV12", 347, 3, 463524],
  ["NV61", 455, 3, 617604],
];

describe("a format", () => {
  test.each(SIZES)("%s has frames of ffmpeg's size, odd pictures too", (names, odd, one, large) => {
    const [gstreamer, ...ffmpeg] = names.split(" ");
    for (const name of [gstreamer, ...ffmpeg, gstreamer?.toLowerCase(), ffmpeg[0]?.toUpperCase()]) {
      if (name === undefined) continue;
      const videos = ["17x13", "1x1", "642x481"].map((size) => parseVideo(`${size}:${name}`));
      expect(videos.map(({ format, frameSize }) => [format, frameSize])).toEqual(
        [odd, one, large].map((size) => [`${gstreamer}`, size]),
      );
    }
  });

  test("of the table is one of these, and every name means one format", () => {
    const known = VIDEO_FORMATS.map(({ name }) => name).sort();
    expect(known).toEqual(SIZES.map(([names]) => `${names.split(" ")[0]}`).sort());
    const names = VIDEO_FORMATS.flatMap(({ name, aliases }) => [name, ...aliases.map(String)]);
    const distinct = new Set(names.map((name) => name.toLowerCase()));
    // ffmpeg's p016le and GStreamer's P016_LE differ, but rgba and RGBA do not: the table has no alias for the latter.
    expect(distinct.size).toBe(names.length);
  });

  test.skipIf(Bun.which("ffmpeg") === null)("has the size that this machine's ffmpeg gives it", async () => {
    const directory = mkdtempSync(join(tmpdir(), "zerobuffer-video-"));
    const { stdout } = Bun.spawnSync(["ffmpeg", "-hide_banner", "-pix_fmts"]);
    const formats = stdout.toString().matchAll(/^[I.][O.][H.][P.][B.] (\w+)/gm);
    const common = [...formats].flatMap(([, name = ""]) => {
      const format = VIDEO_FORMATS.find(({ aliases, name: own }) =>
        [own.toLowerCase(), ...aliases].includes(name),
      );
      return format === undefined ? [] : [name];
    });
    expect(common.length).toBeGreaterThan(50);
    const inputs = common.flatMap((name) => [
      "-f",
      "rawvideo",
      "-pix_fmt",
      name,
      "-s",
      "35x27",
      "-i",
      "/dev/zero",
    ]);
    const outputs = common.flatMap((name, at) => {
      const how = ["-map", `${at}`, "-c", "copy", "-frames:v", "1", "-f", "rawvideo"];
      return [...how, join(directory, name)];
    });
    const ffmpeg = Bun.spawn(["ffmpeg", "-nostdin", "-v", "error", ...inputs, ...outputs]);
    expect(await ffmpeg.exited).toBe(0);
    const sizes = common.map((name) => [name, statSync(join(directory, name)).size]);
    rmSync(directory, { recursive: true });
    expect(sizes).toEqual(common.map((name) => [name, parseVideo(`35x27:${name}`).frameSize]));
  });
});

describe("a rate", () => {
  test.each([
    ["30", 30, 1],
    ["29.97", 2997, 100],
    ["30000/1001", 30000, 1001],
    ["60/2", 30, 1],
    ["0.5", 1, 2],
    ["12.50", 25, 2],
    ["1/3", 1, 3],
    ["007", 7, 1],
  ])("of %s is a reduced fraction", (text, numerator, denominator) => {
    expect(parseVideo(`2x2:RGB@${text}`).rate).toEqual({ numerator, denominator });
  });

  test.each(["0", "0.0", "0/1", "30/0", "0/0", "", "-30", "1e3", "30fps", "30/1.5", ".5", "5.", "∞"])(
    "of %p is refused",
    (text) => {
      expect(thrownBy(() => parseVideo(`2x2:RGB@${text}`))).toMatchObject({
        message: "RATE is a number above 0, such as 30, 29.97 or 30000/1001",
      });
    },
  );

  test("is refused where GStreamer's 32 bits do not hold it", () => {
    expect(parseVideo("2x2:RGB@2147483647").rate?.numerator).toBe(2147483647);
    expect(thrownBy(() => parseVideo("2x2:RGB@2147483648"))).toBeInstanceOf(VideoFault);
    expect(thrownBy(() => parseVideo("2x2:RGB@1/2147483648"))).toBeInstanceOf(VideoFault);
  });
});

describe("a video", () => {
  test.each([
    ["", "it takes WIDTHxHEIGHT:FORMAT or WIDTHxHEIGHT:FORMAT@RATE"],
    ["640x480", "it takes WIDTHxHEIGHT:FORMAT or WIDTHxHEIGHT:FORMAT@RATE"],
    ["640:RGB", "it takes WIDTHxHEIGHT:FORMAT or WIDTHxHEIGHT:FORMAT@RATE"],
    [" 640x480:RGB", "it takes WIDTHxHEIGHT:FORMAT or WIDTHxHEIGHT:FORMAT@RATE"],
    ["640x480:RGB\n", "it takes WIDTHxHEIGHT:FORMAT or WIDTHxHEIGHT:FORMAT@RATE"],
    ["0x480:RGB", "width and height are 1 to 65536 pixels, not 0x480"],
    ["640x65537:RGB", "width and height are 1 to 65536 pixels, not 640x65537"],
    ["640x480:rgb8", 'there is no format "rgb8"'],
    ["640x480:__proto__", 'there is no format "__proto__"'],
    ["65536x65536:RGB", "its frames have 12884901888 bytes, more than the 4294967296 of the largest frame"],
  ])("of %p is refused", (text, message) => {
    const fault = thrownBy(() => parseVideo(text));
    expect(fault).toBeInstanceOf(VideoFault);
    expect((fault as VideoFault).message).toBe(message);
  });

  test("of any text is read or refused", () => {
    const texts = fc.oneof(fc.string(), fc.stringMatching(/^\d{1,6}x\d{1,6}:\w{1,9}(@[\d./]{1,9})?$/));
    fc.assert(
      fc.property(texts, (text) => {
        try {
          const { frameSize } = parseVideo(text);
          return frameSize >= 1 && frameSize <= 2 ** 32;
        } catch (error) {
          return error instanceof VideoFault;
        }
      }),
    );
  });

  test("has the metadata of GStreamer's elements", () => {
    expect(videoMetadata(parseVideo("640x480:rgb24@30"))).toBe(
      '{"type":"video/x-raw","version":"1.0","caps":"video/x-raw, format=(string)RGB, width=(int)640, height=(int)480, framerate=(fraction)30/1","element_name":"zerobuffer"}',
    );
    expect(videoMetadata(parseVideo("1x2:GRAY8@30000/1001"))).toContain("framerate=(fraction)30000/1001");
    expect(videoMetadata(parseVideo("1x2:gray"))).toContain(
      "format=(string)GRAY8, width=(int)1, height=(int)2, framerate=(fraction)0/1",
    );
  });
});
