// The parts of a command.

import type { CommandDef } from "citty";
import type { Options, outputOptions, Values } from "./options.ts";
import type { Session } from "./session.ts";
import type { Style } from "./terminal.ts";

/** The JSON document of a command. It is filled in while the command runs, and printed even if the command fails. */
export interface Document {
  /** What the command does; `null` if no command was given. */
  readonly operation: string | null;
  /** Failures that did not end the command. The failure that ended it is added when the document is printed. */
  readonly errors: string[];
}

/** A command: a citty definition and its implementation. */
export interface Command<O extends Options, D extends Document> extends Pick<CommandDef, "meta" | "args"> {
  /** A hidden command is for other programs: the help does not list it. */
  readonly meta: { readonly name: string; readonly description: string; readonly hidden?: true };
  readonly args: O & typeof outputOptions;
  /** Whether it moves frames. Its result for people goes to stderr then, or nowhere with --quiet: stdout is for frames. */
  readonly movesFrames?: true;
  /** Complete command lines for `--help`, each with its purpose. */
  readonly examples: readonly { readonly line: string; readonly purpose: string }[];
  /** The document at the start, with the first two positional arguments; null if they are missing. */
  blank(first: string | null, second: string | null): D;
  /** Does the work. Throws if it fails. */
  run(options: Values<O & typeof outputOptions>, session: Session, document: D): Promise<void>;
  /** Rewords a failure of the core for users of this command. */
  reword?(error: unknown, document: D): unknown;
  /** The result as text, in a line or two; no lines if it failed before it did anything. */
  summarize(document: D, style: Style, failed: boolean): string[];
}

/** A command of any kind. */
export type AnyCommand = Command<Options, Document>;

/** Loads a command: only the commands that run are loaded. */
export type Load = () => Promise<AnyCommand>;

/** The commands by name, of one or two words. */
export type Commands = Readonly<Record<string, Load>>;

/** Infers the types of a command. */
export function defineCommand<O extends Options, D extends Document>(command: Command<O, D>): Command<O, D> {
  return command;
}

/** The first sentence of a description, for lists of commands. */
export function firstSentence(description: string): string {
  return description.split(/(?<=\.) /)[0] ?? "";
}
