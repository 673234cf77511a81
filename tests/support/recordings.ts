// Recordings as another program reads and writes them: with the library alone.

import { expect } from "bun:test";
import { closeSync, fstatSync, openSync, readFileSync, readSync } from "node:fs";
import { zstdDecompressSync } from "node:zlib";
import { McapIndexedReader, McapStreamReader, McapWriter } from "@mcap/core";

/** A message of a recording. */
export interface Message {
  readonly topic: string;
  readonly sequence: number;
  readonly logTime: bigint;
  readonly publishTime: bigint;
  readonly data: Uint8Array;
}

/** What is in a recording. */
export interface Contents {
  readonly messages: readonly Message[];
  /** The metadata records and the channels, as the library has them. */
  readonly metadata: readonly { readonly name: string; readonly metadata: ReadonlyMap<string, string> }[];
  readonly encodings: readonly string[];
  readonly schemas: readonly string[];
  /** The compressions of the chunks. */
  readonly compressions: readonly string[];
}

const decompressHandlers = {
  zstd: (bytes: Uint8Array, size: bigint) =>
    zstdDecompressSync(bytes, { maxOutputLength: Number(size) || 1 }),
};

/** Reads a recording with both readers of the library, which check every checksum and have to agree. */
export async function contentsOf(path: string): Promise<Contents> {
  const descriptor = openSync(path, "r");
  const read = (offset: number, size: number) => {
    const bytes = new Uint8Array(size);
    expect(readSync(descriptor, bytes, 0, size, offset)).toBe(size);
    return bytes;
  };
  try {
    const { size } = fstatSync(descriptor);
    const contents = streamed(read(0, size));
    const indexed = await McapIndexedReader.Initialize({
      readable: {
        size: async () => BigInt(size),
        read: async (offset, length) => read(Number(offset), Number(length)),
      },
      decompressHandlers,
    });
    const messages: Message[] = [];
    for await (const { channelId, data, logTime, publishTime, sequence } of indexed.readMessages({
      validateCrcs: true,
    })) {
      const topic = indexed.channelsById.get(channelId)?.topic ?? "";
      messages.push({ topic, sequence, logTime, publishTime, data });
    }
    expect(messages.map(shortened)).toEqual(contents.messages.map(shortened));
    expect(indexed.statistics).toMatchObject({
      messageCount: BigInt(messages.length),
      chunkCount: contents.compressions.length,
      metadataCount: contents.metadata.length,
      channelCount: contents.encodings.length,
      schemaCount: contents.schemas.length,
    });
    expect(indexed.metadataIndexes).toHaveLength(contents.metadata.length);
    for (const { length, offset } of indexed.metadataIndexes) {
      const parser = new McapStreamReader({ noMagicPrefix: true });
      parser.append(read(Number(offset), Number(length)));
      expect(parser.nextRecord()?.type).toBe("Metadata");
    }
    return contents;
  } finally {
    closeSync(descriptor);
  }
}

/** Reads the bytes of a recording with the streaming reader; they have to be whole. */
function streamed(bytes: Uint8Array): Contents {
  const reader = new McapStreamReader({ decompressHandlers, includeChunks: true });
  reader.append(bytes);
  const topics = new Map<number, string>();
  const messages: Message[] = [];
  const metadata: Contents["metadata"][number][] = [];
  const encodings = new Map<number, string>();
  const schemas = new Map<number, string>();
  const compressions: string[] = [];
  for (let record = reader.nextRecord(); record !== undefined; record = reader.nextRecord()) {
    if (record.type === "Channel") {
      topics.set(record.id, record.topic);
      encodings.set(record.id, record.messageEncoding);
    } else if (record.type === "Schema") schemas.set(record.id, record.name);
    else if (record.type === "Chunk") compressions.push(record.compression);
    else if (record.type === "Metadata") metadata.push(record);
    else if (record.type === "Message") {
      const { channelId, data, logTime, publishTime, sequence } = record;
      messages.push({ topic: topics.get(channelId) ?? "", sequence, logTime, publishTime, data });
    }
  }
  expect(reader.done()).toBe(true);
  return {
    ...{ messages, metadata, compressions },
    encodings: [...encodings.values()],
    schemas: [...schemas.values()],
  };
}

/** How many messages the library finds in a file that may be cut off, and how many bytes are left that it cannot use. */
export function wholeMessages(path: string): { messages: number; rest: number } {
  const reader = new McapStreamReader({ decompressHandlers });
  reader.append(readFileSync(path));
  let messages = 0;
  for (let record = reader.nextRecord(); record !== undefined; record = reader.nextRecord())
    if (record.type === "Message") messages++;
  return { messages, rest: reader.bytesRemaining() };
}

/** A message with a hash in place of its bytes. */
export function shortened({ data, ...message }: Message) {
  return { ...message, size: data.length, hash: Bun.hash(data) };
}

/** A message of a file of another program. */
export interface ForeignMessage {
  readonly topic: string;
  readonly logTime: bigint;
  readonly data: Uint8Array;
  readonly sequence?: number;
}

/** How another program writes a file. */
export interface ForeignOptions {
  readonly chunkSize?: number;
  readonly useChunks?: boolean;
  readonly compressChunk?: (bytes: Uint8Array) => { compression: string; compressedData: Uint8Array };
  /** Whether there is a summary. */
  readonly useSummaryOffsets?: boolean;
}

/** A file with schemas, several channels and an attachment, as the library writes it. */
export async function foreignFile(
  messages: readonly ForeignMessage[],
  options: ForeignOptions = {},
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  const writable = {
    write: async (bytes: Uint8Array) => void pieces.push(bytes.slice()),
    position: () => BigInt(pieces.reduce((sum, { length }) => sum + length, 0)),
  };
  const writer = new McapWriter({ writable, ...options });
  await writer.start({ profile: "ros2", library: "another program" });
  const channels = new Map<string, number>();
  await writer.addAttachment({
    ...{ name: "calibration", mediaType: "text/plain", logTime: 1n, createTime: 1n },
    data: new Uint8Array(5000),
  });
  await writer.addMetadata({ name: "host", metadata: new Map([["topic", "not ours"]]) });
  for (const { data, logTime, sequence = 0, topic } of messages) {
    let channelId = channels.get(topic);
    if (channelId === undefined) {
      const schemaId = await writer.registerSchema({
        ...{ name: `schema of ${topic}`, encoding: "ros2msg", data: Buffer.from("uint8[] data") },
      });
      channelId = await writer.registerChannel({
        ...{ topic, schemaId, messageEncoding: "cdr", metadata: new Map() },
      });
      channels.set(topic, channelId);
    }
    await writer.addMessage({ channelId, sequence, logTime, publishTime: logTime, data });
  }
  await writer.end();
  return Buffer.concat(pieces);
}

/** A record of any kind, with any length in its head. */
export function rawRecord(opcode: number, content: Uint8Array, length = BigInt(content.length)): Uint8Array {
  const head = Buffer.alloc(9);
  head.writeUInt8(opcode);
  head.writeBigUInt64LE(length, 1);
  return Buffer.concat([head, content]);
}

/** A chunk with anything in its fields. */
export function rawChunk(
  records: Uint8Array,
  { compression = "", size = BigInt(records.length), crc = 0 } = {},
): Uint8Array {
  const fields = Buffer.alloc(28 + 4 + compression.length + 8);
  fields.writeBigUInt64LE(1n, 0);
  fields.writeBigUInt64LE(1n, 8);
  fields.writeBigUInt64LE(size, 16);
  fields.writeUInt32LE(crc, 24);
  fields.writeUInt32LE(compression.length, 28);
  fields.write(compression, 32);
  fields.writeBigUInt64LE(BigInt(records.length), 32 + compression.length);
  return rawRecord(6, Buffer.concat([fields, records]));
}

/** The magic bytes and a header, with which every file begins. */
export const START: Uint8Array = Buffer.concat([
  Buffer.from([0x89, 0x4d, 0x43, 0x41, 0x50, 0x30, 0x0d, 0x0a]),
  rawRecord(1, new Uint8Array(8)),
]);
