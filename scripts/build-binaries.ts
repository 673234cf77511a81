// Builds executables, each with its native helper inside.
//
//   build-binaries.ts                  dist/zerobuffer, for this machine
//   build-binaries.ts --target NAME…   dist/NAME/zerobuffer and what is published of it: archive, hashes, manifest
//   build-binaries.ts --all            the same for all targets
//
// --repository URL is the address that README names in the archives; a release has one.
//
// What is wrong with a helper or an executable is found here, and not by those who run it.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { version } from "../package.json";
import { commitOf } from "../src/cli/checkout.ts";
import { PROTOCOL_VERSION } from "../src/cli/version.ts";
import { type Entry, tarGz, timeOfCommit, zip } from "./binaries/archive.ts";
import { checkExecutable, checkHelper } from "./binaries/check.ts";
import { manual } from "./binaries/manual.ts";
import { sign } from "./binaries/signature.ts";
import { buildHelper, libraryPath, root } from "./build-native.ts";
import { buildExecutable, host } from "./executable.ts";
import { billOfMaterials } from "./licences/bill.ts";
import { notices, noticesPath } from "./licences/notices.ts";
import { withAddress } from "./release/table.ts";
import { type Target, targetNamed, targets } from "./targets.ts";

const dist = join(root, "dist");
const versions = { version, commit: commitOf(), protocol: PROTOCOL_VERSION, bun: Bun.version };

/** What is known of a published target, as in manifest.json; sizes in bytes. */
interface Artifact {
  readonly target: string;
  readonly file: string;
  readonly size: number;
  readonly sha256: string;
  readonly executable: { readonly file: string; readonly size: number; readonly sha256: string };
  readonly helper: { readonly size: number; readonly sha256: string };
}

/** Builds the executable of a target, or of this machine, with its helper inside, and checks both. */
async function buildChecked(output: string, helperPath: string, target?: Target): Promise<void> {
  checkHelper(target ?? host, helperPath);
  await buildExecutable(join(root, "src", "main.ts"), output, target);
  if (target?.os === "darwin") writeFileSync(output, sign(readFileSync(output), "zerobuffer"));
  checkExecutable(target ?? host, output, readFileSync(helperPath), versions);
}

/** Builds the executable of a target, and the archive that is published. */
async function buildArtifact(target: Target, documents: readonly Entry[], time: Date): Promise<Artifact> {
  const file = target.os === "windows" ? "zerobuffer.exe" : "zerobuffer";
  const path = join(dist, target.name, file);
  const clock = new Stopwatch();
  const helperPath = await buildHelper(target);
  const helperSeconds = clock.lap();
  await buildChecked(path, helperPath, target);
  const executableSeconds = clock.lap();

  const executable = readFileSync(path);
  const name = `zerobuffer-${target.name}`;
  const entries = [{ name: file, content: executable, isExecutable: true }, ...documents].map((entry) => ({
    ...entry,
    name: `${name}/${entry.name}`,
  }));
  const isZip = target.os === "windows";
  const archive = isZip ? zip(entries, time) : await tarGz(entries, time);
  const archiveName = `${name}${isZip ? ".zip" : ".tar.gz"}`;
  writeFileSync(join(dist, archiveName), archive);

  const columns = [
    target.name.padEnd(20),
    `executable ${mebibytes(executable)} MiB`,
    `archive ${mebibytes(archive)} MiB`,
    `helper ${helperSeconds} s, executable ${executableSeconds} s, archive ${clock.lap()} s`,
  ];
  console.log(columns.join("  "));
  const helper = readFileSync(helperPath);
  return {
    target: target.name,
    file: archiveName,
    size: archive.length,
    sha256: sha256(archive),
    executable: { file, size: executable.length, sha256: sha256(executable) },
    helper: { size: helper.length, sha256: sha256(helper) },
  };
}

/** What is in every archive besides the executable. */
async function readDocuments(time: Date, repository: string | undefined): Promise<Entry[]> {
  const files: Readonly<Record<string, string>> = {
    LICENSE: "LICENSE",
    "THIRD-PARTY-NOTICES.txt": "THIRD-PARTY-NOTICES.txt",
    "completions/zerobuffer.bash": "src/commands/completion/scripts/zerobuffer.bash",
    "completions/_zerobuffer": "src/commands/completion/scripts/zerobuffer.zsh",
    "completions/zerobuffer.fish": "src/commands/completion/scripts/zerobuffer.fish",
    "completions/zerobuffer.ps1": "src/commands/completion/scripts/zerobuffer.ps1",
  };
  return [
    { name: "zerobuffer.1", content: Buffer.from(await manual(time)) },
    {
      name: "README.md",
      content: Buffer.from(withAddress(readFileSync(join(root, "README.md"), "utf8"), repository)),
    },
    ...Object.entries(files).map(([name, path]) => ({ name, content: readFileSync(join(root, path)) })),
  ];
}

/** Builds what is published of the targets. Nothing that an earlier build made stays beside it. */
async function buildArtifacts(wanted: readonly Target[], repository: string | undefined): Promise<void> {
  mkdirSync(dist, { recursive: true });
  for (const name of new Bun.Glob("{zerobuffer-*,SHA256SUMS,manifest.json}").scanSync(dist))
    rmSync(join(dist, name));
  for (const { name } of targets) rmSync(join(dist, name), { recursive: true, force: true });

  const bill = await billOfMaterials();
  if (readFileSync(noticesPath, "utf8") !== notices(bill))
    throw new Error("THIRD-PARTY-NOTICES.txt is not that of this source: run `bun run build:notices`");
  writeFileSync(join(dist, `zerobuffer-${version}.cdx.json`), `${JSON.stringify(bill, undefined, 2)}\n`);

  const time = timeOfCommit();
  const documents = await readDocuments(time, repository);
  const artifacts: Artifact[] = [];
  for (const target of wanted) artifacts.push(await buildArtifact(target, documents, time));
  writeFileSync(
    join(dist, "SHA256SUMS"),
    artifacts.map(({ sha256, file }) => `${sha256}  ${file}\n`).join(""),
  );
  const manifest = { ...versions, artifacts };
  writeFileSync(join(dist, "manifest.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
}

class Stopwatch {
  #start = performance.now();

  /** Seconds since the last lap. */
  lap(): string {
    const now = performance.now();
    const seconds = (now - this.#start) / 1000;
    this.#start = now;
    return seconds.toFixed(1);
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function mebibytes({ length }: Uint8Array): string {
  return (length / 2 ** 20).toFixed(1);
}

try {
  const { values } = parseArgs({
    options: {
      target: { type: "string", multiple: true, default: [] },
      all: { type: "boolean", default: false },
      repository: { type: "string" },
    },
  });
  const wanted = values.all ? targets : values.target.map(targetNamed);
  if (wanted.length > 0) {
    await buildArtifacts(wanted, values.repository);
  } else {
    const path = join(dist, host.os === "windows" ? "zerobuffer.exe" : "zerobuffer");
    await buildChecked(path, libraryPath);
    console.log(`${relative(process.cwd(), path)} ${mebibytes(readFileSync(path))} MiB`);
  }
} catch (error) {
  const faults = error instanceof AggregateError ? error.errors : [error];
  for (const fault of faults) console.error(`build: ${fault instanceof Error ? fault.message : fault}`);
  process.exitCode = 1;
}
