// --video: what a command that sends raw video derives from it.

import { parseVideo, type Video, VideoFault } from "../frames/video.ts";
import { VIDEO_FORMATS } from "../frames/video-formats.ts";
import { CommandError } from "./failure.ts";
import { count } from "./format.ts";
import type { Option } from "./options.ts";
import type { ByteInput } from "./streams.ts";

/** The frame size of a command that sends frames, if neither --size nor --video is given. */
export const DEFAULT_FRAME_SIZE = 1024;

const EXAMPLE = "Write it as in --video 640x480:RGB@30 or --video 1920x1080:yuv420p.";

/** @param aside what --help says about the command besides. */
export function videoOption(spec: {
  group: string;
  what: string;
  aside?: string;
}): Option<Video | undefined> {
  const names = VIDEO_FORMATS.map(({ name }) => name).filter((name) => !/[LB]E$/.test(name));
  return {
    type: "string",
    group: spec.group,
    description: `send ${spec.what} of raw video, as in 640x480:RGB@30`,
    note:
      "--video WIDTHxHEIGHT:FORMAT[@RATE] sets the frame size; the pace of a pattern or a file (a pipe has its own, and " +
      "--rate wins); and the metadata, as GStreamer's elements for zerobuffer write it (--metadata and --metadata-file win). " +
      "RATE is 30, 29.97 or 30000/1001, for example. FORMAT is the name that GStreamer or ffmpeg has for " +
      `${names.join(", ")}, or for one with 10, 12 or 16 bits, such as I420_10LE or yuv420p10le.${spec.aside ?? ""}`,
    valueHint: "VIDEO",
    takes: "WIDTHxHEIGHT:FORMAT or WIDTHxHEIGHT:FORMAT@RATE",
    absent: undefined,
    parse(text) {
      try {
        return parseVideo(text);
      } catch (error) {
        if (!(error instanceof VideoFault)) throw error;
        const shown = JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
        throw new CommandError("USAGE", `Option --video ${shown} is refused: ${error.message}.`, EXAMPLE);
      }
    },
  };
}

/**
 * The size of the frames to send, in bytes.
 *
 * @param size that of --size; undefined if it is not given.
 * @throws CommandError USAGE if it contradicts the video.
 */
export function frameSizeOf(size: number | undefined, video: Video | undefined): number {
  if (video === undefined) return size ?? DEFAULT_FRAME_SIZE;
  const { frameSize, text } = video;
  if (size === undefined || size === frameSize) return frameSize;
  throw new CommandError(
    "USAGE",
    `Option --size ${size} contradicts --video ${text}, whose frames have ${count(frameSize, "bytes")}.`,
    "Leave --size out. If the frames do have that size, check width, height and format.",
  );
}

/** Frames per second: those of --rate, or those of the video unless its input comes at a pace of its own. */
export function frameRateOf(
  rate: number | undefined,
  video: Video | undefined,
  input: ByteInput | undefined,
): number | undefined {
  const isPaced = input !== undefined && input.size === undefined;
  if (rate !== undefined || video?.rate === undefined || isPaced) return rate;
  return video.rate.numerator / video.rate.denominator;
}
