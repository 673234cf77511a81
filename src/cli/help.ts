// What --help prints: everything needed to use a command, on one page.

import { type AnyCommand, firstSentence, type Load } from "./command.ts";
import { EXIT_CODE_MEANINGS } from "./exit-codes.ts";
import { flagOf, type Option, type Options } from "./options.ts";
import { report } from "./report.ts";
import { Descriptor, plain, type Style } from "./terminal.ts";

/** How sizes and times are written. */
export const UNITS = `SIZE is in bytes, or has a suffix: KiB, MiB, GiB, or in powers of 1000 KB, MB, GB.
TIME is in milliseconds, or has a suffix: us, ms, s, m.`;

/** What each exit code means, in one sentence. */
export const EXIT_CODES_TEXT: string = EXIT_CODE_MEANINGS.map(([code, meaning]) => `${code} ${meaning}`).join(
  ", ",
);

/** Of a plain terminal. */
const WIDTH = 80;

/** Prints the page of one command; returns the exit code. */
export function printCommandHelp(command: AnyCommand, json: boolean): Promise<number> {
  return printPage((style) => commandPage(command, style), json);
}

/** Prints the page of the program, with these commands; returns the exit code. */
export async function printProgramHelp(loads: readonly Load[], json: boolean): Promise<number> {
  const commands = await Promise.all(loads.map((load) => load()));
  const shown = commands.filter(({ meta }) => !meta.hidden);
  return printPage((style) => programPage(shown, style), json);
}

async function printPage(page: (style: Style) => string[], json: boolean): Promise<number> {
  const document = { operation: "help", help: page(plain).join("\n\n"), errors: [] };
  const channel = { json, descriptor: Descriptor.STDOUT, program: "zerobuffer" };
  await report(document, (style) => [page(style).join("\n\n")], undefined, channel);
  return 0;
}

function commandPage(command: AnyCommand, style: Style): string[] {
  const { name, description } = command.meta;
  const positionals = Object.entries(command.args).filter(([, option]) => option.type === "positional");
  const usage = positionals
    .map(([positional, { variadic }]) => (variadic ? ` [${positional}…]` : ` <${positional}>`))
    .join("");
  const examples = command.examples.map(({ line, purpose }) => `${style.dim(`# ${purpose}`)}\n${line}`);
  return [
    description,
    section("Usage", `zerobuffer ${name}${usage} [options]`, style),
    ...optionSections(command.args, style),
    section("Sizes and times", UNITS, style),
    section("Exit codes", wrap(`${EXIT_CODES_TEXT}.`, WIDTH - 2).join("\n"), style),
    section("Examples", examples.join("\n"), style),
  ];
}

function programPage(commands: readonly AnyCommand[], style: Style): string[] {
  const width = Math.max(...commands.map(({ meta }) => meta.name.length));
  const rows = commands.map(
    ({ meta }) => `${style.green(meta.name.padEnd(width))}  ${firstSentence(meta.description)}`,
  );
  return [
    "Moves frames between processes on one machine through shared memory.",
    section("Usage", "zerobuffer <command> [options]", style),
    section("Commands", rows.join("\n"), style),
    section("More", "zerobuffer <command> --help\nzerobuffer --version", style),
  ];
}

function section(title: string, text: string, style: Style): string {
  return `${style.bold(title)}\n${text.replace(/^/gm, "  ")}`;
}

function optionSections(options: Options, style: Style): string[] {
  const shown = Object.entries(options).filter(([, { type }]) => type !== "positional");
  const labels = new Map(shown.map(([name, option]) => [name, labelOf(name, option)]));
  const column = Math.max(...[...labels.values()].map((label) => label.length)) + 2;
  const groups = Map.groupBy(shown, ([, { group }]) => group);
  return [...groups].map(([group, members]) => {
    const rows = members.map(([name, option]) => {
      const label = labels.get(name) ?? "";
      const text = wrap(descriptionOf(option), WIDTH - column).join(`\n${" ".repeat(column)}`);
      return `${style.green(label)}${" ".repeat(column - label.length)}${text}`;
    });
    return section(group, rows.join("\n"), style);
  });
}

function labelOf(name: string, { alias, type, valueHint }: Option<unknown>): string {
  const short = alias === undefined ? "    " : `-${alias}, `;
  return `${short}${flagOf(name)}${type === "boolean" ? "" : ` ${valueHint}`}`;
}

function descriptionOf(option: Option<unknown>): string {
  return option.default === undefined
    ? option.description
    : `${option.description} (default ${option.default})`;
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
