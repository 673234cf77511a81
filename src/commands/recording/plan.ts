// What record tells the thread that writes its files, and what that answers.

import type { FailureCode } from "../../cli/exit-codes.ts";

/** The argument with which record starts this program as its writing thread. It is no command, and has no help. */
export const RECORDING_THREAD = "@recording-thread";

/** How chunks are stored. */
export const COMPRESSIONS = ["zstd", "none"] as const;
export type Compression = (typeof COMPRESSIONS)[number];

/** The largest frame of a recording, in bytes. */
export const MAX_FRAME_SIZE = 2 ** 30;

/** Bytes of an MCAP message before its data: opcode, length, channel, sequence and two times. */
export const MESSAGE_HEADER_SIZE = 31;

/** The name of the metadata records that hold the metadata of buffers. */
export const METADATA_NAME = "zerobuffer";

/** Marks a channel whose sequences are the numbers of frames: a key of its metadata, with the version of these rules. */
export const CHANNEL_MARK = ["zerobuffer", "1"] as const;

/** What a recording holds, and where it goes. */
export interface RecordingPlan {
  /** The path of the first file, or `-`. */
  readonly path: string;
  /** Whether a file that exists is replaced. */
  readonly force: boolean;
  readonly compression: Compression;
  /** A file of this size is followed by the next one, in bytes. */
  readonly splitSize: number;
  /** Nanoseconds of frames after which the next file follows. */
  readonly splitNs: bigint | undefined;
  /** The topics, by the number of their channel. */
  readonly topics: readonly string[];
  readonly encoding: string;
  readonly schemaName: string | undefined;
  /** What wrote the file, for its header. */
  readonly library: string;
}

/** What the thread does, in this order of coming. */
export type Task =
  | { readonly kind: "open"; readonly plan: RecordingPlan }
  /** Message records that lie end to end in the first `size` bytes. */
  | { readonly kind: "chunk"; readonly buffer: ArrayBuffer; readonly size: number }
  | {
      readonly kind: "metadata";
      readonly channel: number;
      readonly bytes: Uint8Array;
      readonly timeNs: bigint;
    }
  | { readonly kind: "end" };

/** What has been written. */
export interface Written {
  readonly files: readonly string[];
  /** Bytes of those files. */
  readonly bytes: number;
}

/** A failure of the thread; nothing is written after it. */
export interface ThreadFailure {
  /** `undefined`: the reader of stdout has closed it. */
  readonly code: FailureCode | undefined;
  readonly message: string;
  readonly hint: string | undefined;
  readonly stack?: string | undefined;
}

/** What the thread answers: a task done, its buffer given back; or what has failed. */
export type Answer =
  | { readonly written: Written; readonly buffer?: ArrayBuffer | undefined }
  | {
      readonly written: Written;
      readonly failure: ThreadFailure;
    };
