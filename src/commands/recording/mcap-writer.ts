// One MCAP file as it is written: header and channels, chunks of frames with their indexes, and at the end the summary.
//
// The library builds the records. Only the chunk, which is large, is put together here: the library would copy it five
// times and compute its checksum twenty times as slowly.

import { crc32 } from "node:zlib";
import { type Channel, McapRecordBuilder, type MessageIndex, Opcode, type Schema } from "@mcap/core";
import { CHANNEL_MARK, METADATA_NAME, type RecordingPlan } from "./plan.ts";

/** Bytes of a chunk before its records, but for the name of the compression. */
const CHUNK_HEADER_SIZE = 9 + 8 + 8 + 8 + 4 + 4 + 8;

/** Where the fields of a message record are. */
const Field = { length: 1, channel: 9, logTime: 15 } as const;

const RECORD_HEADER_SIZE = 9;

/** The only level that keeps up with 60 pictures of 1920 x 1080 per second. */
const ZSTD_LEVEL = 1;

/** What is kept of the chunks until the end of a file, at the most, in bytes: then the next file has to follow. */
const MAX_INDEX_SIZE = 16 * 1024 * 1024;

const SCHEMA_ID = 1;

/** Writes one file. Each call writes whole records. */
export class McapWriter {
  readonly #write: (bytes: Uint8Array) => void;
  readonly #compression: RecordingPlan["compression"];
  readonly #schemas: readonly Schema[];
  readonly #channels: readonly Channel[];
  readonly #builder = new McapRecordBuilder();
  readonly #chunkIndexes = new McapRecordBuilder();
  readonly #metadataIndexes = new McapRecordBuilder();
  readonly #messageCounts = new Map<number, bigint>();
  #position = 0;
  #crc = 0;
  #chunks = 0;
  #metadataRecords = 0;
  #times: { readonly first: bigint; last: bigint } | undefined;

  /** @param write writes all of the bytes, or throws. */
  constructor(plan: RecordingPlan, write: (bytes: Uint8Array) => void) {
    const { compression, encoding, library, schemaName, topics } = plan;
    this.#write = write;
    this.#compression = compression;
    this.#schemas =
      schemaName === undefined
        ? []
        : [{ id: SCHEMA_ID, name: schemaName, encoding: "", data: new Uint8Array(0) }];
    this.#channels = topics.map((topic, id) => ({
      id,
      topic,
      schemaId: schemaName === undefined ? 0 : SCHEMA_ID,
      messageEncoding: encoding,
      metadata: new Map([CHANNEL_MARK]),
    }));
    this.#builder.writeMagic();
    this.#builder.writeHeader({ profile: "", library });
    this.#writeChannels();
    this.#put(this.#taken());
  }

  /** Bytes written so far, all of them whole records. */
  get position(): number {
    return this.#position;
  }

  /** The time of the first frame, in nanoseconds; undefined without frames. */
  get firstTime(): bigint | undefined {
    return this.#times?.first;
  }

  /** Whether the index has become so large that the file should end. */
  get isIndexFull(): boolean {
    return this.#chunkIndexes.length >= MAX_INDEX_SIZE;
  }

  /** Writes message records, which lie end to end, as a chunk. They come in the order of their times. */
  addChunk(records: Uint8Array): void {
    const { first, indexes, last } = indexOf(records);
    for (const { channelId, records } of indexes) {
      const before = this.#messageCounts.get(channelId) ?? 0n;
      this.#messageCounts.set(channelId, before + BigInt(records.length));
    }
    this.#times ??= { first, last };
    this.#times.last = last;

    const chunkStartOffset = BigInt(this.#position);
    const { compression, stored } = this.#compressed(records);
    const chunkLength = this.#writeChunk(records, stored, { compression, first, last });
    const indexStart = this.#position;
    const messageIndexOffsets = new Map<number, bigint>();
    for (const index of indexes) {
      messageIndexOffsets.set(index.channelId, BigInt(indexStart + this.#builder.length));
      this.#builder.writeMessageIndex(index);
    }
    const messageIndexLength = BigInt(this.#builder.length);
    this.#put(this.#taken());
    this.#chunks++;
    this.#chunkIndexes.writeChunkIndex({
      ...{ messageStartTime: first, messageEndTime: last, chunkStartOffset, chunkLength },
      ...{ messageIndexOffsets, messageIndexLength, compression },
      compressedSize: BigInt(stored.length),
      uncompressedSize: BigInt(records.length),
    });
  }

  /** Writes the metadata of a buffer. */
  addMetadata(fields: ReadonlyMap<string, string>): void {
    const offset = BigInt(this.#position);
    this.#builder.writeMetadata({ name: METADATA_NAME, metadata: new Map(fields) });
    const length = BigInt(this.#builder.length);
    this.#put(this.#taken());
    this.#metadataRecords++;
    this.#metadataIndexes.writeMetadataIndex({ offset, length, name: METADATA_NAME });
  }

  /** Writes the summary: the file is complete. */
  end(): void {
    this.#builder.writeDataEnd({ dataSectionCrc: this.#crc });
    this.#put(this.#taken());
    const summaryStart = this.#position;
    this.#crc = 0;
    const groups: { groupOpcode: Opcode; groupStart: bigint; groupLength: bigint }[] = [];
    const group = (groupOpcode: Opcode, bytes: Uint8Array) => {
      const groupStart = BigInt(this.#position);
      if (bytes.length > 0) groups.push({ groupOpcode, groupStart, groupLength: BigInt(bytes.length) });
      this.#put(bytes);
    };
    for (const schema of this.#schemas) this.#builder.writeSchema(schema);
    group(Opcode.SCHEMA, this.#taken());
    for (const channel of this.#channels) this.#builder.writeChannel(channel);
    group(Opcode.CHANNEL, this.#taken());
    this.#writeStatistics();
    group(Opcode.STATISTICS, this.#taken());
    group(Opcode.METADATA_INDEX, this.#metadataIndexes.buffer);
    group(Opcode.CHUNK_INDEX, this.#chunkIndexes.buffer);
    const summaryOffsetStart = this.#position;
    for (const offsets of groups) this.#builder.writeSummaryOffset(offsets);
    this.#put(this.#taken());
    this.#writeFooter(BigInt(summaryStart), BigInt(summaryOffsetStart));
  }

  #writeChannels(): void {
    for (const schema of this.#schemas) this.#builder.writeSchema(schema);
    for (const channel of this.#channels) this.#builder.writeChannel(channel);
  }

  #writeStatistics(): void {
    this.#builder.writeStatistics({
      messageCount: [...this.#messageCounts.values()].reduce((sum, messages) => sum + messages, 0n),
      schemaCount: this.#schemas.length,
      channelCount: this.#channels.length,
      attachmentCount: 0,
      metadataCount: this.#metadataRecords,
      chunkCount: this.#chunks,
      messageStartTime: this.#times?.first ?? 0n,
      messageEndTime: this.#times?.last ?? 0n,
      channelMessageCounts: this.#messageCounts,
    });
  }

  /** The checksum covers the footer up to where it is itself. */
  #writeFooter(summaryStart: bigint, summaryOffsetStart: bigint): void {
    this.#builder.writeFooter({ summaryStart, summaryOffsetStart, summaryCrc: 0 });
    const covered = this.#taken().subarray(0, -4);
    const summaryCrc = crc32(covered, this.#crc);
    this.#builder.writeFooter({ summaryStart, summaryOffsetStart, summaryCrc });
    this.#builder.writeMagic();
    this.#put(this.#taken());
  }

  /** Compresses records, unless that makes them larger. */
  #compressed(records: Uint8Array): { compression: string; stored: Uint8Array } {
    if (this.#compression === "zstd") {
      const stored = Bun.zstdCompressSync(records, { level: ZSTD_LEVEL });
      if (stored.length < records.length) return { compression: "zstd", stored };
    }
    return { compression: "", stored: records };
  }

  /** Returns the length of the chunk record. */
  #writeChunk(
    records: Uint8Array,
    stored: Uint8Array,
    { compression, first, last }: { compression: string; first: bigint; last: bigint },
  ): bigint {
    const header = new Uint8Array(CHUNK_HEADER_SIZE + compression.length);
    const view = new DataView(header.buffer);
    view.setUint8(0, Opcode.CHUNK);
    view.setBigUint64(1, BigInt(header.length - RECORD_HEADER_SIZE + stored.length), true);
    view.setBigUint64(9, first, true);
    view.setBigUint64(17, last, true);
    view.setBigUint64(25, BigInt(records.length), true);
    view.setUint32(33, crc32(records), true);
    view.setUint32(37, compression.length, true);
    header.set(Buffer.from(compression, "latin1"), 41);
    view.setBigUint64(41 + compression.length, BigInt(stored.length), true);
    this.#put(header, stored);
    return BigInt(header.length + stored.length);
  }

  /** The records built so far. */
  #taken(): Uint8Array {
    const { buffer } = this.#builder;
    this.#builder.reset();
    return buffer;
  }

  #put(...pieces: readonly Uint8Array[]): void {
    for (const piece of pieces) this.#write(piece);
    for (const piece of pieces) {
      this.#crc = crc32(piece, this.#crc);
      this.#position += piece.length;
    }
  }
}

/** The index of message records, and the times of the first one and of the last. */
function indexOf(records: Uint8Array): { first: bigint; last: bigint; indexes: MessageIndex[] } {
  const view = new DataView(records.buffer, records.byteOffset, records.length);
  const indexes = new Map<number, MessageIndex>();
  const first = view.getBigUint64(Field.logTime, true);
  let last = first;
  for (let at = 0; at < records.length; ) {
    const channelId = view.getUint16(at + Field.channel, true);
    last = view.getBigUint64(at + Field.logTime, true);
    const index = indexes.get(channelId) ?? { channelId, records: [] };
    indexes.set(channelId, index);
    index.records.push([last, BigInt(at)]);
    at += RECORD_HEADER_SIZE + Number(view.getBigUint64(at + Field.length, true));
  }
  return { first, last, indexes: [...indexes.values()] };
}
