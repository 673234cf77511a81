// The bytes of a recording in their order: of a file, in which any number can be skipped, or of a stream.

import fs from "node:fs";
import { CommandError, systemReason } from "../../cli/failure.ts";
import { ByteInput } from "../../cli/streams.ts";
import { raceAbort } from "../../runtime/abort.ts";
import { MAX_CALL_SIZE } from "../../runtime/files.ts";

/** Bytes that come one after another. */
export interface ByteSource extends Disposable {
  /** The bytes that are left; `Infinity` if nobody knows. */
  readonly remaining: number;
  /** The bytes taken and skipped so far. */
  readonly position: number;
  /**
   * The next bytes, fewer only at the end; lent until the next call. Never allocates more than twice the available bytes.
   *
   * @throws CommandError IO_ERROR; the signal's reason.
   */
  take(size: number): Promise<Uint8Array>;
  /** Skips bytes; returns how many, fewer only at the end. */
  skip(size: number): Promise<number>;
}

/** The bytes of a path, or of stdin (`-`). @throws CommandError IO_ERROR */
export async function openSource(path: string, signal: AbortSignal): Promise<ByteSource> {
  if (path !== "-") {
    const source = FileSource.open(path, signal);
    if (source !== undefined) return source;
  }
  return new StreamSource(await ByteInput.open(path, signal), signal);
}

/** What is read at once of a file when less is asked for. */
const WINDOW_SIZE = 64 * 1024;

/** A regular file. */
export class FileSource implements ByteSource {
  readonly size: number;
  readonly #descriptor: number;
  readonly #path: string;
  readonly #signal: AbortSignal;
  #position = 0;
  #window = new Uint8Array(0);
  #windowAt = 0;
  #large = new Uint8Array(0);

  private constructor(descriptor: number, size: number, path: string, signal: AbortSignal) {
    this.#descriptor = descriptor;
    this.size = size;
    this.#path = path;
    this.#signal = signal;
  }

  /** Undefined if it is no regular file. @throws CommandError IO_ERROR */
  static open(path: string, signal: AbortSignal): FileSource | undefined {
    try {
      if (!fs.statSync(path).isFile()) return undefined;
      const descriptor = fs.openSync(path, "r");
      return new FileSource(descriptor, fs.fstatSync(descriptor).size, path, signal);
    } catch (error) {
      throw unreadable(path, error);
    }
  }

  get remaining(): number {
    return this.size - this.#position;
  }

  get position(): number {
    return this.#position;
  }

  async take(size: number): Promise<Uint8Array> {
    const bytes = await this.readAt(this.#position, size);
    this.#position += bytes.length;
    return bytes;
  }

  async skip(size: number): Promise<number> {
    const skipped = Math.min(size, this.remaining);
    this.#position += skipped;
    return skipped;
  }

  /** Bytes from anywhere, as {@link take}. */
  async readAt(position: number, size: number): Promise<Uint8Array> {
    const wanted = Math.max(0, Math.min(size, this.size - position));
    if (wanted > WINDOW_SIZE) {
      if (this.#large.length < wanted) this.#large = new Uint8Array(wanted);
      return await this.#read(this.#large.subarray(0, wanted), position);
    }
    const start = position - this.#windowAt;
    if (start < 0 || start + wanted > this.#window.length) {
      const window = new Uint8Array(Math.min(WINDOW_SIZE, this.size - position));
      this.#window = await this.#read(window, position);
      this.#windowAt = position;
      return this.#window.subarray(0, wanted);
    }
    return this.#window.subarray(start, start + wanted);
  }

  /** Fills `into`, up to the end of the file: it may have become shorter. */
  async #read<T extends Uint8Array>(into: T, position: number): Promise<T> {
    let done = 0;
    while (done < into.length) {
      const size = Math.min(into.length - done, MAX_CALL_SIZE);
      const read = await raceAbort(this.#call(into, done, size, position + done), this.#signal);
      if (read === 0) break;
      done += read;
    }
    return into.subarray(0, done) as T;
  }

  #call(into: Uint8Array, at: number, size: number, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.read(this.#descriptor, into, at, size, position, (error, read) => {
        if (error) reject(unreadable(this.#path, error));
        else resolve(read);
      });
    });
  }

  [Symbol.dispose](): void {
    fs.closeSync(this.#descriptor);
  }
}

/** Anything else: stdin, a named pipe. */
class StreamSource implements ByteSource {
  readonly remaining = Number.POSITIVE_INFINITY;
  readonly #input: ByteInput;
  readonly #signal: AbortSignal;
  /** What has been read and not taken. It is lent by the input. */
  #rest = new Uint8Array(0);
  #position = 0;

  constructor(input: ByteInput, signal: AbortSignal) {
    this.#input = input;
    this.#signal = signal;
  }

  get position(): number {
    return this.#position;
  }

  async take(size: number): Promise<Uint8Array> {
    if (this.#rest.length === 0) await this.#refill();
    if (this.#rest.length >= size) return this.#consume(size);
    let bytes = new Uint8Array(Math.min(size, 2 * this.#rest.length));
    let length = 0;
    while (length < size && this.#rest.length > 0) {
      const piece = this.#consume(Math.min(size - length, this.#rest.length));
      if (length + piece.length > bytes.length) {
        const larger = new Uint8Array(Math.min(size, 2 * (length + piece.length)));
        larger.set(bytes.subarray(0, length));
        bytes = larger;
      }
      bytes.set(piece, length);
      length += piece.length;
      if (this.#rest.length === 0 && length < size) await this.#refill();
    }
    return bytes.subarray(0, length);
  }

  async skip(size: number): Promise<number> {
    let skipped = 0;
    while (skipped < size) {
      if (this.#rest.length === 0) await this.#refill();
      if (this.#rest.length === 0) break;
      skipped += this.#consume(Math.min(size - skipped, this.#rest.length)).length;
    }
    return skipped;
  }

  #consume(size: number): Uint8Array {
    const bytes = this.#rest.subarray(0, size);
    this.#rest = this.#rest.subarray(size);
    this.#position += size;
    return bytes;
  }

  async #refill(): Promise<void> {
    this.#rest = (await this.#input.next(this.#signal)) as Uint8Array<ArrayBuffer>;
  }

  [Symbol.dispose](): void {
    this.#input[Symbol.dispose]();
  }
}

function unreadable(path: string, error: unknown): CommandError {
  return new CommandError(
    "IO_ERROR",
    `Cannot read ${path}: ${systemReason(error)}.`,
    "Check the path.",
    error,
  );
}
