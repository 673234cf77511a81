// The files of a recording: the first one, and those that follow when it has become large or old.

import fs from "node:fs";
import { systemCode } from "../../cli/failure.ts";
import { sleep } from "../../native/process.ts";
import { McapWriter } from "./mcap-writer.ts";
import { pathOfPart } from "./parts.ts";
import type { RecordingPlan, Written } from "./plan.ts";
import { exists, notWritable } from "./target.ts";

const STDOUT = 1;

/** The delay before the next try, if another process has made stdout non-blocking. */
const RETRY_MS = 2;

/** Writes a recording. All calls block the thread. */
export class RecordingFiles {
  readonly #plan: RecordingPlan;
  readonly #files: string[] = [];
  /** The metadata of each channel: every file has that of its frames. */
  readonly #metadata = new Map<number, ReadonlyMap<string, string>>();
  #descriptor: number | undefined;
  /** Whether it is a regular file, and no pipe or device: only then another one can follow. */
  #isFile = false;
  #writer: McapWriter | undefined;
  #bytesBefore = 0;

  /** Opens the first file. @throws CommandError USAGE if it exists, IO_ERROR. */
  constructor(plan: RecordingPlan) {
    this.#plan = plan;
    this.#open();
  }

  /** What has been written so far. */
  get written(): Written {
    return { files: [...this.#files], bytes: this.#bytesBefore + (this.#writer?.position ?? 0) };
  }

  /** Writes message records that lie end to end, as a chunk, in the next file if this one is to end. */
  addChunk(records: Uint8Array): void {
    if (this.#isSplitDue(records)) this.#split();
    this.#guard((writer) => writer.addChunk(records));
  }

  /** Writes the metadata of a channel. */
  addMetadata(channel: number, bytes: Uint8Array, timeNs: bigint): void {
    const fields = metadataFields(this.#plan.topics[channel] ?? "", bytes, timeNs);
    this.#metadata.set(channel, fields);
    this.#guard((writer) => writer.addMetadata(fields));
  }

  /** Completes the file. */
  end(): void {
    this.#guard((writer) => writer.end());
    this.#close();
  }

  #isSplitDue(records: Uint8Array): boolean {
    const { splitNs, splitSize } = this.#plan;
    const { firstTime, isIndexFull, position = 0 } = this.#writer ?? {};
    if (firstTime === undefined || !this.#isFile) return false;
    const time = new DataView(records.buffer, records.byteOffset).getBigUint64(15, true);
    const isOld = splitNs !== undefined && time - firstTime >= splitNs;
    return isOld || isIndexFull || position + records.length > splitSize;
  }

  #split(): void {
    this.end();
    this.#bytesBefore += this.#writer?.position ?? 0;
    this.#open();
    for (const fields of this.#metadata.values()) this.#guard((writer) => writer.addMetadata(fields));
  }

  #open(): void {
    const { force, path } = this.#plan;
    const file = pathOfPart(path, this.#files.length);
    try {
      this.#descriptor = file === "-" ? STDOUT : openFile(file, force);
      this.#isFile = file !== "-" && fs.fstatSync(this.#descriptor).isFile();
    } catch (error) {
      if (systemCode(error) === "EEXIST") throw exists(file);
      throw notWritable(file, error);
    }
    this.#files.push(file);
    const descriptor = this.#descriptor;
    this.#writer = undefined;
    this.#attempt(() => {
      this.#writer = new McapWriter(this.#plan, (bytes) => writeAll(descriptor, bytes));
    });
  }

  #guard(work: (writer: McapWriter) => void): void {
    const writer = this.#writer;
    if (writer !== undefined) this.#attempt(() => work(writer));
  }

  /** If a write fails, the file keeps its whole records. */
  #attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      const file = this.#files.at(-1) ?? "";
      try {
        if (this.#isFile && this.#descriptor !== undefined)
          fs.ftruncateSync(this.#descriptor, this.#writer?.position ?? 0);
      } catch {
        // A reader of the file skips what is left of the last record.
      }
      this.#close();
      const code = systemCode(error);
      throw code === undefined || code === "EPIPE" ? error : notWritable(file, error);
    }
  }

  #close(): void {
    const descriptor = this.#descriptor;
    this.#descriptor = undefined;
    if (descriptor !== undefined && descriptor !== STDOUT) fs.closeSync(descriptor);
  }
}

/** The fields of the metadata record of a buffer: its bytes as text if they are UTF-8, otherwise in base64. */
function metadataFields(topic: string, bytes: Uint8Array, timeNs: bigint): ReadonlyMap<string, string> {
  const common = [
    ["topic", topic],
    ["time", `${timeNs}`],
    ["size", `${bytes.length}`],
  ] as const;
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return new Map([...common, ["text", text]]);
  } catch {
    return new Map([...common, ["base64", Buffer.from(bytes).toString("base64")]]);
  }
}

/** Opens a file that is not there, or replaces one if that is asked for. A pipe or a device is there. */
function openFile(path: string, force: boolean): number {
  const { O_CREAT, O_EXCL, O_TRUNC, O_WRONLY } = fs.constants;
  const stats = fs.statSync(path, { throwIfNoEntry: false });
  if (stats !== undefined && !stats.isFile()) return fs.openSync(path, O_WRONLY);
  return fs.openSync(path, O_WRONLY | O_CREAT | (force ? O_TRUNC : O_EXCL), 0o666);
}

function writeAll(descriptor: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    try {
      done += fs.writeSync(descriptor, bytes, done, Math.min(bytes.length - done, 2 ** 30));
    } catch (error) {
      if (systemCode(error) !== "EAGAIN") throw error;
      sleep(RETRY_MS);
    }
  }
}
