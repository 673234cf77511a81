// The result codes that C and TypeScript share.

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { codesDefinitionPath, codesPath, generateCodes } from "../../../scripts/build-native.ts";

test("codes.ts is what `bun run build:native` makes of codes.def", () => {
  expect(readFileSync(codesPath, "utf8")).toBe(generateCodes(readFileSync(codesDefinitionPath, "utf8")));
});

test("comments in codes.def are skipped", () => {
  const definition = '// one\n/* two\n   three */\nZB_CODE(AGAIN, -1, "a \\"quoted\\" word")\n';
  expect(generateCodes(definition)).toContain('[Code.AGAIN]: "a \\"quoted\\" word",');
});

test("a line of codes.def that is no code is refused", () => {
  expect(() => generateCodes("ZB_CODE(AGAIN, 1)")).toThrow("not a code: ZB_CODE(AGAIN, 1)");
});
