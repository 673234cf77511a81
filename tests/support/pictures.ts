// Test pictures in every format that view shows, made by the formulas of their standards and not by what is tested.

/** Red, green and blue from 0 to 255. */
export type Rgb = readonly [number, number, number];

/** Blocks of these colours, so that pixels that share their chroma are of one colour. */
const COLOURS: readonly Rgb[] = [
  [255, 0, 0],
  [0, 255, 0],
  [0, 0, 255],
  [255, 255, 255],
  [0, 0, 0],
  [128, 128, 128],
  [200, 120, 40],
  [13, 90, 170],
  [255, 200, 180],
];
const BLOCK = 4;

/** The size of the test picture: its last rows and columns of blocks are cut. */
export const PICTURE = { width: 22, height: 13 };

/** The colour of a pixel of the test picture. */
export function colourAt(x: number, y: number, shift = 0): Rgb {
  const block = Math.floor(x / BLOCK) + 3 * Math.floor(y / BLOCK) + shift;
  return COLOURS[block % COLOURS.length]!;
}

/** The pixels of the test picture: red, green, blue and 255 of each. */
export function expectedPixels(isGray: boolean, shift = 0): Uint8Array {
  const { width, height } = PICTURE;
  const pixels = new Uint8Array(width * height * 4);
  for (let at = 0; at < width * height; at++) {
    const rgb = colourAt(at % width, Math.floor(at / width), shift);
    const gray = luma(rgb, 0.299, 0.114);
    pixels.set([...(isGray ? [gray, gray, gray].map(Math.round) : rgb), 255], at * 4);
  }
  return pixels;
}

/** The largest difference of two pictures in any pixel. */
export function differenceOf(pixels: ArrayLike<number>, expected: Uint8Array): number {
  if (pixels.length !== expected.length) return Number.POSITIVE_INFINITY;
  return expected.reduce((most, value, at) => Math.max(most, Math.abs(value - (pixels[at] ?? 999))), 0);
}

function luma([r, g, b]: Rgb, kr: number, kb: number): number {
  return kr * r + (1 - kr - kb) * g + kb * b;
}

/** Y', Cb and Cr of a colour, rounded: BT.601 or BT.709, with the full or the limited range. */
function ycc(rgb: Rgb, colour: string): Rgb {
  const [kr, kb] = colour.startsWith("bt709") ? [0.2126, 0.0722] : [0.299, 0.114];
  const y = luma(rgb, kr, kb);
  const cb = (rgb[2] - y) / (2 * (1 - kb));
  const cr = (rgb[0] - y) / (2 * (1 - kr));
  const values = colour.endsWith("full")
    ? [y, cb + 128, cr + 128]
    : [16 + (y * 219) / 255, 128 + (cb * 224) / 255, 128 + (cr * 224) / 255];
  const [luminance = 0, blue = 0, red = 0] = values.map((value) => Math.min(255, Math.round(value)));
  return [luminance, blue, red];
}

/** The bytes of each pixel of packed formats, by ffmpeg's names. */
const PACKED: Readonly<Record<string, (rgb: Rgb) => number[]>> = {
  rgb24: ([r, g, b]) => [r, g, b],
  bgr24: ([r, g, b]) => [b, g, r],
  rgba: ([r, g, b]) => [r, g, b, 77],
  bgra: ([r, g, b]) => [b, g, r, 77],
  argb: ([r, g, b]) => [77, r, g, b],
  bgr0: ([r, g, b]) => [b, g, r, 0],
  gray8: (rgb) => [Math.round(luma(rgb, 0.299, 0.114))],
  gray16le: (rgb) => bytesOf(luma(rgb, 0.299, 0.114) * 257),
  gray16be: (rgb) => bytesOf(luma(rgb, 0.299, 0.114) * 257).reverse(),
};

function bytesOf(value: number): number[] {
  return [Math.round(value) & 255, Math.round(value) >> 8];
}

/** The order of luma and chroma in pairs of pixels. */
const PAIRS: Readonly<Record<string, string>> = { yuyv422: "yuYv", uyvy422: "uyvY", yvyu422: "yvYu" };

/** The planes of others: which of Y, U and V are in each, and how many pixels share a sample, in both directions. */
const PLANES: Readonly<
  Record<string, readonly (readonly [samples: string, columns: number, rows: number])[]>
> = {
  i420: [
    ["y", 1, 1],
    ["u", 2, 2],
    ["v", 2, 2],
  ],
  yv12: [
    ["y", 1, 1],
    ["v", 2, 2],
    ["u", 2, 2],
  ],
  yuv422p: [
    ["y", 1, 1],
    ["u", 2, 1],
    ["v", 2, 1],
  ],
  yuv444p: [
    ["y", 1, 1],
    ["u", 1, 1],
    ["v", 1, 1],
  ],
  yuv411p: [
    ["y", 1, 1],
    ["u", 4, 1],
    ["v", 4, 1],
  ],
  nv12: [
    ["y", 1, 1],
    ["uv", 2, 2],
  ],
  nv21: [
    ["y", 1, 1],
    ["vu", 2, 2],
  ],
};

/** The formats, by ffmpeg's or GStreamer's names in lower case. */
export const FORMATS: readonly string[] = [PACKED, PAIRS, PLANES].flatMap((table) => Object.keys(table));

/** Whether the colours of a format are given as luma and chroma. */
export function isYuv(format: string): boolean {
  return PACKED[format] === undefined;
}

/** The test picture in a format. */
export function pictureIn(format: string, colour: string, shift = 0): Uint8Array {
  const { width, height } = PICTURE;
  const packed = PACKED[format];
  const order = PAIRS[format];
  const yccAt = (x: number, y: number) => ycc(colourAt(x, y, shift), colour);
  const bytes: number[] = [];
  const planes = PLANES[format] ?? [];
  for (const [samples, columns, rows] of planes) {
    for (let y = 0; y < height; y += rows) {
      for (let x = 0; x < width; x += columns) {
        const [luminance, blue, red] = yccAt(x, y);
        for (const name of samples) bytes.push({ y: luminance, u: blue, v: red }[name]!);
      }
    }
  }
  for (let y = 0; planes.length === 0 && y < height; y++) {
    for (let x = 0; x < width; x += order === undefined ? 1 : 2) {
      const [first, blue, red] = yccAt(x, y);
      const pair = { y: first, Y: yccAt(x + 1, y)[0], u: blue, v: red };
      if (order !== undefined) bytes.push(...[...order].map((name) => pair[name as keyof typeof pair]));
      if (packed !== undefined) bytes.push(...packed(colourAt(x, y, shift)));
    }
  }
  return Uint8Array.from(bytes);
}

/** The test picture as a BMP file. */
function bitmap(shift: number): Uint8Array {
  const { width, height } = PICTURE;
  const file = Buffer.alloc(54 + width * height * 4);
  file.write("BM", "latin1");
  file.writeUInt32LE(54, 10);
  file.writeUInt32LE(40, 14);
  file.writeInt32LE(width, 18);
  file.writeInt32LE(-height, 22);
  file.writeUInt16LE(1, 26);
  file.writeUInt16LE(32, 28);
  for (let at = 0; at < width * height; at++) {
    const [r, g, b] = colourAt(at % width, Math.floor(at / width), shift);
    file.set([b, g, r, 255], 54 + at * 4);
  }
  return file;
}

/** The test picture, encoded. JPEG loses something at the edges of its blocks. */
export async function encodedPicture(encoding: "jpeg" | "png", shift = 0): Promise<Uint8Array> {
  const image = new Bun.Image(bitmap(shift));
  return await (encoding === "jpeg" ? image.jpeg({ quality: 100 }) : image.png()).bytes();
}
