// What is known about the terminal, and the colours that may be used on it.

import { files } from "../runtime/files.ts";

/** The three descriptors every process has. */
export const Descriptor = { STDOUT: 1, STDERR: 2 } as const;
export type Descriptor = (typeof Descriptor)[keyof typeof Descriptor];

/** Major number of /dev/null and its like, which are character devices as terminals are. */
const MEMORY_DEVICES = 1;

/** Whether a descriptor is a terminal. node:tty costs milliseconds at start: most others are ruled out without it. */
export async function isTerminal(descriptor: Descriptor): Promise<boolean> {
  // On Windows what the descriptor is tells nothing about that.
  if (process.platform !== "win32") {
    const status = files().fstatSync(descriptor);
    if (!status.isCharacterDevice() || status.rdev >> 8 === MEMORY_DEVICES) return false;
  }
  const { isatty } = await import("node:tty");
  return isatty(descriptor);
}

/** Whether a descriptor is a terminal that understands escape sequences, which one of `TERM=dumb` does not. */
export async function takesEscapes(descriptor: Descriptor): Promise<boolean> {
  return process.env.TERM !== "dumb" && (await isTerminal(descriptor));
}

/** Ways to set off text; each leaves it alone where colour is not wanted. */
export interface Style {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
}

const asItIs = (text: string): string => text;
const paint = (on: number, off: number) => (text: string) => `\x1b[${on}m${text}\x1b[${off}m`;

/** No colours. */
export const plain: Style = { bold: asItIs, dim: asItIs, red: asItIs, green: asItIs, yellow: asItIs };

const coloured: Style = {
  bold: paint(1, 22),
  dim: paint(2, 22),
  red: paint(31, 39),
  green: paint(32, 39),
  yellow: paint(33, 39),
};

/** Colours for a terminal where `NO_COLOR` is unset or empty, none otherwise. */
export async function styleFor(descriptor: Descriptor): Promise<Style> {
  // Bun knows whether any descriptor is a terminal: most often none is, and node:fs need not be loaded to find out.
  return Bun.enableANSIColors && !process.env.NO_COLOR && (await takesEscapes(descriptor)) ? coloured : plain;
}

/** Prints text completely, however slow the other side is. The event loop keeps turning. */
export async function print(descriptor: Descriptor, text: string): Promise<void> {
  const file = descriptor === Descriptor.STDOUT ? Bun.stdout : Bun.stderr;
  // A thread writes a Blob, and starting it takes 1 ms. A string is written here, by a call that may block: no harm where
  // nobody listens for signals, which end the process themselves then.
  const mayBlock = process.listenerCount("SIGINT") === 0;
  await Bun.write(file, mayBlock ? text : new Blob([text]));
}
