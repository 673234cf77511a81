// Decides how each frame is to be shown: as a picture, or as bytes and why.

import { count, grouped } from "../../cli/format.ts";
import { readStamp, STAMP_SIZE } from "../../core/index.ts";
import { describe, usualColour } from "../../frames/description.ts";
import { encodingOf } from "../../frames/encoded.ts";
import { type Colour, layoutOf } from "../../frames/pixels.ts";
import type { Video } from "../../frames/video.ts";
import type { Sight } from "./protocol.ts";

/** Larger frames are shown as bytes. */
export const MOST_SHOWN = 256 * 2 ** 20;

/** What is shown of bytes: those at the start. */
const BYTES_SHOWN = 64 * 1024;

/** What is known of frames that their metadata does not tell. */
export interface SightOptions {
  /** What frames are if the metadata does not describe them. */
  readonly video: Video | undefined;
  /** The colours of YUV, whatever the metadata says. */
  readonly colour: Colour | undefined;
  /** Whether frames begin with stamps. */
  readonly stamp: boolean;
  /** Bytes in front of the picture, after the stamp. */
  readonly skipBytes: number;
}

/** A frame, and how to show it. */
export interface Seen {
  readonly sight: Sight;
  /** What is to be shown of it: the bytes after the stamp and those that are skipped. */
  readonly data: Uint8Array;
  /** Bytes in front of these. */
  readonly skipped: number;
  /** What its stamp says; a time in milliseconds since 1970. */
  readonly stamp: { readonly number: number; readonly ms: number } | undefined;
}

/** Knows the metadata of the writer, and looks at its frames. */
export class Sights {
  readonly #options: SightOptions;
  #described: { readonly video: Video; readonly colour: Colour | undefined } | undefined;
  /** Why the metadata is of no use. */
  #fault: string | undefined;

  constructor(options: SightOptions) {
    this.#options = options;
    this.noteMetadata(new Uint8Array(0));
  }

  /** The next frames come with this metadata. */
  noteMetadata(metadata: Uint8Array): void {
    const { video } = this.#options;
    const found = describe(metadata);
    this.#fault = typeof found === "string" ? found : undefined;
    this.#described = typeof found === "object" ? found : video && { video, colour: undefined };
  }

  /** How to show a frame. */
  look(frame: Uint8Array): Seen {
    const { stamp: hasStamp, skipBytes } = this.#options;
    const skipped = (hasStamp ? STAMP_SIZE : 0) + skipBytes;
    if (frame.length < skipped) {
      const reason = `It has ${count(frame.length, "bytes")}, fewer than the ${grouped(skipped)} in front of a picture.`;
      return { sight: { kind: "bytes", reason }, data: frame, skipped: 0, stamp: undefined };
    }
    const stamp = hasStamp ? stampOf(frame) : undefined;
    const data = frame.subarray(skipped);
    const sight = this.#sightOf(data);
    return { sight, data: sight.kind === "bytes" ? data.subarray(0, BYTES_SHOWN) : data, skipped, stamp };
  }

  #sightOf(data: Uint8Array): Sight {
    if (data.length > MOST_SHOWN) return { kind: "bytes", reason: "It is larger than 256 MiB." };
    const described = this.#described;
    if (described !== undefined && data.length === described.video.frameSize) {
      const { width, height, format } = described.video;
      const colour = this.#options.colour ?? described.colour ?? usualColour(described.video);
      if (layoutOf(format, width, height) !== undefined)
        return { kind: "raw", width, height, format, colour };
      return { kind: "bytes", reason: `Pictures of format ${format} cannot be shown.` };
    }
    const encoding = encodingOf(data);
    if (encoding !== undefined) return { kind: encoding };
    return { kind: "bytes", reason: this.#reasonFor(data) };
  }

  #reasonFor(data: Uint8Array): string {
    if (this.#described === undefined) {
      return this.#fault === undefined
        ? "Neither the metadata nor --video says what it is, and it is no JPEG or PNG."
        : `${this.#fault}.`;
    }
    const { width, height, format, frameSize } = this.#described.video;
    return `It has ${count(data.length, "bytes")}; a picture of ${width}x${height} in ${format} has ${grouped(frameSize)}.`;
  }
}

function stampOf(frame: Uint8Array): Seen["stamp"] {
  const { number, time } = readStamp(frame);
  return { number: Number(number), ms: Number(time / 1000n) / 1000 };
}
