// What --help prints: everything needed to use a command, on one page.

import { type AnyCommand, firstSentence, type Load } from "./command.ts";
import { EXIT_CODE_MEANINGS } from "./exit-codes.ts";
import { flagOf, type Option, type Options, VARIABLES } from "./options.ts";
import { report } from "./report.ts";
import { Descriptor, plain, type Style } from "./terminal.ts";

/** How the values of options are written, by their names in the help. */
export const UNITS: Readonly<Record<string, string>> = {
  COUNT: "COUNT is a whole number, or has a suffix for powers of 1000: K, M, G.",
  SIZE: "SIZE is in bytes, or has a suffix: K, M, G, KiB, MiB, GiB, or for powers of 1000 KB, MB, GB.",
  TIME: "TIME is in milliseconds, or has a suffix: us, ms, s, m.",
};

/** What the program does. */
export const SUMMARY =
  "Moves frames (video, audio, records, any bytes) between processes on one machine through shared memory.";

/** The words that every page of the help uses. */
export const CONCEPT =
  "A buffer is a ring of frames in shared memory with a name. Its reader creates it; its writer connects to it.";

/** The first things to try, in two terminals. */
export const FIRST_EXAMPLES = [
  { purpose: "create buffer cam, and read until its writer leaves", line: "zerobuffer reader cam" },
  {
    purpose: "in another terminal, send 300 frames of 2 MiB, 30 per second",
    line: "zerobuffer writer cam -n 300 -s 2MiB --rate 30",
  },
] as const;

/** What each exit code means, in one sentence. */
export const EXIT_CODES_TEXT: string = EXIT_CODE_MEANINGS.map(([code, meaning]) => `${code} ${meaning}`).join(
  ", ",
);

/** Longest line. An option takes one line. */
const WIDTH = 100;

/** Longest line of running text. */
const TEXT_WIDTH = 80;

const INDENT = "  ";

/** Prints the page of one command; returns the exit code. */
export function printCommandHelp(command: AnyCommand, json: boolean): Promise<number> {
  return printPage((style) => commandPage(command, style), json);
}

/**
 * Prints the page of the program, or of a group of its commands; returns the exit code.
 *
 * @param group the first word of these commands; empty: they are all commands.
 */
export async function printProgramHelp(
  group: string,
  loads: readonly Load[],
  json: boolean,
): Promise<number> {
  const commands = await Promise.all(loads.map((load) => load()));
  const shown = commands.filter(({ meta }) => !meta.hidden);
  return printPage((style) => programPage(group, shown, style), json);
}

async function printPage(page: (style: Style) => string[], json: boolean): Promise<number> {
  const document = { operation: "help", help: page(plain).join("\n\n"), errors: [] };
  const channel = { json, descriptor: Descriptor.STDOUT, program: "zerobuffer" };
  await report(document, (style) => [page(style).join("\n\n")], undefined, channel);
  return 0;
}

/** The page of one command, by section. */
export function commandPage(command: AnyCommand, style: Style): string[] {
  const options = Object.values(command.args);
  const notes = [...new Set(options.flatMap(({ note }) => note ?? []))];
  const units = Object.entries(UNITS).filter(([unit]) =>
    options.some(({ valueHint }) => valueHint?.startsWith(unit)),
  );
  const variables = Object.keys(command.args).flatMap((option) => VARIABLES[option] ?? []);
  return [
    wrap(command.meta.description, TEXT_WIDTH).join("\n"),
    section("Usage", usageOf(command), style),
    ...argumentSections(command.args, style),
    ...(notes.length > 0 ? [section("Notes", notes.flatMap(paragraph).join("\n"), style)] : []),
    ...(units.length > 0 ? [section("Units", units.map(([, text]) => text).join("\n"), style)] : []),
    ...(variables.length > 0
      ? [section("Environment", paragraph(variablesText(variables)).join("\n"), style)]
      : []),
    section("Exit codes", paragraph(`${EXIT_CODES_TEXT}.`).join("\n"), style),
    examplesSection(command.examples, style),
  ];
}

function examplesSection(examples: AnyCommand["examples"], style: Style): string {
  const lines = examples.map(({ line, purpose }) => `${style.dim(`# ${purpose}`)}\n${line}`);
  return section("Examples", lines.join("\n"), style);
}

/** How a command is typed. */
export function usageOf({ args, meta }: AnyCommand): string {
  const places = Object.entries(args).filter(([, { type }]) => type === "positional");
  const labels = places.map(([place, option]) => placeLabel(place, option));
  return ["zerobuffer", meta.name, ...labels, "[options]"].join(" ");
}

function variablesText(variables: readonly string[]): string {
  const list = variables.join(", ").replace(/, (?=[^,]*$)/, " and ");
  return variables.length > 1
    ? `${list} set other defaults for the options of these names.`
    : `${list} sets another default for the option of this name.`;
}

function programPage(group: string, commands: readonly AnyCommand[], style: Style): string[] {
  const rows = commands.map(
    ({ meta }) => [meta.name, firstSentence(meta.description)] as const satisfies Row,
  );
  const isWhole = group === "";
  return [
    wrap(SUMMARY, TEXT_WIDTH).join("\n"),
    ...(isWhole ? [wrap(CONCEPT, TEXT_WIDTH).join("\n")] : []),
    section("Usage", ["zerobuffer", group, "<command> [options]"].filter(Boolean).join(" "), style),
    section("Commands", table(rows, columnOf(rows), style), style),
    ...(isWhole ? [examplesSection(FIRST_EXAMPLES, style)] : []),
    section("More", "zerobuffer help <command>\nzerobuffer version\nzerobuffer --licenses", style),
  ];
}

function section(title: string, text: string, style: Style): string {
  return `${style.bold(title)}\n${text.replace(/^/gm, INDENT)}`;
}

/** What is explained, and the explanation. */
type Row = readonly [label: string, text: string];

/** The positional arguments and then the options under their headings, in common columns. */
function argumentSections(options: Options, style: Style): string[] {
  const rows = new Map(
    Object.entries(options).map(([name, option]) => [
      option,
      [optionLabel(name, option), textOf(option)] as const,
    ]),
  );
  const column = columnOf([...rows.values()]);
  const groups = Map.groupBy(rows.keys(), ({ type, group }) => (type === "positional" ? "Arguments" : group));
  return [...groups].map(([group, members]) => {
    const shown = members.map((option) => rows.get(option)!);
    return section(group, table(shown, column, style), style);
  });
}

function columnOf(rows: readonly Row[]): number {
  return Math.max(...rows.map(([label]) => label.length)) + 2;
}

function table(rows: readonly Row[], column: number, style: Style): string {
  const lines = rows.map(([label, text]) => {
    const explanation = wrap(text, WIDTH - INDENT.length - column).join(`\n${" ".repeat(column)}`);
    return `${style.green(label)}${" ".repeat(column - label.length)}${explanation}`;
  });
  return lines.join("\n");
}

/** How an option or an argument is typed, with what it takes. */
export function optionLabel(name: string, option: Option<unknown>): string {
  const { alias, type, valueHint } = option;
  if (type === "positional") return placeLabel(name, option);
  const short = alias === undefined ? "    " : `-${alias}, `;
  return `${short}${flagOf(name)}${type === "boolean" ? "" : ` ${valueHint}`}`;
}

function placeLabel(name: string, { variadic, required }: Option<unknown>): string {
  if (variadic) return required === true ? `<${name}…>` : `[${name}…]`;
  return required === false ? `[${name}]` : `<${name}>`;
}

/** The description of an option, with its default at the end. */
export function textOf({ default: shown, description }: Option<unknown>): string {
  return shown === undefined ? description : `${description} (default ${shown})`;
}

function paragraph(text: string): string[] {
  return wrap(text, TEXT_WIDTH - INDENT.length);
}

/** The text in lines of at most `width` characters, but for longer words. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}
