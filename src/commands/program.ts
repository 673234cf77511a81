// What the program answers where its first argument is no command: help, its version, or what is wrong.

import { version } from "../../package.json";
import { nearest, scanArguments } from "./arguments.ts";
import { CommandError, explain } from "./failure.ts";
import { printProgramHelp } from "./help.ts";
import { commands } from "./index.ts";
import { flag, flagOf, outputOptions } from "./options.ts";
import { report } from "./result.ts";
import { Descriptor } from "./terminal.ts";

const options = {
  help: outputOptions.help,
  jsonOutput: outputOptions.jsonOutput,
  version: flag({ group: "Output", description: "show the version" }),
};

/** Does what the arguments say, and returns the exit code. */
export async function runProgram(argv: readonly string[], json: boolean): Promise<number> {
  const channel = { json, descriptor: Descriptor.STDOUT, program: "zerobuffer" };
  const scan = scanArguments(argv, options);
  const isFlagFirst = argv[0]?.startsWith("-") ?? false;
  if (isFlagFirst && scan.given.has("help")) return printProgramHelp(Object.values(commands), json);
  if (isFlagFirst && scan.given.has("version") && scan.problem === undefined && scan.positionals.length === 0) {
    const document = { operation: "version", version, errors: [] };
    await report(document, () => [`zerobuffer ${version}`], undefined, channel);
    return 0;
  }
  const failure = explain(await usageError(argv, scan.problem?.message));
  await report({ operation: null, errors: [] }, () => [], failure, channel);
  return failure.exitCode;
}

async function usageError([first]: readonly string[], problem: string | undefined): Promise<CommandError> {
  const help = "See zerobuffer --help.";
  if (first === undefined) return new CommandError("USAGE", "No command is named.", help);
  if (first.startsWith("-")) {
    const flags = Object.keys(options).map(flagOf);
    const meant = await nearest(first, flags);
    const message = problem ?? "";
    return new CommandError("USAGE", message, meant === undefined ? help : `Did you mean ${meant}?`);
  }
  const meant = await nearest(first, Object.keys(commands));
  const message = `Unknown command ${JSON.stringify(first)}.`;
  return new CommandError("USAGE", message, meant === undefined ? help : `Did you mean ${meant}?`);
}
