// Processes that tests start: the command line, a fixture or any other program.

import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { root } from "../../scripts/build-native.ts";
import { eventually, WAIT_LIMIT_MS } from "./buffers.ts";
import { childrenOf, commandOf, processesWith, stateOf } from "./proc.ts";

/** The command line from source, or the executable that ZB_EXECUTABLE names. */
export const program: readonly string[] = process.env.ZB_EXECUTABLE
  ? [process.env.ZB_EXECUTABLE]
  : [process.execPath, join(root, "src", "main.ts")];

const fixtures = join(root, "tests", "process", "fixtures");

/** Every process that a child starts inherits this variable, and so can be found. */
const MARK = "ZB_TEST_CHILD";
let started = 0;

/** An event that a fixture reports: a line of JSON with the event's name and its details. */
export interface Event {
  readonly event: string;
  // biome-ignore lint/suspicious/noExplicitAny: every event has its own details, which the test checks
  readonly [detail: string]: any;
}

/** The command of a script of tests/process/fixtures. Arguments that are no strings are passed as JSON. */
export function fixtureCommand(script: string, ...args: readonly unknown[]): string[] {
  const words = args.map((arg) => (typeof arg === "string" ? arg : JSON.stringify(arg)));
  return [process.execPath, join(fixtures, script), ...words];
}

/** How a process ended, and what it printed. */
export interface Outcome {
  /** Null if a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** The outcome of a command with --json-output. */
export interface Report extends Outcome {
  // biome-ignore lint/suspicious/noExplicitAny: every command has its own keys, which the test checks
  readonly document: any;
}

export interface ChildOptions {
  /** Bytes to read, or a descriptor of the test. Default: a pipe, but nothing for the command line. */
  stdin?: "pipe" | "ignore" | Uint8Array | number;
  /** A descriptor of the test. Default: a pipe. */
  stdout?: number;
  /** Changes to the environment of the test; undefined removes a variable. */
  env?: Readonly<Record<string, string | undefined>>;
  /** False: `env` is the whole environment. */
  inheritsEnv?: boolean;
  cwd?: string;
  /** A shell script that runs the command as `"$@"`, to redirect what the process reads and prints. */
  shell?: string;
  /**
   * The words of a program that runs the command as a process of its own, and ends with it, as in containers.ts. The pid, the
   * state and the signals are that process's.
   */
  within?: readonly string[];
  /** Runs it on a terminal of this many columns, which shows what it prints to stdout and to stderr. */
  columns?: number;
  /** The rows of that terminal. */
  rows?: number;
  /** The limit of each wait for it. */
  limitMs?: number;
}

/** A process that a test has started. `await using` kills it, and checks that nothing it has started is left. */
export class Child implements AsyncDisposable {
  readonly #process: Bun.Subprocess;
  readonly #command: string;
  readonly #limitMs: number;
  readonly #mark = `${process.pid}-${++started}`;
  readonly #isWithin: boolean;
  readonly #allRead: Promise<unknown>;
  #chunks: Buffer[] = [];
  #stderr = "";
  /** How many bytes of stdout have been taken as events. */
  #received = 0;
  #isOver = false;
  readonly #sleepers = new Set<() => void>();

  private constructor(command: readonly string[], options: ChildOptions) {
    const {
      stdin = "pipe",
      stdout = "pipe",
      cwd = root,
      shell,
      within = [],
      columns,
      rows = 30,
      limitMs,
    } = options;
    const env = { ...(options.inheritsEnv === false ? {} : process.env), ...options.env, [MARK]: this.#mark };
    this.#command = command.join(" ");
    this.#limitMs = limitMs ?? WAIT_LIMIT_MS;
    this.#isWithin = within.length > 0;
    const words = [...within, ...(shell === undefined ? [] : ["sh", "-c", shell, "sh"]), ...command];
    const { promise: hungUp, resolve: hangUp } = Promise.withResolvers<void>();
    const printed = (chunk: Uint8Array) => {
      this.#chunks.push(Buffer.from(chunk));
      this.#wake();
    };
    if (columns === undefined) {
      this.#process = Bun.spawn(words, { cwd, env, stdin, stdout, stderr: "pipe" });
      hangUp();
    } else {
      const data = (_: unknown, chunk: Uint8Array) => printed(chunk);
      const terminal = { cols: columns, rows, data, exit: () => hangUp() };
      this.#process = Bun.spawn(words, { cwd, env, terminal });
    }
    const decoder = new TextDecoder();
    const logged = (chunk: Uint8Array) => {
      this.#stderr += decoder.decode(chunk, { stream: true });
      this.#wake();
    };
    const { exited, stdout: output, stderr } = this.#process;
    this.#allRead = Promise.all([exited, hungUp, collect(output, printed), collect(stderr, logged)]).then(
      () => {
        this.#isOver = true;
        this.#wake();
      },
    );
  }

  /** The command line. The words of a text are separated by blanks. */
  static cli(args: string | readonly string[], options: ChildOptions = {}): Child {
    const words = typeof args === "string" ? args.split(" ") : args;
    return new Child([...program, ...words], { stdin: "ignore", ...options });
  }

  /** A script of tests/process/fixtures: {@link fixtureCommand}. */
  static fixture(script: string, ...args: readonly unknown[]): Child {
    return new Child(fixtureCommand(script, ...args), {});
  }

  /** Any program. */
  static program(command: readonly string[], options: ChildOptions = {}): Child {
    return new Child(command, options);
  }

  /** Its number in this process's pid namespace. */
  get pid(): number {
    const pid = this.#runningPid;
    if (pid === undefined) throw this.#failure("runs no process");
    return pid;
  }

  get #runningPid(): number | undefined {
    const { pid } = this.#process;
    return this.#isWithin ? childrenOf(pid)[0] : pid;
  }

  /** Whether it has exited, and all its output has been read. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Whether it has reported an event that no one has received. */
  get hasEvent(): boolean {
    return this.#stdout().includes("\n", this.#received);
  }

  /** The next event, which must have this name. */
  async receive(event: string): Promise<Event> {
    const next = await this.receiveAny();
    if (next.event !== event) throw this.#failure(`reported ${JSON.stringify(next)}, not "${event}"`);
    return next;
  }

  /** The next event. */
  async receiveAny(): Promise<Event> {
    const next = await this.receiveOrEnd();
    if (next === undefined) throw this.#failure("ended without another event");
    return next;
  }

  /** The next event; undefined if the process ends without one. */
  async receiveOrEnd(): Promise<Event | undefined> {
    await this.#until(() => this.hasEvent, "reports no event");
    const output = this.#stdout();
    const end = output.indexOf("\n", this.#received);
    if (end < 0) return undefined;
    const line = output.toString("utf8", this.#received, end);
    this.#received = end + 1;
    return JSON.parse(line);
  }

  /** Sends a fixture an instruction as a line of JSON. */
  send(instruction: object): this {
    return this.write(`${JSON.stringify(instruction)}\n`);
  }

  /** Writes to its stdin or terminal. A process that has ended takes nothing, which is no error. */
  write(bytes: string | Uint8Array): this {
    const { stdin, terminal } = this.#process;
    if (terminal !== undefined) {
      terminal.write(bytes);
      return this;
    }
    if (typeof stdin !== "object" || stdin === null) throw new Error("stdin is not a pipe");
    const ignore = (error: unknown) => {
      if ((error as { code?: string }).code !== "EPIPE") throw error;
    };
    try {
      stdin.write(bytes);
      void Promise.resolve(stdin.flush()).catch(ignore);
    } catch (error) {
      ignore(error);
    }
    return this;
  }

  /** Everything that it has printed to stdout, or to its terminal, so far. */
  get output(): Buffer {
    return this.#stdout();
  }

  /** Gives its terminal another size, which tells it by SIGWINCH. */
  resize(columns: number, rows: number): void {
    this.#process.terminal?.resize(columns, rows);
  }

  /** Closes its terminal, which tells it by SIGHUP. */
  hangUp(): void {
    this.#process.terminal?.close();
  }

  closeStdin(): void {
    const { stdin } = this.#process;
    if (typeof stdin === "object" && stdin !== null) void stdin.end();
  }

  /** Waits until it has printed this text to stdout, or to its terminal. */
  async printed(text: string | RegExp): Promise<void> {
    const isPrinted = () => {
      const output = this.#stdout();
      return typeof text === "string" ? output.includes(text) : text.test(output.toString());
    };
    await this.#until(isPrinted, `does not print "${text}"`);
    if (!isPrinted()) throw this.#failure(`ended without printing "${text}"`);
  }

  /** Waits until it has printed this text to stderr. */
  async logged(text: string): Promise<void> {
    await this.#until(() => this.#stderr.includes(text), `does not log "${text}"`);
    if (!this.#stderr.includes(text)) throw this.#failure(`ended without logging "${text}"`);
  }

  /** What it has printed to stderr so far. */
  get printedToStderr(): string {
    return this.#stderr;
  }

  /** Waits until it handles the signal itself, instead of being ended by it. */
  async handles(signal: NodeJS.Signals): Promise<void> {
    const bit = 1n << BigInt(constants.signals[signal] - 1);
    await eventually(() => {
      const status = readFileSync(`/proc/${this.pid}/status`, "latin1");
      return (BigInt(`0x${/^SigCgt:\s+([0-9a-f]+)$/m.exec(status)?.[1]}`) & bit) !== 0n;
    }, this.#limitMs);
  }

  /** Waits until its main thread sleeps: it waits for what its last event announced. */
  async sleeping(): Promise<void> {
    await eventually(() => stateOf(this.pid) === "S", this.#limitMs);
  }

  /** Sends a signal. A process that has ended gets none. */
  kill(signal: NodeJS.Signals): void {
    const pid = this.#runningPid;
    if (!this.#isWithin) this.#process.kill(signal);
    else if (pid !== undefined) process.kill(pid, signal);
  }

  /** Stops it, and returns when the system has done so. */
  async stop(): Promise<void> {
    this.kill("SIGSTOP");
    await this.stopped();
  }

  /** Waits until it is stopped. */
  async stopped(): Promise<void> {
    await eventually(() => stateOf(this.pid) === "T", this.#limitMs);
  }

  /** Lets it go on after {@link stop}. */
  resume(): void {
    this.kill("SIGCONT");
  }

  /** Waits until it has ended by itself. */
  async exited(): Promise<Outcome> {
    await this.#until(() => false, "does not end");
    const { exitCode: code, signalCode: signal } = this.#process;
    return { code, signal, stdout: this.#stdout(), stderr: this.#stderr };
  }

  /** Waits until it has ended, with one JSON document as its stdout. */
  async report(): Promise<Report> {
    const outcome = await this.exited();
    if (outcome.stdout.length === 0) throw this.#failure("printed no document");
    return { ...outcome, document: JSON.parse(outcome.stdout.toString()) };
  }

  /** Closes its stdin, which ends a fixture, and waits until it has ended. */
  async end(): Promise<Outcome> {
    this.closeStdin();
    return await this.exited();
  }

  /** {@link end} with exit code 0. */
  async succeed(): Promise<Outcome> {
    const outcome = await this.end();
    if (outcome.code !== 0) throw this.#failure("failed");
    return outcome;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    this.closeStdin();
    await this.#process.exited;
    // What a killed process has started notices its death a little later.
    const left = () => processesWith(MARK, this.#mark);
    await eventually(() => left().length === 0, this.#limitMs).catch(() => {});
    const leftBehind = left().map((pid) => ({ pid, command: commandOf(pid) }));
    for (const { pid } of leftBehind) process.kill(pid, "SIGKILL");
    await this.#allRead;
    this.#process.terminal?.close();
    if (leftBehind.length > 0) throw this.#failure(`left processes behind: ${JSON.stringify(leftBehind)}`);
  }

  #stdout(): Buffer {
    if (this.#chunks.length !== 1) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0]!;
  }

  /** Waits until the condition holds, or the process is over. */
  async #until(condition: () => boolean, otherwise: string): Promise<void> {
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      this.#wake();
    }, this.#limitMs);
    try {
      while (!condition() && !this.#isOver) {
        if (isLate) throw this.#failure(`${otherwise} for ${this.#limitMs} ms`);
        await new Promise<void>((resolve) => this.#sleepers.add(resolve));
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #wake(): void {
    for (const resolve of this.#sleepers) resolve();
    this.#sleepers.clear();
  }

  #failure(what: string): Error {
    const { exitCode, signalCode } = this.#process;
    const state = `exit code ${exitCode}, signal ${signalCode}`;
    const output = this.#stdout().toString("utf8", Math.max(0, this.#stdout().length - 2000));
    return new Error(`${this.#command}: ${what} (${state})\n${output}${this.#stderr.slice(-4000)}`);
  }
}

async function collect(stream: unknown, take: (chunk: Uint8Array) => void): Promise<void> {
  if (!(stream instanceof ReadableStream)) return;
  for await (const chunk of stream) take(chunk);
}

/** Runs a command to its end. */
export async function run(...args: string[]): Promise<Outcome> {
  await using child = Child.cli(args);
  return await child.exited();
}

/** Runs a command with --json-output to its end. */
export async function runJson(...args: string[]): Promise<Report> {
  await using child = Child.cli([...args, "--json-output"]);
  return await child.report();
}

/** Starts a command on a terminal, in colour unless `env` says otherwise. */
export function startOnTerminal(args: readonly string[], options: ChildOptions = {}): Child {
  return Child.cli(args, { columns: 120, ...options, env: { NO_COLOR: "", ...options.env } });
}

/** Runs a command on a terminal to its end: what the terminal shows. */
export async function runOnTerminal(
  args: readonly string[],
  options: ChildOptions = {},
): Promise<{ code: number | null; output: string }> {
  await using child = startOnTerminal(args, options);
  const { code, stdout } = await child.exited();
  return { code, output: stdout.toString() };
}
