// The transforms of frames, in place.

/** The transforms: bytes unchanged, in reverse order, or each combined with a key by exclusive or. */
export const TRANSFORMS = ["none", "reverse", "xor"] as const;

/** The name of one of the {@link TRANSFORMS}. */
export type Transform = (typeof TRANSFORMS)[number];

/** Larger frames are handled in pieces of this many bytes; each takes a millisecond or two. */
export const PIECE_SIZE = 4 * 1024 * 1024;

/** For fewer bytes, a view of them as words costs more than it saves. */
const MIN_WORDS_SIZE = 512;

/**
 * The function that changes the bytes of a frame in place.
 *
 * @param key For `xor`: a whole number from 0 to 255.
 */
export function transformFor(name: Transform, key: number): (bytes: Uint8Array) => void {
  switch (name) {
    case "none":
      return () => {};
    case "reverse":
      return reverse;
    case "xor":
      return (bytes) => xor(bytes, key);
  }
}

/**
 * Copies a frame, with a turn of the event loop after each piece: a large frame takes longer than a signal may wait.
 *
 * @param target As long as `source`.
 */
export async function copyInPieces(
  source: Uint8Array,
  target: Uint8Array,
  turn: () => Promise<void>,
): Promise<void> {
  for (let start = 0; start < source.length; start += PIECE_SIZE) {
    target.set(source.subarray(start, start + PIECE_SIZE), start);
    await turn();
  }
}

/** Transforms a frame in place, with turns as {@link copyInPieces}. */
export async function transformInPieces(
  bytes: Uint8Array,
  { transform, xorKey }: { readonly transform: Transform; readonly xorKey: number },
  turn: () => Promise<void>,
): Promise<void> {
  const change = transformFor(transform, xorKey);
  if (transform === "reverse") return await reverseInPieces(bytes, turn);
  for (let start = 0; start < bytes.length; start += PIECE_SIZE) {
    change(bytes.subarray(start, start + PIECE_SIZE));
    await turn();
  }
}

/** Reverses the first piece and the last one, which change places, and then those between them. */
async function reverseInPieces(bytes: Uint8Array, turn: () => Promise<void>): Promise<void> {
  const saved = new Uint8Array(PIECE_SIZE);
  let [start, end] = [0, bytes.length];
  while (end - start > PIECE_SIZE) {
    const size = Math.min(PIECE_SIZE, (end - start) >> 1);
    const first = bytes.subarray(start, start + size);
    const last = bytes.subarray(end - size, end);
    saved.set(first);
    first.set(last);
    last.set(saved.subarray(0, size));
    reverse(first);
    reverse(last);
    start += size;
    end -= size;
    await turn();
  }
  reverse(bytes.subarray(start, end));
}

/**
 * Reverses the bytes of each word and then the words: several times as fast as Uint8Array.reverse. Words are aligned,
 * frames are not: the few bytes before the first word and after the last one swap sides.
 */
function reverse(bytes: Uint8Array): void {
  if (bytes.length < MIN_WORDS_SIZE) {
    bytes.reverse();
    return;
  }
  const { buffer, byteOffset, length } = bytes;
  const start = -byteOffset & 7;
  const rest = (length - start) % 8;
  const size = length - start - rest;
  const first = bytes.slice(0, start).reverse();
  const last = bytes.slice(length - rest).reverse();
  Buffer.from(buffer, byteOffset + start, size).swap64();
  new BigUint64Array(buffer, byteOffset + start, size / 8).reverse();
  if (start !== rest) bytes.copyWithin(rest, start, start + size);
  bytes.set(last);
  bytes.set(first, length - start);
}

/** Combines four words at a time: several times as fast as byte by byte. */
function xor(bytes: Uint8Array, key: number): void {
  if (bytes.length < MIN_WORDS_SIZE) {
    xorRange(bytes, 0, bytes.length, key);
    return;
  }
  const start = -bytes.byteOffset & 3;
  const words = new Int32Array(
    bytes.buffer,
    bytes.byteOffset + start,
    4 * Math.floor((bytes.length - start) / 16),
  );
  xorWords(words, Math.imul(key, 0x01010101));
  xorRange(bytes, 0, start, key);
  xorRange(bytes, start + words.byteLength, bytes.length, key);
}

/** @param words their number is a multiple of four. */
function xorWords(words: Int32Array, keys: number): void {
  for (let i = 0; i < words.length; i += 4) {
    (words[i] as number) ^= keys;
    (words[i + 1] as number) ^= keys;
    (words[i + 2] as number) ^= keys;
    (words[i + 3] as number) ^= keys;
  }
}

function xorRange(bytes: Uint8Array, start: number, end: number, key: number): void {
  for (let i = start; i < end; i++) (bytes[i] as number) ^= key;
}
