// The file system and its paths, for every layer.

/**
 * node:fs, loaded by the first call that needs it. An import would load it at start: 1.6 ms, where Bun itself takes 5, and
 * a writer that connects needs none of it.
 */
export function files(): typeof import("node:fs") {
  return process.getBuiltinModule("node:fs");
}

/** node:path in the same way: 0.3 ms. What lies in a directory of our own is put together without it. */
export function paths(): typeof import("node:path") {
  return process.getBuiltinModule("node:path");
}

/** The most bytes to read or write with one call: those of node:fs refuse 2 GiB and more. */
export const MAX_CALL_SIZE = 2 ** 30;
