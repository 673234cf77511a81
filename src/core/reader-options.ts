// The options of a reader and of its reads.

import type { SharedBuffer } from "./buffer/shared-buffer.ts";
import type { WaitMode } from "./config.ts";

/** Options of a reader. All optional. */
export interface ReaderOptions {
  /** How the reader waits for frames. Default `adaptive`. */
  wait?: WaitMode | undefined;
  /**
   * Takes frames that lie in another buffer, whose memory this process then maps to read them there, and lets writers of this
   * process share this reader's frames with others (docs/protocol.md, section 10). Default false. Only Linux shares; on other
   * systems frames are copied.
   */
  allowPayloadSharing?: boolean | undefined;
}

/** Options of asynchronous reads. All optional. */
export interface ReadOptions {
  /** Ends the wait: the promise rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** What this package gives its own readers besides. */
export interface InternalReaderOptions extends ReaderOptions {
  /** Flags of the buffer: {@link OiebFlag}. */
  readonly flags?: bigint;
  /** Its frames may be shared with others, also if it takes none of other buffers. */
  readonly isSource?: boolean;
  /** The buffer, if it has been created. */
  readonly created?: SharedBuffer;
}
