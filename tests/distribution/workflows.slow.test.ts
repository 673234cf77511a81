// The scripts of the workflows that take minutes, with what a release has: release.slow.test.ts makes it in dist.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { version } from "../../package.json";
import { root } from "../../scripts/build-native.ts";
import { host } from "../../scripts/executable.ts";
import { Child } from "../support/process.ts";

const LIMIT_MS = 30 * 60_000;
setDefaultTimeout(LIMIT_MS);

const artifacts = join(root, "artifacts");

async function run(script: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  await using child = Child.program([join(root, ".github", "scripts", script), ...args], {
    env,
    limitMs: LIMIT_MS,
  });
  const { code, stdout, stderr } = await child.end();
  return { code, output: `${stdout}${stderr}` };
}

beforeAll(() => {
  mkdirSync(artifacts);
  const names = readFileSync(join(root, "dist", "SHA256SUMS"), "utf8").matchAll(/ {2}(.*)$/gm);
  for (const name of ["SHA256SUMS", ...[...names].map(([, name = ""]) => name)])
    copyFileSync(join(root, "dist", name), join(artifacts, name));
});
afterAll(() => rmSync(artifacts, { recursive: true, force: true }));

test("test-target.sh passes for this machine, and changes nothing of the source", async () => {
  const status = () => Bun.spawnSync(["git", "status", "--porcelain"], { cwd: root }).stdout.toString();
  const before = status();
  const { code, output } = await run("test-target.sh", [host.name]);
  expect([code, code === 0 ? "" : output]).toEqual([0, ""]);
  expect(output.match(/^\d+ passed, 0 failed$/gm)).toHaveLength(2);
  expect(status()).toBe(before);
  expect(existsSync(join(root, "dist", "installed", "bin", "zerobuffer"))).toBe(true);
});

test("publish-npm.sh hands npm a package that it would publish", async () => {
  const { code, output } = await run("publish-npm.sh", [], {
    npm_config_dry_run: "true",
    npm_config_provenance: "false",
  });
  expect([code, code === 0 ? "" : output]).toEqual([0, ""]);
  expect(output).toContain(`+ zerobuffer@${version}`);
});
