// The program without a command: help, its version, or a usage error.

import { hintFor, parseArguments, type Scan, scanArguments } from "./arguments.ts";
import type { Commands, Document } from "./command.ts";
import { CommandError, explain } from "./failure.ts";
import { programOptions } from "./options.ts";
import { report } from "./report.ts";
import { Descriptor } from "./terminal.ts";
import { versions, versionText } from "./version.ts";

/** The words that the program itself takes in place of a command. */
const OWN_WORDS = ["help", "version"];

const HINT = "See zerobuffer --help.";

/** Runs the program and returns the exit code. */
export async function runProgram(
  commands: Commands,
  argv: readonly string[],
  json: boolean,
): Promise<number> {
  const channel = { json, descriptor: Descriptor.STDOUT, program: "zerobuffer" };
  try {
    const scan = scanArguments(argv, programOptions);
    const [first = ""] = argv;
    const subject = subjectOf(commands, scan, first);
    if (subject !== undefined) return await help(commands, subject, json);
    const isOwn = OWN_WORDS.includes(first);
    if (!isOwn && first === scan.positionals[0]) throw await unknownCommand(commands, scan.positionals);
    const words = scan.positionals.slice(isOwn ? 1 : 0);
    if (!isOwn) refuseEarlyOptions(commands, words, first);
    await parseArguments({ ...scan, positionals: words }, programOptions, HINT);
    if (scan.given.has("licenses")) {
      const { licenses } = await import("./licenses.ts");
      const document = { operation: "licenses", licenses, errors: [] };
      await report(document, () => [licenses.trimEnd()], undefined, channel);
      return 0;
    }
    const told = await versions();
    const document = { operation: "version", ...told, errors: [] };
    await report(document, () => [versionText(told)], undefined, channel);
    return 0;
  } catch (error) {
    const failure = explain(error);
    const document: Document = { operation: null, errors: [] };
    await report(document, () => [], failure, channel);
    return failure.exitCode;
  }
}

/** The words whose help is wanted, none for that of the program; undefined if something else is wanted. */
function subjectOf(
  commands: Commands,
  { given, positionals, problem }: Scan,
  first: string,
): readonly string[] | undefined {
  const asksHelp = given.has("help");
  const isFine = asksHelp || problem === undefined;
  if (first === "help") return isFine ? positionals.slice(1) : undefined;
  if (first === positionals[0]) return isFine && isGroup(commands, positionals) ? positionals : undefined;
  const asksNothing = isFine && positionals.length === 0 && !given.has("version") && !given.has("licenses");
  return asksHelp || asksNothing ? [] : undefined;
}

/** Prints the help of a command, of a group of commands, or of the program if there are no words. */
async function help(commands: Commands, words: readonly string[], json: boolean): Promise<number> {
  const { printCommandHelp, printProgramHelp } = await import("./help.ts");
  const name = words.join(" ");
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command !== undefined) return await printCommandHelp(await command(), json);
  if (words.length > 0 && !isGroup(commands, words)) throw await unknownCommand(commands, words);
  const names = words.length > 0 ? membersOf(commands, name) : Object.keys(commands);
  return await printProgramHelp(
    name,
    names.flatMap((member) => commands[member] ?? []),
    json,
  );
}

function isGroup(commands: Commands, words: readonly string[]): boolean {
  return words.length === 1 && membersOf(commands, words[0] ?? "").length > 0;
}

/** Refuses an option before a command, even one that the command takes. */
function refuseEarlyOptions(commands: Commands, words: readonly string[], first: string | undefined): void {
  const names = words.flatMap((word, at) => [word, `${word} ${words[at + 1]}`]);
  const command = names.find((name) => Object.hasOwn(commands, name));
  if (command === undefined) return;
  throw new CommandError(
    "USAGE",
    `Option ${first} must come after the command.`,
    `See zerobuffer ${command} --help.`,
  );
}

/** @param words the words that name no command. */
async function unknownCommand(
  commands: Commands,
  [first = "", second = ""]: readonly string[],
): Promise<CommandError> {
  const members = membersOf(commands, first);
  if (members.length > 0) {
    const names = members.map((command) => command.slice(first.length + 1));
    const hint = await hintFor(second, names, HINT);
    return new CommandError("USAGE", `${first} needs a subcommand: ${names.join(" or ")}.`, hint);
  }
  const hint = await hintFor(first, [...Object.keys(commands), ...OWN_WORDS], HINT);
  return new CommandError("USAGE", `Unknown command ${JSON.stringify(first)}.`, hint);
}

/** The names of the two-word commands that begin with this word. */
function membersOf(commands: Commands, first: string): string[] {
  return Object.keys(commands).filter((command) => command.startsWith(`${first} `));
}
