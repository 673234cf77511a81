// The pixels of raw video: where the samples of a pixel are in a frame, and what colour they are. Nothing here needs a runtime:
// the page of view uses it, too.

import { findFormat, type VideoFormat } from "./video-formats.ts";

/** What the samples of a pixel mean. Alpha, if there is any, comes last. */
type Model = "rgb" | "yuv" | "gray";

/** Where the samples of one kind are: that of pixel (x, y) begins at `start + (y >> rowShift) * stride + (x >> columnShift) * step`. */
export interface Samples {
  /** What they are: R, G, B, Y, U, V or A. */
  readonly name: string;
  /** All in bytes from the start of the frame. */
  readonly start: number;
  readonly stride: number;
  readonly step: number;
  readonly columnShift: number;
  readonly rowShift: number;
}

/** How to read a picture from the bytes of a frame. */
export interface PixelLayout {
  readonly model: Model;
  readonly width: number;
  readonly height: number;
  /** One for gray, otherwise three, and one more for alpha. */
  readonly samples: readonly Samples[];
  /** 1, or 2 for values to 65535. */
  readonly bytesPerSample: 1 | 2;
  readonly isBigEndian: boolean;
}

/** The matrix and the range of YUV. */
export const COLOURS = ["bt601", "bt601-full", "bt709", "bt709-full"] as const;
export type Colour = (typeof COLOURS)[number];

/** The samples of packed formats in the order of their bytes; x: none. */
const PACKED: Readonly<Record<string, string>> = Object.fromEntries(
  [
    ...["RGB", "BGR", "RGBA", "BGRA", "ARGB", "ABGR", "RGBx", "BGRx", "xRGB", "xBGR", "AYUV", "VUYA"],
    ...["GRAY8 Y", "GRAY16_LE Y", "GRAY16_BE Y"],
    ...["YUY2 YUYV", "UYVY UYVY", "YVYU YVYU", "VYUY VYUY"],
  ].map((entry) => {
    const [name = "", order = name] = entry.split(" ");
    return [name, order];
  }),
);

/** The samples of planar formats: those of each plane, in the order of their bytes. */
const PLANAR: Readonly<Record<string, readonly string[]>> = {
  ...Object.fromEntries(["I420", "Y42B", "Y444", "Y41B", "YUV9"].map((name) => [name, ["Y", "U", "V"]])),
  YV12: ["Y", "V", "U"],
  A420: ["Y", "U", "V", "A"],
  GBR: ["G", "B", "R"],
  GBRA: ["G", "B", "R", "A"],
  ...Object.fromEntries(["NV12", "NV16", "NV24"].map((name) => [name, ["Y", "UV"]])),
  ...Object.fromEntries(["NV21", "NV61"].map((name) => [name, ["Y", "VU"]])),
};

/** GStreamer's names of the formats that can be shown. */
export const SHOWN_FORMATS: readonly string[] = [...Object.keys(PACKED), ...Object.keys(PLANAR)];

/** The layout of a picture; undefined if pictures of this format cannot be shown. */
export function layoutOf(format: string, width: number, height: number): PixelLayout | undefined {
  const known = findFormat(format);
  if (known === undefined) return undefined;
  const packed = PACKED[known.name];
  const orders = packed === undefined ? PLANAR[known.name] : [packed];
  if (orders === undefined) return undefined;
  const bytesPerSample = known.name.startsWith("GRAY16") ? 2 : 1;
  const samples = samplesOf(known, orders, width, height);
  const sorted = ["Y", "U", "V", "R", "G", "B", "A"].flatMap(
    (name) => samples.find((one) => one.name === name) ?? [],
  );
  const model = sorted.some(({ name }) => name === "R") ? "rgb" : sorted.length === 1 ? "gray" : "yuv";
  return { model, width, height, samples: sorted, bytesPerSample, isBigEndian: known.name.endsWith("BE") };
}

function samplesOf(
  { planes }: VideoFormat,
  orders: readonly string[],
  width: number,
  height: number,
): Samples[] {
  let start = 0;
  return planes.flatMap(({ bytes, columns, rows }, plane) => {
    const [order = "", stride] = [orders[plane], bytes * Math.ceil(width / columns)];
    const found = [...order].flatMap((name, at): Samples[] => {
      if (name === "x" || order.indexOf(name) !== at) return [];
      // Of two pixels that share their chroma, each has a luma of its own.
      const isRepeated = order.lastIndexOf(name) !== at;
      const step = isRepeated ? order.lastIndexOf(name) - at : bytes;
      const columnShift = isRepeated ? 0 : Math.log2(columns);
      return [{ name, start: start + at, stride, step, columnShift, rowShift: Math.log2(rows) }];
    });
    start += stride * Math.ceil(height / rows);
    return found;
  });
}

/** From the samples of a pixel to red, green and blue from 0 to 255: `rows[c] * samples + offsets[c]`. */
export interface Conversion {
  readonly rows: readonly (readonly [number, number, number])[];
  readonly offsets: readonly [number, number, number];
}

/** The conversion of a layout. Of gray, all three samples are the same one. */
export function conversionOf({ model, bytesPerSample }: PixelLayout, colour: Colour): Conversion {
  const scale = bytesPerSample === 2 ? 1 / 257 : 1;
  if (model === "gray") return withoutOffsets([scale, 0, 0], [scale, 0, 0], [scale, 0, 0]);
  if (model === "rgb") return withoutOffsets([1, 0, 0], [0, 1, 0], [0, 0, 1]);
  const [red, blue] = colour.startsWith("bt709") ? [0.2126, 0.0722] : [0.299, 0.114];
  const green = 1 - red - blue;
  const isFull = colour.endsWith("full");
  const [luma, black] = isFull ? [1, 0] : [255 / 219, 16];
  const chroma = isFull ? 1 : 255 / 224;
  const rows = [
    [luma, 0, 2 * (1 - red) * chroma],
    [luma, (-2 * (1 - blue) * blue * chroma) / green, (-2 * (1 - red) * red * chroma) / green],
    [luma, 2 * (1 - blue) * chroma, 0],
  ] as const;
  const offsets = rows.map(([y, u, v]) => -y * black - (u + v) * 128);
  return { rows, offsets: [offsets[0]!, offsets[1]!, offsets[2]!] };
}

function withoutOffsets(...rows: [number, number, number][]): Conversion {
  return { rows, offsets: [0, 0, 0] };
}

/** The samples of a pixel, as they are in the frame. */
export function samplesAt(layout: PixelLayout, data: Uint8Array, x: number, y: number): number[] {
  const { samples, bytesPerSample, isBigEndian } = layout;
  return samples.map(({ start, stride, step, columnShift, rowShift }) => {
    const at = start + (y >> rowShift) * stride + (x >> columnShift) * step;
    const [first, second] = [data[at] ?? 0, data[at + 1] ?? 0];
    if (bytesPerSample === 1) return first;
    return isBigEndian ? first * 256 + second : first + second * 256;
  });
}

/** Red, green and blue of samples, rounded, from 0 to 255. */
export function colourOf({ rows, offsets }: Conversion, samples: readonly number[]): number[] {
  const [a = 0, b = 0, c = 0] = samples;
  return rows.map((row, i) => {
    const value = row[0] * a + row[1] * b + row[2] * c + (offsets[i] ?? 0);
    return Math.round(Math.min(255, Math.max(0, value)));
  });
}

/**
 * Stores all pixels of a picture: red, green, blue and 255 of each. What they have of transparency is left out.
 *
 * @param target four bytes for each pixel.
 */
export function storeRgba(
  layout: PixelLayout,
  data: Uint8Array,
  colour: Colour,
  target: Uint8ClampedArray,
): void {
  const { width, height, samples, model, bytesPerSample } = layout;
  const [p, q = p, r = p] = samples;
  if (p === undefined || q === undefined || r === undefined) return;
  const isPlain = bytesPerSample === 1 && model !== "yuv";
  const { rows, offsets } = conversionOf(layout, colour);
  const [[a, b, c], [d, e, f], [g, h, i]] = rows as [Row, Row, Row];
  const [j, k, l] = offsets;
  // Of two bytes, the one that counts more, and how far the other one is behind it.
  const high = bytesPerSample === 2 && !layout.isBigEndian ? 1 : 0;
  const low = bytesPerSample === 1 ? 0 : 1 - 2 * high;
  const scale = bytesPerSample === 1 ? 1 : 256;
  const least = bytesPerSample === 1 ? 0 : 1;
  let to = 0;
  for (let y = 0; y < height; y++) {
    const first = p.start + (y >> p.rowShift) * p.stride + high;
    const second = q.start + (y >> q.rowShift) * q.stride + high;
    const third = r.start + (y >> r.rowShift) * r.stride + high;
    for (let x = 0; x < width; x++) {
      const [one, two, three] = [
        first + (x >> p.columnShift) * p.step,
        second + (x >> q.columnShift) * q.step,
        third + (x >> r.columnShift) * r.step,
      ];
      if (isPlain) {
        target[to] = data[one]!;
        target[to + 1] = data[two]!;
        target[to + 2] = data[three]!;
      } else {
        const s = data[one]! * scale + data[one + low]! * least;
        const t = data[two]! * scale + data[two + low]! * least;
        const u = data[three]! * scale + data[three + low]! * least;
        target[to] = a * s + b * t + c * u + j;
        target[to + 1] = d * s + e * t + f * u + k;
        target[to + 2] = g * s + h * t + i * u + l;
      }
      target[to + 3] = 255;
      to += 4;
    }
  }
}

type Row = readonly [number, number, number];
