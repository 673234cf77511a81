// Translates the options and functions of the API, which core's messages name between backquotes, to the command line.

const WORDS: Readonly<Record<string, string>> = {
  cleanBuffer: "zerobuffer clean",
  concurrency: "--workers",
  connectTimeoutMs: "--connect-timeout-ms",
  create: "--create-output",
  metadataSize: "--metadata-size",
  mode: "--mode",
  payloadSize: "--buffer-size",
  timeoutMs: "--timeout-ms",
  wait: "--wait",
  writeTimeout: "--timeout-ms",
};

/** A message of the core in the words of the command line. */
export function withFlags(text: string): string {
  return text.replace(/`(\w+)(?:\("([^"]*)"(, \{ force: true \})?\))?`/g, (quoted, name, argument, force) => {
    const words = Object.hasOwn(WORDS, name) ? WORDS[name] : undefined;
    if (words === undefined) return quoted;
    if (argument === undefined) return words;
    return force === undefined ? `${words} ${argument}` : `${words} --force ${argument}`;
  });
}
