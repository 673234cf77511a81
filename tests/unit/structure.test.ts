import { describe, expect, test } from "bun:test";
import { checkedOutSources, violations } from "../../scripts/structure.ts";

test("the source keeps every rule of the layout", () => {
  const sources = checkedOutSources();
  expect(sources.size).toBeGreaterThan(50);
  expect(violations(sources)).toEqual([]);
});

/** What the check says of a tree of these files. */
const violationsOf = (files: Record<string, string>) => violations(new Map(Object.entries(files)));

describe("the check finds", () => {
  test("a layer that imports from one above it, also dynamically or a type", () => {
    for (const statement of [
      'import { run } from "../cli/run.ts";',
      'import type { Run } from "../cli/run.ts";',
      'export * from "../cli/run.ts";',
      'const run = await import("../cli/run.ts");',
    ]) {
      expect(violationsOf({ "src/core/reader.ts": statement })).toEqual([
        "src/core/reader.ts imports src/cli/run.ts, which is in a layer above it",
      ]);
    }
  });

  test("a command that reaches past the public core", () => {
    expect(
      violationsOf({
        "src/commands/list/command.ts": 'import { Peer } from "../../core/buffer/presence.ts";',
        "src/commands/clean/command.ts": 'import { listBuffers } from "../../core/inspection.ts";',
      }),
    ).toEqual([
      "src/commands/list/command.ts imports src/core/buffer/presence.ts: of the core, only src/core/index.ts and src/core/inspection.ts are public",
    ]);
  });

  test("a cycle, once, whatever its length", () => {
    expect(
      violationsOf({
        "src/core/b.ts": 'import type { C } from "./c.ts";',
        "src/core/c.ts": 'import { a } from "./a.ts";',
        "src/core/a.ts": 'import { b } from "./b.ts";',
        "src/core/d.ts": 'import { b } from "./b.ts";',
      }),
    ).toEqual(["a cycle of imports: src/core/a.ts → src/core/b.ts → src/core/c.ts → src/core/a.ts"]);
  });

  test("a second user of the foreign-function interface", () => {
    expect(violationsOf({ "src/native/ring.ts": 'import { dlopen } from "bun:ffi";' })).toEqual([
      "src/native/ring.ts imports bun:ffi: only src/native/symbols.ts does",
    ]);
  });

  test("a file that is too long, in C as in TypeScript", () => {
    const lines = (count: number) => "x\n".repeat(count);
    expect(violationsOf({ "src/native/c/ring.c": lines(451), "src/core/reader.ts": lines(450) })).toEqual([
      "src/native/c/ring.c has 451 lines: at most 450 fit a file",
    ]);
  });

  test.each([
    ["hint: 'give it --buffer-size'", "--buffer-size"],
    ["hint: 'remove it: zerobuffer clean cam'", "zerobuffer clean"],
  ])("a flag or a command in a message of the core: %s", (text, word) => {
    expect(violationsOf({ "src/core/writer.ts": text })).toEqual([
      `src/core/writer.ts names ${word}: the core names options and functions of the API`,
    ]);
  });
});
