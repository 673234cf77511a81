// The options of a writer and of its writes.

import { type BufferConfig, checkCount, checkTimeout, checkWaitMode, type WaitMode } from "./config.ts";
import type { SharingSource } from "./sharing/source.ts";
import { sizeOf } from "./writer-errors.ts";

/** Options of a writer. All optional. */
export interface WriterOptions {
  /** How long to wait for the buffer and its reader, in milliseconds: 0 looks once, Infinity never ends. Default 0. */
  connectTimeoutMs?: number;
  /** How long a write waits for room, in milliseconds; see {@link Writer.writeTimeout}. Default 5000. */
  writeTimeout?: number;
  /** Creates the buffer if there is none; a reader that comes later adopts it (docs/protocol.md, section 5.6). */
  create?: BufferConfig | undefined;
  /** Size of the largest frame to be written, in bytes: a buffer that it does not fit is refused before the writer is seen. */
  frameSize?: number | undefined;
  /** Sent at once, as {@link Writer.setMetadata} does; a buffer that it does not fit is refused before the writer is seen. */
  metadata?: Uint8Array | undefined;
  /** How the writer waits for room. Default `adaptive`. */
  wait?: WaitMode | undefined;
  /**
   * Shares the frames of the reader of the first frame that is forwarded (`forwardFrame`), if that reader and the reader of
   * this buffer have `allowPayloadSharing`. Default false: frames are copied.
   */
  requestPayloadSharing?: boolean | undefined;
  /**
   * How many frames that were forwarded without a copy the reader of this buffer may hold: 1 or more. Then writes wait until it
   * has released one, as they wait for room. Default: as many as there is room for.
   */
  maxFramesLent?: number | undefined;
}

/** What this package gives its own writers besides. */
export interface InternalWriterOptions extends WriterOptions {
  /** The reader whose frames it shares. The writer is closed with it. */
  readonly source?: SharingSource | undefined;
}

/** Options of {@link Writer.connect}. All optional. */
export interface ConnectOptions extends WriterOptions {
  /** Ends the wait: the promise rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** @internal The only reader to connect to. */
  readerPid?: bigint;
}

/** Options of {@link Writer.reconnect}. All optional. */
export interface ReconnectOptions {
  /** How long to wait for the next reader, in milliseconds: 0 looks once. Default: `Infinity`, which never ends. */
  connectTimeoutMs?: number;
  /** Sent instead of what this writer has sent. */
  metadata?: Uint8Array | undefined;
  /** Ends the wait: the promise rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** Options of asynchronous writes. */
export interface WriteOptions {
  /** Ends the wait: the promise rejects with the signal's reason, and nothing more is written. */
  signal?: AbortSignal | undefined;
}

/**
 * Checks the options of a writer and fills in what is missing.
 *
 * @throws RangeError, before anything is connected to.
 */
export function resolveOptions({
  connectTimeoutMs = 0,
  writeTimeout = 5000,
  create,
  frameSize,
  metadata,
  wait = "adaptive",
  requestPayloadSharing = false,
  maxFramesLent = Number.MAX_SAFE_INTEGER,
  source,
}: InternalWriterOptions) {
  checkTimeout("connectTimeoutMs", connectTimeoutMs);
  checkTimeout("writeTimeout", writeTimeout);
  checkWaitMode(wait);
  if (frameSize !== undefined) checkCount("frameSize", frameSize);
  if (metadata !== undefined) sizeOf(metadata);
  checkCount("maxFramesLent", maxFramesLent);
  return {
    ...{ connectTimeoutMs, writeTimeout, create, frameSize, metadata, wait },
    ...{ requestPayloadSharing, maxFramesLent, source },
  };
}
