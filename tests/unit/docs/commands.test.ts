// docs/commands.md is that of the definitions, and what the pages say of commands are commands, with options that they have.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { commandsPage, commandsText } from "../../../scripts/build-commands.ts";
import type { AnyCommand } from "../../../src/cli/command.ts";
import { flagOf, programOptions } from "../../../src/cli/options.ts";
import { commands } from "../../../src/commands/index.ts";
import { blocksOf, PAGES, textOf } from "../../support/pages.ts";

test("docs/commands.md is current: bun run build:docs", async () => {
  expect(readFileSync(commandsPage, "utf8")).toBe(await commandsText());
});

test("docs/commands.md has every command with every option, and its examples", async () => {
  const page = await commandsText();
  for (const load of Object.values(commands)) {
    const { args, examples, meta } = await load();
    if (meta.hidden) continue;
    const section = page.slice(page.indexOf(`\n## ${meta.name}\n`));
    expect(section).toContain(meta.description);
    for (const [name, { type }] of Object.entries(args))
      if (type !== "positional") expect(page).toContain(flagOf(name));
    for (const { line } of examples) expect(section).toContain(line);
  }
});

const shells = ["", "sh", "console"];

/** The command lines of zerobuffer in a text, each as its words. */
function linesOf(text: string): string[][] {
  const joined = text.replaceAll(/ *\\\n */g, " ").replaceAll(/(^|\s)#.*$/gm, "");
  return [...joined.matchAll(/\bzerobuffer ([a-z]+ .*|[a-z]+$)/gm)].map(
    ([, line = ""]) => line.split(/ *(?:[|>)]|&(?!\w)|$)/m)[0]?.split(/\s+/) ?? [],
  );
}

/** The command that words begin with; undefined if they begin with none. */
async function commandOf([first = "", second = ""]: readonly string[]): Promise<AnyCommand | undefined> {
  return await (commands[`${first} ${second}`] ?? commands[first])?.();
}

describe("the command lines", () => {
  test.each(PAGES)("of %s are commands, with options that they have", async (path) => {
    const lines = blocksOf(textOf(path)).flatMap(({ language, text }) =>
      shells.includes(language) ? linesOf(text) : [],
    );
    for (const words of lines) {
      const command = await commandOf(words);
      if (["version", "help", "zerobuffer"].includes(words[0] ?? "")) continue;
      if (command === undefined) throw new Error(`${path}: no command: zerobuffer ${words.join(" ")}`);
      const flags = Object.keys({ ...command.args, ...programOptions }).map(flagOf);
      const used = words
        .filter((word) => /^--[a-z-]+(=|$)/.test(word))
        .map((word) => word.replace(/=.*/, ""));
      expect({ line: words.join(" "), unknown: used.filter((flag) => !flags.includes(flag)) }).toEqual({
        line: words.join(" "),
        unknown: [],
      });
    }
  });
});
