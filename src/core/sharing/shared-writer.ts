// A writer that shares the payload of a reader.

import { closed } from "../lookahead.ts";
import type { Reader } from "../reader.ts";
import { Writer } from "../writer.ts";
import type { InternalWriterOptions, WriterOptions } from "../writer-options.ts";
import type { SharingSource } from "./source.ts";

/**
 * A {@link Writer} that passes on the frames of one reader, the source, without copying them where that is possible
 * (docs/protocol.md, section 10): the source and the reader of this buffer both have `allowPayloadSharing`. Frames that were
 * passed on take room in the source until the reader of this buffer has released them. It is closed with its source.
 */
export class SharedWriter extends Writer {
  /** As {@link Writer}'s; ClosedError if the source is closed. */
  constructor(name: string, source: Reader, options: WriterOptions = {}) {
    super(name, { ...options, source: openSource(source) } satisfies InternalWriterOptions);
  }
}

function openSource({ name, sharing }: Reader): SharingSource {
  if (sharing.isClosed) throw closed(name);
  return sharing;
}
