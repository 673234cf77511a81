// Takes away one protection after another, in a copy of the tree, and shows that its test fails without it.
//
// Arguments: parts of the descriptions of those to try; none means all. ZB_SECONDS bounds its time (default 2,400).

import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/build-native.ts";
import { alone } from "../support/alone.ts";
import { option } from "../support/slow-options.ts";
import { cancellation } from "./protections/cancellation.ts";
import { commands } from "./protections/commands.ts";
import { core } from "./protections/core.ts";
import { forwarding } from "./protections/forwarding.ts";
import { native } from "./protections/native.ts";
import { presence } from "./protections/presence.ts";
import type { Protection } from "./protections/protection.ts";
import { sharing } from "./protections/sharing.ts";

const protections: readonly Protection[] = [
  ...native,
  ...presence,
  ...core,
  ...sharing,
  ...forwarding,
  ...cancellation,
  ...commands,
];

/** Longer than each of these tests takes: without its protection one may hang, and that is a failure, too. */
const PATIENCE_MS = 120_000;

/** What chance or a busy machine may spoil gets another try. */
const TRIES = 2;

/** When to end at the latest: ZB_SECONDS. What has not been tried then has not been shown. */
const deadline = performance.now() + option("ZB_SECONDS", 2400) * 1000;

/** Kills a process and all that it has started. */
function killAll(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // None is left.
  }
}

/**
 * Runs a command in the tree. Without a protection it may leave anything in shared memory and among the locks: where that
 * is permitted, it has its own.
 */
async function runIn(tree: string, command: string[], env: Readonly<Record<string, string>> = {}) {
  const child = Bun.spawn(alone(command), {
    cwd: tree,
    env: { ...process.env, ...env },
    stdio: ["ignore", "ignore", "pipe"],
    // A process group of its own.
    detached: true,
  });
  const timer = setTimeout(() => killAll(child.pid), PATIENCE_MS);
  const stderr = child.stderr.text();
  const exitCode = await child.exited;
  clearTimeout(timer);
  killAll(child.pid);
  return { exitCode, stderr: await stderr };
}

/** Runs the test in the tree as it is. Throws if the tree does not build or has no such test. */
async function passes(tree: string, { test, only, env }: Protection): Promise<boolean> {
  const built = await runIn(tree, [process.execPath, "scripts/build-native.ts"]);
  if (built.exitCode !== 0) throw new Error(`it does not build: ${built.stderr}`);
  const { exitCode, stderr } = await runIn(tree, [process.execPath, "test", `./${test}`, "-t", only], env);
  const ran = /^ *[1-9]\d* (pass|fail)$/m.test(stderr);
  if (exitCode === 0 && !ran)
    throw new Error(`no test of ${test} is called "${only}", or it is skipped here`);
  return exitCode === 0;
}

/** Not in the temp directory, which some tests hide from what they run. */
function copyTree(): string {
  mkdirSync(join(root, "dist"), { recursive: true });
  const tree = mkdtempSync(join(root, "dist", "protections-"));
  process.on("exit", () => rmSync(tree, { recursive: true }));
  for (const signal of ["SIGHUP", "SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));
  // Some tests run the executable as another user.
  chmodSync(tree, 0o755);
  const files = Bun.spawnSync(["git", "ls-files", "-z"], { cwd: root }).stdout.toString().split("\0");
  for (const file of files.filter((name) => name !== "")) cpSync(join(root, file), join(tree, file));
  symlinkSync(join(root, "node_modules"), join(tree, "node_modules"));
  return tree;
}

/** The file without the protection. Throws if the file is not as it was when the protection was described. */
function without({ file, changes }: Protection, tree: string): string {
  let text = readFileSync(join(tree, file), "utf8");
  for (const [find, replace] of changes) {
    if (text.split(find).length !== 2) throw new Error(`${file} has not exactly one: ${find}`);
    text = text.replace(find, () => replace);
  }
  return text;
}

/** Takes the protection away in the tree, tries its test, and puts it back: whether the test has failed. */
async function isShown(tree: string, protection: Protection): Promise<boolean> {
  const path = join(tree, protection.file);
  const whole = readFileSync(path, "utf8");
  writeFileSync(path, without(protection, tree));
  try {
    return !(await passes(tree, protection));
  } finally {
    writeFileSync(path, whole);
  }
}

async function within(tries: number, attempt: () => Promise<boolean>): Promise<boolean> {
  for (let count = 0; count < tries; count++) if (await attempt()) return true;
  return false;
}

async function outcomeOf(tree: string, protection: Protection): Promise<string> {
  if (performance.now() > deadline) return "NOT TRIED";
  try {
    if (!(await within(TRIES, () => isShown(tree, protection)))) return "NOT SHOWN";
    return (await within(TRIES, () => passes(tree, protection))) ? "shown" : "FAILS ALSO WITH IT";
  } catch (error) {
    return (error as Error).message;
  }
}

const wanted = process.argv.slice(2);
const chosen = protections.filter(
  ({ what }) => wanted.length === 0 || wanted.some((part) => what.includes(part)),
);
// All of them before any is tried, which takes long.
const unknown = chosen.flatMap((protection) => {
  try {
    without(protection, root);
    return [];
  } catch (error) {
    return [`${protection.what}: ${(error as Error).message}`];
  }
});
if (unknown.length > 0) throw new Error(unknown.join("\n"));
const tree = copyTree();
let missed = 0;
for (const protection of chosen) {
  const start = performance.now();
  const outcome = await outcomeOf(tree, protection);
  if (outcome !== "shown") missed++;
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  console.log(`${outcome}: ${protection.what} (${protection.test}, ${seconds} s)`);
}
console.log(
  `${chosen.length - missed} of ${chosen.length} protections shown by a test that fails without them`,
);
process.exitCode = missed > 0 || chosen.length === 0 ? 1 : 0;
