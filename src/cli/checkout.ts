// The commit of the checkout that this source is in. An executable has its commit from its build.

import { join } from "node:path";

const root = join(import.meta.dir, "..", "..");

/** The commit, with `-dirty` where a file of it was changed since; `unknown` where this is no checkout of its own. */
export function commitOf(): string {
  // Within another project's checkout git would name that one's commit.
  if (git("rev-parse", "--show-prefix") !== "") return "unknown";
  const commit = git("rev-parse", "HEAD");
  if (commit === undefined) return "unknown";
  return git("status", "--porcelain") === "" ? commit : `${commit}-dirty`;
}

/** What git prints; undefined where it fails, or is not there. */
function git(...args: string[]): string | undefined {
  try {
    const { success, stdout } = Bun.spawnSync(["git", ...args], { cwd: root, stderr: "ignore" });
    return success ? stdout.toString().trim() : undefined;
  } catch {
    return undefined;
  }
}
