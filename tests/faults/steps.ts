// The fault points, as the helper's sources have them.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { nativeSourceDirectory } from "../../scripts/build-native.ts";

/** A place in the helper where the test build can be killed, stopped or delayed, or where a call can fail. */
export interface Step {
  readonly name: string;
  /** Whether a call into the system is there, which can fail. */
  readonly canFail: boolean;
  readonly file: string;
}

/** All of them, found by their macros (src/native/c/fault.h). */
export function findSteps(): Step[] {
  return readdirSync(nativeSourceDirectory)
    .filter((file) => file.endsWith(".c"))
    .sort()
    .flatMap((file) => {
      const source = readFileSync(join(nativeSourceDirectory, file), "utf8");
      return [...source.matchAll(/\bZB_(POINT|CALL)\((\w+)/g)].map(([, macro, name = ""]) => ({
        name,
        canFail: macro === "CALL",
        file,
      }));
    });
}
