// Encoded pictures, known by their first bytes.

const STARTS = {
  jpeg: [0xff, 0xd8, 0xff],
  png: [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a],
} as const;

/** The encodings that can be shown. */
export type Encoding = keyof typeof STARTS;

/** The encoding of a frame; undefined if its bytes begin otherwise. */
export function encodingOf(data: Uint8Array): Encoding | undefined {
  const all = Object.entries(STARTS) as [Encoding, readonly number[]][];
  return all.find(([, start]) => start.every((byte, at) => data[at] === byte))?.[0];
}
