// Makes the npm package, dist/npm/zerobuffer-VERSION.tgz, with the helper of every system inside.
//
//   build-npm.ts [--repository URL]   the address that the package names; a release has one

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { timeOfCommit } from "./binaries/archive.ts";
import { checkHelper } from "./binaries/check.ts";
import { buildHelper, root } from "./build-native.ts";
import { type Helper, npmPackage, packageFile } from "./npm/package.ts";
import { targets } from "./targets.ts";

try {
  const { values } = parseArgs({ options: { repository: { type: "string" } } });
  const helpers: Helper[] = [];
  for (const target of targets.filter(({ name, helper }) => name === helper)) {
    const path = await buildHelper(target);
    checkHelper(target, path);
    helpers.push({ target, path });
  }
  const directory = join(root, "dist", "npm");
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const file = join(directory, packageFile);
  writeFileSync(file, await npmPackage(helpers, timeOfCommit(), values.repository));
  console.log(relative(process.cwd(), file));
} catch (error) {
  console.error(`build-npm: ${(error as Error).message}`);
  process.exitCode = 1;
}
