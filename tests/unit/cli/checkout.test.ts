import { afterEach, beforeEach, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root, run } from "../../../scripts/build-native.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "zerobuffer-checkout-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** What a copy of the source in this place says of its commit. */
function commitIn(place: string, env: Record<string, string | undefined> = process.env): string {
  const directory = join(place, "src", "cli");
  mkdirSync(directory, { recursive: true });
  copyFileSync(join(root, "src", "cli", "checkout.ts"), join(directory, "checkout.ts"));
  const script = `console.log((await import(${JSON.stringify(join(directory, "checkout.ts"))})).commitOf())`;
  return Bun.spawnSync([process.execPath, "-e", script], { env }).stdout.toString().trim();
}

async function git(...args: string[]): Promise<void> {
  const author = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"];
  await run(["git", ...author, ...args], { cwd: directory });
}

test("the commit is unknown outside of a checkout, and without git", async () => {
  expect(commitIn(directory)).toBe("unknown");
  await git("init", "--quiet");
  expect(commitIn(directory)).toBe("unknown");
  await git("add", ".");
  await git("commit", "--quiet", "--message", "first");
  expect(commitIn(directory, { PATH: "/nonexistent" })).toBe("unknown");
});

test("it is that of the checkout, and says where files were changed", async () => {
  commitIn(directory);
  await git("init", "--quiet");
  await git("add", ".");
  await git("commit", "--quiet", "--message", "first");
  const commit = commitIn(directory);
  expect(commit).toMatch(/^[0-9a-f]{40}$/);
  writeFileSync(join(directory, "more"), "");
  expect(commitIn(directory)).toBe(`${commit}-dirty`);
  // A package within another project's checkout is not of that project's commit.
  expect(commitIn(join(directory, "node_modules", "zerobuffer"))).toBe("unknown");
});
