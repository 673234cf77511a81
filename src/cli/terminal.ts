// Terminals: whether a descriptor is one, colours, and printing.

import { files } from "../runtime/files.ts";

/** The descriptors of a process. */
export const Descriptor = { STDIN: 0, STDOUT: 1, STDERR: 2 } as const;
export type Descriptor = (typeof Descriptor)[keyof typeof Descriptor];

/** Major number of /dev/null and similar devices, which are character devices like terminals. */
const MEMORY_DEVICES = 1;

/** Whether a descriptor is a terminal. Most others are excluded without node:tty, which takes milliseconds to load. */
export async function isTerminal(descriptor: Descriptor): Promise<boolean> {
  // On Windows the status of a descriptor does not tell.
  if (process.platform !== "win32") {
    const status = files().fstatSync(descriptor);
    if (!status.isCharacterDevice() || status.rdev >> 8 === MEMORY_DEVICES) return false;
  }
  const { isatty } = await import("node:tty");
  return isatty(descriptor);
}

/** Whether a descriptor is a terminal that understands escape sequences: not with `TERM=dumb`. */
export async function takesEscapes(descriptor: Descriptor): Promise<boolean> {
  return process.env.TERM !== "dumb" && (await isTerminal(descriptor));
}

/** Colours and weights for text; they do nothing if colours are not wanted. */
export interface Style {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
}

const unchanged = (text: string): string => text;
const paint = (on: number, off: number) => (text: string) => `\x1b[${on}m${text}\x1b[${off}m`;

/** No colours. */
export const plain: Style = {
  bold: unchanged,
  dim: unchanged,
  red: unchanged,
  green: unchanged,
  yellow: unchanged,
};

const coloured: Style = {
  bold: paint(1, 22),
  dim: paint(2, 22),
  red: paint(31, 39),
  green: paint(32, 39),
  yellow: paint(33, 39),
};

/** Colours for a terminal, or where `CLICOLOR_FORCE` or `FORCE_COLOR` asks for them; none if `NO_COLOR` is set. */
export async function styleFor(descriptor: Descriptor): Promise<Style> {
  const { NO_COLOR, CLICOLOR_FORCE, FORCE_COLOR } = process.env;
  if (NO_COLOR) return plain;
  if ([CLICOLOR_FORCE, FORCE_COLOR].some((wish) => wish && wish !== "0")) return coloured;
  // Bun knows whether any descriptor is a terminal: usually none is, and node:fs is not loaded.
  return Bun.enableANSIColors && (await takesEscapes(descriptor)) ? coloured : plain;
}

/** Prints all of a text, however slow its reader is, without blocking the event loop. */
export async function print(descriptor: Descriptor, text: string): Promise<void> {
  const file = descriptor === Descriptor.STDOUT ? Bun.stdout : Bun.stderr;
  // A thread writes a Blob, and starting it takes 1 ms. A string is written here by a call that may block: this is fine
  // while no signals are handled, because they end the process then.
  const mayBlock = process.listenerCount("SIGINT") === 0;
  await Bun.write(file, mayBlock ? text : new Blob([text]));
}
