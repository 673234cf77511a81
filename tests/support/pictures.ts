// Test pictures in every format that view shows, made by the formulas of their standards and not by what is tested.

/** Red, green and blue from 0 to 255. */
export type Rgb = readonly [number, number, number];

/** What is shown: red, green, blue and alpha of each pixel. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly data: readonly number[] | Uint8Array;
}

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

/** The pixels of the test picture, as a format shows it: red, green, blue and 255 of each. */
export function expectedPixels(format: string, shift = 0): Uint8Array {
  const { width, height } = PICTURE;
  const isGray = format.startsWith("gray");
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

/**
 * The formats, by ffmpeg's or GStreamer's names in lower case: the samples of each plane in the order of their bytes, and how many
 * columns and rows of pixels share them. Y is the luma of the second pixel of two, l a gray of one byte, h and m the high and
 * the low byte of one of two bytes, x nothing.
 */
const PLANES: Readonly<Record<string, string>> = {
  rgb24: "rgb",
  bgr24: "bgr",
  rgba: "rgba",
  bgra: "bgra",
  argb: "argb",
  abgr: "abgr",
  rgb0: "rgbx",
  bgr0: "bgrx",
  "0rgb": "xrgb",
  "0bgr": "xbgr",
  gbrp: "g b r",
  gbrap: "g b r a",
  gray8: "l",
  gray16le: "mh",
  gray16be: "hm",
  ayuv: "ayuv",
  vuya: "vuya",
  yuyv422: "yuYv/2x1",
  uyvy422: "uyvY/2x1",
  yvyu422: "yvYu/2x1",
  vyuy: "vyuY/2x1",
  i420: "y u/2x2 v/2x2",
  yv12: "y v/2x2 u/2x2",
  yuva420p: "y u/2x2 v/2x2 a",
  yuv422p: "y u/2x1 v/2x1",
  yuv444p: "y u v",
  yuv411p: "y u/4x1 v/4x1",
  yuv410p: "y u/4x4 v/4x4",
  nv12: "y uv/2x2",
  nv21: "y vu/2x2",
  nv16: "y uv/2x1",
  nv61: "y vu/2x1",
  nv24: "y uv",
};

/** The names of the formats. */
export const FORMATS: readonly string[] = Object.keys(PLANES);

/** Whether the colours of a format are given as luma and chroma. */
export function isYuv(format: string): boolean {
  return PLANES[format]!.includes("u");
}

/** The test picture in a format. */
export function pictureIn(format: string, colour: string, shift = 0): Uint8Array {
  const { width, height } = PICTURE;
  const bytes: number[] = [];
  for (const plane of PLANES[format]!.split(" ")) {
    const [samples = "", cell = "1x1"] = plane.split("/");
    const [columns = 1, rows = 1] = cell.split("x").map(Number);
    for (let y = 0; y < height; y += rows) {
      for (let x = 0; x < width; x += columns) {
        const values = samplesOf(colourAt(x, y, shift), colourAt(x + 1, y, shift), colour);
        for (const name of samples) bytes.push(values[name]!);
      }
    }
  }
  return Uint8Array.from(bytes);
}

/** The values of all samples of a pixel, and the luma of the next one. */
function samplesOf(rgb: Rgb, next: Rgb, colour: string): Record<string, number> {
  const [r, g, b] = rgb;
  const [y, u, v] = ycc(rgb, colour);
  const gray = luma(rgb, 0.299, 0.114);
  const deep = Math.round(gray * 257);
  const single = { r, g, b, y, u, v, Y: ycc(next, colour)[0], l: Math.round(gray) };
  return { ...single, h: deep >> 8, m: deep & 255, a: 77, x: 33 };
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
