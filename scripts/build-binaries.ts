// Builds the executable for this machine, with the native helper inside.

import { statSync } from "node:fs";
import { join, relative } from "node:path";
import { root } from "./build-native.ts";

const output = join(root, "dist", process.platform === "win32" ? "zerobuffer.exe" : "zerobuffer");

await Bun.build({
  entrypoints: [join(root, "src", "main.ts")],
  // The format is needed: with bytecode in any other the executable builds, and dies when it starts.
  format: "esm",
  bytecode: true,
  minify: true,
  // A command that starts reads its own code and not that of the others.
  splitting: true,
  // The working directory's .env and bunfig.toml belong to somebody else.
  compile: { outfile: output, autoloadDotenv: false, autoloadBunfig: false },
});

const mebibytes = (statSync(output).size / 2 ** 20).toFixed(1);
console.log(`${relative(process.cwd(), output)} ${mebibytes} MiB`);
