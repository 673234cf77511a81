// What has to hold of a helper and of an executable before anybody gets them.

import { dlopen } from "bun:ffi";
import { readFileSync } from "node:fs";
import { join, relative } from "node:path";
import type { Versions } from "../../src/cli/version.ts";
import { ABI_VERSION } from "../../src/native/library.ts";
import { SYMBOLS } from "../../src/native/symbols.ts";
import { nativeSourceDirectory, root } from "../build-native.ts";
import { host } from "../executable.ts";
import type { Target } from "../targets.ts";
import { exportsOf, platformOf } from "./formats.ts";
import { verifySignature } from "./signature.ts";

/** Whether this machine runs what is built for the target. */
function runsHere({ os, arch, libc }: Target): boolean {
  return os === host.os && arch === host.arch && libc === host.libc;
}

/**
 * Checks the helper of a target: its system and processor, its functions, its ABI, and its signature where one is needed.
 *
 * @throws if any is not that of this source; the message names the file.
 */
export function checkHelper(target: Target, path: string): void {
  checkFile(path, () => {
    const helper = readFileSync(path);
    checkPlatform(target, helper);
    const names = exportsOf(helper).filter((name) => name.startsWith("zb_"));
    const wanted = Object.keys(SYMBOLS).sort();
    const difference = [...new Set(names).symmetricDifference(new Set(wanted))];
    if (difference.length > 0)
      throw new Error(`it and src/native/symbols.ts do not agree on ${difference.join(", ")}`);
    const abi = runsHere(target) ? loadAbi(path) : abiOfHeader();
    if (abi !== ABI_VERSION)
      throw new Error(`it has ABI ${abi}, and src/native/library.ts needs ${ABI_VERSION}`);
    // On Intel processors macOS loads what is not signed, too.
    if (target.os === "darwin" && target.arch === "arm64") verifySignature(helper);
  });
}

/**
 * Checks an executable: its system and processor, that the helper is in it byte for byte, its signature where it has one,
 * and, where it runs, what it tells of itself.
 *
 * @throws if any is wrong; the message names the file.
 */
export function checkExecutable(
  target: Target,
  path: string,
  helper: Buffer,
  versions: Omit<Versions, "target">,
): void {
  checkFile(path, () => {
    const executable = readFileSync(path);
    checkPlatform(target, executable);
    if (!executable.includes(helper)) throw new Error("the helper is not in it");
    if (target.os === "darwin") verifySignature(executable);
    if (runsHere(target)) checkVersions(path, { ...versions, target: target.name });
  });
}

/** Puts the file's name before what is wrong with it. */
function checkFile(path: string, check: () => void): void {
  try {
    check();
  } catch (error) {
    throw new Error(`${relative(root, path)}: ${(error as Error).message}`, { cause: error });
  }
}

function checkPlatform({ os, arch }: Target, file: Buffer): void {
  const platform = platformOf(file);
  if (platform.os !== os || platform.arch !== arch)
    throw new Error(`it is for ${platform.os}-${platform.arch} and not for ${os}-${arch}`);
}

function loadAbi(path: string): number {
  const library = dlopen(path, { zb_abi_version: SYMBOLS.zb_abi_version });
  const abi = library.symbols.zb_abi_version();
  library.close();
  return abi;
}

/** What a helper that cannot be loaded here was built from. */
function abiOfHeader(): number {
  const header = readFileSync(join(nativeSourceDirectory, "zerobuffer.h"), "utf8");
  return Number(/ZB_ABI_VERSION (\d+)/.exec(header)?.[1]);
}

function checkVersions(path: string, expected: Versions): void {
  const { stdout, stderr, exitCode } = Bun.spawnSync([path, "--version", "--json-output"]);
  if (exitCode !== 0) throw new Error(`--version ends with code ${exitCode}: ${stderr}`);
  const told = JSON.parse(stdout.toString());
  for (const [name, value] of Object.entries(expected))
    if (told[name] !== value) throw new Error(`--version tells ${name} ${told[name]} and not ${value}`);
}
