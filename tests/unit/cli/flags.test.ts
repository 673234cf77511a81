import { expect, test } from "bun:test";
import { checkedOutSources } from "../../../scripts/structure.ts";
import { withFlags } from "../../../src/cli/flags.ts";

test("options and functions of the API become those of the command line", () => {
  expect(withFlags("Wait longer (`connectTimeoutMs`), or make it smaller (`payloadSize`).")).toBe(
    "Wait longer (--connect-timeout-ms), or make it smaller (--buffer-size).",
  );
  expect(withFlags('Have its owner remove it: `cleanBuffer("cam-1.raw")`.')).toBe(
    "Have its owner remove it: zerobuffer clean cam-1.raw.",
  );
});

test("other words between backquotes stay as they are", () => {
  expect(withFlags("`nothing` and `toString` and ``")).toBe("`nothing` and `toString` and ``");
});

test("every word that the core puts between backquotes for a user has its translation", () => {
  const named = [...checkedOutSources()]
    .filter(([path]) => path.startsWith("src/core/"))
    // In a string, or with a backslash in a template.
    .flatMap(([, text]) => [...text.matchAll(/"[^"`\n]*`(\w+)(?:`|\()[^"\n]*"|\\`(\w+)/g)])
    .map(([, inString, inTemplate]) => inString ?? inTemplate ?? "");
  expect(named).toContain("connectTimeoutMs");
  expect(named).toContain("cleanBuffer");
  for (const name of named) expect(withFlags(`\`${name}\``)).not.toBe(`\`${name}\``);
});
