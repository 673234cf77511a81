// Writes the metadata of a channel's clients to --metadata-output.

import { DownstreamClosed } from "../../cli/failure.ts";
import type { ByteOutput } from "../../cli/streams.ts";

/** Writes metadata, each in place of the one before it. */
export class MetadataOutput {
  readonly #output: ByteOutput;
  readonly #fail: (error: unknown) => void;
  #writing: Promise<void> = Promise.resolve();

  /** @param fail is called if a write fails. */
  constructor(output: ByteOutput, fail: (error: unknown) => void) {
    this.#output = output;
    this.#fail = fail;
  }

  /** Replaces what is in the file, once earlier metadata is written. */
  replace(metadata: Uint8Array): void {
    this.#writing = this.#writing.then(() => this.#write(metadata));
    this.#writing.catch(this.#fail);
  }

  /** Waits until everything is written. Rejects if a write has failed. */
  finish(): Promise<void> {
    return this.#writing;
  }

  async #write(metadata: Uint8Array): Promise<void> {
    try {
      this.#output.restart();
      await this.#output.write(metadata);
    } catch (error) {
      // Nobody reads that pipe any more; the channel is still of use.
      if (!(error instanceof DownstreamClosed)) throw error;
    }
  }
}
