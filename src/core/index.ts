// The public API, "zerobuffer": readers, writers and duplex channels. "zerobuffer/inspection" looks after buffers from outside.

export { buffersOf, type ChannelBuffers, channelOf, checkName } from "./buffer/names.ts";
export {
  type BufferConfig,
  type BufferSizes,
  DEFAULT_METADATA_SIZE,
  DEFAULT_PAYLOAD_SIZE,
  FRAME_HEADER_SIZE,
  WAIT_MODES,
  type WaitMode,
} from "./config.ts";
export { DuplexChannelFactory } from "./duplex/factory.ts";
export {
  type ClientOptions,
  type DuplexResponse,
  type IDuplexChannelFactory,
  type IDuplexClient,
  type IDuplexServer,
  type IImmutableDuplexServer,
  type IMutableDuplexServer,
  type Logger,
  type MutableRequestHandler,
  ProcessingMode,
  type RequestContext,
  type RequestHandler,
  type RequestOptions,
  type ServerStatistics,
  type StartOptions,
} from "./duplex/types.ts";
export * from "./errors.ts";
export { Frame, FrameBatch } from "./frame.ts";
export type { AcquiredFrame } from "./frame-writes.ts";
export { Reader } from "./reader.ts";
export type { ReaderOptions, ReadOptions } from "./reader-options.ts";
export type { Forwarded } from "./sharing/forwarding.ts";
export { SharedWriter } from "./sharing/shared-writer.ts";
export type { Sharing } from "./sharing/target.ts";
export { ageUs, readStamp, STAMP_SIZE, type Stamp, stampFrame } from "./stamp.ts";
export { Writer } from "./writer.ts";
export type { ConnectOptions, ReconnectOptions, WriteOptions, WriterOptions } from "./writer-options.ts";
