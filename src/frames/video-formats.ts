// The pixel formats of raw video, by the names that GStreamer and ffmpeg have for them.

/** One plane of a picture: `bytes` for each cell of `columns` by `rows` pixels. */
export interface Plane {
  readonly bytes: number;
  readonly columns: number;
  readonly rows: number;
}

/** A pixel format. */
export interface VideoFormat {
  /** GStreamer's name. */
  readonly name: string;
  /** ffmpeg's names; those without the byte order are little-endian. */
  readonly aliases: readonly string[];
  readonly planes: readonly Plane[];
}

const plane = (bytes: number, columns = 1, rows = 1): Plane => ({ bytes, columns, rows });

/** Pixels of `bytes` bytes each, side by side. */
const packed = (bytes: number) => [plane(bytes)];

/** Two pixels share their chroma: four bytes for both. */
const PAIRS = [plane(4, 2)];

/** Planes of one byte per sample; those for chroma have one sample for `columns` by `rows` pixels. */
const planar = (columns: number, rows: number) => [
  plane(1),
  plane(1, columns, rows),
  plane(1, columns, rows),
];

/** A plane for luma, and one for both chroma samples. */
const semiPlanar = (columns: number, rows: number) => [plane(1), plane(2, columns, rows)];

/** The planes, and one for alpha. */
const withAlpha = (planes: readonly Plane[]) => [...planes, plane(1)];

/** Two bytes per sample. */
const deep = (planes: readonly Plane[]) =>
  planes.map(({ bytes, ...cell }) => ({ ...cell, bytes: 2 * bytes }));

type Row = readonly [name: string, planes: readonly Plane[], ...aliases: string[]];

/** One byte per sample, or a pixel in one word. */
const SHALLOW: readonly Row[] = [
  ["RGB", packed(3), "rgb24"],
  ["BGR", packed(3), "bgr24"],
  ["RGBA", packed(4)],
  ["BGRA", packed(4)],
  ["ARGB", packed(4)],
  ["ABGR", packed(4)],
  ["RGBx", packed(4), "rgb0"],
  ["BGRx", packed(4), "bgr0"],
  ["xRGB", packed(4), "0rgb"],
  ["xBGR", packed(4), "0bgr"],
  ["RGB16", packed(2), "rgb565le", "rgb565"],
  ["BGR16", packed(2), "bgr565le", "bgr565"],
  ["RGB15", packed(2), "rgb555le", "rgb555"],
  ["BGR15", packed(2), "bgr555le", "bgr555"],
  ["GRAY8", packed(1), "gray"],
  ["AYUV", packed(4)],
  ["VUYA", packed(4)],
  ["YUY2", PAIRS, "yuyv422"],
  ["UYVY", PAIRS, "uyvy422"],
  ["YVYU", PAIRS, "yvyu422"],
  ["VYUY", PAIRS],
  ["I420", planar(2, 2), "yuv420p"],
  ["YV12", planar(2, 2)],
  ["Y42B", planar(2, 1), "yuv422p"],
  ["Y444", planar(1, 1), "yuv444p"],
  ["Y41B", planar(4, 1), "yuv411p"],
  ["YUV9", planar(4, 4), "yuv410p"],
  ["A420", withAlpha(planar(2, 2)), "yuva420p"],
  ["GBR", planar(1, 1), "gbrp"],
  ["GBRA", withAlpha(planar(1, 1)), "gbrap"],
  ["NV12", semiPlanar(2, 2)],
  ["NV21", semiPlanar(2, 2)],
  ["NV16", semiPlanar(2, 1)],
  ["NV61", semiPlanar(2, 1)],
  ["NV24", semiPlanar(1, 1)],
];

/** Two bytes per sample, in both byte orders: the names end in LE or BE. */
const DEEP: readonly Row[] = [
  ["GRAY16_", packed(1), "gray16"],
  ["RGBA64_", packed(4), "rgba64"],
  ["BGRA64_", packed(4), "bgra64"],
  ["P010_10", semiPlanar(2, 2), "p010"],
  ["P016_", semiPlanar(2, 2), "p016"],
  ["I420_10", planar(2, 2), "yuv420p10"],
  ["I420_12", planar(2, 2), "yuv420p12"],
  ["I422_10", planar(2, 1), "yuv422p10"],
  ["I422_12", planar(2, 1), "yuv422p12"],
  ["Y444_10", planar(1, 1), "yuv444p10"],
  ["Y444_12", planar(1, 1), "yuv444p12"],
  ["Y444_16", planar(1, 1), "yuv444p16"],
  ["A420_10", withAlpha(planar(2, 2)), "yuva420p10"],
  ["A422_10", withAlpha(planar(2, 1)), "yuva422p10"],
  ["A444_10", withAlpha(planar(1, 1)), "yuva444p10"],
  ["GBR_10", planar(1, 1), "gbrp10"],
  ["GBR_12", planar(1, 1), "gbrp12"],
  ["GBRA_10", withAlpha(planar(1, 1)), "gbrap10"],
  ["GBRA_12", withAlpha(planar(1, 1)), "gbrap12"],
];

/** Every known format. Names that differ only in case are one name, so that ffmpeg's `rgba` needs no line of its own. */
export const VIDEO_FORMATS: readonly VideoFormat[] = [
  ...SHALLOW.map(([name, planes, ...aliases]) => ({ name, aliases, planes })),
  ...DEEP.flatMap(([name, planes, alias = ""]) => [
    { name: `${name}LE`, aliases: [`${alias}le`, alias], planes: deep(planes) },
    { name: `${name}BE`, aliases: [`${alias}be`], planes: deep(planes) },
  ]),
];

/** The format of a name in any case; undefined if there is none. */
export function findFormat(name: string): VideoFormat | undefined {
  const wanted = name.toLowerCase();
  return VIDEO_FORMATS.find((format) =>
    [format.name, ...format.aliases].some((known) => known.toLowerCase() === wanted),
  );
}
