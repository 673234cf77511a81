// What metadata says about the pictures of a buffer.

import type { Colour } from "./pixels.ts";
import { parseVideo, type Video, VideoFault } from "./video.ts";

/** Longer metadata is no description of a picture. */
const MOST_BYTES = 64 * 1024;

/** A description of raw video. */
export interface Description {
  readonly video: Video;
  /** Matrix and range, if the metadata names those of YUV. */
  readonly colour: Colour | undefined;
}

/**
 * The raw video that metadata describes: caps of GStreamer as text, JSON with such caps under `caps`, or JSON with `width`, `height`
 * and `format`. Its frame rate is not read.
 *
 * @returns why there is none, as a sentence without its full stop, if it seems to describe a picture that cannot be; undefined if it
 *   describes nothing.
 */
export function describe(metadata: Uint8Array): Description | string | undefined {
  if (metadata.length === 0 || metadata.length > MOST_BYTES) return undefined;
  const fields = fieldsOf(new TextDecoder().decode(metadata));
  if (fields === undefined) return undefined;
  const [width, height, format] = ["width", "height", "format"].map((name) => textOf(fields.get(name)));
  if (width === undefined || height === undefined || format === undefined) return undefined;
  if (![width, height].every((side) => /^\d+$/.test(side))) {
    return "The metadata has a width or a height that is no whole number";
  }
  try {
    const video = parseVideo(`${width}x${height}:${format}`);
    return { video, colour: colourOf(textOf(fields.get("colorimetry"))) };
  } catch (error) {
    if (!(error instanceof VideoFault)) throw error;
    return `The metadata describes no picture that can be: ${error.message}`;
  }
}

/** A number or a short text. */
function textOf(value: unknown): string | undefined {
  if (typeof value === "number") return `${value}`;
  return typeof value === "string" && value.length <= 64 ? value : undefined;
}

/** The named values in metadata; a map, because names are those of a stranger. */
function fieldsOf(text: string): ReadonlyMap<string, unknown> | undefined {
  if (text.trimStart().startsWith("video/")) return capsOf(text);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value === "string") return capsOf(value);
  if (typeof value !== "object" || value === null) return undefined;
  const fields = new Map(Object.entries(value));
  const caps = fields.get("caps");
  if (typeof caps === "string") return capsOf(caps);
  return typeof caps === "object" && caps !== null ? new Map(Object.entries(caps)) : fields;
}

/** The fields of caps: `video/x-raw, format=(string)RGB, width=(int)640`. Those of other media have none. */
function capsOf(caps: string): ReadonlyMap<string, unknown> | undefined {
  const [media = "", ...fields] = caps.split(/[,;]/);
  if (!/^\s*video\/x-raw\b/.test(media)) return undefined;
  return new Map(
    fields.map((field) => {
      const [name = "", value = ""] = field.split(/=(.*)/s);
      return [name.trim(), value.replace(/^\s*\([^)]*\)/, "").replace(/^\s*"?|"?\s*$/g, "")];
    }),
  );
}

/** GStreamer's numbers of the matrices that are known here. */
const MATRICES: Readonly<Record<string, string>> = { 3: "bt709", 4: "bt601" };

/** What caps call colorimetry: a name, or `range:matrix:transfer:primaries` in numbers. */
function colourOf(colorimetry: string | undefined): Colour | undefined {
  if (colorimetry === "bt601" || colorimetry === "bt709") return colorimetry;
  const [, range, number = ""] = /^([12]):(\d+):\d+:\d+$/.exec(colorimetry ?? "") ?? [];
  const matrix = MATRICES[number];
  return matrix === undefined ? undefined : (`${matrix}${range === "1" ? "-full" : ""}` as Colour);
}

/** The matrix and range of YUV that nobody names: GStreamer's, by the height. */
export function usualColour({ height }: Pick<Video, "height">): Colour {
  return height > 576 ? "bt709" : "bt601";
}
