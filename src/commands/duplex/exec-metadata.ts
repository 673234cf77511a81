// The file in which a program of --exec finds the metadata of the client that it answers.

import { tmpdir } from "node:os";
import { CommandError, systemReason } from "../../cli/failure.ts";
import { files, paths } from "../../runtime/files.ts";

/** The environment variable that names the file. */
export const METADATA_VARIABLE = "ZEROBUFFER_METADATA_FILE";

/**
 * A file with the metadata of the client that is served, empty if it has sent none. A program may read it at any time: each
 * content replaces the one before it in one step. It lies in a directory of its own, which goes with it.
 */
export class MetadataFile implements Disposable {
  readonly path: string;
  readonly #directory: string;
  #content: Uint8Array = new Uint8Array(0);

  /** @throws CommandError IO_ERROR */
  constructor() {
    this.#directory = makeDirectory();
    this.path = paths().join(this.#directory, "metadata");
    try {
      this.#write(this.#content);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** @throws CommandError IO_ERROR */
  replace(metadata: Uint8Array): void {
    if (Buffer.compare(metadata, this.#content) === 0) return;
    this.#write(metadata);
    this.#content = metadata;
  }

  #write(metadata: Uint8Array): void {
    const next = `${this.path}.next`;
    try {
      files().writeFileSync(next, metadata);
      files().renameSync(next, this.path);
    } catch (error) {
      throw new CommandError(
        "IO_ERROR",
        `Cannot write ${this.path}: ${systemReason(error)}.`,
        undefined,
        error,
      );
    }
  }

  [Symbol.dispose](): void {
    const { rmdirSync, unlinkSync } = files();
    for (const remove of [
      () => unlinkSync(`${this.path}.next`),
      () => unlinkSync(this.path),
      () => rmdirSync(this.#directory),
    ]) {
      try {
        remove();
      } catch {
        // It is not there, or somebody else has put something into the directory.
      }
    }
  }
}

/** Makes a directory for this user alone: among the temporary files, or in shared memory if there can be none. */
function makeDirectory(): string {
  const { join } = paths();
  let cause: unknown;
  for (const place of [tmpdir(), "/dev/shm"]) {
    try {
      return files().mkdtempSync(join(place, "zerobuffer-exec-"));
    } catch (error) {
      cause ??= error;
    }
  }
  throw new CommandError(
    "IO_ERROR",
    `Cannot create a directory for ${METADATA_VARIABLE} in ${tmpdir()}: ${systemReason(cause)}.`,
    "Set TMPDIR (on Windows TEMP) to a directory that exists and that you can write to.",
    cause,
  );
}
