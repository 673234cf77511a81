// What a writer refuses, and why.

import { type BufferSizes, FRAME_HEADER_SIZE } from "./config.ts";
import {
  ClosedError,
  FrameTooLargeError,
  InvalidFrameSizeError,
  MetadataAlreadyWrittenError,
  MetadataTooLargeError,
} from "./errors.ts";

/** Length of the prefix in front of the metadata, in bytes. */
const METADATA_PREFIX_SIZE = 8;

/** Length of what is to be written. What is no Uint8Array must not reach the helper, which copies what it is pointed to. */
export function sizeOf(data: Uint8Array): number {
  if (data instanceof Uint8Array) return data.length;
  throw new TypeError(`The bytes to write are a Uint8Array, not ${data === null ? "null" : typeof data}.`);
}

/** Why a frame of `size` bytes, which is none of 1 to `most`, cannot be written. */
export function wrongFrameSize(buffer: string, size: number, most: number) {
  if (!(Number.isInteger(size) && size > most)) {
    return new InvalidFrameSizeError(`A frame of buffer "${buffer}" cannot have ${size} bytes.`, {
      buffer,
      hint: "A frame has a whole number of bytes, at least 1.",
    });
  }
  return new FrameTooLargeError(
    `A frame of ${size} bytes can never fit buffer "${buffer}", which takes up to ${most}.`,
    {
      buffer,
      hint: `Give its reader a payload size of at least ${size + FRAME_HEADER_SIZE} bytes (\`payloadSize\`).`,
    },
  );
}

/** Why metadata of `length` bytes cannot be sent; undefined if it can. */
export function wrongMetadataSize(buffer: string, length: number, { metadataSize }: BufferSizes) {
  const most = metadataSize - METADATA_PREFIX_SIZE;
  if (length > 0 && length <= most) return undefined;
  return new MetadataTooLargeError(
    `Metadata of ${length} bytes does not fit buffer "${buffer}", which takes ${most > 0 ? `1 to ${most}` : "none"}.`,
    { buffer, hint: "Give its reader a larger metadata size (`metadataSize`)." },
  );
}

export function metadataAlreadyWritten(buffer: string): MetadataAlreadyWrittenError {
  return new MetadataAlreadyWrittenError(`This writer of buffer "${buffer}" has sent its metadata already.`, {
    buffer,
    hint: "A writer sends metadata once: send what changes as frames.",
  });
}

/** The error where a reader of version 1 may still want the metadata of an earlier writer. */
export function metadataOfAnother(buffer: string) {
  return new MetadataAlreadyWrittenError(`Buffer "${buffer}" holds other metadata, of an earlier writer.`, {
    buffer,
    hint: "Its reader takes the metadata of one writer: restart it, or send the same.",
  });
}

export function writerClosed(buffer: string): ClosedError {
  return new ClosedError(`The writer of buffer "${buffer}" is closed.`, { buffer });
}

export function frameAcquired(buffer: string): ClosedError {
  return new ClosedError(`A frame of buffer "${buffer}" is acquired already.`, {
    buffer,
    hint: "Call commitFrame() or cancelFrame() first, or use an asynchronous write, which waits for that.",
  });
}

export function nothingAcquired(buffer: string): ClosedError {
  return new ClosedError(`No frame of buffer "${buffer}" is acquired that could be committed.`, {
    buffer,
    hint: "Call acquireFrame(size) first.",
  });
}
