// Situations in which the machine keeps buffers from working: what every command says, and whether its advice helps.

import { expect } from "bun:test";
import { runScript } from "../support/namespace.ts";

/** Every command that needs buffers, in a way that ends at once where nothing is in the way. */
const COMMANDS = {
  reader: "reader cam --buffer-size 64KiB --connect-timeout-ms 1",
  writer: "writer cam -n 1 --connect-timeout-ms 1",
  relay: "relay cam shown --create-output --buffer-size 64KiB --connect-timeout-ms 1",
  serve: "duplex serve channel --buffer-size 64KiB",
  request: "duplex request channel -n 1 --connect-timeout-ms 1",
  list: "list",
  inspect: "inspect cam",
  clean: "clean cam",
  doctor: "doctor",
} as const;

type Name = keyof typeof COMMANDS;
type Codes = Readonly<Record<Name, string>>;

/** What each command ends with where everything works: its exit code, and the code of its error. */
const WORKING: Codes = {
  reader: "1 PEER_TIMEOUT",
  writer: "1 BUFFER_NOT_FOUND",
  relay: "1 PEER_TIMEOUT",
  serve: "143 INTERRUPTED",
  request: "1 BUFFER_NOT_FOUND",
  list: "0",
  inspect: "1 BUFFER_NOT_FOUND",
  clean: "1 BUFFER_NOT_FOUND",
  doctor: "0",
};

/** What they end with where no buffer can be created: those that only look at buffers find none. */
export const withoutNewBuffers = (code: string): Codes => {
  const failure = `1 ${code}`;
  return { ...WORKING, reader: failure, relay: failure, serve: failure, doctor: failure };
};

/** What they end with where nothing works. */
export const nothing = (code: string): Codes =>
  Object.fromEntries(Object.keys(COMMANDS).map((name) => [name, `1 ${code}`])) as unknown as Codes;

interface Answer {
  /** The exit code, and the code of the error if there is one. */
  readonly codes: string;
  // biome-ignore lint/suspicious/noExplicitAny: every command has its own keys
  readonly document: any;
}

/** Ends a server when it has its buffer. Nothing is written to a file: that may be forbidden. */
const untilServing = `
  "$@" & pid=$!
  while read -r _ _ state _ < /proc/$pid/stat && [ $state != Z ] && [ ! -s /dev/shm/channel_request ]; do sleep 0.01; done
  kill -TERM $pid; wait $pid`;

/** Runs every command after `make`, a shell script, each in a shell of its own where `limit` has been run. */
async function askAll(
  program: string,
  { make = "", limit }: Pick<Situation, "make" | "limit">,
): Promise<Record<Name, Answer>> {
  const lines = Object.entries(COMMANDS).map(([name, args]) => {
    const line = `${limit ? `sh -c '${limit}; exec "$@"' sh ` : ""}${program} ${args} --json-output`;
    const shell = name === "serve" ? `sh -c '${untilServing}' sh ` : "";
    return `${shell}${line}; echo "${name} $?"`;
  });
  const script = [`zerobuffer() { ${program} "$@"; }`, make, ...lines].join("\n");
  const { stdout, stderr } = await runScript(script, "512m");
  const answers = [...stdout.matchAll(/^(\{.*\})\n(\w+) (\d+)$/gm)].map(([, json = "", name, exitCode]) => {
    const document = JSON.parse(json);
    return [name, { codes: `${exitCode} ${document.error?.code ?? ""}`.trim(), document }];
  });
  if (answers.length < lines.length) throw new Error(`not every command has answered:\n${stdout}${stderr}`);
  return Object.fromEntries(answers);
}

const codesOf = (answers: Record<Name, Answer>) =>
  Object.fromEntries(Object.entries(answers).map(([name, { codes }]) => [name, codes]));

/** The command at the end of a hint, or undefined if it says that there is none for this shell. */
function commandIn(hint: string): string | undefined {
  const [, command] = /: ((?:mount|mkdir|chmod|ulimit) .+)$/.exec(hint) ?? [];
  if (command === undefined && !/\bstart it from a shell with a higher limit\b/i.test(hint))
    throw new Error(`no command in "${hint}"`);
  return command;
}

/** All the commands that doctor prints, in its order. */
const commandsOf = ({ document }: Answer): string[] =>
  document.checks.flatMap(({ remedy }: { remedy: string | null }) => remedy ?? []);

/** The situation after these commands. A limit for which there is no command is not there. */
function after(
  { make = "", limit }: Situation,
  commands: readonly string[],
): Pick<Situation, "make" | "limit"> {
  const [forShell, forMachine] = [true, false].map((isLimit) =>
    commands.filter((command) => command.startsWith("ulimit ") === isLimit),
  ) as [string[], string[]];
  return {
    make: [make, ...forMachine].join("\n"),
    ...(forShell.length > 0 && { limit: [limit, ...forShell].join("; ") }),
  };
}

export interface Situation {
  /** The shell script that makes it. */
  readonly make?: string;
  /** What the shell runs that starts a command. */
  readonly limit?: string;
  /** What every command ends with. */
  readonly codes: Codes;
  /** What those say that cannot create a buffer; undefined if each says something else. */
  readonly message: string | undefined;
}

/**
 * Checks what every command says of a situation, and that everything works after the advice of those that need a new
 * buffer, and after the commands that doctor prints.
 */
export async function checkSituation(program: string, situation: Situation): Promise<void> {
  const answers = await askAll(program, situation);
  expect(codesOf(answers)).toEqual(situation.codes);
  const { hint } = answers.reader.document.error;
  const advice = [commandIn(hint) ?? []].flat();
  for (const name of ["reader", "relay", "serve"] as const) {
    const { error } = answers[name].document;
    if (situation.message !== undefined)
      expect(error.message.replace(/"(cam|channel_request)"/, "NAME")).toBe(situation.message);
    expect([commandIn(error.hint) ?? []].flat()).toEqual(advice);
  }
  const prescriptions = new Map([advice, commandsOf(answers.doctor)].map((list) => [list.join("\n"), list]));
  for (const commands of prescriptions.values())
    expect({ commands, codes: codesOf(await askAll(program, after(situation, commands))) }).toEqual({
      commands,
      codes: WORKING,
    });
}
