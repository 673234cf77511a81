// Moves frames between two real processes, a reader and a writer of the command line, and shows what came of it.

import { constants } from "node:os";
import { join } from "node:path";
import { styleText } from "node:util";
import { root } from "./build-native.ts";

const buffer = `demo-${process.pid}`;
const frames = 20_000;
const frameSize = 65_536;
// Small enough for the 64 MiB of shared memory that a container has.
const readerArguments = [
  "reader",
  buffer,
  "--verify",
  "sequential",
  "--buffer-size",
  "16MiB",
  "--json-output",
];
const writerArguments = ["writer", buffer, "-n", `${frames}`, "-s", `${frameSize}`, "--json-output"];

const colour = process.stdout.isTTY && !process.env.NO_COLOR;

function paint(style: "bold" | "dim" | "green" | "red", text: string): string {
  return colour ? styleText(style, text) : text;
}

interface Outcome {
  exitCode: number;
  /** The command's JSON result; empty where it printed none. */
  result: Record<string, unknown>;
}

const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    process.exitCode = 128 + constants.signals[signal];
    stop.abort();
  });
}

/** Runs a command to its end. One that fails stops the other, which would only wait for it. */
async function runCommand(commandArguments: readonly string[]): Promise<Outcome> {
  const child = Bun.spawn([process.execPath, join(root, "src", "main.ts"), ...commandArguments], {
    stdio: ["ignore", "pipe", "inherit"],
    signal: stop.signal,
    killSignal: "SIGTERM",
  });
  const [output, exitCode] = await Promise.all([child.stdout.text(), child.exited]);
  if (exitCode !== 0) stop.abort();
  try {
    return { exitCode, result: JSON.parse(output) };
  } catch {
    return { exitCode, result: {} };
  }
}

function print(label: string, value: string): void {
  console.log(`  ${paint("dim", label.padEnd(8))} ${value}`);
}

function grouped(value: number, decimals = 0): string {
  return value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}

console.log(paint("bold", "Two processes, one buffer in shared memory:"));
print("reader", `zerobuffer ${readerArguments.join(" ")}`);
print("writer", `zerobuffer ${writerArguments.join(" ")}`);
console.log();

const [reader, writer] = await Promise.all([runCommand(readerArguments), runCommand(writerArguments)]);

if (process.exitCode !== undefined) {
  console.log("stopped");
  process.exit();
}

const seconds = Number(reader.result.duration_seconds);
const gibibytes = Number(reader.result.bytes_read) / 2 ** 30;
const verified =
  reader.result.frames_read === frames &&
  reader.result.bytes_read === frames * frameSize &&
  reader.result.verification_errors === 0;
const succeeded = verified && reader.exitCode === 0 && writer.exitCode === 0;

if (reader.result.frames_read !== undefined) {
  print("frames", grouped(Number(reader.result.frames_read)));
  print("moved", `${grouped(gibibytes, 2)} GiB in ${grouped(seconds, 2)} s`);
  print(
    "speed",
    `${grouped(gibibytes / seconds, 2)} GiB/s, ${grouped(Number(reader.result.frames_per_second))} frames/s`,
  );
}
print(
  "data",
  verified ? paint("green", "every byte verified") : paint("red", "not all frames arrived intact"),
);
print("exit", `reader ${reader.exitCode}, writer ${writer.exitCode}`);
for (const { result } of [reader, writer]) {
  for (const error of (result.errors as string[] | undefined) ?? []) console.error(paint("red", error));
}
if (succeeded) {
  console.log();
  print("next", "zerobuffer view shows frames, and all buffers, in a browser: bun src/main.ts view");
}
process.exitCode = succeeded ? 0 : 1;
