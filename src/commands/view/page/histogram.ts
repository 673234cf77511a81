// How often each value comes in a picture.

import { type Colour, colourOf, conversionOf, type PixelLayout, samplesAt } from "../../../frames/pixels.ts";

/** Pixels that are looked at: in large pictures one of several in each direction. */
const MOST_PIXELS = 20_000;

/** For gray one list, otherwise those of red, green and blue: how many pixels have each value from 0 to 255. */
export function histogramOf(layout: PixelLayout, data: Uint8Array, colour: Colour): number[][] {
  const { width, height, model } = layout;
  const conversion = conversionOf(layout, colour);
  const lines = Array.from({ length: model === "gray" ? 1 : 3 }, () => new Array<number>(256).fill(0));
  const step = Math.max(1, Math.ceil(Math.sqrt((width * height) / MOST_PIXELS)));
  for (let y = 0; y < height; y += step) {
    for (let x = 0; x < width; x += step) {
      const rgb = colourOf(conversion, samplesAt(layout, data, x, y));
      for (const [at, line] of lines.entries()) line[rgb[at]!]!++;
    }
  }
  return lines;
}
