// One run of the command of --exec: a request goes to its stdin, and the response comes from its stdout.

import { CommandError } from "../../cli/failure.ts";
import type { Log } from "../../cli/log.ts";
import type { StderrLines } from "../../cli/stderr-lines.ts";
import type { RequestContext } from "../../core/index.ts";
import { FrameSplitter, lengthPrefix, MAX_PREFIXED_SIZE } from "../../frames/framing.ts";
import { PIECE_SIZE } from "../../frames/transforms.ts";
import { type Shell, signalShell, startShell } from "./shell.ts";

/** A response may always be this large, in bytes. A larger length is usually text that was sent without a length. */
const MAX_USUAL_SIZE = 2 ** 30;

/** How long the child may take to end after its stdin has ended, and then after SIGTERM. */
const LEAVE_MS = 1000;
const TERMINATE_MS = 80;

/** The most characters to quote of the last line that the child printed to stderr. */
const MAX_QUOTED = 500;

/** An unfinished line of that many characters is printed as a line. */
const MAX_UNFINISHED = 8192;

/** A program that redraws its line ends it with a carriage return. The last one may belong to a newline that comes later. */
const LINE_END = /\r?\n|\r(?!$)/;

/** The command, and how to run it. */
export interface ChildOptions {
  /** A shell's command line. */
  readonly line: string;
  /** Variables that it gets besides the environment of this program. */
  readonly env?: Readonly<Record<string, string>>;
  /** How long a response may take after the one before it. */
  readonly timeoutMs: number;
  /** How long the first response after each start may take. */
  readonly startTimeoutMs: number;
  /** The largest request, in bytes. */
  readonly maxRequestSize: number;
  /** The most bytes to send at once. */
  readonly pieceSize?: number;
  /** Whether the command is told which requests are cancelled. */
  readonly tellsCancellations: boolean;
  readonly log: Log | undefined;
  /** Prints what the command prints to stderr. */
  readonly stderr: StderrLines;
  /** Called when no further child is started. */
  readonly giveUp: (error: CommandError) => void;
}

/** Why a child is not usable after the end. */
export const STOPPED = "it was stopped";

/** The exit codes of a shell that has not found the command, or cannot run it. */
const MISSING_CODES: readonly (number | undefined)[] = [126, 127];

/** The value in place of a request's length before the number of a request that is cancelled. */
export const CANCELLATION = MAX_PREFIXED_SIZE;

/** A request that is not answered yet. */
interface Exchange {
  readonly resolve: (response: Uint8Array) => void;
  readonly reject: (error: Error) => void;
  /** Whether the whole request is sent. Its bytes are needed until then. */
  isSent: boolean;
  response: Uint8Array | undefined;
  /** The number of the request, from 0, of those that this run of the command got. */
  ordinal: number;
}

/** One run of the command. */
export class Child {
  readonly #process: Shell;
  readonly #options: ChildOptions;
  readonly #pieceSize: number;
  readonly #splitter: FrameSplitter;
  /** In the order of the requests, and so of the responses. */
  readonly #exchanges: Exchange[] = [];
  readonly #stderrEnd: Promise<void>;
  readonly #end: Promise<void>;
  /** Ends the wait for the response to the first exchange: the child works on that one, the others wait for it. */
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Settles when all requests so far are sent. */
  #sent: Promise<void> = Promise.resolve();
  /** How many requests are not sent yet. */
  #unsent = 0;
  #nextOrdinal = 0;
  readonly #onFailure: () => void;
  #lastLine = "";
  #cause: string | undefined;
  #exitCode: number | undefined;
  #wasAsked = false;
  #isReady = false;
  #isKilled = false;

  /** @param onFailure is called when it becomes unusable by itself. */
  constructor(options: ChildOptions, onFailure: () => void) {
    const { env, line, maxRequestSize, pieceSize = PIECE_SIZE } = options;
    this.#options = options;
    this.#onFailure = onFailure;
    this.#pieceSize = pieceSize;
    this.#splitter = new FrameSplitter("length-prefixed", {
      maxFrameSize: Math.min(Math.max(maxRequestSize, MAX_USUAL_SIZE), MAX_PREFIXED_SIZE),
    });
    this.#process = startShell(line, env);
    this.#stderrEnd = this.#forwardStderr();
    this.#end = this.#listen();
  }

  get pid(): number {
    return this.#process.pid;
  }

  get isUsable(): boolean {
    return this.#cause === undefined;
  }

  /** Why it is no longer usable. */
  get cause(): string | undefined {
    return this.#cause;
  }

  /** Whether it has got a request. */
  get wasAsked(): boolean {
    return this.#wasAsked;
  }

  /** Whether it has responded. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** Whether there is no such command, or none that can be run. */
  get isMissing(): boolean {
    return MISSING_CODES.includes(this.#exitCode);
  }

  /** Sends a request after the earlier ones, unless it is cancelled before its turn; resolves to its response. */
  exchange(prefix: Uint8Array, request: Uint8Array, context: RequestContext): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      // The child may have failed since it was started.
      if (this.#cause !== undefined) return reject(failureOf(this.#cause));
      this.#wasAsked = true;
      const exchange: Exchange = { resolve, reject, isSent: false, response: undefined, ordinal: -1 };
      if (this.#exchanges.push(exchange) === 1) this.#startTimer();
      // The server has just looked whether a request that need not wait is cancelled: do not watch it for that.
      const waits = this.#unsent++ > 0;
      this.#enqueue(async () => {
        this.#unsent--;
        if (waits && context.signal.aborted) return this.#withdraw(exchange, context.signal);
        exchange.ordinal = this.#nextOrdinal++;
        if (this.#options.tellsCancellations) this.#tellWhenCancelled(exchange, context.signal);
        await this.#send(prefix, request, exchange);
      });
    });
  }

  /** Writes to stdin after what came before. */
  #enqueue(write: () => Promise<void>): void {
    this.#sent = this.#sent.then(write).catch(() => this.#noteClosedStdin());
  }

  /** Ends an exchange that the command knows nothing of. */
  async #withdraw(exchange: Exchange, signal: AbortSignal): Promise<void> {
    const i = this.#exchanges.indexOf(exchange);
    if (i < 0) return;
    this.#exchanges.splice(i, 1);
    if (i === 0) this.#startTimer();
    exchange.reject(signal.reason);
  }

  /** Tells the command that a request which it gets now is cancelled, when that happens before it has answered. */
  #tellWhenCancelled(exchange: Exchange, signal: AbortSignal): void {
    const tell = async () => {
      if (exchange.response !== undefined || !this.isUsable) return;
      const ordinal = BigUint64Array.of(BigInt(exchange.ordinal));
      await this.#process.stdin.write(lengthPrefix(CANCELLATION));
      await this.#process.stdin.write(new Uint8Array(ordinal.buffer));
      await this.#process.stdin.flush();
    };
    signal.addEventListener("abort", () => this.#enqueue(tell), { once: true });
  }

  /** Sends one request in pieces, because the rest of a piece that the pipe does not take at once is copied. */
  async #send(prefix: Uint8Array, request: Uint8Array, exchange: Exchange): Promise<void> {
    // Once the child has failed, the bytes of the request may be gone.
    if (!this.isUsable) return;
    const { stdin } = this.#process;
    await stdin.write(prefix);
    for (let start = 0; start < request.length && this.isUsable; start += this.#pieceSize) {
      await stdin.write(request.subarray(start, start + this.#pieceSize));
      await stdin.flush();
    }
    // Of an empty request, the prefix is not sent yet.
    await stdin.flush();
    exchange.isSent = true;
    this.#settle();
  }

  /** Its stdin is closed, usually because the child is ending: wait for that, to report the better cause. */
  async #noteClosedStdin(): Promise<void> {
    await Promise.race([this.#end, Bun.sleep(LEAVE_MS)]);
    this.#fail("it stopped reading requests");
  }

  /** Receives responses until stdout ends. */
  async #listen(): Promise<void> {
    try {
      for await (const chunk of this.#process.stdout) {
        this.#splitter.push(chunk);
        for (let response = this.#splitter.next(); response !== undefined; response = this.#splitter.next()) {
          this.#deliver(response);
        }
      }
      this.#splitter.end();
      this.#splitter.next();
    } catch (error) {
      this.#fail(`it sent an invalid response (${(error as Error).message.replace(/\.$/, "")})`);
      return;
    }
    const code = await Promise.race([this.#process.exited, Bun.sleep(LEAVE_MS)]);
    await Promise.race([this.#stderrEnd, Bun.sleep(TERMINATE_MS)]);
    this.#exitCode = code ?? undefined;
    this.#fail(
      code === undefined
        ? "it closed its stdout"
        : `it ended with ${this.#process.signalCode ?? `code ${code}`}${this.#lastLine}`,
    );
  }

  #deliver(response: Uint8Array): void {
    const exchange = this.#exchanges.find((exchange) => exchange.response === undefined);
    if (exchange === undefined) {
      this.#fail("it sent a response without a request");
      return;
    }
    exchange.response = response.slice();
    this.#settle();
  }

  /** Resolves the complete exchanges, in order. */
  #settle(): void {
    for (let first = this.#exchanges[0]; first?.isSent && first.response; first = this.#exchanges[0]) {
      this.#exchanges.shift();
      this.#isReady = true;
      this.#startTimer();
      first.resolve(first.response);
    }
  }

  /** Starts the time of the first exchange, if there is one. */
  #startTimer(): void {
    clearTimeout(this.#timer);
    const timeoutMs = this.#isReady ? this.#options.timeoutMs : this.#options.startTimeoutMs;
    if (this.#exchanges.length === 0 || timeoutMs === Number.POSITIVE_INFINITY) return;
    this.#timer = setTimeout(() => this.#fail(`it gave no response within ${timeoutMs} ms`), timeoutMs);
  }

  /** Kills the child and fails its requests. It is not used again: a late response would answer the wrong request. */
  #fail(cause: string): void {
    if (this.#cause !== undefined) return;
    this.#cause = cause;
    this.kill("SIGKILL");
    clearTimeout(this.#timer);
    for (const { reject } of this.#exchanges.splice(0)) reject(failureOf(cause));
    this.#onFailure();
  }

  async #forwardStderr(): Promise<void> {
    const decoder = new TextDecoder();
    let unfinished = "";
    for await (const chunk of this.#process.stderr) {
      const lines = `${unfinished}${decoder.decode(chunk, { stream: true })}`.split(LINE_END);
      // A line may come in several pieces.
      unfinished = lines.pop() ?? "";
      if (unfinished.length > MAX_UNFINISHED) {
        lines.push(unfinished);
        unfinished = "";
      }
      await this.#print(lines);
    }
    if (unfinished !== "") await this.#print([unfinished]);
  }

  async #print(lines: readonly string[]): Promise<void> {
    for (const line of lines) {
      this.#options.stderr.add(line);
      if (line.trim() !== "") this.#lastLine = `: ${line.trim().slice(-MAX_QUOTED)}`;
    }
    // A slow stderr slows the command down, as if it printed there itself.
    await this.#options.stderr.flush();
  }

  /** Closes its stdin, then asks it to stop, then kills it. */
  async end({ atOnce }: { atOnce: boolean }): Promise<void> {
    this.#cause ??= STOPPED;
    void this.#closeStdin();
    if (await this.#hasEndedWithin(atOnce ? 0 : LEAVE_MS)) return;
    this.kill("SIGTERM");
    if (await this.#hasEndedWithin(TERMINATE_MS)) return;
    this.kill("SIGKILL");
    await this.#process.exited;
  }

  async #closeStdin(): Promise<void> {
    try {
      await this.#process.stdin.end();
    } catch {
      // The child has closed it before.
    }
  }

  async #hasEndedWithin(milliseconds: number): Promise<boolean> {
    return (await Promise.race([this.#process.exited, Bun.sleep(milliseconds)])) !== undefined;
  }

  /** Sends a signal to the command and everything it has started. After SIGKILL its pid may be another process's. */
  kill(signal: NodeJS.Signals): void {
    if (this.#isKilled) return;
    this.#isKilled = signal === "SIGKILL";
    signalShell(this.#process, signal);
  }
}

/** The failure of a request, by what happened to the command. */
export function failureOf(cause: string): CommandError {
  return new CommandError("IO_ERROR", `The command failed: ${cause}.`);
}
