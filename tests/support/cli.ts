// The command line as its users have it: a process of its own, with what it printed and how it ended.

import { afterEach, expect, setDefaultTimeout } from "bun:test";
import { closeSync, existsSync, openSync, readFileSync, readSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { root } from "../../scripts/build-native.ts";
import { eventually, footprint } from "./buffers.ts";

/** The command line from source, or the executable that ZB_EXECUTABLE names. */
export const program: readonly string[] = process.env.ZB_EXECUTABLE
  ? [process.env.ZB_EXECUTABLE]
  : [process.execPath, join(root, "src", "main.ts")];

/** Nothing that is asked for takes longer than this, however busy the machine. */
const PATIENCE_MS = 30_000;

/** Where the OIEB keeps `payload_free_bytes` (PROTOCOL.md, section 1). */
const PAYLOAD_FREE_OFFSET = 40;

/** How a run ended, and what it printed. */
export interface Outcome {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** The JSON document of a run. */
interface Report extends Outcome {
  // biome-ignore lint/suspicious/noExplicitAny: every command has its own keys, which the test checks
  readonly document: any;
}

export interface RunOptions {
  /** Default: nothing to read. A number is a descriptor of the test. */
  stdin?: "pipe" | "ignore" | Uint8Array | number;
  /** Default: collected. A number is a descriptor of the test. */
  stdout?: "pipe" | number;
  env?: Record<string, string>;
  /** What runs the command line, if it is not this checkout's as this user. */
  program?: readonly string[];
}

/** A command that was started. `await using` ends it, however the test ends. */
export class Run implements AsyncDisposable {
  readonly #process: Subprocess;
  readonly #stdout: Uint8Array[] = [];
  #stderr = "";
  readonly #ended: Promise<unknown>;

  constructor(args: readonly string[], options: RunOptions = {}) {
    const { stdin = "ignore", stdout = "pipe", env = {} } = options;
    const child = Bun.spawn([...(options.program ?? program), ...args], {
      stdin,
      stdout,
      stderr: "pipe",
      env: { ...process.env, ...env },
    });
    this.#process = child;
    this.#ended = Promise.all([
      child.exited,
      this.#collect(child.stdout, (chunk) => this.#stdout.push(chunk)),
      this.#collect(child.stderr, (chunk) => {
        this.#stderr += new TextDecoder().decode(chunk);
      }),
    ]);
  }

  get pid(): number {
    return this.#process.pid;
  }

  get isOver(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  /** Waits until it has printed this on stderr. */
  async says(text: string): Promise<void> {
    await eventually(() => this.#stderr.includes(text) || this.isOver, PATIENCE_MS);
    if (!this.#stderr.includes(text)) throw new Error(`ended without saying "${text}": ${this.#stderr}`);
  }

  /** Waits until it has printed this on stdout. */
  async prints(text: string): Promise<void> {
    await eventually(() => Buffer.concat(this.#stdout).includes(text) || this.isOver, PATIENCE_MS);
    if (!Buffer.concat(this.#stdout).includes(text)) throw new Error(`ended without printing "${text}"`);
  }

  /** Sends it more of stdin. */
  async feed(bytes: Uint8Array | string): Promise<void> {
    const { stdin } = this.#process;
    if (typeof stdin !== "object" || stdin === null) throw new Error("stdin is no pipe");
    stdin.write(bytes);
    await stdin.flush();
  }

  /** Ends its stdin. */
  async finish(): Promise<void> {
    const { stdin } = this.#process;
    if (typeof stdin === "object" && stdin !== null) await stdin.end();
  }

  kill(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  /** Waits until it handles the signal itself, which would end it otherwise. */
  async listens(signal: NodeJS.Signals): Promise<void> {
    const bit = 1n << BigInt(constants.signals[signal] - 1);
    await eventually(() => {
      const caught = /^SigCgt:\s+([0-9a-f]+)$/m.exec(readFileSync(`/proc/${this.pid}/status`, "latin1"))?.[1];
      return (BigInt(`0x${caught}`) & bit) !== 0n;
    }, PATIENCE_MS);
  }

  /** Waits for its end. */
  async end(): Promise<Outcome> {
    await this.#ended;
    return { code: this.#process.exitCode, stdout: Buffer.concat(this.#stdout), stderr: this.#stderr };
  }

  /** Waits for its end; its stdout is one JSON document and nothing else. */
  async report(): Promise<Report> {
    const outcome = await this.end();
    return { ...outcome, document: JSON.parse(outcome.stdout.toString()) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.isOver) this.#process.kill("SIGKILL");
    await this.#process.exited;
  }

  async #collect(stream: unknown, take: (chunk: Uint8Array) => void): Promise<void> {
    if (!(stream instanceof ReadableStream)) return;
    for await (const chunk of stream) take(chunk);
  }
}

/** Every test of the file leaves no shared memory, semaphore or lock. Processes take time, so tests get enough of it. */
export function leavesNoBuffersBehind(): void {
  setDefaultTimeout(2 * PATIENCE_MS);
  afterEach(() => {
    const { shm, locks, foreignLocks } = footprint();
    expect({ shm, locks, foreignLocks }).toEqual({ shm: [], locks: [], foreignLocks: [] });
  });
}

/** Runs a command to its end. */
export async function run(...args: string[]): Promise<Outcome> {
  await using child = new Run(args);
  return await child.end();
}

/** Runs a command with --json-output to its end. */
export async function runJson(...args: string[]): Promise<Report> {
  await using child = new Run([...args, "--json-output"]);
  return await child.report();
}

interface TerminalOptions {
  env?: Record<string, string>;
  /** A shell script that runs the command, "$@". */
  script?: string;
  /** Types Ctrl-C once this has been shown. */
  interruptAfter?: string;
}

/** What a command prints on a terminal, to its end. */
export async function runOnTerminal(
  args: readonly string[],
  { env = {}, script, interruptAfter }: TerminalOptions = {},
): Promise<{ code: number | null; output: string }> {
  let output = "";
  const decoder = new TextDecoder();
  const { promise: closed, resolve: close } = Promise.withResolvers<void>();
  const command =
    script === undefined ? [...program, ...args] : ["sh", "-c", script, "sh", ...program, ...args];
  const child = Bun.spawn(command, {
    env: { ...process.env, NO_COLOR: "", ...env },
    terminal: {
      cols: 120,
      rows: 30,
      data(terminal, chunk) {
        output += decoder.decode(chunk, { stream: true });
        if (interruptAfter !== undefined && output.includes(interruptAfter)) {
          interruptAfter = undefined;
          terminal.write("\x03");
        }
      },
      exit: () => close(),
    },
  });
  await child.exited;
  // What was printed last may still be on its way.
  await closed;
  child.terminal?.close();
  return { code: child.exitCode, output };
}

/** Waits until a buffer is there that a writer can connect to. */
export async function bufferMade(name: string): Promise<void> {
  await eventually(() => existsSync(`/dev/shm/${name}`) && freeBytes(name) > 0, PATIENCE_MS);
}

/** Waits until a buffer has no room for a frame of this size. */
export async function bufferFull(name: string, frameSize: number): Promise<void> {
  await eventually(() => freeBytes(name) < frameSize + 16, PATIENCE_MS);
}

function freeBytes(name: string): number {
  try {
    const descriptor = openSync(`/dev/shm/${name}`, "r");
    try {
      const field = Buffer.alloc(8);
      readSync(descriptor, field, 0, field.length, PAYLOAD_FREE_OFFSET);
      return Number(field.readBigUInt64LE());
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return 0;
  }
}
