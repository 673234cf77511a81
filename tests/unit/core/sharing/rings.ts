// A source with its writer, and targets that its frames are passed on to, all in this process.

import {
  type BufferConfig,
  type Frame,
  Reader,
  SharedWriter,
  Writer,
  type WriterOptions,
} from "../../../../src/core/index.ts";
import { fieldOf, uniqueName } from "../../../support/buffers.ts";

/** Where the OIEB keeps these fields (docs/protocol.md, section 1). */
export const Field = { FREE: 40, WRITER_PID: 80, ANSWER: 96, RELEASED_DESCRIPTORS: 104, FLAGS: 120 } as const;

/** A frame that is large enough to be shared, with its header. */
export const SIZE = 8192;
export const SPACE = SIZE + 16;

export const SOURCE: BufferConfig = { payloadSize: 16 * 8256, metadataSize: 64 };
export const TARGET: BufferConfig = { payloadSize: 4 * 8256, metadataSize: 0 };

const allowed = { allowPayloadSharing: true };

export class Rings implements Disposable {
  readonly source: Reader;
  readonly writer: Writer;
  readonly targets: { reader: Reader; writer: SharedWriter }[] = [];

  /**
   * @param targets how many there are, each of which has accepted to share.
   * @param options.forwarder of the targets' writers.
   */
  constructor(
    targets = 1,
    {
      source = SOURCE,
      target = TARGET,
      forwarder = {},
    }: { source?: BufferConfig; target?: BufferConfig; forwarder?: WriterOptions } = {},
  ) {
    this.source = new Reader(uniqueName(), source, allowed);
    this.writer = new Writer(this.source.name);
    for (let i = 0; i < targets; i++) {
      const reader = new Reader(uniqueName(), target, allowed);
      const writer = new SharedWriter(reader.name, this.source, forwarder);
      reader.tryReadFrame();
      this.targets.push({ reader, writer });
    }
  }

  get target(): Reader {
    return this.targets[0]!.reader;
  }

  get forwarder(): SharedWriter {
    return this.targets[0]!.writer;
  }

  /** Reads a frame from the source that was just written to it. */
  read(data: Uint8Array): Frame {
    this.writer.writeFrame(data);
    return this.source.readFrame(0);
  }

  /** Writes, reads, passes on to all targets and releases a frame. */
  pass(data: Uint8Array): void {
    using frame = this.read(data);
    for (const { writer } of this.targets) writer.forwardFrame(frame);
  }

  /** How many bytes of the source's ring are in use, after what has been released is noted. */
  get used(): number {
    this.source.tryReadFrame();
    return this.source.config.payloadSize - Number(fieldOf(this.source.name, Field.FREE));
  }

  [Symbol.dispose](): void {
    for (const { writer, reader } of this.targets) {
      writer.close();
      reader.close();
    }
    this.writer.close();
    this.source.close();
  }
}
