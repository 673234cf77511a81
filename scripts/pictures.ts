// Draws the pictures of the documentation.
//
//   pictures.ts [NAME…]   terminals, speed and top, or some of them
//
// terminals and top need Linux, tmux, and mounts of their own. speed measures: nothing else should run.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./build-native.ts";
import { drawTerminals, drawTop } from "./pictures/scenes.ts";
import { drawSpeed } from "./pictures/speed.ts";

const pictures: Readonly<Record<string, () => Promise<string>>> = {
  terminals: drawTerminals,
  speed: drawSpeed,
  top: drawTop,
};

const names = process.argv.slice(2);
const unknown = names.filter((name) => !Object.hasOwn(pictures, name));
if (unknown.length > 0) {
  console.error(`pictures: ${unknown.join(", ")}: there are ${Object.keys(pictures).join(", ")}`);
  process.exit(1);
}
for (const [name, draw] of Object.entries(pictures)) {
  if (names.length === 0 || names.includes(name))
    writeFileSync(join(root, "docs", `${name}.svg`), await draw());
}
