// Makes a fresh clone ready to run. Imports built-ins only, because it runs before any package is installed.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildLibrary, root, run } from "./build-native.ts";

/** Installs what bun.lock pins, unless just that lock file was installed last. */
async function installPackages(): Promise<void> {
  const stampPath = join(root, "node_modules", ".installed-lock");
  const lockHash = new Bun.CryptoHasher("sha256").update(readFileSync(join(root, "bun.lock"))).digest("hex");
  if (existsSync(stampPath) && readFileSync(stampPath, "utf8") === lockHash) return;

  console.error("setup: installing packages");
  await run([process.execPath, "install", "--frozen-lockfile"]);
  writeFileSync(stampPath, lockHash);
}

try {
  await installPackages();
  await buildLibrary();
} catch (error) {
  console.error(`setup: ${(error as Error).message}`);
  process.exitCode = 1;
}
