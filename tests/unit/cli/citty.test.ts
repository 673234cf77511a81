// citty gives the definitions their form; its own parser is the yardstick for ours.

import { expect, test } from "bun:test";
import { parseArgs } from "citty";
import { parseArguments, scanArguments } from "../../../src/cli/arguments.ts";
import type { Options } from "../../../src/cli/options.ts";
import { commands } from "../../../src/commands/index.ts";

const { args: writer } = await commands.writer!();
const { args: reader } = await commands.reader!();
const { args: relay } = await commands.relay!();

const lines: [argv: string[], options: Options][] = [
  [["cam"], writer],
  [["cam", "-n", "5", "-s", "64", "--pattern", "zero"], writer],
  [["--frames=5", "cam", "--metadata=a=b", "-i-"], writer],
  [["-vn5", "cam", "--on-full", "drop", "--input", "-"], writer],
  [["--rate", "29.97", "--", "-cam"], writer],
  [["cam", "--follow", "--checksum", "--mode", "0660", "-o", "-"], reader],
  [["cam", "--timeout-ms", "5s", "--json-output", "-v"], reader],
  [["raw", "--transform", "xor", "shown", "--xor-key", "7", "--create-output"], relay],
];

test.each(lines.map(([argv], i) => [argv, i] as const))(
  "%j are read as citty reads them",
  async (argv, i) => {
    const options = lines[i]![1];
    const scan = scanArguments(argv, options);
    await parseArguments(scan, options, "");
    const theirs = parseArgs([...argv], options);
    const places = Object.entries(options).filter(([, { type }]) => type === "positional");
    expect(scan.positionals).toEqual(theirs._);
    expect(scan.positionals).toEqual(places.map(([name]) => `${theirs[name]}`));
    for (const [name, { type }] of Object.entries(options)) {
      if (type === "positional") continue;
      const ours = scan.given.get(name);
      // citty answers with the text of the help where an option is not given.
      const absent = type === "boolean" ? [undefined, false] : [undefined, options[name]?.default];
      if (ours === undefined) expect(absent).toContain(theirs[name] as string | boolean | undefined);
      else expect(theirs[name] as unknown).toBe(type === "boolean" ? true : ours);
    }
  },
);
