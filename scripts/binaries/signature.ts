// The ad-hoc signature of a Mach-O executable: a hash of each of its pages, which macOS compares when it loads one.
//
// Bun's executables for darwin-x64 keep the signature that Bun itself was signed with, before a program was put into it.
// macOS would kill the process at the first page that does not match. Layout and constants: cs_blobs.h of XNU. The
// numbers of a signature are big-endian.

import { createHash } from "node:crypto";
import { loadCommand, segment } from "./formats.ts";

const LC_CODE_SIGNATURE = 0x1d;
const SUPER_BLOB = 0xfade0cc0;
const CODE_DIRECTORY = 0xfade0c02;
/** Before the one blob: magic, size, count; slot and offset of the blob. */
const SUPER_BLOB_SIZE = 20;
/** Of a code directory, up to its identifier. */
const HEADER_SIZE = 88;
const VERSION_WITH_EXECUTABLE_SEGMENT = 0x20400;
/** Signed by nobody, and made by a linker: `codesign` may replace it. */
const ADHOC_AND_LINKER_SIGNED = 0x20002;
const SHA256 = 2;
const HASH_SIZE = 32;
const PAGE_BITS = 12;
const PAGE_SIZE = 2 ** PAGE_BITS;
const MAIN_BINARY = 1;
/** Of memory, on processors of Apple. */
const LARGEST_PAGE_SIZE = 0x4000;

/** The executable with an ad-hoc signature instead of the one that it has; that one is at its end, as always. */
export function sign(executable: Buffer, identifier: string): Buffer {
  const command = signatureCommand(executable);
  const limit = executable.readUInt32LE(command + 8);
  const pages = Math.ceil(limit / PAGE_SIZE);
  const hashOffset = HEADER_SIZE + identifier.length + 1;
  const directorySize = hashOffset + pages * HASH_SIZE;
  const size = SUPER_BLOB_SIZE + directorySize;

  const file = Buffer.concat([executable.subarray(0, limit), Buffer.alloc(size)]);
  file.writeUInt32LE(size, command + 12);
  const linkEdit = segment(file, "__LINKEDIT");
  const linkEditSize = file.length - linkEdit.offset;
  file.writeBigUInt64LE(BigInt(linkEditSize), linkEdit.command + 48);
  if (file.readBigUInt64LE(linkEdit.command + 32) < linkEditSize) {
    const memorySize = Math.ceil(linkEditSize / LARGEST_PAGE_SIZE) * LARGEST_PAGE_SIZE;
    file.writeBigUInt64LE(BigInt(memorySize), linkEdit.command + 32);
  }

  writeWords(file, limit, [SUPER_BLOB, size, 1, 0, SUPER_BLOB_SIZE]);
  const directory = limit + SUPER_BLOB_SIZE;
  const words = [CODE_DIRECTORY, directorySize, VERSION_WITH_EXECUTABLE_SEGMENT, ADHOC_AND_LINKER_SIGNED];
  writeWords(file, directory, [...words, hashOffset, HEADER_SIZE, 0, pages, limit]);
  file.set([HASH_SIZE, SHA256, 0, PAGE_BITS], directory + 36);
  file.writeBigUInt64BE(BigInt(segment(file, "__TEXT").size), directory + 72);
  file.writeBigUInt64BE(BigInt(MAIN_BINARY), directory + 80);
  file.write(identifier, directory + HEADER_SIZE, "latin1");
  for (let page = 0; page < pages; page++)
    hashOf(file, page, PAGE_SIZE, limit).copy(file, directory + hashOffset + page * HASH_SIZE);
  return file;
}

/**
 * Compares the hash of every page. Returns how many there are.
 *
 * @throws if one is wrong, or if anything but the signature itself is not covered.
 */
export function verifySignature(file: Buffer): number {
  const command = signatureCommand(file);
  const [signature, size] = [file.readUInt32LE(command + 8), file.readUInt32LE(command + 12)];
  const linkEdit = segment(file, "__LINKEDIT");
  if (signature + size !== file.length || linkEdit.offset + linkEdit.size !== file.length)
    throw new Error("its signature does not end where the file does");
  const directory = signature + codeDirectoryIn(file.subarray(signature));
  const field = (offset: number) => file.readUInt32BE(directory + offset);
  const [hashes, count, limit] = [field(16), field(28), field(32)];
  const [hashSize, hashType, , pageBits = 0] = file.subarray(directory + 36, directory + 40);
  if (hashType !== SHA256 || hashSize !== HASH_SIZE)
    throw new Error(`its signature has hashes of type ${hashType}`);
  const pageSize = 2 ** pageBits;
  if (limit !== signature || count !== Math.ceil(limit / pageSize))
    throw new Error(`its signature covers ${limit} of ${signature} bytes, in ${count} pages`);
  let wrong = 0;
  for (let page = 0; page < count; page++) {
    const slot = directory + hashes + page * HASH_SIZE;
    if (!hashOf(file, page, pageSize, limit).equals(file.subarray(slot, slot + HASH_SIZE))) wrong++;
  }
  if (wrong > 0) throw new Error(`${wrong} of the ${count} page hashes of its signature are wrong`);
  return count;
}

function signatureCommand(file: Buffer): number {
  const command = loadCommand(file, LC_CODE_SIGNATURE);
  if (command === undefined) throw new Error("it has no signature");
  return command;
}

function hashOf(file: Buffer, page: number, pageSize: number, limit: number): Buffer {
  const content = file.subarray(page * pageSize, Math.min((page + 1) * pageSize, limit));
  return createHash("sha256").update(content).digest();
}

function writeWords(file: Buffer, offset: number, words: readonly number[]): void {
  for (const [index, word] of words.entries()) file.writeUInt32BE(word, offset + 4 * index);
}

/** The only code directory: with a second one, each would have to be compared. */
function codeDirectoryIn(signature: Buffer): number {
  if (signature.readUInt32BE(0) !== SUPER_BLOB) throw new Error("its signature has no blobs");
  const blobs = Array.from({ length: signature.readUInt32BE(8) }, (_, index) =>
    signature.readUInt32BE(12 + 8 * index + 4),
  );
  const [directory, ...others] = blobs.filter((offset) => signature.readUInt32BE(offset) === CODE_DIRECTORY);
  if (directory !== undefined && others.length === 0) return directory;
  throw new Error("its signature does not have one code directory");
}
