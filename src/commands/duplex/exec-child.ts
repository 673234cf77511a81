// The child process that --exec keeps running: a request goes to its stdin, and the response comes from its stdout.

import type { Subprocess } from "bun";
import { CommandError } from "../../cli/failure.ts";
import type { Log } from "../../cli/log.ts";
import { Descriptor, print } from "../../cli/terminal.ts";
import type { Frame } from "../../core/index.ts";
import { FrameSplitter, lengthPrefix, MAX_PREFIXED_SIZE } from "../../frames/framing.ts";
import { PIECE_SIZE } from "../../frames/transforms.ts";

/** Starts in a row without a single response after which there is no further one. */
const MAX_FRUITLESS_STARTS = 5;

/** The wait before the second start in a row without a response; it doubles with each further one. */
const RESTART_DELAY_MS = 100;

/** A response of up to this many bytes is believed in any case. A much larger length is most often text: no length at all. */
const MAX_USUAL_SIZE = 2 ** 30;

/** How long the child may take to end by itself once its stdin has ended, and then once it was told to. */
const LEAVE_MS = 1000;
const TERMINATE_MS = 80;

/** What is told of the last line that the child has printed on stderr, in characters. */
const MAX_LAST_WORDS = 500;

/** What to run, and how. */
export interface ChildOptions {
  /** A shell's command line. */
  readonly line: string;
  /** How long a response may take. */
  readonly timeoutMs: number;
  /** Bytes of the largest request there can be. */
  readonly maxRequestSize: number;
  /** The most bytes to send at once. */
  readonly pieceSize?: number;
  readonly log: Log | undefined;
  /** Called when no further child is started. */
  readonly giveUp: (error: CommandError) => void;
}

/**
 * Hands requests to a command that keeps running. A request is answered by the response that stands in its place:
 * where a child ends, is late or sends what is no response, the requests it has in hand fail, and the next request
 * starts a new child.
 */
export class ChildHandler implements Disposable {
  readonly #options: ChildOptions;
  #child: Child | undefined;
  #starting: Promise<Child> | undefined;
  #fruitlessStarts = 0;

  constructor(options: ChildOptions) {
    this.#options = options;
  }

  /**
   * The response to a request, whose bytes stay until the promise settles. Rejects if there is none.
   *
   * @throws FrameTooLargeError if the request is larger than 2^32 - 1 bytes; none of it is sent then.
   */
  async handle({ size, data }: Pick<Frame, "size" | "data">): Promise<Uint8Array> {
    const prefix = lengthPrefix(size);
    const child = this.#child?.isUsable ? this.#child : await this.#restart();
    const response = await child.exchange(prefix, data);
    this.#fruitlessStarts = 0;
    return response;
  }

  #restart(): Promise<Child> {
    this.#starting ??= this.#start().finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  async #start(): Promise<Child> {
    const { line, log, giveUp } = this.#options;
    const cause = this.#child?.cause;
    if (this.#fruitlessStarts === MAX_FRUITLESS_STARTS) {
      const error = new CommandError(
        "IO_ERROR",
        `Command ${JSON.stringify(line)} was started ${MAX_FRUITLESS_STARTS} times and answered nothing: ${cause}.`,
        "Run it by hand: it has to answer each request on stdin with one response on stdout, each after its length.",
      );
      giveUp(error);
      throw error;
    }
    if (this.#fruitlessStarts > 0) await Bun.sleep(RESTART_DELAY_MS * 2 ** (this.#fruitlessStarts - 1));
    this.#fruitlessStarts++;
    if (cause !== undefined) log?.warn(`Starting the command again: ${cause}.`);
    this.#child = new Child(this.#options);
    log?.info(`Started ${JSON.stringify(line)} as process ${this.#child.pid}.`);
    return this.#child;
  }

  /** Has the child end; one that does not is killed. */
  async end({ atOnce }: { atOnce: boolean }): Promise<void> {
    await this.#child?.end(atOnce ? 0 : LEAVE_MS);
  }

  /** Kills the child. */
  [Symbol.dispose](): void {
    this.#child?.kill("SIGKILL");
  }
}

/** A request that the child has, or is about to have, in hand. */
interface Exchange {
  readonly resolve: (response: Uint8Array) => void;
  readonly reject: (error: Error) => void;
  readonly timer: ReturnType<typeof setTimeout> | undefined;
  /** Whether all of the request is sent: until then its bytes are needed. */
  isSent: boolean;
  response: Uint8Array | undefined;
}

/** One run of the command. */
class Child {
  readonly #process: Subprocess<"pipe", "pipe", "pipe">;
  readonly #timeoutMs: number;
  readonly #pieceSize: number;
  readonly #splitter: FrameSplitter;
  /** In the order of the requests, and so of the responses. */
  readonly #exchanges: Exchange[] = [];
  readonly #stderrEnd: Promise<void>;
  readonly #end: Promise<void>;
  /** Settles when all requests so far are sent. */
  #sent: Promise<void> = Promise.resolve();
  #lastWords = "";
  #cause: string | undefined;

  constructor({ line, timeoutMs, maxRequestSize, pieceSize = PIECE_SIZE }: ChildOptions) {
    this.#timeoutMs = timeoutMs;
    this.#pieceSize = pieceSize;
    this.#splitter = new FrameSplitter("length-prefixed", {
      maxFrameSize: Math.min(Math.max(maxRequestSize, MAX_USUAL_SIZE), MAX_PREFIXED_SIZE),
    });
    const shell = process.platform === "win32" ? ["cmd", "/c"] : ["/bin/sh", "-c"];
    // A group of its own: Ctrl-C is ours to hear, and what the shell starts ends with it.
    this.#process = Bun.spawn([...shell, line], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
      detached: true,
    });
    this.#stderrEnd = this.#forwardStderr();
    this.#end = this.#listen();
  }

  get pid(): number {
    return this.#process.pid;
  }

  get isUsable(): boolean {
    return this.#cause === undefined;
  }

  /** Why it is not usable any more. */
  get cause(): string | undefined {
    return this.#cause;
  }

  /** Sends a request behind those before; resolves to its response. */
  exchange(prefix: Uint8Array, request: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      // It may have failed since it was started, before this request.
      if (this.#cause !== undefined) return reject(failureOf(this.#cause));
      const timer =
        this.#timeoutMs === Number.POSITIVE_INFINITY
          ? undefined
          : setTimeout(() => this.#fail(`it gave no response within ${this.#timeoutMs} ms`), this.#timeoutMs);
      const exchange: Exchange = { resolve, reject, timer, isSent: false, response: undefined };
      this.#exchanges.push(exchange);
      this.#sent = this.#sent
        .then(() => this.#send(prefix, request, exchange))
        .catch(() => this.#noteClosedStdin());
    });
  }

  /** Sends one request, in pieces, because what a pipe does not take at once is copied. */
  async #send(prefix: Uint8Array, request: Uint8Array, exchange: Exchange): Promise<void> {
    const { stdin } = this.#process;
    stdin.write(prefix);
    // A request that has failed may be released, and its bytes gone.
    for (let start = 0; start < request.length && this.isUsable; start += this.#pieceSize) {
      stdin.write(request.subarray(start, start + this.#pieceSize));
      await stdin.flush();
    }
    exchange.isSent = true;
    this.#settle();
  }

  /** Nothing can be sent to it: most often because it is just ending, which tells more. */
  async #noteClosedStdin(): Promise<void> {
    await Promise.race([this.#end, Bun.sleep(LEAVE_MS)]);
    this.#fail("it reads no more requests");
  }

  /** Takes the responses, until its stdout ends. */
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
      this.#fail(`it sent what is no response (${(error as Error).message.replace(/\.$/, "")})`);
      return;
    }
    const code = await Promise.race([this.#process.exited, Bun.sleep(LEAVE_MS)]);
    await Promise.race([this.#stderrEnd, Bun.sleep(TERMINATE_MS)]);
    this.#fail(
      code === undefined
        ? "it closed its stdout"
        : `it ended with ${this.#process.signalCode ?? `code ${code}`}${this.#lastWords}`,
    );
  }

  #deliver(response: Uint8Array): void {
    const exchange = this.#exchanges.find((exchange) => exchange.response === undefined);
    if (exchange === undefined) {
      this.#fail("it sent a response that nobody asked for");
      return;
    }
    exchange.response = response.slice();
    this.#settle();
  }

  /** Settles the exchanges that are complete, the first ones first. */
  #settle(): void {
    for (let first = this.#exchanges[0]; first?.isSent && first.response; first = this.#exchanges[0]) {
      this.#exchanges.shift();
      clearTimeout(first.timer);
      first.resolve(first.response);
    }
  }

  /** After this nothing it says is believed: a late response would be taken for the next one. */
  #fail(cause: string): void {
    if (this.#cause !== undefined) return;
    this.#cause = cause;
    this.kill("SIGKILL");
    for (const { reject, timer } of this.#exchanges.splice(0)) {
      clearTimeout(timer);
      reject(failureOf(cause));
    }
  }

  async #forwardStderr(): Promise<void> {
    const decoder = new TextDecoder();
    let unfinished = "";
    for await (const chunk of this.#process.stderr) {
      const text = decoder.decode(chunk, { stream: true });
      // A line may come in several pieces.
      const lines = `${unfinished}${text}`.split("\n").map((line) => line.slice(-MAX_LAST_WORDS));
      unfinished = lines.at(-1) ?? "";
      const last = lines.findLast((line) => line.trim() !== "");
      if (last !== undefined) this.#lastWords = `: ${last.trim()}`;
      // Nowhere is left to say that stderr is closed or full.
      await print(Descriptor.STDERR, text).catch(() => {});
    }
  }

  async end(leaveMs: number): Promise<void> {
    this.#cause ??= "it was ended";
    void Promise.resolve(this.#process.stdin.end()).catch(() => {});
    if (await this.#hasEndedWithin(leaveMs)) return;
    this.kill("SIGTERM");
    if (await this.#hasEndedWithin(TERMINATE_MS)) return;
    this.kill("SIGKILL");
    await this.#process.exited;
  }

  async #hasEndedWithin(milliseconds: number): Promise<boolean> {
    return (await Promise.race([this.#process.exited, Bun.sleep(milliseconds)])) !== undefined;
  }

  /** Sends a signal to everything the command has started. */
  kill(signal: NodeJS.Signals): void {
    try {
      process.kill(process.platform === "win32" ? this.pid : -this.pid, signal);
    } catch {
      // It has ended.
    }
  }
}

function failureOf(cause: string): CommandError {
  return new CommandError("IO_ERROR", `The command failed: ${cause}.`);
}
