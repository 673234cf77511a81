import { describe, expect, test } from "bun:test";
import {
  COLOURS,
  type Colour,
  colourOf,
  conversionOf,
  layoutOf,
  type PixelLayout,
  SHOWN_FORMATS,
  samplesAt,
  storeRgba,
} from "../../../src/frames/pixels.ts";
import { parseVideo } from "../../../src/frames/video.ts";
import { findFormat } from "../../../src/frames/video-formats.ts";
import { differenceOf, expectedPixels, FORMATS, isYuv, PICTURE, pictureIn } from "../../support/pictures.ts";

const { width, height } = PICTURE;

test("every format that is said to be shown has a test picture", () => {
  expect(FORMATS.map((name) => findFormat(name)?.name).sort()).toEqual([...SHOWN_FORMATS].sort());
});

function pixelsOf(layout: PixelLayout, data: Uint8Array, colour: Colour): Uint8ClampedArray {
  const pixels = new Uint8ClampedArray(width * height * 4);
  storeRgba(layout, data, colour, pixels);
  return pixels;
}

describe("a picture has the pixels that its standard says", () => {
  const cases = FORMATS.flatMap((format) =>
    (isYuv(format) ? COLOURS : COLOURS.slice(0, 1)).map((colour) => ({ format, colour })),
  );
  test.each(cases)("$format $colour", ({ format, colour }) => {
    const data = pictureIn(format, colour);
    expect(data.length).toBe(parseVideo(`${width}x${height}:${format}`).frameSize);
    const layout = layoutOf(format, width, height)!;
    const expected = expectedPixels(format);
    expect(differenceOf(pixelsOf(layout, data, colour), expected)).toBeLessThanOrEqual(2);
    // One by one it is the same.
    const single = new Uint8Array(expected.length);
    for (let at = 0; at < width * height; at++) {
      const samples = samplesAt(layout, data, at % width, Math.floor(at / width));
      single.set([...colourOf(conversionOf(layout, colour), samples), 255], at * 4);
    }
    expect(differenceOf(single, expected)).toBeLessThanOrEqual(2);
  });
});

test("the other colours give another picture", () => {
  const layout = layoutOf("i420", width, height)!;
  const data = pictureIn("i420", "bt601");
  for (const colour of COLOURS.slice(1)) {
    expect(differenceOf(pixelsOf(layout, data, colour), expectedPixels("i420"))).toBeGreaterThan(10);
  }
});

test("the value of a pixel is what the frame has, alpha and 16 bits included", () => {
  const rgba = layoutOf("rgba", 2, 1)!;
  expect(rgba.samples.map(({ name }) => name)).toEqual(["R", "G", "B", "A"]);
  expect(samplesAt(rgba, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), 1, 0)).toEqual([5, 6, 7, 8]);
  expect(samplesAt(layoutOf("gray16le", 1, 1)!, Uint8Array.of(0x34, 0x12), 0, 0)).toEqual([0x1234]);
  expect(samplesAt(layoutOf("gray16be", 1, 1)!, Uint8Array.of(0x34, 0x12), 0, 0)).toEqual([0x3412]);
});

test("every format that is said to be shown has a layout inside of its frames, also of odd sizes", () => {
  for (const format of SHOWN_FORMATS) {
    for (const [columns, rows] of [
      [1, 1],
      [7, 5],
      [8, 6],
    ] as const) {
      const { frameSize } = parseVideo(`${columns}x${rows}:${format}`);
      const { samples, bytesPerSample } = layoutOf(format, columns, rows)!;
      for (const { start, stride, step, columnShift, rowShift } of samples) {
        const last = start + ((rows - 1) >> rowShift) * stride + ((columns - 1) >> columnShift) * step;
        expect(last + bytesPerSample).toBeLessThanOrEqual(frameSize);
      }
    }
  }
  expect(layoutOf("P010_10LE", 2, 2)).toBeUndefined();
  expect(layoutOf("toString", 2, 2)).toBeUndefined();
});
