// The commit of the checkout that contains this source. An executable has its commit from its build.

import { join } from "node:path";

const root = join(import.meta.dir, "..", "..");

/** The commit, with `-dirty` if files were changed since; `unknown` if this is no checkout of its own. */
export function commitOf(): string {
  // In the checkout of another project, git would name the commit of that project.
  if (git("rev-parse", "--show-prefix") !== "") return "unknown";
  const commit = git("rev-parse", "HEAD");
  if (commit === undefined) return "unknown";
  return git("status", "--porcelain") === "" ? commit : `${commit}-dirty`;
}

/** What git prints; undefined if it fails or is missing. */
function git(...args: string[]): string | undefined {
  try {
    const { success, stdout } = Bun.spawnSync(["git", ...args], { cwd: root, stderr: "ignore" });
    return success ? stdout.toString().trim() : undefined;
  } catch {
    return undefined;
  }
}
