// Runs the command that the arguments name, or the program itself, and reports the result.

import { type Named, resolveAddresses } from "./address.ts";
import { parseArguments, refuseTogether, scanArguments } from "./arguments.ts";
import type { AnyCommand, Commands } from "./command.ts";
import type { Events } from "./events.ts";
import { DownstreamClosed, explain, type Failure } from "./failure.ts";
import type { Log } from "./log.ts";
import { type Channel, report, reportFailure } from "./report.ts";
import { Session } from "./session.ts";
import { StderrLines } from "./stderr-lines.ts";
import { StrayErrors } from "./stray-errors.ts";
import { Descriptor, type Style, takesEscapes } from "./terminal.ts";

/** How often --json-lines tells the progress, in milliseconds, unless it is told otherwise. */
const PROGRESS_MS = 1000;

/** Runs the arguments and returns the exit code. */
export async function run(commands: Commands, argv: readonly string[]): Promise<number> {
  const asEvents = isGiven(argv, "--json-lines");
  const json = asEvents || isGiven(argv, "--json-output");
  const strays = new StrayErrors();
  try {
    // A command's name is one word, or two.
    for (const words of [1, 2]) {
      const load = commands[argv.slice(0, words).join(" ")];
      if (load !== undefined)
        return await runCommand(await load(), argv.slice(words), { json, asEvents }, strays);
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
  { json, asEvents }: { readonly json: boolean; readonly asEvents: boolean },
  strays: StrayErrors,
): Promise<number> {
  const scan = scanArguments(argv, command.args);
  const program = `zerobuffer ${command.meta.name}`;
  if (scan.given.has("help")) {
    const { printCommandHelp } = await import("./help.ts");
    return printCommandHelp(command, json);
  }
  // If frames are written to stdout, the report goes to stderr.
  const isEvent = asEvents && "jsonLines" in command.args;
  const descriptor =
    ["output", "snapshot"].some((option) => scan.given.get(option) === "-") || (command.movesFrames && !json)
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
    if (isEvent) refuseTogether({ "--json-lines": true, "--json-output": options.jsonOutput });
    {
      await using session = await openSession(options, { json, isEvent, descriptor, program }, named);
      session.events?.emit("started", { operation: document.operation, pid: process.pid });
      await strays.race(command.run(options, session, document));
    }
    strays.check();
  } catch (error) {
    // Nobody reads the events any more: that ends a run, but is no failure.
    if (!(error instanceof DownstreamClosed))
      failure = explain(command.reword === undefined ? error : command.reword(error, document));
  }
  const summarize = (style: Style) =>
    isHidden ? [] : command.summarize(document, style, failure !== undefined);
  await report(document, summarize, failure, { json, isEvent, descriptor, program });
  return failure?.exitCode ?? 0;
}

/** Whether a flag is given. Found before the arguments are parsed, so that usage errors are JSON, too. */
function isGiven(argv: readonly string[], flag: string): boolean {
  const end = argv.indexOf("--");
  const before = argv.slice(0, end === -1 ? undefined : end);
  return before.some((argument) => argument === flag || argument.startsWith(`${flag}=`));
}

async function openSession(
  options: { readonly verbose: boolean; readonly quiet: boolean; readonly intervalMs?: number | undefined },
  { json, isEvent, descriptor }: Channel,
  { ignored, sizes }: Named,
): Promise<Session> {
  const { intervalMs = PROGRESS_MS, quiet, verbose } = options;
  const jsonOwnsStderr = json && descriptor === Descriptor.STDERR;
  const stderr = new StderrLines();
  const showsProgress = !json && !quiet && (await takesEscapes(Descriptor.STDERR));
  let log: Log | undefined;
  let events: Events | undefined;
  if (verbose && !jsonOwnsStderr) log = await (await import("./log.ts")).StderrLog.open(stderr);
  if (isEvent) {
    const { Events } = await import("./events.ts");
    events = new Events(descriptor, (closed) => session.stop(closed));
    log = (await import("./log.ts")).eventLog(events, log);
  }
  for (const line of ignored) log?.info(line);
  const session: Session = new Session({ events, intervalMs, log, showsProgress, sizes, stderr });
  return session;
}
