// What --help prints: everything needed to use a command, on one page.

import type { AnyCommand } from "./command.ts";
import { flagOf, type Option, type Options } from "./options.ts";
import type { Style } from "./terminal.ts";

const EXIT_CODES = `0 done, 1 could not connect, 2 failed while running, 3 bad arguments,
4 the data is wrong, 70 a bug, 129, 130, 143 stopped by SIGHUP, SIGINT, SIGTERM`;

const WIDTH = 100;

/** The page of one command. */
export function commandHelp(command: AnyCommand, style: Style): string {
  const { name, description } = command.meta;
  const positionals = Object.entries(command.args).filter(([, option]) => option.type === "positional");
  const usage = positionals.map(([positional]) => ` <${positional}>`).join("");
  const sections = [
    description,
    `${style.bold("Usage")}\n  zerobuffer ${name}${usage} [options]`,
    ...optionSections(command.args, style),
    `${style.bold("Sizes and times")}\n${indent(
      "SIZE is in bytes, or has a suffix: KiB MiB GiB, or KB MB GB in powers of 1000.\n" +
        "TIME is in milliseconds, or has a suffix: us ms s m.",
    )}`,
    `${style.bold("Exit codes")}\n${indent(EXIT_CODES)}`,
    `${style.bold("Examples")}\n${command.examples
      .map(({ line, purpose }) => indent(`${style.dim(`# ${purpose}`)}\n${line}`))
      .join("\n")}`,
  ];
  return `${sections.join("\n\n")}\n`;
}

/** The page of the program: what commands there are. */
export function programHelp(commands: readonly AnyCommand[], style: Style): string {
  const width = Math.max(...commands.map(({ meta }) => meta.name.length));
  const rows = commands.map(({ meta }) => `${style.green(meta.name.padEnd(width))}  ${meta.description}`);
  const sections = [
    "zerobuffer moves frames between processes on one machine through shared memory.",
    `${style.bold("Usage")}\n  zerobuffer <command> [options]`,
    `${style.bold("Commands")}\n${indent(rows.join("\n"))}`,
    "zerobuffer <command> --help tells about a command, zerobuffer --version which version this is.",
  ];
  return `${sections.join("\n\n")}\n`;
}

function optionSections(options: Options, style: Style): string[] {
  const shown = Object.entries(options).filter(([, { type }]) => type !== "positional");
  const labels = new Map(shown.map(([name, option]) => [name, labelOf(name, option)]));
  const column = Math.max(...[...labels.values()].map((label) => label.length)) + 4;
  const groups = Map.groupBy(shown, ([, { group }]) => group);
  return [...groups].map(([group, members]) => {
    const rows = members.map(([name, option]) => {
      const label = labels.get(name) ?? "";
      const text = wrap(descriptionOf(option), WIDTH - column).join(`\n${" ".repeat(column)}`);
      return `  ${style.green(label)}${" ".repeat(column - 2 - label.length)}${text}`;
    });
    return `${style.bold(group)}\n${rows.join("\n")}`;
  });
}

function labelOf(name: string, { alias, type, valueHint }: Option<unknown>): string {
  const short = alias === undefined ? "    " : `-${alias}, `;
  return `${short}${flagOf(name)}${type === "boolean" ? "" : ` ${valueHint}`}`;
}

function descriptionOf(option: Option<unknown>): string {
  return option.default === undefined ? option.description : `${option.description} [${option.default}]`;
}

function wrap(text: string, width: number): string[] {
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

function indent(text: string): string {
  return text.replace(/^/gm, "  ");
}
