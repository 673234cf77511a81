// Raw video: the layout of a picture, the size of its frames, and the metadata that describes it.

import { findFormat, type Plane } from "./video-formats.ts";

/** Width and height are at most this many pixels. */
const MAX_SIDE = 65536;

/** Frames are at most this many bytes. */
const MAX_FRAME_SIZE = 2 ** 32;

/** GStreamer keeps both parts of a frame rate in 32 bits. */
const MAX_TERM = 2n ** 31n - 1n;

/** Raw video of one format. */
export interface Video {
  /** As it was given: `640x480:rgb24@30`. */
  readonly text: string;
  /** Pixels in a row. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
  /** GStreamer's name of the pixel format. */
  readonly format: string;
  /** Bytes of a frame: its planes end to end, and their rows without padding. */
  readonly frameSize: number;
  /** Frames per second, as a reduced fraction; undefined if none is given. */
  readonly rate: Rate | undefined;
}

/** A frame rate: `numerator / denominator` frames per second, both at least 1. */
interface Rate {
  readonly numerator: number;
  readonly denominator: number;
}

/** How a text misses being a video, as the end of a sentence. */
export class VideoFault extends Error {}

/**
 * Reads `WIDTHxHEIGHT:FORMAT` or `WIDTHxHEIGHT:FORMAT@RATE`. FORMAT is a name of GStreamer or of ffmpeg in any case; RATE
 * is a whole number, a decimal or a fraction of frames per second.
 *
 * @throws VideoFault
 */
export function parseVideo(text: string): Video {
  const [, columns = "", rows = "", name = "", , rate] =
    /^(\d{1,9})x(\d{1,9}):([A-Za-z\d_]{1,32})(@(.*))?$/s.exec(text) ?? [];
  const [width, height] = [Number(columns), Number(rows)];
  if (columns === "") throw new VideoFault("it takes WIDTHxHEIGHT:FORMAT or WIDTHxHEIGHT:FORMAT@RATE");
  if (!isSide(width) || !isSide(height)) {
    throw new VideoFault(`width and height are 1 to ${MAX_SIDE} pixels, not ${width}x${height}`);
  }
  const format = findFormat(name);
  if (format === undefined) throw new VideoFault(`there is no format "${name}"`);
  const frameSize = sizeOf(format.planes, width, height);
  if (frameSize > MAX_FRAME_SIZE) {
    throw new VideoFault(
      `its frames have ${frameSize} bytes, more than the ${MAX_FRAME_SIZE} of the largest frame`,
    );
  }
  return {
    text,
    width,
    height,
    format: format.name,
    frameSize,
    rate: rate === undefined ? undefined : parseRate(rate),
  };
}

/**
 * The metadata that GStreamer's elements of this protocol write for such video: JSON with the caps. Without a rate the
 * caps have 0/1, GStreamer's word for an unknown one.
 */
export function videoMetadata({ width, height, format, rate }: Video): string {
  const { numerator, denominator } = rate ?? { numerator: 0, denominator: 1 };
  const caps = [
    "video/x-raw",
    `format=(string)${format}`,
    `width=(int)${width}`,
    `height=(int)${height}`,
    `framerate=(fraction)${numerator}/${denominator}`,
  ];
  return JSON.stringify({
    type: "video/x-raw",
    version: "1.0",
    caps: caps.join(", "),
    element_name: "zerobuffer",
  });
}

/** ffmpeg's sizes of raw frames: chroma planes of odd pictures are rounded up. */
function sizeOf(planes: readonly Plane[], width: number, height: number): number {
  return planes
    .map(({ bytes, columns, rows }) => bytes * Math.ceil(width / columns) * Math.ceil(height / rows))
    .reduce((sum, size) => sum + size, 0);
}

function isSide(pixels: number): boolean {
  return pixels >= 1 && pixels <= MAX_SIDE;
}

function parseRate(text: string): Rate {
  const fault = new VideoFault("RATE is a number above 0, such as 30, 29.97 or 30000/1001");
  const [, whole, decimals = "", divisor = "1"] =
    /^(\d{1,20})(?:\.(\d{1,9})|\/(\d{1,20}))?$/.exec(text) ?? [];
  if (whole === undefined) throw fault;
  const numerator = BigInt(whole + decimals);
  const denominator = BigInt(divisor) * 10n ** BigInt(decimals.length);
  if (numerator === 0n || denominator === 0n) throw fault;
  const divisorOfBoth = greatestCommonDivisor(numerator, denominator);
  const terms = [numerator / divisorOfBoth, denominator / divisorOfBoth] as const;
  if (terms.some((term) => term > MAX_TERM)) throw fault;
  return { numerator: Number(terms[0]), denominator: Number(terms[1]) };
}

function greatestCommonDivisor(a: bigint, b: bigint): bigint {
  return b === 0n ? a : greatestCommonDivisor(b, a % b);
}
