// What tests with several processes share: children that say what they have done, and the proof that all are gone.

import { afterEach, beforeEach, expect } from "bun:test";
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, rmSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/build-native.ts";
import { OIEB_SIZE } from "../../src/core/config.ts";
import { eventually } from "./buffers.ts";

const fixtures = join(root, "tests", "process", "fixtures");

/** Nothing that a child is asked for takes longer than this, however busy the machine. */
const PATIENCE_MS = 60_000;

/** What a child has announced: a line of JSON with the event's name and its details. */
export interface Announcement {
  readonly event: string;
  // biome-ignore lint/suspicious/noExplicitAny: every event has its own details, which the test checks
  readonly [detail: string]: any;
}

/** How a child ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * A process that a test has started. It announces its states on stdout and is told what to do on stdin, so that no
 * test has to guess how far it is. `await using` ends it, however the test ends.
 */
export class Child implements AsyncDisposable {
  readonly #process: Bun.Subprocess<"pipe", "pipe", "pipe">;
  readonly #command: string;
  readonly #ended: Promise<unknown>;
  readonly #lines: string[] = [];
  #heard = 0;
  #stdout = "";
  #stderr = "";
  #isOver = false;
  #wake: () => void = () => {};

  private constructor(command: string[]) {
    this.#command = command.join(" ");
    this.#process = Bun.spawn(command, { cwd: root, stdin: "pipe", stdout: "pipe", stderr: "pipe" });
    this.#ended = Promise.all([this.#process.exited, this.#collectStdout(), this.#collectStderr()]).finally(
      () => {
        this.#isOver = true;
        this.#wake();
      },
    );
  }

  /** A script of tests/process/fixtures; arguments that are no strings are passed as JSON. */
  static fixture(script: string, ...args: unknown[]): Child {
    const texts = args.map((arg) => (typeof arg === "string" ? arg : JSON.stringify(arg)));
    return new Child([process.execPath, join(fixtures, script), ...texts]);
  }

  /** The command line of this project; `line` is what follows the program's name, its words separated by blanks. */
  static cli(line: string, files: Redirection = {}): Child {
    return new Child(redirected(files, [process.execPath, join(root, "src", "main.ts"), ...line.split(" ")]));
  }

  /** A fixture with stdin or stdout at the files or pipes named. */
  static fixtureBetween(files: Redirection, script: string, ...args: string[]): Child {
    return new Child(redirected(files, [process.execPath, join(fixtures, script), ...args]));
  }

  /** Any other program. */
  static program(...command: string[]): Child {
    return new Child(command);
  }

  get pid(): number {
    return this.#process.pid;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Resolves when it has ended. */
  get ended(): Promise<unknown> {
    return this.#ended;
  }

  /** Whether it is still at what it announced last. */
  get isAtIt(): boolean {
    return !this.#isOver && this.#lines.length === this.#heard;
  }

  /** The next announcement, which has to be this event. */
  async hear(event: string): Promise<Announcement> {
    const announcement = await this.hearAny();
    if (announcement.event !== event)
      throw this.#failure(`announced ${JSON.stringify(announcement)}, not "${event}"`);
    return announcement;
  }

  /** The next announcement, whatever it is. */
  async hearAny(): Promise<Announcement> {
    const announcement = await this.hearIfAny();
    if (announcement === undefined) throw this.#failure("ended without another announcement");
    return announcement;
  }

  /** The next announcement; undefined if it ends without one. */
  async hearIfAny(): Promise<Announcement | undefined> {
    await this.#until(() => this.#lines.length > this.#heard || this.#isOver);
    const line = this.#lines[this.#heard++];
    return line === undefined ? undefined : JSON.parse(line);
  }

  /** Tells it what to do, and returns itself: `reader.tell(…).hear(…)`. */
  tell(instruction: object): this {
    return this.feed(`${JSON.stringify(instruction)}\n`);
  }

  /** Puts text into its stdin. One that has ended takes none: its end is heard. */
  feed(text: string): this {
    const ignore = (error: unknown) => {
      if ((error as { code?: string }).code !== "EPIPE") throw error;
    };
    try {
      this.#process.stdin.write(text);
      void Promise.resolve(this.#process.stdin.flush()).catch(ignore);
    } catch (error) {
      ignore(error);
    }
    return this;
  }

  /** Sends a signal at once. */
  kill(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  /** Waits until its main thread sleeps: what it announced last, it is waiting in now. */
  async asleep(): Promise<void> {
    await eventually(() => stateOf(this.pid) === "S", PATIENCE_MS);
  }

  /** Stops it, and returns when the system has. */
  async stop(): Promise<void> {
    this.kill("SIGSTOP");
    await eventually(() => stateOf(this.pid) === "T", PATIENCE_MS);
  }

  /** Lets it go on. */
  resume(): void {
    this.kill("SIGCONT");
  }

  /** Says that nothing more will be told, and waits for its end. */
  async end(): Promise<Exit> {
    void this.#process.stdin.end();
    await this.#until(() => this.#isOver);
    const { exitCode: code, signalCode: signal } = this.#process;
    return { code, signal, stdout: this.#stdout, stderr: this.#stderr };
  }

  /** {@link end}, which has to be a success. */
  async succeed(): Promise<Exit> {
    const exit = await this.end();
    if (exit.code !== 0) throw this.#failure("failed");
    return exit;
  }

  /** The JSON document of a command, and its exit code. */
  async document(): Promise<Announcement & { readonly exitCode: number | null }> {
    const { code, stdout, stderr } = await this.end();
    if (stdout === "") throw this.#failure("printed no document");
    return { event: "document", ...JSON.parse(stdout), exitCode: code, stderr };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isOver && this.#process.exitCode === null && this.#process.signalCode === null) {
      this.#process.kill("SIGKILL");
    }
    await this.#ended;
  }

  async #until(condition: () => boolean): Promise<void> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.#wake();
    }, PATIENCE_MS);
    try {
      while (!condition()) {
        if (late) throw this.#failure(`says nothing for ${PATIENCE_MS} ms`);
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #failure(what: string): Error {
    const { exitCode, signalCode } = this.#process;
    const state = `exit code ${exitCode}, signal ${signalCode}`;
    return new Error(
      `${this.#command}: ${what} (${state})\n${this.#stdout.slice(-2000)}${this.#stderr.slice(-4000)}`,
    );
  }

  async #collectStdout(): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of this.#process.stdout) {
      const text = decoder.decode(chunk, { stream: true });
      this.#stdout += text;
      const pieces = (rest + text).split("\n");
      rest = pieces.pop() ?? "";
      this.#lines.push(...pieces);
      this.#wake();
    }
  }

  async #collectStderr(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of this.#process.stderr) this.#stderr += decoder.decode(chunk, { stream: true });
  }
}

/** Paths of what a process has as stdin and stdout instead of pipes to the test. */
interface Redirection {
  readonly input?: string;
  readonly output?: string;
}

/** The shell opens the files, and then becomes the program. */
function redirected({ input, output }: Redirection, program: string[]): string[] {
  if (input === undefined && output === undefined) return program;
  const from = input === undefined ? "" : '<"$in"';
  const to = output === undefined ? "" : '>"$out"';
  const script = `in=$1 out=$2; shift 2; exec "$@" ${from} ${to}`;
  return ["sh", "-c", script, "sh", input ?? "", output ?? "", ...program];
}

/** The state of a process's main thread as one letter (proc(5)); undefined if there is none. */
function stateOf(pid: number): string | undefined {
  return statOf(`/proc/${pid}/task/${pid}/stat`)?.[0];
}

/** The fields of a stat file from the state on; undefined if there is none. */
function statOf(path: string): string[] | undefined {
  try {
    const text = readFileSync(path, "latin1");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}

/** Processor time that a process has used so far, in milliseconds. */
export function processorTimeMs(pid: number): number {
  let nanoseconds = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1").split(" ")[0]);
  }
  return nanoseconds / 1e6;
}

/** The most memory that a process has had resident so far, in MiB; undefined if it has ended. */
export function peakMemoryMiB(pid: number): number | undefined {
  try {
    const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1];
    return peak === undefined ? undefined : Number(peak) / 1024;
  } catch {
    return undefined;
  }
}

function childrenOf(parent: number): number[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => statOf(`/proc/${pid}/stat`)?.[1] === `${parent}`);
}

function entriesOf(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** The objects of the buffers that this test process has named, in shared memory and among the locks. */
export function remainsOfBuffers(): string[] {
  return ["/dev/shm", "/tmp/zerobuffer", "/tmp/zerobuffer/locks"]
    .flatMap((directory) => entriesOf(directory).map((entry) => join(directory, entry)))
    .filter((path) => path.includes(`test-${process.pid}-`))
    .sort();
}

/** Waits until a reader has made the buffer: it stores the size of the control block last. */
export async function hasBuffer(name: string): Promise<void> {
  await eventually(() => readFirstByte(`/dev/shm/${name}`) === OIEB_SIZE, PATIENCE_MS);
}

function readFirstByte(path: string): number | undefined {
  if (!existsSync(path)) return undefined;
  const descriptor = openSync(path, "r");
  try {
    const byte = new Uint8Array(1);
    return readSync(descriptor, byte, 0, 1, 0) === 1 ? byte[0] : undefined;
  } finally {
    closeSync(descriptor);
  }
}

/** Every test of the file leaves no child, no descriptor, and nothing of its buffers. */
export function leavesNoProcessBehind(): void {
  let descriptors = 0;
  const countDescriptors = () => entriesOf("/proc/self/fd").length;
  beforeEach(() => {
    descriptors = countDescriptors();
  });
  afterEach(async () => {
    // A reader of another program may be sweeping just now what was left by one that was killed.
    await eventually(() => remainsOfBuffers().length === 0).catch(() => {});
    const remains = remainsOfBuffers();
    // One test that fails is enough: the next ones begin without its remains.
    for (const path of remains) rmSync(path, { force: true });
    // A pipe that has ended closes its descriptor a turn of the event loop later, some only when they are collected.
    await eventually(() => {
      if (countDescriptors() <= descriptors) return true;
      Bun.gc(true);
      return countDescriptors() <= descriptors;
    }, 30_000);
    expect(remains).toEqual([]);
    expect(childrenOf(process.pid)).toEqual([]);
  });
}
