// The golden picture of the formats that view shows, and what is shown compared with it.

import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { inflateSync } from "node:zlib";
import { differenceOf, expectedPixels, FORMATS, PICTURE, type Pixels } from "./pictures.ts";

/** The sheet with the test picture in every format, which scripts/pictures takes of the page. */
export const SHEET = join(import.meta.dir, "..", "golden", "view", "formats.png");
export const SHEET_SIZE = { width: 660, height: 486 };
/** How many pixels of the sheet, in both directions, show one of a picture. */
export const SCALE = 4;

/** How far a value from 0 to 255 may be from the colour of a pixel and from the golden picture: chroma is rounded. */
const TOLERANCE = 2;

/** Where the picture of a format is on the sheet. */
export function placeOf(format: string): { left: number; top: number } {
  const index = FORMATS.indexOf(format);
  return { left: 12 + (index % 6) * 108, top: 8 + Math.floor(index / 6) * 80 };
}

let sheet: Pixels | undefined;

/** The golden picture of a format. */
function goldenPixels(format: string): Uint8Array {
  sheet ??= pixelsOfPng(readFileSync(SHEET));
  const { width, height } = PICTURE;
  const { left, top } = placeOf(format);
  const pixels = new Uint8Array(width * height * 4);
  for (let at = 0; at < pixels.length; at++) {
    const [x, y] = [Math.floor(at / 4) % width, Math.floor(at / 4 / width)];
    // In the middle of what shows the pixel.
    const from = (top + SCALE * y + 2) * sheet.width + left + SCALE * x + 2;
    pixels[at] = sheet.data[from * 4 + (at % 4)]!;
  }
  return pixels;
}

/** What is shown of the test picture in a format has its colours and, if they are in their usual places, is its golden picture. */
export function expectPicture({ width, height, data }: Pixels, format: string, shift = 0): void {
  const expected = [expectedPixels(format, shift), ...(shift === 0 ? [goldenPixels(format)] : [])];
  const tooFar = expected.map((pixels) => differenceOf(data, pixels)).filter((most) => most > TOLERANCE);
  expect({ format, shift, width, height, tooFar }).toEqual({ format, shift, ...PICTURE, tooFar: [] });
}

/** The pixels of a PNG file of 8 bits a sample, with or without alpha, read as its standard says. */
export function pixelsOfPng(file: Uint8Array): Pixels {
  const view = Buffer.from(file);
  expect(view.subarray(1, 4).toString()).toBe("PNG");
  const parts: Buffer[] = [];
  for (let at = 8; at < view.length; at += 12 + view.readUInt32BE(at)) {
    if (view.toString("latin1", at + 4, at + 8) === "IDAT")
      parts.push(view.subarray(at + 8, at + 8 + view.readUInt32BE(at)));
  }
  const [columns, rows, depth, kind] = [view.readUInt32BE(16), view.readUInt32BE(20), view[24], view[25]];
  expect(depth).toBe(8);
  const size = { 2: 3, 6: 4 }[kind!]!;
  const lines = inflateSync(Buffer.concat(parts));
  const data = new Uint8Array(columns * rows * 4).fill(255);
  let above = new Uint8Array(columns * size);
  for (let y = 0; y < rows; y++) {
    const start = y * (columns * size + 1);
    const line = Uint8Array.from(lines.subarray(start + 1, start + 1 + columns * size));
    for (let x = 0; x < line.length; x++) {
      const [left, up, corner] = [line[x - size] ?? 0, above[x]!, above[x - size] ?? 0];
      const guess = left + up - corner;
      const distances = [left, up, corner].map((one) => Math.abs(guess - one));
      const nearest = [left, up, corner][distances.indexOf(Math.min(...distances))]!;
      line[x]! += [0, left, up, (left + up) >> 1, nearest][lines[start]!]!;
    }
    for (let x = 0; x < columns; x++)
      data.set(line.subarray(x * size, (x + 1) * size), (y * columns + x) * 4);
    above = line;
  }
  return { width: columns, height: rows, data };
}
