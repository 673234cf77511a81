// Makes everything by which a release is installed, beside its archives and its npm package, which are built before: install.sh,
// the .deb and .rpm packages, the Homebrew formula, the Scoop manifest and the Dockerfile; and the notes that tell of them.
//
//   build-release.ts --repository URL   the address that all of them name: https://example.org/owner/name
//
// SHA256SUMS has the hash of each of them afterwards.

import { createHash } from "node:crypto";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { version } from "../package.json";
import { timeOfCommit } from "./binaries/archive.ts";
import { root } from "./build-native.ts";
import { packageFile } from "./npm/package.ts";
import { dockerfile, homebrewFormula, installer, scoopManifest } from "./release/manifests.ts";
import { releaseNotes } from "./release/notes.ts";
import { linuxPackages } from "./release/packages.ts";
import type { Release } from "./release/table.ts";

const dist = join(root, "dist");

/** The archives that build-binaries.ts has made. */
function readArchives(): Release["archives"] {
  const manifest = JSON.parse(readFileSync(join(dist, "manifest.json"), "utf8"));
  if (manifest.version !== version)
    throw new Error(`dist has version ${manifest.version}, and this is ${version}`);
  return new Map(manifest.artifacts.map((artifact: { target: string }) => [artifact.target, artifact]));
}

async function buildRelease(repository: string): Promise<void> {
  const release: Release = { version, repository, archives: readArchives() };
  const files: Readonly<Record<string, string>> = {
    "install.sh": installer(readFileSync(join(root, "install.sh"), "utf8"), release),
    "zerobuffer.rb": homebrewFormula(release),
    "zerobuffer.json": scoopManifest(release),
    Dockerfile: dockerfile(release),
  };
  for (const [name, content] of Object.entries(files)) writeFileSync(join(dist, name), content);
  copyFileSync(join(dist, "npm", packageFile), join(dist, packageFile));
  const packages = await linuxPackages(release, dist, timeOfCommit());
  writeFileSync(
    join(dist, "release-notes.md"),
    releaseNotes(release, readFileSync(join(root, "CHANGELOG.md"), "utf8")),
  );

  const archives = [...release.archives.values()].map(({ file }) => file);
  const published = [
    ...archives,
    packageFile,
    `zerobuffer-${version}.cdx.json`,
    ...packages,
    ...Object.keys(files),
  ];
  const sums = published.map((file) => `${sha256(readFileSync(join(dist, file)))}  ${file}\n`);
  writeFileSync(join(dist, "SHA256SUMS"), sums.join(""));
  console.log(published.map((file) => `dist/${file}`).join("\n"));
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

try {
  const { values } = parseArgs({ options: { repository: { type: "string" } } });
  const { repository } = values;
  if (repository === undefined || !/^https:\/\/[^/]+\/[^/]+\/[^/]+$/.test(repository))
    throw new Error("--repository needs an address such as https://example.org/owner/name");
  await buildRelease(repository);
} catch (error) {
  console.error(`build-release: ${(error as Error).message}`);
  process.exitCode = 1;
}
