// Byte streams over files, stdin and stdout. The thread pool makes the system calls, so the event loop never blocks.

import fs from "node:fs";
import { isOtherEndClosed } from "../native/process.ts";
import { raceAbort } from "../runtime/abort.ts";
import { MAX_CALL_SIZE } from "../runtime/files.ts";
import { CommandError, DownstreamClosed, systemCode, systemReason } from "./failure.ts";
import { Descriptor, isTerminal } from "./terminal.ts";

const CHUNK_SIZE = 1024 * 1024;
const STDIN = 0;
const { STDOUT } = Descriptor;

/** The delay before the next try, if another process has made the descriptor non-blocking. */
const RETRY_MS = 2;

/** A file or stdin (`-`), in chunks. The next chunk is read while the current one is used. */
export class ByteInput implements Disposable {
  /** The size of a regular file; `undefined` for anything else. */
  readonly size: number | undefined;
  readonly #fd: number;
  readonly #name: string;
  #current = new Uint8Array(CHUNK_SIZE);
  #ahead = new Uint8Array(CHUNK_SIZE);
  #reading: Promise<number>;
  #bytesRead = 0;

  private constructor(fd: number, name: string, size: number | undefined) {
    this.#fd = fd;
    this.#name = name;
    this.size = size;
    this.#reading = this.#read();
  }

  /** @throws CommandError IO_ERROR if it cannot be opened. */
  static async open(path: string, signal: AbortSignal): Promise<ByteInput> {
    const name = path === "-" ? "stdin" : path;
    try {
      const fd = path === "-" ? STDIN : await raceAbort(open(path, fs.constants.O_RDONLY), signal);
      const stats = fs.fstatSync(fd);
      if (stats.isDirectory()) throw Object.assign(new Error("is a directory"), { code: "EISDIR" });
      return new ByteInput(fd, name, stats.isFile() ? stats.size : undefined);
    } catch (error) {
      signal.throwIfAborted();
      throw ioError(`Cannot read ${name}`, error);
    }
  }

  /** The number of bytes returned so far. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  /**
   * The next chunk, lent until the next call; empty at the end.
   *
   * @throws CommandError IO_ERROR; the signal's reason once it is aborted.
   */
  async next(signal: AbortSignal): Promise<Uint8Array> {
    const length = await raceAbort(this.#reading, signal);
    [this.#current, this.#ahead] = [this.#ahead, this.#current];
    if (length > 0) this.#reading = this.#read();
    this.#bytesRead += length;
    return this.#current.subarray(0, length);
  }

  /**
   * The rest of the bytes.
   *
   * @throws CommandError METADATA_TOO_LARGE if there are more than `limit`.
   */
  async readAll(limit: number, signal: AbortSignal): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    for (let chunk = await this.next(signal); chunk.length > 0; chunk = await this.next(signal)) {
      if (this.#bytesRead > limit) {
        throw new CommandError("METADATA_TOO_LARGE", `${this.#name} holds more than ${limit} bytes.`);
      }
      chunks.push(chunk.slice());
    }
    return Buffer.concat(chunks);
  }

  [Symbol.dispose](): void {
    if (this.#fd !== STDIN) fs.closeSync(this.#fd);
  }

  #read(): Promise<number> {
    const reading = read(this.#fd, this.#ahead).catch((error) => {
      throw ioError(`Cannot read ${this.#name}`, error);
    });
    // The next call awaits it; there may be none.
    reading.catch(() => {});
    return reading;
  }
}

/** A file or stdout (`-`) to write to. */
export class ByteOutput implements Disposable {
  readonly #fd: number;
  readonly #name: string;
  /** The position of the next byte in a regular file; `null` if the system keeps it. */
  #position: number | null;
  readonly #maxCallSize: number;
  /** Whether it is a regular file that still has its old content. */
  #hasOldContent: boolean;

  private constructor(fd: number, name: string, position: number | null, maxCallSize: number) {
    this.#fd = fd;
    this.#name = name;
    this.#position = position;
    this.#hasOldContent = position !== null;
    this.#maxCallSize = maxCallSize;
  }

  /**
   * Opens it for writing. A file keeps its content until the first write or `restart()`, so that a command that fails early
   * harms nothing.
   *
   * @param maxCallSize The most bytes to write with one system call.
   * @param flag The option that names it.
   * @throws CommandError IO_ERROR if it cannot be opened, USAGE if stdout is a terminal.
   */
  static async open(
    path: string,
    signal: AbortSignal,
    maxCallSize = MAX_CALL_SIZE,
    flag = "--output",
  ): Promise<ByteOutput> {
    if (path === "-") {
      if (!(await isTerminal(STDOUT))) return new ByteOutput(STDOUT, "stdout", null, maxCallSize);
      throw new CommandError(
        "USAGE",
        `Option ${flag} - cannot write frames to a terminal.`,
        "Redirect stdout to a file or a pipe.",
      );
    }
    try {
      const fd = await raceAbort(open(path, fs.constants.O_WRONLY | fs.constants.O_CREAT), signal);
      return new ByteOutput(fd, path, fs.fstatSync(fd).isFile() ? 0 : null, maxCallSize);
    } catch (error) {
      signal.throwIfAborted();
      throw ioError(`Cannot write ${path}`, error);
    }
  }

  /** Empties a regular file; does nothing to a pipe or to stdout. */
  restart(): void {
    if (this.#position === null) return;
    try {
      fs.ftruncateSync(this.#fd);
      this.#position = 0;
      this.#hasOldContent = false;
    } catch (error) {
      throw ioError(`Cannot write ${this.#name}`, error);
    }
  }

  /**
   * Writes all bytes.
   *
   * @throws CommandError IO_ERROR; DownstreamClosed if the reader of the pipe has closed it.
   */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.#hasOldContent) this.restart();
    try {
      for (let done = 0; done < bytes.length; ) {
        const piece = bytes.subarray(done, done + this.#maxCallSize);
        const written = await write(this.#fd, piece, this.#position);
        done += written;
        if (this.#position !== null) this.#position += written;
      }
    } catch (error) {
      if (systemCode(error) === "EPIPE") throw downstreamClosed(this.#name);
      throw ioError(`Cannot write ${this.#name}`, error);
    }
  }

  /**
   * For waits in which nothing is written: no write would notice that the reader of the pipe has closed it.
   *
   * @throws DownstreamClosed
   */
  checkReader(): void {
    if (isOtherEndClosed(this.#fd)) throw downstreamClosed(this.#name);
  }

  [Symbol.dispose](): void {
    if (this.#fd !== STDOUT) fs.closeSync(this.#fd);
  }
}

/** What to do about common failures. */
const REMEDIES: Readonly<Record<string, string>> = {
  ENOENT: "Check the path.",
  EACCES: "Check its permissions.",
  EISDIR: "Name a file, not a directory.",
  ENOSPC: "Free some space, or write elsewhere.",
};

function downstreamClosed(name: string): DownstreamClosed {
  return new DownstreamClosed(`Its reader has closed ${name}.`);
}

function ioError(what: string, error: unknown): CommandError {
  const hint = REMEDIES[systemCode(error) ?? ""];
  return new CommandError("IO_ERROR", `${what}: ${systemReason(error)}.`, hint, error);
}

function open(path: string, flags: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(path, flags, 0o666, (error, fd) => (error ? reject(error) : resolve(fd)));
  });
}

function read(fd: number, into: Uint8Array): Promise<number> {
  return transfer((done) => fs.read(fd, into, 0, into.length, null, done));
}

function write(fd: number, bytes: Uint8Array, position: number | null): Promise<number> {
  return transfer((done) => fs.write(fd, bytes, 0, bytes.length, position, done));
}

/** Makes a call that transfers bytes, again while the descriptor is not ready; resolves to their number. */
function transfer(
  call: (done: (error: NodeJS.ErrnoException | null, length: number) => void) => void,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const attempt = () =>
      call((error, length) => {
        if (error?.code === "EAGAIN") setTimeout(attempt, RETRY_MS);
        else if (error) reject(error);
        else resolve(length);
      });
    attempt();
  });
}
