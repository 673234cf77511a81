// What a command consists of.

import { defineCommand as defineCittyCommand } from "citty";
import type { Options, outputOptions, Values } from "./options.ts";
import type { Session } from "./session.ts";
import type { Style } from "./terminal.ts";

/** The JSON document of a command. It is filled in while the command runs, and printed however that ends. */
export interface Document {
  readonly operation: string;
  /** What went wrong without ending the command; the failure that ended it is added when the document is printed. */
  readonly errors: string[];
}

/** A command: a citty definition, and what it does. */
export interface Command<O extends Options, D extends Document> {
  readonly meta: { readonly name: string; readonly description: string };
  readonly args: O & typeof outputOptions;
  /** Command lines for `--help`, without the program's name, each with what it is for. */
  readonly examples: readonly { readonly line: string; readonly purpose: string }[];
  /** The document before anything has happened. `buffer` is `null` where none was named. */
  blank(buffer: string | null): D;
  /** Does the work. Ends with a return when it is done, and with an error otherwise. */
  run(options: Values<O & typeof outputOptions>, session: Session, document: D): Promise<void>;
  /** The result for a person, in a line or two; nothing where nothing was done. */
  summarize(document: D, style: Style): string[];
}

/** A command of any kind. */
export type AnyCommand = Command<Options, Document>;

/** Checks a command against citty's idea of one, for everything that reads definitions, and returns it as it is. */
export function defineCommand<O extends Options, D extends Document>(command: Command<O, D>): Command<O, D> {
  defineCittyCommand({ meta: command.meta, args: command.args });
  return command;
}
