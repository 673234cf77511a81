// Holds documents of the command line against the published schemas.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Check, Errors } from "typebox/schema";
import { schemaDirectory } from "../../scripts/build-schema.ts";
import type { documents } from "../../src/schemas/index.ts";

/** Fails unless a document is as its published schema says; returns it. */
// biome-ignore lint/suspicious/noExplicitAny: every command has its own keys, which the test checks
export function expectValid(file: keyof typeof documents, document: any): any {
  const schema = JSON.parse(readFileSync(join(schemaDirectory, `${file}.json`), "utf8"));
  if (!Check(schema, document)) throw new Error(JSON.stringify(Errors(schema, document), undefined, 2));
  return document;
}
