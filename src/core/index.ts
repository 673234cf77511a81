// The public API.

export {
  type BufferConfig,
  type BufferSizes,
  DEFAULT_METADATA_SIZE,
  DEFAULT_PAYLOAD_SIZE,
} from "./config.ts";
export * from "./errors.ts";
export { Frame } from "./frame.ts";
export { Reader, type ReadOptions } from "./reader.ts";
export { type AcquiredFrame, Writer, type WriterOptions } from "./writer.ts";
