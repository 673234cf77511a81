import { expect, test } from "bun:test";
import { manual } from "../../scripts/binaries/manual.ts";
import { flagOf } from "../../src/cli/options.ts";
import { commands } from "../../src/commands/index.ts";

const page = await manual(new Date(Date.UTC(2026, 10, 5)));
const plain = page.replaceAll("\\-", "-");

test("the manual page has every command with its options and examples, but for what only programs call", async () => {
  for (const load of Object.values(commands)) {
    const { meta, args, examples } = await load();
    const start = plain.indexOf(`.Ss ${meta.name}\n`);
    expect(start !== -1).toBe(!meta.hidden);
    if (meta.hidden) continue;
    const section = plain.slice(start, plain.indexOf(".Ss", start + 1));
    const common = plain.slice(plain.indexOf(".Ss Options of every command"));
    for (const [name, { type }] of Object.entries(args)) {
      if (type === "positional") expect(section).toContain(`.It Ar ${name}\n`);
      else expect(section + common).toMatch(new RegExp(`^\\.It .*Fl ${flagOf(name).slice(1)}( |$)`, "m"));
    }
    for (const { line } of examples) expect(plain).toContain(`\n${line}\n.Ed\n`);
  }
});

test("the manual page has the date that it is given, and no line of text that roff takes for a macro", () => {
  expect(page).toStartWith(".Dd November 5, 2026\n.Dt ZEROBUFFER 1\n");
  const macros = new Set([...page.matchAll(/^[.'](.*?)( |$)/gm)].map(([, macro]) => macro));
  const known = "Bd Bl Cm Dd Dt Ed El Fl It Nd Nm Op Ar Os Sh Ss Pp".split(" ");
  expect([...macros].filter((macro) => !known.includes(macro ?? ""))).toEqual([]);
});
