// The options of the API as they are called on the command line. The core names its own options, between backquotes.

const FLAGS: Readonly<Record<string, string>> = {
  connectTimeoutMs: "--connect-timeout-ms",
  metadataSize: "--metadata-size",
  mode: "--mode",
  payloadSize: "--buffer-size",
};

/** A message of the core in the terms of the command line. */
export function withFlags(text: string): string {
  return text.replace(/`(\w+)`/g, (quoted, option) => FLAGS[option] ?? quoted);
}
