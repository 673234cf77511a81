// Runs what is built for other systems, as far as this machine can: the C tests of each target, streams between programs
// of two targets over the same memory, and the executables.
//
//   bun tests/targets/run.ts [TARGET…]
//   bun tests/targets/run.ts --executable PATH TARGET   only this executable, on whatever machine this is
//
// It ends with 1 if anything fails, or could not be run for want of a package.

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { exportsOf, platformOf } from "../../scripts/binaries/formats.ts";
import { buildHelper, root, run, zigFor } from "../../scripts/build-native.ts";
import { type Target, targetNamed, targets } from "../../scripts/targets.ts";
import { SYMBOLS } from "../../src/native/symbols.ts";
import { buildTests } from "../native/programs.ts";
import {
  cleanUp,
  directory,
  type Machine,
  machineOf,
  missingPackages,
  native,
  type Outcome,
  type Started,
  start,
} from "./machines.ts";

const CASE_LIMIT_MS = 300_000;
const STREAM_FRAMES = 100_000;
const FRAMES = 1000;

/** How long to look for something that is about to happen. */
const LOOK_LIMIT_MS = 60_000;

const failures: string[] = [];

function report(target: string, what: string, result: string): void {
  console.log(`${target.padEnd(20)}${what.padEnd(34)}${result}`);
}

/** Notes a failure with what a program printed. */
function fail(target: string, what: string, details: string): void {
  failures.push(`${target}: ${what}\n${details.trim()}`);
  report(target, what, "FAILED");
}

async function check(target: string, what: string, work: () => Promise<string>): Promise<void> {
  try {
    report(target, what, await work());
  } catch (error) {
    fail(target, what, (error as Error).message);
  }
}

/** A program and what it runs on. */
interface Program {
  readonly machine: Machine;
  readonly path: string;
}

function begin({ machine, path }: Program, ...args: readonly string[]) {
  return start(machine, [path, ...args], { limitMs: CASE_LIMIT_MS });
}

function requireSuccess({ exitCode, stdout, stderr }: Outcome, who: string): string {
  if (exitCode === 0) return stdout;
  throw new Error(`${who} ended with code ${exitCode}\n${stdout}${stderr}`);
}

/** The document of `--json-output`. */
function documentOf(outcome: Outcome, who: string): Record<string, unknown> {
  return JSON.parse(requireSuccess(outcome, who));
}

function requireFields(document: Record<string, unknown>, expected: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(expected))
    if (document[name] !== value)
      throw new Error(`${name} is ${document[name]} and not ${value}: ${JSON.stringify(document)}`);
}

function uniqueName(): string {
  return `targets-${process.pid}-${crypto.randomUUID().slice(0, 8)}`;
}

/** Files of ours that are left in shared memory. */
function leftBehind(prefix: string): string[] {
  return existsSync("/dev/shm") ? readdirSync("/dev/shm").filter((file) => file.includes(prefix)) : [];
}

// ---- the helper ----------------------------------------------------------------------------------------------------

/** It is made, and exports just what src/native/symbols.ts wants. */
async function checkHelper(target: Target): Promise<string> {
  const helper = readFileSync(await buildHelper(target));
  const { os, arch } = platformOf(helper);
  if (os !== target.os || arch !== target.arch) throw new Error(`it is for ${os}-${arch}`);
  const names = exportsOf(helper).filter((name) => name.startsWith("zb_"));
  const wanted = Object.keys(SYMBOLS).sort();
  if (names.join() !== wanted.join()) throw new Error(`it exports ${names.join(", ")}`);
  return `${helper.length} bytes, ${names.length} functions`;
}

// ---- the C tests ---------------------------------------------------------------------------------------------------

async function buildCTests(target: Target): Promise<string> {
  const path = join(directory, `tests-${target.name}${target.os === "windows" ? ".exe" : ""}`);
  // With a system's C library as a shared one, as the helper has it.
  const flags = target.libc === "musl" ? ["-O2", "-dynamic"] : ["-O2"];
  return await buildTests(await zigFor(target.zigTarget), path, flags, target);
}

async function runCTests(target: string, program: Program): Promise<void> {
  await check(target, "C tests", async () => {
    const names = requireSuccess(await begin(program, "list").outcome, "list")
      .trim()
      .split(/\r?\n/);
    if (names.length < 50) throw new Error(`there are only ${names.length}`);
    const failed: string[] = [];
    for (const name of names) {
      // Only what runs in a terminal can be sent Ctrl+C on Windows.
      const terminal = name.startsWith("control_c");
      const { machine, path } = program;
      const { outcome } = start(machine, [path, name], { limitMs: CASE_LIMIT_MS, terminal });
      const { exitCode, stdout, stderr } = await outcome;
      if (exitCode !== 0)
        failed.push(`${name.replaceAll("_", " ")}: exit code ${exitCode}\n${stdout}${stderr}`);
    }
    if (failed.length > 0)
      throw new Error(`${failed.length} of ${names.length} failed:\n${failed.join("\n")}`);
    return `${names.length} of ${names.length} pass`;
  });
}

/** A stream from one program of C tests to another, over the same buffer. */
async function exchangeStreams(target: string, what: string, reader: Program, writer: Program) {
  await check(target, what, async () => {
    const name = uniqueName();
    const ends = [
      begin(reader, "read", name, `${STREAM_FRAMES}`),
      begin(writer, "write", name, `${STREAM_FRAMES}`),
    ];
    const [read, written] = await Promise.all(ends.map(({ outcome }) => outcome));
    requireSuccess(read as Outcome, "the reader");
    requireSuccess(written as Outcome, "the writer");
    const left = leftBehind(name);
    if (left.length > 0) throw new Error(`left behind: ${left.join(", ")}`);
    return `${STREAM_FRAMES} frames`;
  });
}

// ---- executables ---------------------------------------------------------------------------------------------------

const patternOptions = ["-n", `${FRAMES}`, "--json-output"];
const patience = ["--connect-timeout-ms", "60s", "--timeout-ms", "60s"];
const readerOptions = [...patternOptions, ...patience, "--verify", "sequential", "--buffer-size", "1MiB"];
const writerOptions = [...patternOptions, ...patience, "--pattern", "sequential", "-s", "4KiB"];
const readAll = { frames_read: FRAMES, bytes_read: FRAMES * 4096, verification_errors: 0 };

async function transfer(reader: Program, writer: Program): Promise<string> {
  const name = uniqueName();
  const reading = begin(reader, "reader", name, ...readerOptions);
  const writing = begin(writer, "writer", name, ...writerOptions);
  requireFields(documentOf(await writing.outcome, "the writer"), { frames_written: FRAMES });
  requireFields(documentOf(await reading.outcome, "the reader"), readAll);
  return nothingLeft(name, `${FRAMES} frames`);
}

/** Bytes through stdin, frames and stdout. */
async function stream(reader: Program, writer: Program): Promise<string> {
  const name = uniqueName();
  const text = Buffer.from(crypto.getRandomValues(new Uint8Array(50_000))).toString("hex");
  const stdin = join(directory, name);
  await Bun.write(stdin, text);
  const reading = begin(reader, "reader", name, "-n", "0", ...patience, "--buffer-size", "64KiB", "-o", "-");
  const writing = start(
    writer.machine,
    [writer.path, "writer", name, "--input", "-", "-s", "1000", ...patience],
    { limitMs: CASE_LIMIT_MS, stdin },
  );
  requireSuccess(await writing.outcome, "the writer");
  const read = requireSuccess(await reading.outcome, "the reader");
  if (read !== text) throw new Error(`of ${text.length} bytes ${read.length} came, or others`);
  return nothingLeft(name, `${text.length} bytes`);
}

async function relay(around: Program, between: Program): Promise<string> {
  const name = uniqueName();
  const [input, output] = [`${name}-in`, `${name}-out`];
  const reading = begin(around, "reader", output, ...readerOptions);
  const relaying = begin(between, "relay", input, output, ...patternOptions, ...patience);
  const writing = begin(around, "writer", input, ...writerOptions);
  requireFields(documentOf(await writing.outcome, "the writer"), { frames_written: FRAMES });
  requireFields(documentOf(await relaying.outcome, "the relay"), { frames_relayed: FRAMES });
  requireFields(documentOf(await reading.outcome, "the reader"), readAll);
  return nothingLeft(name, `${FRAMES} frames`);
}

async function duplex(server: Program, client: Program): Promise<string> {
  const name = uniqueName();
  const serving = begin(server, "duplex", "serve", name, ...patternOptions);
  const asking = begin(client, "duplex", "request", name, ...patternOptions, ...patience, "-s", "1KiB");
  const expected = { requests: FRAMES, responses: FRAMES };
  requireFields(documentOf(await asking.outcome, "the client"), { ...expected, verification_errors: 0 });
  requireFields(documentOf(await serving.outcome, "the server"), { ...expected, handler_errors: 0 });
  return nothingLeft(name, `${FRAMES} requests`);
}

/** A reader that is killed is noticed by its writer, and what is left of it goes. */
async function death(program: Program): Promise<string> {
  const name = uniqueName();
  const reading = begin(program, "reader", name, "--buffer-size", "64KiB", "--timeout-ms", "0");
  const writing = begin(program, "writer", name, "-n", "1000000000", "--json-output", ...patience);
  // The writer is in the middle of its stream as soon as anybody sees frames.
  for (;;) {
    const { stdout } = await begin(program, "inspect", name, "--json-output").outcome;
    if (JSON.parse(stdout).oieb?.payload_written_count > 0) break;
  }
  reading.kill();
  const { exitCode, stdout } = await writing.outcome;
  const code = JSON.parse(stdout).error?.code;
  if (exitCode === 0 || code !== "READER_DEAD") throw new Error(`the writer ended with ${code}\n${stdout}`);
  requireSuccess(await begin(program, "clean", "--json-output").outcome, "clean");
  const listed = documentOf(await begin(program, "list", "--json-output").outcome, "list");
  const buffers = listed.buffers as { buffer_name: string }[];
  if (buffers.some(({ buffer_name }) => buffer_name === name)) throw new Error("it is still listed");
  return nothingLeft(name, "noticed, and nothing left");
}

/** How the shell of Windows names a file of this machine. */
function windowsPath(path: string): string {
  return process.platform === "win32" ? path : `Z:${path.replaceAll("/", "\\")}`;
}

/** The command line that has the executable run exec-program.ts: an executable of Bun's is Bun, too. */
function execProgram({ path }: Program, ...args: readonly string[]): string {
  const place = join(directory, "programs & data");
  const script = join(place, "exec program.ts");
  mkdirSync(place, { recursive: true });
  writeFileSync(script, readFileSync(join(import.meta.dir, "exec-program.ts")));
  return ['set "BUN_BE_BUN=1" &&', `"${windowsPath(path)}"`, `"${windowsPath(script)}"`, ...args].join(" ");
}

/** The shell of Windows gets a command line as it was typed. */
async function execLine(program: Program): Promise<string> {
  const name = uniqueName();
  const line = execProgram(program, '"two words"', '"a & ^b"', "c^&d", "%OS%", '"" "100%"');
  const serving = begin(program, "duplex", "serve", name, "-n", "1", "--exec", line);
  const asking = begin(program, "duplex", "request", name, "-n", "1", "--verify", "echo", ...patience);
  requireSuccess(await asking.outcome, "the client");
  const { stderr } = await serving.outcome;
  const expected = JSON.stringify(["two words", "a & ^b", "c&d", "Windows_NT", "", "100%"]);
  if (!stderr.includes(expected)) throw new Error(`its arguments are not ${expected}:\n${stderr}`);
  return expected;
}

/** Whether there is a reader of this buffer, which is gone with its last process. */
async function isRead(program: Program, name: string): Promise<boolean> {
  const { stdout } = await begin(program, "inspect", name, "--json-output").outcome;
  return JSON.parse(stdout).state !== null;
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + LOOK_LIMIT_MS;
  while (!(await condition())) if (performance.now() > deadline) throw new Error(`not so in time: ${what}`);
}

/** What a command has started ends when an answer is late, and with the server, however that ends. */
async function execEnd(program: Program): Promise<string> {
  const reads = (buffer: string) =>
    `"${windowsPath(program.path)}" reader ${buffer} --buffer-size 64KiB --connect-timeout-ms 60m`;
  const answers = (buffer: string) => `start "" /b ${reads(buffer)} <nul & ${execProgram(program)}`;
  const ask = async (channel: string, expected: number, ...options: readonly string[]) => {
    const { exitCode } = await begin(program, "duplex", "request", channel, "-n", "1", ...options).outcome;
    if (exitCode !== expected) throw new Error(`the client ended with code ${exitCode}`);
  };
  const expectEnd = async (
    what: string,
    line: (buffer: string) => string,
    options: readonly string[],
    act: (server: Started, channel: string) => Promise<void> | void,
  ) => {
    const channel = uniqueName();
    const buffer = `${channel}-child`;
    const server = begin(program, "duplex", "serve", channel, ...options, "--exec", line(buffer));
    try {
      await until("the command has started", () => isRead(program, buffer));
      await act(server, channel);
      await until(`nothing is left ${what}`, async () => !(await isRead(program, buffer)));
    } finally {
      server.kill();
    }
  };
  await expectEnd("after a late answer", reads, ["--start-timeout-ms", "500"], (_, channel) =>
    ask(channel, 2, "--timeout-ms", "1s"),
  );
  await expectEnd("after the last request", answers, ["-n", "1"], async (server, channel) => {
    await ask(channel, 0, ...patience);
    requireSuccess(await server.outcome, "the server");
  });
  await expectEnd("of a killed server", reads, [], (server) => server.kill());
  return "of all that it has started";
}

function nothingLeft(name: string, result: string): string {
  const left = leftBehind(name);
  if (left.length > 0) throw new Error(`left behind: ${left.join(", ")}`);
  return result;
}

async function runExecutables(target: string, own: Program, other: Program): Promise<void> {
  const with_ = own === other ? "itself" : "linux-x64";
  await check(target, "--version", async () => {
    const document = documentOf(await begin(own, "--version", "--json-output").outcome, "--version");
    requireFields(document, { target });
    return `Bun ${document.bun}`;
  });
  await check(target, `writer to a reader of ${with_}`, () => transfer(other, own));
  if (own !== other) await check(target, `reader of a writer of ${with_}`, () => transfer(own, other));
  await check(target, `stdin to stdout of ${with_}`, () => stream(other, own));
  await check(target, `relay for ${with_}`, () => relay(other, own));
  await check(target, `duplex serve for ${with_}`, () => duplex(own, other));
  if (own !== other) await check(target, `duplex request to ${with_}`, () => duplex(other, own));
  await check(target, "reader killed", () => death(own));
  if (targetNamed(target).os !== "windows") return;
  await check(target, "a command line of --exec", () => execLine(own));
  await check(target, "the end of a command of --exec", () => execEnd(own));
}

// ---- all of it -----------------------------------------------------------------------------------------------------

/** The executable of a target, copied to a directory of its own with what it needs here. */
async function placeExecutable(target: Target, machine: Machine): Promise<Program> {
  const file = target.os === "windows" ? "zerobuffer.exe" : "zerobuffer";
  const place = join(directory, target.name);
  mkdirSync(place, { recursive: true });
  const path = join(place, file);
  await Bun.write(path, Bun.file(join(root, "dist", target.name, file)));
  await run(["chmod", "755", path]);
  await machine.complete(path);
  return { machine, path };
}

async function runTarget(target: Target, nativeTests: Program, nativeExecutable: Program): Promise<void> {
  const { name } = target;
  await check(name, "helper", () => checkHelper(target));
  let tests: string | undefined;
  await check(name, "C tests compile and link", async () => {
    tests = await buildCTests(target);
    return basename(tests);
  });
  const missing = missingPackages(name);
  if (missing === undefined) {
    report(name, "not run", "nothing on Linux x64 runs programs of it");
    return;
  }
  if (missing.length > 0) {
    fail(name, "not run", `apt-get install --no-install-recommends ${missing.join(" ")}`);
    return;
  }
  const machine = await machineOf(name);
  const sharesMemory = target.os === "linux";
  if (tests !== undefined) {
    const program = { machine, path: tests };
    await runCTests(name, program);
    const peer = sharesMemory ? nativeTests : program;
    const peerName = sharesMemory ? "linux-x64" : "itself";
    await exchangeStreams(name, `stream to ${peerName}`, peer, program);
    await exchangeStreams(name, `stream from ${peerName}`, program, peer);
  }
  await check(name, "executable", async () => {
    const executable = await placeExecutable(target, machine);
    await runExecutables(name, executable, sharesMemory ? nativeExecutable : executable);
    return "done";
  });
}

async function runTargets(chosen: readonly Target[]): Promise<void> {
  if (process.platform !== "linux" || process.arch !== "x64")
    throw new Error("this suite is for Linux x64, where the emulators of the others are");
  const own = targetNamed("linux-x64");
  const runnable = new Set([own, ...chosen.filter(({ name }) => missingPackages(name)?.length === 0)]);
  await run([
    process.execPath,
    join(root, "scripts", "build-binaries.ts"),
    ...[...runnable].flatMap(({ name }) => ["--target", name]),
  ]);
  const machine = await machineOf(own.name);
  const nativeTests = { machine, path: await buildCTests(own) };
  const nativeExecutable = await placeExecutable(own, machine);
  for (const target of chosen) await runTarget(target, nativeTests, nativeExecutable);
}

const { values, positionals } = parseArgs({
  options: { executable: { type: "string" } },
  allowPositionals: true,
});
const chosen = positionals.length > 0 ? positionals.map(targetNamed) : targets;
try {
  if (values.executable === undefined) {
    await runTargets(chosen);
  } else {
    const program = { machine: native, path: resolve(values.executable) };
    await runExecutables(chosen[0]!.name, program, program);
  }
} finally {
  await cleanUp();
}
for (const failure of failures) console.error(`\n${failure}`);
process.exitCode = failures.length > 0 ? 1 : 0;
