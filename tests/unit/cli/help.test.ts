import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { renderUsage } from "citty";
import { manual } from "../../../scripts/binaries/manual.ts";
import { root } from "../../../scripts/build-native.ts";
import type { AnyCommand } from "../../../src/cli/command.ts";
import { EXIT_CODE_MEANINGS, EXIT_CODES, SIGNAL_EXIT_CODES } from "../../../src/cli/exit-codes.ts";
import { CONCEPT, commandPage, FIRST_EXAMPLES, SUMMARY, textOf } from "../../../src/cli/help.ts";
import { flagOf } from "../../../src/cli/options.ts";
import { plain } from "../../../src/cli/terminal.ts";
import { commands } from "../../../src/commands/index.ts";
import { SHELLS } from "../../../src/schemas/words.ts";
import { textOf as pageOf } from "../../support/pages.ts";
import { run } from "../../support/process.ts";

const all = await Promise.all(Object.values(commands).map((load) => load()));

const readme = pageOf("README.md");

/** The lines of the help of a command. */
function linesOf(command: AnyCommand): string[] {
  return commandPage(command, plain).join("\n\n").split("\n");
}

test("the help explains every option and every argument in one line of at most 100 characters", () => {
  for (const command of all) {
    const lines = linesOf(command);
    for (const [name, option] of Object.entries(command.args)) {
      const label =
        option.type === "positional" ? `[<[]${name}…?[>\\]]` : `(-\\w, |    )${flagOf(name)}( \\S+)?`;
      const row = new RegExp(`^  ${label} {2,}(?<text>\\S.*)$`);
      const texts = lines.flatMap((line) => row.exec(line)?.groups?.text ?? []);
      expect(texts).toEqual([textOf(option)]);
    }
    for (const line of lines.slice(0, lines.indexOf("Examples")))
      expect(line.length).toBeLessThanOrEqual(100);
  }
});

test("every option begins with a small letter and has no full stop, every note is whole sentences", () => {
  for (const { args } of all) {
    for (const { description, note } of Object.values(args)) {
      expect(description).toMatch(/^[a-z].*[^.]$/);
      if (note !== undefined) expect(note).toMatch(/^(--[a-z-]+ |[A-Z]).*\.$/);
    }
  }
});

test("a default stands at the end, and not for an option that is absent by default", () => {
  const reader = all.find(({ meta }) => meta.name === "reader")!;
  const lines = linesOf(reader).join("\n");
  expect(lines).toMatch(/--frames COUNT .* \(default 0\)$/m);
  expect(lines).toMatch(/--timeout-ms TIME .* \(default 5s\)$/m);
  expect(lines).toMatch(/--size SIZE .*not checked unless given$/m);
});

test("units are explained only to commands that take them", () => {
  const pages = new Map(all.map((command) => [command.meta.name, linesOf(command).join("\n")]));
  expect(pages.get("reader")).toContain("SIZE is in bytes");
  expect(pages.get("list")).not.toContain("SIZE");
  expect(pages.get("list")).toContain("TIME is in milliseconds");
  expect(pages.get("doctor")).not.toContain("Units");
});

test("citty makes a usage of each command's definitions", async () => {
  for (const { meta, args } of all) {
    const usage = await renderUsage({ meta, args });
    for (const { description } of Object.values(args)) expect(usage).toContain(description);
  }
});

test("the README, the help and the manual page describe the program in the same words", async () => {
  const { stdout } = await run("--help");
  const texts = [
    readme.replaceAll("**", ""),
    stdout.toString(),
    (await manual(new Date(0))).replaceAll("\\-", "-"),
  ];
  for (const text of texts.map((text) => text.replaceAll(/\s+/g, " "))) {
    expect(text).toContain(SUMMARY.slice(1));
    expect(text).toContain(CONCEPT);
    for (const { line } of FIRST_EXAMPLES) expect(text).toContain(line);
  }
});

test("the README lists every exit code", () => {
  const rows = readme.matchAll(/^\| ((?:\d+(?:, )?)+) +\|/gm);
  const listed = [...rows].flatMap(([, codes = ""]) => codes.split(", "));
  expect(listed.toSorted()).toEqual(EXIT_CODE_MEANINGS.map(([code]) => code).toSorted());
});

test("every exit code has a meaning", () => {
  const used = [...Object.values(EXIT_CODES), ...Object.values(SIGNAL_EXIT_CODES)].filter(
    (code) => code !== 128,
  );
  const known = EXIT_CODE_MEANINGS.map(([code]) => Number(code));
  expect([...new Set(used)].filter((code) => !known.includes(code))).toEqual([]);
});

test("every shell has one completion script", () => {
  const scripts = readdirSync(join(root, "src", "commands", "completion", "scripts"));
  expect(scripts.filter((file) => !file.endsWith(".ts"))).toHaveLength(SHELLS.length);
});
