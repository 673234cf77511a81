// Writes the JSON schemas of what the commands print with --json-output to docs/schema.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { documents } from "../src/schemas/index.ts";
import { root, run } from "./build-native.ts";

/** Where the schemas are published. */
export const schemaDirectory = join(root, "docs", "schema");

/** The text of each schema's file, by the file's name. */
export function schemaFiles(): Map<string, string> {
  return new Map(
    Object.entries(documents).map(([name, schema]) => {
      const published = {
        $schema: "https://json-schema.org/draft/2020-12/schema",
        title: `zerobuffer ${name}`,
        ...schema,
      };
      return [`${name}.json`, `${JSON.stringify(published, undefined, 2)}\n`];
    }),
  );
}

if (import.meta.main) {
  mkdirSync(schemaDirectory, { recursive: true });
  for (const [name, text] of schemaFiles()) writeFileSync(join(schemaDirectory, name), text);
  await run([join(root, "node_modules", ".bin", "biome"), "format", "--write", schemaDirectory]);
}
