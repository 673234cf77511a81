// The file system, for every layer.

/**
 * node:fs, loaded by the first call that needs it. An import would load it at start: 1.6 ms, where Bun itself takes 5, and
 * a writer that connects needs none of it.
 */
export function files(): typeof import("node:fs") {
  return process.getBuiltinModule("node:fs");
}
