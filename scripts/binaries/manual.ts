// Makes the manual page, in mdoc, from the definitions of the commands.

import { version } from "../../package.json";
import type { AnyCommand } from "../../src/cli/command.ts";
import {
  CONCEPT,
  EXIT_CODES_TEXT,
  FIRST_EXAMPLES,
  SUMMARY,
  textOf,
  UNITS,
  wrap,
} from "../../src/cli/help.ts";
import { flagOf, type Option, type Options, outputOptions, VARIABLES } from "../../src/cli/options.ts";
import { commands } from "../../src/commands/index.ts";

/** Leaves room for escapes in lines of 80 characters. */
const WIDTH = 70;

/** The text of `zerobuffer.1`, dated with this day. */
export async function manual(date: Date): Promise<string> {
  const all = await Promise.all(Object.values(commands).map((load) => load()));
  const shown = all.filter(({ meta }) => !meta.hidden);
  const lines = [
    ...[`.Dd ${day(date)}`, ".Dt ZEROBUFFER 1", `.Os zerobuffer ${version}`],
    ...[".Sh NAME", ".Nm zerobuffer", ".Nd move frames between processes through shared memory"],
    ".Sh SYNOPSIS",
    ...shown.flatMap((command) => [".Nm", `.Cm ${command.meta.name}`, ...synopsis(command)]),
    ...[".Nm", ".Cm version", ".Nm", ".Fl \\-licenses", ".Nm", ".Cm help", ".Op Ar command"],
    ".Sh DESCRIPTION",
    ".Nm",
    ...prose(
      `${SUMMARY[0]?.toLowerCase()}${SUMMARY.slice(1)} ${CONCEPT} Data goes to standard output, everything else to standard error.`,
    ),
    ".Pp",
    ...prose(Object.values(UNITS).join(" ")),
    ".Sh COMMANDS",
    ...shown.flatMap(commandLines),
    ".Ss Options of every command",
    ...optionLines(outputOptions),
    ".Sh ENVIRONMENT",
    ".Bl -tag -width Ds",
    ".It Ev NO_COLOR",
    "Disables colours unless it is empty.",
    ".It Ev CLICOLOR_FORCE , Ev FORCE_COLOR",
    "Asks for colours also where there is no terminal, unless it is empty or 0.",
    `.It ${Object.values(VARIABLES)
      .map((variable) => `Ev ${variable}`)
      .join(" , ")}`,
    "Sets the default of the option of this name.",
    ".It Ev TMPDIR",
    "Directory in which the executable unpacks its native library.",
    ".El",
    ".Sh FILES",
    ".Bl -tag -width Ds",
    ".It Pa /dev/shm/NAME",
    "The shared memory of buffer NAME.",
    ".It Pa /dev/shm/sem.sem-w-NAME , Pa /dev/shm/sem.sem-r-NAME",
    "Its semaphores: written frames and released frames.",
    ".It Pa /tmp/zerobuffer/NAME.lock",
    "Its lock, held by its reader.",
    ".El",
    ".Sh EXIT STATUS",
    ...prose(`${EXIT_CODES_TEXT}.`),
    ".Sh EXAMPLES",
    ...[FIRST_EXAMPLES, ...shown.map(({ examples }) => examples)].flat().flatMap(({ purpose, line }) => [
      ...prose(`${purpose[0]?.toUpperCase()}${purpose.slice(1)}:`),
      // In a macro, quotation marks would be arguments.
      ...[".Bd -literal -offset indent", escaped(line), ".Ed"],
    ]),
  ];
  return `${lines.join("\n")}\n`;
}

/** November 25, 2026 */
function day(date: Date): string {
  return date.toLocaleDateString("en-US", { dateStyle: "long", timeZone: "UTC" });
}

function synopsis({ args }: AnyCommand): string[] {
  const positionals = Object.entries(args)
    .filter(([, { type }]) => type === "positional")
    .map(([name, { variadic, required }]) => {
      if (variadic) return required === true ? `.Ar ${name} ...` : `.Op Ar ${name} ...`;
      return required === false ? `.Op Ar ${name}` : `.Ar ${name}`;
    });
  return [...positionals, ".Op Ar options"];
}

function commandLines(command: AnyCommand): string[] {
  const { args, meta } = command;
  const own = Object.entries(args).filter(
    ([name, { type }]) => type !== "positional" && !Object.hasOwn(outputOptions, name),
  );
  const places = Object.entries(args).filter(([, { type }]) => type === "positional");
  return [
    `.Ss ${meta.name}`,
    ...prose(meta.description),
    ...(places.length + own.length > 0
      ? list([...places.flatMap(placeLines), ...own.flatMap(itemLines)])
      : []),
  ];
}

function optionLines(options: Options): string[] {
  return list(Object.entries(options).flatMap(itemLines));
}

function list(items: readonly string[]): string[] {
  return [".Bl -tag -width Ds", ...items, ".El"];
}

function placeLines([name, option]: [string, Option<unknown>]): string[] {
  return [`.It Ar ${name}`, ...prose(sentence(textOf(option)))];
}

function itemLines([name, option]: [string, Option<unknown>]): string[] {
  const { alias, type, valueHint, note } = option;
  const short = alias === undefined ? "" : `Fl ${alias} , `;
  const value = type === "boolean" ? "" : ` Ar ${escaped(valueHint ?? "")}`;
  return [
    `.It ${short}Fl ${escaped(flagOf(name).slice(1))}${value}`,
    ...prose(sentence(textOf(option))),
    ...(note === undefined ? [] : prose(note)),
  ];
}

function sentence(text: string): string {
  return `${text[0]?.toUpperCase()}${text.slice(1)}.`;
}

/** Text in short lines; each sentence starts a line, as mdoc requires. */
function prose(text: string): string[] {
  return text
    .replaceAll(/\s+/g, " ")
    .split(/(?<=[.:]) (?=[A-Z0-9])/)
    .flatMap((sentence) => wrap(sentence, WIDTH))
    .map(escaped);
}

/** Text that roff prints unchanged. */
function escaped(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll("…", "...")
    .replace(/^(?=[.'])/, "\\&");
}

if (import.meta.main) process.stdout.write(await manual(new Date()));
