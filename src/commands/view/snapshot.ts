// One picture to a file.

import { CommandError, systemReason } from "../../cli/failure.ts";
import type { Session } from "../../cli/session.ts";
import type { ByteOutput } from "../../cli/streams.ts";
import type { Reader } from "../../core/index.ts";
import { layoutOf, storeRgba } from "../../frames/pixels.ts";
import type { ViewDocument } from "../../schemas/view.ts";
import { ViewLoop } from "./loop.ts";
import { type Seen, type SightOptions, Sights } from "./sights.ts";

/** Where pixels begin in a BMP file of 32 bits a pixel: after its two headers. */
const BMP_HEADERS = 54;

/**
 * Writes the next frame as PNG.
 *
 * @throws CommandError INCOMPLETE if the writer leaves without a frame, VERIFICATION_FAILED if the frame is no picture.
 */
export async function takeSnapshot(
  reader: Reader,
  options: SightOptions & { readonly follow: boolean },
  target: { readonly path: string; readonly output: ByteOutput },
  session: Session,
  document: ViewDocument,
): Promise<void> {
  const sights = new Sights(options);
  let seen: Seen | undefined;
  const loop = new ViewLoop(reader, sights, session, {
    isLooking: true,
    onFrame: ({ data }) => {
      const frame = sights.look(data);
      seen = { ...frame, data: frame.data.slice() };
      return true;
    },
    onWriter: () => {},
  });
  await loop.run(options);
  document.frames_read = reader.framesRead;
  document.frames_skipped = reader.framesSkipped;
  document.metadata_size = loop.metadataSize;
  if (seen === undefined) {
    throw new CommandError(
      "INCOMPLETE",
      `The writer of buffer "${reader.name}" left without a frame.`,
      "Let the writer send more, or leave --no-follow out.",
    );
  }
  const image = imageOf(seen);
  const png = await image
    .png()
    .bytes()
    .catch((error) => {
      throw noPicture(`It cannot be decoded: ${systemReason(error)}.`, error);
    });
  const { width, height } = image;
  await session.finish(target.output.write(png));
  const format = seen.sight.kind === "raw" ? seen.sight.format : seen.sight.kind;
  document.snapshot = { file: target.path, format, width, height, file_bytes: png.length };
}

function imageOf({ sight, data }: Seen): Bun.Image {
  if (sight.kind === "bytes") throw noPicture(sight.reason);
  if (sight.kind !== "raw") return new Bun.Image(data);
  const { width, height, format, colour } = sight;
  const layout = layoutOf(format, width, height);
  if (layout === undefined) throw noPicture(`Pictures of format ${format} cannot be shown.`);
  const pixels = new Uint8ClampedArray(width * height * 4);
  storeRgba(layout, data, colour, pixels);
  return new Bun.Image(bitmapOf(pixels, width, height));
}

/** Pixels as a BMP file, which is what the library takes them as. */
function bitmapOf(rgba: Uint8ClampedArray, width: number, height: number): Uint8Array {
  const file = new Uint8Array(BMP_HEADERS + rgba.length);
  const view = new DataView(file.buffer);
  file.set([0x42, 0x4d]);
  view.setUint32(2, file.length, true);
  view.setUint32(10, BMP_HEADERS, true);
  view.setUint32(14, BMP_HEADERS - 14, true);
  view.setInt32(18, width, true);
  // Negative: the first row is at the top.
  view.setInt32(22, -height, true);
  view.setUint16(26, 1, true);
  view.setUint16(28, 32, true);
  for (let from = 0, to = BMP_HEADERS; from < rgba.length; from += 4, to += 4) {
    file[to] = rgba[from + 2]!;
    file[to + 1] = rgba[from + 1]!;
    file[to + 2] = rgba[from]!;
    file[to + 3] = 255;
  }
  return file;
}

function noPicture(reason: string, cause?: unknown): CommandError {
  return new CommandError(
    "VERIFICATION_FAILED",
    `The frame is no picture that can be shown. ${reason}`,
    "Say what it is with --video WIDTHxHEIGHT:FORMAT, or have the writer say it with its --video.",
    cause,
  );
}
