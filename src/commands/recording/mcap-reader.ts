// Reads an MCAP file, ours or another program's, record by record.
//
// The library parses the records. It would buffer a file for a record that claims 2^45 bytes, and a compressed chunk may
// claim anything: so every length is checked against the bytes that the file has before the library or the decompressor sees it. Checksums
// are checked here as well: the library takes 4 ms for a picture of 3 MB, and this 0.2.

import { crc32, zstdDecompressSync } from "node:zlib";
import { MCAP_MAGIC, McapStreamReader, Opcode, type TypedMcapRecords } from "@mcap/core";
import { CommandError } from "../../cli/failure.ts";
import { grouped } from "../../cli/format.ts";
import type { ByteSource } from "./byte-source.ts";
import { FileSource } from "./byte-source.ts";
import { MAX_FRAME_SIZE, METADATA_NAME } from "./plan.ts";

/** The largest record that is read, and the most that a chunk may hold: a frame of 1 GiB, and what is around it. */
const MAX_RECORD_SIZE = MAX_FRAME_SIZE + 4096;

const RECORD_HEADER_SIZE = 9;
const FOOTER_SIZE = RECORD_HEADER_SIZE + 20;

/** Where the fields of a chunk are; its first ones are two times. */
const Chunk = { crc: 24, compression: 28 } as const;

/** What the library gets to see. Everything else is skipped: indexes, attachments, what other programs add. */
const PARSED: ReadonlySet<number> = new Set([Opcode.CHANNEL, Opcode.MESSAGE, Opcode.CHUNK, Opcode.METADATA]);

export type Channel = TypedMcapRecords["Channel"];

/** A message, or the metadata of a buffer. */
export type Item =
  | { readonly kind: "message"; readonly channel: Channel; readonly message: TypedMcapRecords["Message"] }
  | { readonly kind: "metadata"; readonly topic: string; readonly bytes: Uint8Array };

/** Which messages are wanted, by their times in nanoseconds. */
export interface TimeRange {
  /** Whether no message of a chunk with these times is wanted. */
  excludes(first: bigint, last: bigint): boolean;
}

/** Reads one file from its start to its end. */
export class McapReader implements Disposable {
  /** The channels that are known so far, by their numbers. */
  readonly channels = new Map<number, Channel>();
  readonly #source: ByteSource;
  readonly #path: string;
  readonly #range: TimeRange;
  readonly #library: McapStreamReader;
  /** Whether every channel is known: only then can a chunk be skipped. */
  #knowsChannels = false;
  /** The checksum of the records of the chunk that was read last. */
  #chunkCrc = 0;
  #isTruncated = false;
  #isOver = false;

  private constructor(source: ByteSource, path: string, range: TimeRange) {
    this.#source = source;
    this.#path = path;
    this.#range = range;
    this.#library = new McapStreamReader({
      noMagicPrefix: true,
      validateCrcs: false,
      decompressHandlers: {
        zstd: (bytes, size) => this.#decompress(bytes, size),
        lz4: () => {
          throw this.#lz4();
        },
      },
    });
  }

  /** Reads what comes before the first message. It owns the source. @throws CommandError IO_ERROR if it is no MCAP file. */
  static async open(source: ByteSource, path: string, range: TimeRange): Promise<McapReader> {
    const reader = new McapReader(source, path, range);
    try {
      await reader.#begin();
      return reader;
    } catch (error) {
      reader[Symbol.dispose]();
      throw error;
    }
  }

  /** Whether {@link channels} has every channel of the file. */
  get knowsChannels(): boolean {
    return this.#knowsChannels;
  }

  /** Whether the file ends before its end: what recorded it was killed, or its disk was full. */
  get isTruncated(): boolean {
    return this.#isTruncated;
  }

  /** The bytes read so far. */
  get position(): number {
    return this.#source.position;
  }

  /**
   * The next message or metadata, in the order of the file; undefined at the end. Its bytes are lent until the next call.
   *
   * @throws CommandError IO_ERROR if the file is damaged, or its compression is unknown.
   */
  async next(): Promise<Item | undefined> {
    while (!this.#isOver) {
      const item = this.#nextParsed();
      if (item !== undefined) return item;
      await this.#feed();
    }
    return undefined;
  }

  [Symbol.dispose](): void {
    this.#source[Symbol.dispose]();
  }

  // ---- the start ---------------------------------------------------------------------------------------------------

  async #begin(): Promise<void> {
    const magic = await this.#source.take(MCAP_MAGIC.length);
    if (magic.length === 0) throw this.#damaged("it is empty", "Record it again, or name another file.");
    if (!isMagic(magic)) throw this.#damaged("it is no MCAP file", "Name a file that record has written.");
    const header = await this.#head();
    if (header === undefined) return;
    if (header.opcode !== Opcode.HEADER || header.length > 1024 * 1024) throw this.#corrupt();
    await this.#skip(header.length);
    if (this.#source instanceof FileSource) await this.#readSummary(this.#source);
  }

  /** Takes the channels from the summary, if there is one that can be read. */
  async #readSummary(file: FileSource): Promise<void> {
    const end = file.size - MCAP_MAGIC.length;
    if (end < FOOTER_SIZE) return;
    const footer = (await file.readAt(end - FOOTER_SIZE, FOOTER_SIZE + MCAP_MAGIC.length)).slice();
    if (footer[0] !== Opcode.FOOTER || !isMagic(footer.subarray(FOOTER_SIZE))) return;
    const offsets = Number(viewOf(footer).getBigUint64(RECORD_HEADER_SIZE + 8, true));
    if (offsets === 0 || offsets > end - FOOTER_SIZE) return;
    const group = await findChannels(file, offsets, end - FOOTER_SIZE);
    if (group === undefined) return;
    const parser = new McapStreamReader({ noMagicPrefix: true });
    const found: { readonly channel: Channel; readonly record: Uint8Array }[] = [];
    try {
      for (let at = group.start; at < group.end; ) {
        const head = headOf(await file.readAt(at, RECORD_HEADER_SIZE));
        const size = RECORD_HEADER_SIZE + (head?.length ?? 0);
        if (head?.opcode !== Opcode.CHANNEL || size > group.end - at) return;
        const record = (await file.readAt(at, size)).slice();
        parser.append(record);
        const channel = parser.nextRecord();
        if (channel?.type === "Channel") found.push({ channel, record });
        at += size;
      }
    } catch {
      // The file says nothing that can be relied on: the channels come with its messages.
      return;
    }
    for (const { channel, record } of found) {
      this.channels.set(channel.id, channel);
      // A chunk that is skipped may be the one that tells of it.
      this.#library.append(record);
    }
    this.#knowsChannels = true;
  }

  // ---- records -----------------------------------------------------------------------------------------------------

  /** The next of what has been appended. */
  #nextParsed(): Item | undefined {
    for (;;) {
      const record = this.#parse();
      switch (record?.type) {
        case undefined:
          return undefined;
        case "Channel":
          this.channels.set(record.id, record);
          break;
        case "Message": {
          const channel = this.channels.get(record.channelId);
          if (channel === undefined) throw this.#corrupt();
          return { kind: "message", channel, message: record };
        }
        case "Metadata": {
          const item = metadataOf(record);
          if (item !== undefined) return item;
          break;
        }
        default:
      }
    }
  }

  #parse() {
    try {
      return this.#library.nextRecord();
    } catch (error) {
      throw error instanceof CommandError ? error : this.#corrupt(error);
    }
  }

  /** Appends the next record that is of interest. */
  async #feed(): Promise<void> {
    const header = await this.#head();
    if (header === undefined) return;
    const { bytes, length, opcode } = header;
    if (opcode === Opcode.DATA_END || opcode === Opcode.FOOTER) {
      this.#isOver = true;
      return;
    }
    if (!PARSED.has(opcode)) return await this.#skip(length);
    if (length > MAX_RECORD_SIZE) throw this.#corrupt();
    if (opcode === Opcode.CHUNK) return await this.#feedChunk(bytes, length);
    await this.#append([bytes], length);
  }

  async #feedChunk(head: Uint8Array, length: number): Promise<void> {
    if (length < Chunk.compression) throw this.#corrupt();
    const fields = (await this.#source.take(Chunk.compression)).slice();
    const rest = length - Chunk.compression;
    if (fields.length < Chunk.compression) return this.#truncate();
    const view = viewOf(fields);
    const [first, last] = [view.getBigUint64(0, true), view.getBigUint64(8, true)];
    // One without messages, which may tell of channels, has no times.
    const hasTimes = first !== 0n || last !== 0n;
    if (hasTimes && this.#knowsChannels && this.#range.excludes(first, last)) return await this.#skip(rest);
    this.#chunkCrc = view.getUint32(Chunk.crc, true);
    const bytes = await this.#append([head, fields], rest);
    const stored = bytes === undefined ? undefined : uncompressedIn(bytes);
    if (stored !== undefined) this.#checkCrc(stored);
  }

  /** Appends a record, of which `length` bytes are to be read; returns those, which are lent. */
  async #append(before: readonly Uint8Array[], length: number): Promise<Uint8Array | undefined> {
    const bytes = await this.#source.take(length);
    if (bytes.length < length) return this.#truncate();
    for (const piece of before) this.#library.append(piece);
    this.#library.append(bytes);
    return bytes;
  }

  /** The head of the next record; undefined at the end of the file, which is over then. */
  async #head(): Promise<{ opcode: number; length: number; bytes: Uint8Array } | undefined> {
    const head = headOf(await this.#source.take(RECORD_HEADER_SIZE));
    if (head === undefined) return this.#truncate();
    if (head.opcode === 0) throw this.#corrupt();
    if (head.length <= this.#source.remaining) return head;
    // A record that was cut off is no larger than those that are read.
    if (head.length > MAX_RECORD_SIZE) throw this.#corrupt();
    return this.#truncate();
  }

  async #skip(length: number): Promise<void> {
    if ((await this.#source.skip(length)) < length) this.#truncate();
  }

  #truncate(): undefined {
    this.#isTruncated = true;
    this.#isOver = true;
  }

  /** Decompresses a chunk, up to the size that it claims. */
  #decompress(bytes: Uint8Array, claimed: bigint): Uint8Array {
    if (claimed > MAX_RECORD_SIZE) throw this.#corrupt();
    const records = zstdDecompressSync(bytes, { maxOutputLength: Math.max(1, Number(claimed)) });
    this.#checkCrc(records);
    return records;
  }

  /** Checks the records of a chunk. A checksum of 0 says that there is none. */
  #checkCrc(records: Uint8Array): void {
    if (this.#chunkCrc !== 0 && crc32(records) !== this.#chunkCrc) throw this.#corrupt();
  }

  // ---- failures ----------------------------------------------------------------------------------------------------

  #lz4(): CommandError {
    return this.#damaged(
      "its chunks are compressed with lz4",
      `Compress it anew: mcap compress --compression zstd ${this.#path} -o zstd.mcap`,
    );
  }

  #corrupt(cause?: unknown): CommandError {
    return this.#damaged(
      `it is damaged before byte ${grouped(this.#source.position)}`,
      "The frames of the chunks before it can be replayed; for the rest, copy the file again from where it came.",
      cause,
    );
  }

  #damaged(reason: string, hint: string, cause?: unknown): CommandError {
    const name = this.#path === "-" ? "stdin" : this.#path;
    return new CommandError("IO_ERROR", `Cannot replay ${name}: ${reason}.`, hint, cause);
  }
}

function viewOf({ buffer, byteOffset, length }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, length);
}

function isMagic(bytes: Uint8Array): boolean {
  return bytes.length === MCAP_MAGIC.length && MCAP_MAGIC.every((byte, i) => byte === bytes[i]);
}

/** The records of a chunk that is not compressed, from its compression on. */
function uncompressedIn(chunk: Uint8Array): Uint8Array | undefined {
  const sizes = 4 + 8;
  return chunk.length < sizes || viewOf(chunk).getUint32(0, true) !== 0 ? undefined : chunk.subarray(sizes);
}

/** The head of a record; undefined if it is cut off. */
function headOf(bytes: Uint8Array): { opcode: number; length: number; bytes: Uint8Array } | undefined {
  if (bytes.length < RECORD_HEADER_SIZE) return undefined;
  const view = viewOf(bytes);
  return { opcode: view.getUint8(0), length: Number(view.getBigUint64(1, true)), bytes: bytes.slice() };
}

/** Where the channels of a summary are, as its offsets tell. */
async function findChannels(
  file: FileSource,
  start: number,
  end: number,
): Promise<{ start: number; end: number } | undefined> {
  const size = RECORD_HEADER_SIZE + 17;
  for (let at = start; at + size <= end; at += size) {
    const record = await file.readAt(at, size);
    const view = viewOf(record);
    if (record[0] !== Opcode.SUMMARY_OFFSET || view.getBigUint64(1, true) !== 17n) return undefined;
    if (record[RECORD_HEADER_SIZE] !== Opcode.CHANNEL) continue;
    const first = Number(view.getBigUint64(RECORD_HEADER_SIZE + 1, true));
    const last = first + Number(view.getBigUint64(RECORD_HEADER_SIZE + 9, true));
    return last <= end ? { start: first, end: last } : undefined;
  }
  return undefined;
}

/** The metadata of a buffer, if a record holds some. */
function metadataOf({ metadata, name }: TypedMcapRecords["Metadata"]): Item | undefined {
  const topic = metadata.get("topic");
  const [text, base64] = [metadata.get("text"), metadata.get("base64")];
  if (name !== METADATA_NAME || topic === undefined) return undefined;
  const bytes = text === undefined ? Buffer.from(base64 ?? "", "base64") : Buffer.from(text);
  return bytes.length === 0 ? undefined : { kind: "metadata", topic, bytes };
}
