// The control block at the start of the shared memory, decoded from its sixteen 8-byte words.

import { OiebFlag } from "../../native/memory.ts";
import { FRAME_HEADER_SIZE, OIEB_SIZE } from "../config.ts";

/**
 * One snapshot of the OIEB, the control block of a buffer (docs/protocol.md, section 1.3). Nothing of it has been checked: a
 * hostile peer may store any value. Numbers are exact up to 2^53.
 */
export interface Oieb {
  /** Size of the OIEB in bytes: 128, or 0 while the buffer is being created. */
  readonly oiebSize: number;
  /** Version of the protocol: 1, 0, 0, 0. */
  readonly version: readonly [major: number, minor: number, patch: number, reserved: number];
  /** Bytes for the metadata and its 8-byte length. */
  readonly metadataSize: number;
  /** Bytes of these that are free. */
  readonly metadataFreeBytes: number;
  /** Bytes of the metadata and its length; 0 if there is none. */
  readonly metadataWrittenBytes: number;
  /** Bytes of the ring. */
  readonly payloadSize: number;
  /** Bytes of the ring that are free. */
  readonly payloadFreeBytes: number;
  /** Where the next frame is written, in bytes from the start of the ring. */
  readonly payloadWritePos: number;
  /** Where the next frame is read, in bytes from the start of the ring. */
  readonly payloadReadPos: number;
  /** Frames written, wrap markers included. */
  readonly payloadWrittenCount: number;
  /** Frames read, wrap markers included. */
  readonly payloadReadCount: number;
  /** Process id of the writer; 0 if there is none. */
  readonly writerPid: bigint;
  /** Process id of the reader; 0 if there is none. */
  readonly readerPid: bigint;
  /** What the reader has answered to the last attachment of a source: its id, which is even, if it was accepted, id + 1 if not. */
  readonly answer: bigint;
  /** Descriptors released. */
  readonly releasedDescriptors: number;
  /** Process id of the writer if it locks its role, otherwise 0. Equal to `writerPid` as long as that writer holds it. */
  readonly mark: bigint;
  /** Bits that the creator sets. */
  readonly flags: bigint;
}

/** Index of each 8-byte word. The first one holds the OIEB's size and the version. */
export const OiebWord = {
  metadataSize: 1,
  metadataFreeBytes: 2,
  metadataWrittenBytes: 3,
  payloadSize: 4,
  payloadFreeBytes: 5,
  payloadWritePos: 6,
  payloadReadPos: 7,
  payloadWrittenCount: 8,
  payloadReadCount: 9,
  writerPid: 10,
  readerPid: 11,
  answer: 12,
  releasedDescriptors: 13,
  mark: 14,
  flags: 15,
} as const;

/** Decodes the sixteen words, whatever values they have. */
export function decodeOieb(words: BigUint64Array): Oieb {
  const word = (index: number): bigint => words[index] as bigint;
  const number = (index: number): number => Number(word(index));
  const versionByte = (index: number): number => Number((word(0) >> BigInt(32 + 8 * index)) & 0xffn);
  return {
    oiebSize: Number(word(0) & 0xffff_ffffn),
    version: [versionByte(0), versionByte(1), versionByte(2), versionByte(3)],
    metadataSize: number(OiebWord.metadataSize),
    metadataFreeBytes: number(OiebWord.metadataFreeBytes),
    metadataWrittenBytes: number(OiebWord.metadataWrittenBytes),
    payloadSize: number(OiebWord.payloadSize),
    payloadFreeBytes: number(OiebWord.payloadFreeBytes),
    payloadWritePos: number(OiebWord.payloadWritePos),
    payloadReadPos: number(OiebWord.payloadReadPos),
    payloadWrittenCount: number(OiebWord.payloadWrittenCount),
    payloadReadCount: number(OiebWord.payloadReadCount),
    writerPid: word(OiebWord.writerPid),
    readerPid: word(OiebWord.readerPid),
    answer: word(OiebWord.answer),
    releasedDescriptors: number(OiebWord.releasedDescriptors),
    mark: word(OiebWord.mark),
    flags: word(OiebWord.flags),
  };
}

/** Whether the first word is that of an OIEB of our protocol version. */
export function beginsAsOieb({ oiebSize, version }: Oieb): boolean {
  return oiebSize === OIEB_SIZE && version[0] === 1 && version[3] === 0;
}

/** Why an OIEB without its size, which is stored last, cannot be one that is being created, as half a sentence. */
export function faultOfUnfinishedOieb(oieb: Oieb): string | undefined {
  const { oiebSize, version, payloadWritePos, payloadReadPos, payloadWrittenCount, payloadReadCount } = oieb;
  const hasExpectedWriter = oieb.writerPid === 0n || (oieb.flags & OiebFlag.CREATED_BY_WRITER) !== 0n;
  const isUntouched = [payloadWritePos, payloadReadPos, payloadWrittenCount, payloadReadCount].every(
    (value) => value === 0,
  );
  if (oiebSize === 0 && version[0] <= 1 && hasExpectedWriter && isUntouched) return undefined;
  return `its control block claims ${oiebSize} bytes instead of ${OIEB_SIZE}`;
}

/** What is wrong in an OIEB over a file of `fileSize` bytes, as half a sentence; undefined if nothing is. */
export function faultOfOieb(oieb: Oieb, fileSize: number): string | undefined {
  const { payloadSize, metadataSize } = oieb;
  if (oieb.oiebSize !== OIEB_SIZE)
    return `its control block claims ${oieb.oiebSize} bytes instead of ${OIEB_SIZE}`;
  if (oieb.version[0] !== 1) return `its protocol version is ${oieb.version.slice(0, 3).join(".")}, not 1`;
  if (payloadSize <= FRAME_HEADER_SIZE) return `its ring of ${payloadSize} bytes has no room for a frame`;
  if (OIEB_SIZE + metadataSize + payloadSize > fileSize) {
    return `its sizes (${metadataSize} metadata, ${payloadSize} payload) exceed its memory of ${fileSize} bytes`;
  }
  if (oieb.payloadFreeBytes > payloadSize)
    return `it claims ${oieb.payloadFreeBytes} free bytes in a ring of ${payloadSize}`;
  if (oieb.payloadWritePos > payloadSize)
    return `its write position ${oieb.payloadWritePos} is past the end of its ring`;
  if (oieb.payloadReadPos > payloadSize)
    return `its read position ${oieb.payloadReadPos} is past the end of its ring`;
  return undefined;
}
