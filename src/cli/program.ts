// The program without a command: help, its version, or a usage error.

import { hintFor, parseArguments, scanArguments } from "./arguments.ts";
import type { Commands, Document } from "./command.ts";
import { CommandError, explain } from "./failure.ts";
import { programOptions } from "./options.ts";
import { report } from "./report.ts";
import { Descriptor } from "./terminal.ts";
import { versions, versionText } from "./version.ts";

const HINT = "See zerobuffer --help.";

/** Runs the program and returns the exit code. */
export async function runProgram(
  commands: Commands,
  argv: readonly string[],
  json: boolean,
): Promise<number> {
  const channel = { json, descriptor: Descriptor.STDOUT, program: "zerobuffer" };
  try {
    const [first, second] = argv;
    const scan = scanArguments(argv, programOptions);
    const isWord = first !== undefined && !first.startsWith("-");
    const names = isWord ? membersOf(commands, first) : Object.keys(commands);
    if (scan.given.has("help") && names.length > 0 && (!isWord || second?.startsWith("-"))) {
      const { printProgramHelp } = await import("./help.ts");
      const loads = names.flatMap((name) => commands[name] ?? []);
      return await printProgramHelp(loads, json);
    }
    if (isWord) throw await unknownCommand(commands, first, second);
    refuseEarlyOptions(commands, scan.positionals, first);
    const given = await parseArguments(scan, programOptions, HINT);
    if (!given.version) throw new CommandError("USAGE", "No command given.", HINT);
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

/** @param first the first argument, which is no command by itself. */
async function unknownCommand(commands: Commands, first: string, second = ""): Promise<CommandError> {
  const members = membersOf(commands, first);
  if (members.length > 0) {
    const names = members.map((command) => command.slice(first.length + 1));
    const hint = await hintFor(second, names, HINT);
    return new CommandError("USAGE", `${first} needs a subcommand: ${names.join(" or ")}.`, hint);
  }
  const hint = await hintFor(first, Object.keys(commands), HINT);
  return new CommandError("USAGE", `Unknown command ${JSON.stringify(first)}.`, hint);
}

/** The names of the two-word commands that begin with this word. */
function membersOf(commands: Commands, first: string): string[] {
  return Object.keys(commands).filter((command) => command.startsWith(`${first} `));
}
