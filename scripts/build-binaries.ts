// Builds the executable for this machine, with the native helper inside.

import { statSync } from "node:fs";
import { join, relative } from "node:path";
import { root } from "./build-native.ts";
import { buildExecutable } from "./executable.ts";

const output = join(root, "dist", process.platform === "win32" ? "zerobuffer.exe" : "zerobuffer");

await buildExecutable(join(root, "src", "main.ts"), output);

const mebibytes = (statSync(output).size / 2 ** 20).toFixed(1);
console.log(`${relative(process.cwd(), output)} ${mebibytes} MiB`);
