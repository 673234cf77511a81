// What tests of --watch share.

import { stripVTControlCharacters } from "node:util";

/** The updates that a terminal shows, each as its lines. */
export function updatesOf(output: string): string[][] {
  return output
    .split("\x1b[?7l")
    .slice(1)
    .map((update) => {
      const text = update.slice(0, update.indexOf("\x1b[?7h")).trimEnd();
      return stripVTControlCharacters(text).split("\r\n");
    });
}
