// Writes docs/commands.md: every command with its options and examples, from the definitions.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type AnyCommand, firstSentence } from "../src/cli/command.ts";
import { EXIT_CODE_MEANINGS, EXIT_CODES } from "../src/cli/exit-codes.ts";
import { optionLabel, textOf, UNITS, usageOf } from "../src/cli/help.ts";
import { flagOf, type Option, outputOptions, VARIABLES } from "../src/cli/options.ts";
import { commands } from "../src/commands/index.ts";
import { root } from "./build-native.ts";

/** Where the page is published. */
export const commandsPage = join(root, "docs", "commands.md");

type Entry = readonly [name: string, option: Option<unknown>];

/** The text of docs/commands.md. */
export async function commandsText(): Promise<string> {
  const all = await Promise.all(Object.values(commands).map((load) => load()));
  const shown = all.filter(({ meta }) => !meta.hidden);
  const sections = [
    "# Commands",
    "This page is made from the definitions of the commands by `bun run build:docs`. `zerobuffer COMMAND --help` prints the same.",
    table(
      ["command", "what it does"],
      shown.map(({ meta }) => [
        `[${meta.name}](#${meta.name.replaceAll(" ", "-")})`,
        firstSentence(meta.description),
      ]),
    ),
    "## For every command",
    "Data goes to stdout, everything else to stderr. Of a repeated option the last one holds.",
    optionTable(Object.entries(outputOptions)),
    ...Object.values(UNITS),
    "### Environment",
    table(
      ["variable", "sets another default for"],
      Object.entries(VARIABLES).map(([name, variable]) => [`\`${variable}\``, `\`${flagOf(name)}\``]),
    ),
    "### Exit codes",
    table(["code", "meaning", "`error.code` of `--json-output`"], exitCodes()),
    ...shown.flatMap(commandSections),
  ];
  return `${sections.join("\n\n")}\n`;
}

function exitCodes(): string[][] {
  return EXIT_CODE_MEANINGS.map(([code, meaning]) => {
    const errors = Object.entries(EXIT_CODES).filter(([, exitCode]) => `${exitCode}` === code);
    return [code, meaning, errors.map(([error]) => `\`${error}\``).join(", ")];
  });
}

function commandSections(command: AnyCommand): string[] {
  const { args, examples, meta } = command;
  const own = Object.entries(args).filter(([name]) => !Object.hasOwn(outputOptions, name));
  const groups = Map.groupBy(own, ([, { type, group }]) => (type === "positional" ? "Arguments" : group));
  const notes = [...new Set(own.flatMap(([, { note }]) => note ?? []))];
  return [
    `## ${meta.name}`,
    meta.description,
    block(usageOf(command)),
    ...[...groups].map(([group, entries]) => optionTable(entries, group)),
    ...notes.map(escaped),
    block(examples.map(({ line, purpose }) => `# ${purpose}\n${line}`).join("\n")),
  ];
}

function optionTable(entries: readonly Entry[], heading = "Output"): string {
  return table(
    [heading, ""],
    entries.map(([name, option]) => [`\`${optionLabel(name, option).trim()}\``, escaped(textOf(option))]),
  );
}

/** A table with columns as wide as their widest cell. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, ...rows].map((cells) => cells.map((cell) => cell.replaceAll("|", "\\|")));
  const widths = head.map((_, column) => Math.max(...lines.map((cells) => cells[column]?.length ?? 0), 3));
  const [first = "", ...rest] = lines.map(
    (cells) => `| ${widths.map((width, column) => (cells[column] ?? "").padEnd(width)).join(" | ")} |`,
  );
  return [first, `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...rest].join("\n");
}

function block(text: string): string {
  return `\`\`\`\n${text}\n\`\`\``;
}

/** The text with `<` escaped: Markdown would take `<address>` for HTML. */
function escaped(text: string): string {
  return text.replaceAll("<", "\\<");
}

if (import.meta.main) writeFileSync(commandsPage, await commandsText());
