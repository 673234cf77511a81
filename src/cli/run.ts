// Runs the command that the arguments name, or the program itself, and reports the result.

import { type Named, resolveAddresses } from "./address.ts";
import { parseArguments, scanArguments } from "./arguments.ts";
import type { AnyCommand, Commands } from "./command.ts";
import { explain, type Failure } from "./failure.ts";
import type { Log } from "./log.ts";
import { type Channel, report, reportFailure } from "./report.ts";
import { Session } from "./session.ts";
import { StderrLines } from "./stderr-lines.ts";
import { StrayErrors } from "./stray-errors.ts";
import { Descriptor, type Style, takesEscapes } from "./terminal.ts";

/** Runs the arguments and returns the exit code. */
export async function run(commands: Commands, argv: readonly string[]): Promise<number> {
  const json = wantsJson(argv);
  const strays = new StrayErrors();
  try {
    // A command's name is one word, or two.
    for (const words of [1, 2]) {
      const load = commands[argv.slice(0, words).join(" ")];
      if (load !== undefined) return await runCommand(await load(), argv.slice(words), json, strays);
    }
    const { runProgram } = await import("./program.ts");
    return await strays.race(runProgram(commands, argv, json));
  } catch (error) {
    const failure = explain(error);
    await reportFailure(failure, "zerobuffer", json);
    return failure.exitCode;
  }
}

/** Runs one command and reports its result. */
async function runCommand(
  command: AnyCommand,
  argv: readonly string[],
  json: boolean,
  strays: StrayErrors,
): Promise<number> {
  const scan = scanArguments(argv, command.args);
  const program = `zerobuffer ${command.meta.name}`;
  if (scan.given.has("help")) {
    const { printCommandHelp } = await import("./help.ts");
    return printCommandHelp(command, json);
  }
  // If frames are written to stdout, the report goes to stderr.
  const descriptor =
    scan.given.get("output") === "-" || (command.movesFrames && !json)
      ? Descriptor.STDERR
      : Descriptor.STDOUT;
  const isHidden = command.movesFrames === true && scan.given.has("quiet");
  const named = resolveAddresses(scan, { name: command.meta.name, args: command.args });
  const { positionals } = named;
  const [first = null, second = null] = positionals;
  const document = command.blank(first, second);
  let failure: Failure | undefined;
  try {
    const options = await parseArguments({ ...scan, positionals }, command.args, `See ${program} --help.`);
    if (named.problem !== undefined) throw named.problem;
    {
      await using session = await openSession(options, { json, descriptor, program }, named);
      await strays.race(command.run(options, session, document));
    }
    strays.check();
  } catch (error) {
    failure = explain(command.reword === undefined ? error : command.reword(error, document));
  }
  const summarize = (style: Style) =>
    isHidden ? [] : command.summarize(document, style, failure !== undefined);
  await report(document, summarize, failure, { json, descriptor, program });
  return failure?.exitCode ?? 0;
}

/** Whether to report in JSON. Found before the arguments are parsed, so that usage errors are JSON, too. */
function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  return argv.slice(0, end === -1 ? undefined : end).some((argument) => /^--json-output(=|$)/.test(argument));
}

async function openSession(
  { verbose, quiet }: { readonly verbose: boolean; readonly quiet: boolean },
  { json, descriptor }: Channel,
  { ignored, sizes }: Named,
): Promise<Session> {
  const jsonOwnsStderr = json && descriptor === Descriptor.STDERR;
  const stderr = new StderrLines();
  const log = verbose && !jsonOwnsStderr ? await openLog(stderr) : undefined;
  const showsProgress = !json && !quiet && (await takesEscapes(Descriptor.STDERR));
  for (const line of ignored) log?.info(line);
  return new Session({ log, showsProgress, sizes, stderr });
}

async function openLog(stderr: StderrLines): Promise<Log> {
  const { Log } = await import("./log.ts");
  return Log.open(stderr);
}
