// The program of --exec that answers requests: started, and started again where it fails.

import { CommandError, systemReason } from "../../cli/failure.ts";
import { type Frame, FrameTooLargeError, type RequestContext } from "../../core/index.ts";
import { lengthPrefix } from "../../frames/framing.ts";
import { CANCELLATION, Child, type ChildOptions, failureOf, STOPPED } from "./exec-child.ts";

/** After this many starts in a row without a response, the command is not started again. */
const MAX_FAILED_STARTS = 5;

/** The delay before the second start in a row without a response; it doubles with each further start. */
const RESTART_DELAY_MS = 100;

/**
 * Lets a command answer requests. The command keeps running; its responses come in the order of the requests.
 * If it ends, is late or sends an invalid response, the requests that it has not answered fail, and the next request
 * starts it again. A command that cannot be run, or fails before its first request, is not started again.
 */
export class ExecHandler implements Disposable {
  readonly #options: ChildOptions;
  #child: Child | undefined;
  #starting: Promise<Child> | undefined;
  #failedStarts = 0;
  #isEnded = false;

  constructor(options: ChildOptions) {
    this.#options = options;
  }

  /** Starts the command, so that it can load what it needs before the first request. */
  async start(): Promise<void> {
    await this.#restart();
  }

  /**
   * The response to a request, whose bytes stay until the promise settles. Rejects if there is none. A request that is
   * cancelled before the command gets it is not sent; the response to one that the command has is awaited nevertheless.
   *
   * @throws FrameTooLargeError if the request is larger than 2^32 - 1 bytes, or has that size where it means a cancellation;
   *   none of it is sent then. The reason of the context's signal.
   */
  async handle({ size, data }: Pick<Frame, "size" | "data">, context: RequestContext): Promise<Uint8Array> {
    const prefix = lengthPrefix(size);
    if (size === CANCELLATION && this.#options.tellsCancellations) {
      throw new FrameTooLargeError(`A request of ${size} bytes cannot be sent with --exec-cancel.`, {
        hint: "Leave --exec-cancel out, or send smaller requests.",
      });
    }
    let child = this.#child;
    if (!child?.isUsable) {
      child = await this.#restart();
      context.signal.throwIfAborted();
    }
    const response = await child.exchange(prefix, data, context);
    if (this.#failedStarts > 0) this.#options.log?.info(`Process ${child.pid} is ready: it has responded.`);
    this.#failedStarts = 0;
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
    if (this.#failedStarts === MAX_FAILED_STARTS) {
      const error = new CommandError(
        "IO_ERROR",
        `Command ${JSON.stringify(line)} failed ${MAX_FAILED_STARTS} times without a response: ${cause}.`,
        "Run it by hand: for each request on stdin it must write one response to stdout, each after its length.",
      );
      giveUp(error);
      throw error;
    }
    if (this.#failedStarts > 0) await Bun.sleep(RESTART_DELAY_MS * 2 ** (this.#failedStarts - 1));
    if (this.#isEnded) throw failureOf(STOPPED);
    this.#failedStarts++;
    if (cause !== undefined) log?.warn(`Restarting the command: ${cause}.`);
    const child = this.#spawn();
    this.#child = child;
    log?.info(`Started ${JSON.stringify(line)} as process ${child.pid}.`);
    return child;
  }

  /** @throws CommandError IO_ERROR if the system starts no process. */
  #spawn(): Child {
    try {
      const child = new Child(this.#options, () => this.#checkStart(child));
      return child;
    } catch (error) {
      throw new CommandError(
        "IO_ERROR",
        `Cannot start command ${JSON.stringify(this.#options.line)}: ${systemReason(error)}.`,
        "Check the limits of processes and open files (ulimit -u, ulimit -n).",
        error,
      );
    }
  }

  /** Gives up a command whose start has failed in a way that no request can change. */
  #checkStart(child: Child): void {
    const { line, giveUp } = this.#options;
    if (child.isReady || (child.wasAsked && !child.isMissing)) return;
    giveUp(
      new CommandError(
        "IO_ERROR",
        `Command ${JSON.stringify(line)} failed before it answered a request: ${child.cause}.`,
        child.isMissing
          ? "Check its path and its permissions."
          : "Run it by hand: it must keep running and wait for requests on stdin.",
      ),
    );
  }

  /** Ends the command, and starts none any more. */
  async end(how: { atOnce: boolean }): Promise<void> {
    this.#isEnded = true;
    await this.#child?.end(how);
  }

  /** Kills the child. */
  [Symbol.dispose](): void {
    this.#isEnded = true;
    this.#child?.kill("SIGKILL");
  }
}
