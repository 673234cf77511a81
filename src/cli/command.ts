// What a command consists of.

import type { CommandDef } from "citty";
import type { Options, outputOptions, Values } from "./options.ts";
import type { Session } from "./session.ts";
import type { Style } from "./terminal.ts";

/** The JSON document of a command. It is filled in while the command runs, and printed however that ends. */
export interface Document {
  /** What was done; `null` where no command was named. */
  readonly operation: string | null;
  /** What went wrong without ending the command; the failure that ended it is added when the document is printed. */
  readonly errors: string[];
}

/** A command: a citty definition, and what it does. */
export interface Command<O extends Options, D extends Document> extends Pick<CommandDef, "meta" | "args"> {
  /** A command that is hidden is for other programs to call: no help lists it. */
  readonly meta: { readonly name: string; readonly description: string; readonly hidden?: true };
  readonly args: O & typeof outputOptions;
  /** Command lines for `--help`, without the program's name, each with what it is for. */
  readonly examples: readonly { readonly line: string; readonly purpose: string }[];
  /** The document before anything has happened, with the positional arguments; null where none is given. */
  blank(first: string | null, second: string | null): D;
  /** Does the work. Ends with a return when it is done, and with an error otherwise. */
  run(options: Values<O & typeof outputOptions>, session: Session, document: D): Promise<void>;
  /** A failure in the terms of the document, where the failure's own are not those of who runs the command. */
  reword?(error: unknown, document: D): unknown;
  /** The result for a person, in a line or two; none where it failed before anything was done. */
  summarize(document: D, style: Style, failed: boolean): string[];
}

/** A command of any kind. */
export type AnyCommand = Command<Options, Document>;

/** Loads a command, which costs more than to know its name. */
export type Load = () => Promise<AnyCommand>;

/** The commands by name, of one or two words. */
export type Commands = Readonly<Record<string, Load>>;

/** Gives a command its types. */
export function defineCommand<O extends Options, D extends Document>(command: Command<O, D>): Command<O, D> {
  return command;
}

/** What a list of commands tells of one; its own help tells the rest. */
export function firstSentence(description: string): string {
  return description.split(/(?<=\.) /)[0] ?? "";
}
