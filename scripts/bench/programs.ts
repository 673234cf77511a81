// The contenders: programs that run at the same time to their ends, and print what they measured.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  cFlags,
  compile,
  findCompiler,
  helperSources,
  hostSystem,
  nativeSourceDirectory,
  root,
} from "../build-native.ts";

/** One program's figures of one turn, as it printed them. */
export type Figures = Readonly<Record<string, number>>;

/** A program of ours and its script, which a program in C starts for `pipe-of-programs`. */
export const bunWorker = [process.execPath, join(root, "scripts", "bench", "worker.ts")] as const;

export const commandLine = [process.execPath, join(root, "src", "main.ts")] as const;
export const TIMEOUT_MS = 60_000;

/** For what is built and written; goes when this process ends. */
export const directory = mkdtempSync(join(tmpdir(), "zerobuffer-bench-"));
process.on("exit", () => rmSync(directory, { recursive: true }));
for (const signal of ["SIGHUP", "SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));

const limit = join(directory, "limit");
let buffers = 0;

/** Builds the speed limit. */
export async function buildLimit(): Promise<void> {
  await buildInC(limit, ["scripts/bench/limit.c"]);
}

/** Builds a program of these sources and the helper. */
export async function buildInC(output: string, sources: readonly string[]): Promise<void> {
  await compile(await findCompiler(), {
    sources: [...sources.map((source) => join(root, source)), ...helperSources(hostSystem)],
    output,
    flags: [...cFlags, "-O2", "-I", nativeSourceDirectory],
  });
}

/** In C: a mode of limit.c. */
export function inC(
  mode: string,
  frameSize: number,
  count: number,
  ringSize: number,
  programs: readonly string[] = [],
): Promise<Figures> {
  return measure([limit, mode, ...[frameSize, count, ringSize].map(String), ...programs]);
}

/** Through the API: a Bun process for each role of worker.ts, the first of which prints the figures. */
export function inBun(
  roles: readonly string[],
  frameSize: number,
  count: number,
  ringSize: number,
): Promise<Figures> {
  const buffer = uniqueBuffer();
  return measure(
    ...roles.map((role) => [...bunWorker, role, buffer, ...[frameSize, count, ringSize].map(String)]),
  );
}

/** Through the command line: a reader and a writer with default options, as the reader reports it. */
export async function inCommands(frameSize: number, count: number): Promise<Figures> {
  const buffer = uniqueBuffer();
  const { frames_per_second } = await measure(
    [...commandLine, "reader", buffer, "--json-output"],
    [...commandLine, "writer", buffer, "-n", `${count}`, "-s", `${frameSize}`, "--json-output"],
  );
  return { framesPerSecond: frames_per_second! };
}

/**
 * Processor time of a reader and a writer of the command line with default options at `rate` frames per second, in percent
 * of one processor: that of ten seconds less that of five, so that start, compiling and end do not count.
 */
export async function inPacedCommands(
  frameSize: number,
  rate: number,
): Promise<{ readonly reader: Figures; readonly writer: Figures }> {
  const run = async (seconds: number) => {
    const buffer = uniqueBuffer();
    const children = [
      ["reader", buffer],
      ["writer", buffer, "-n", `${seconds * rate}`, "-s", `${frameSize}`, "--rate", `${rate}`],
    ].map((command) =>
      Bun.spawn([...commandLine, ...command, "--json-output"], { cwd: root, stdout: "ignore" }),
    );
    const codes = await Promise.all(children.map((child) => child.exited));
    if (codes.some((code) => code !== 0))
      throw new Error(`failed: a writer and a reader at ${rate} frames/s`);
    return children.map((child) => Number(child.resourceUsage()!.cpuTime.total));
  };
  const [short, long] = [await run(5), await run(10)];
  const percent = (i: number): Figures => ({ cpuPercent: ((long[i]! - short[i]!) / 5e6) * 100 });
  return { reader: percent(0), writer: percent(1) };
}

/** A file of zeros, in memory as far as the system likes, to be streamed. */
export async function makeFile(size: number): Promise<string> {
  const path = join(directory, `file-${size}`);
  await Bun.$`head -c ${size} /dev/zero > ${path}`.quiet();
  return path;
}

/** Streams a file through a writer and a reader of the command line, with these options of the writer. */
export function streamThroughCommands(path: string, ...options: readonly string[]): Promise<Figures> {
  const buffer = uniqueBuffer();
  const [reader, writer] = [
    [...commandLine, "reader", buffer, "-o", "-"],
    [...commandLine, "writer", buffer, "-i", "-", ...options],
  ];
  return stream(path, writer, [...reader, "--quiet"], "&");
}

/** Streams a file through `cat | cat`. */
export function streamThroughCat(path: string): Promise<Figures> {
  return stream(path, ["cat"], ["cat"], "|");
}

/** Runs `from < path` and `to > /dev/null`, joined by a pipe or next to each other, and takes the time of both. */
async function stream(
  path: string,
  from: readonly string[],
  to: readonly string[],
  joint: "|" | "&",
): Promise<Figures> {
  const quoted = (command: readonly string[]) => command.map((word) => Bun.$.escape(word)).join(" ");
  const first = `${quoted(from)} < ${Bun.$.escape(path)}`;
  const second = `${quoted(to)} > /dev/null`;
  const script = joint === "|" ? `${first} | ${second}` : `${first} & ${second} && wait $!`;
  const startNs = Bun.nanoseconds();
  const child = Bun.spawn(["sh", "-c", script], {
    // The commands report on stderr here.
    stdio: ["ignore", "ignore", "pipe"],
    timeout: TIMEOUT_MS,
  });
  const [said, code] = await Promise.all([child.stderr.text(), child.exited]);
  if (code !== 0) throw new Error(`failed: ${script}\n${said}`);
  const seconds = (Bun.nanoseconds() - startNs) / 1e9;
  return { seconds, bytesPerSecond: Bun.file(path).size / seconds };
}

export function uniqueBuffer(): string {
  return `bench-${process.pid}-${++buffers}`;
}

/** Runs programs at the same time to their ends, and returns what the first one printed. */
export async function measure(...commands: readonly (readonly string[])[]): Promise<Figures> {
  const children = commands.map((command) =>
    Bun.spawn([...command], { cwd: root, stdio: ["ignore", "pipe", "inherit"], timeout: TIMEOUT_MS }),
  );
  const outputs = await Promise.all(children.map((child) => child.stdout.text()));
  await Promise.all(children.map((child) => child.exited));
  const failed = children.findIndex((child) => child.exitCode !== 0);
  if (failed >= 0) throw new Error(`failed: ${commands[failed]!.join(" ")}`);
  return JSON.parse(outputs[0]!);
}
