// One run of a command: signals stop it, and its resources are closed however it ends.

import { raceAbort } from "../runtime/abort.ts";
import type { Named } from "./address.ts";
import type { Events } from "./events.ts";
import { SIGNAL_EXIT_CODES } from "./exit-codes.ts";
import { Interrupted } from "./failure.ts";
import type { Log } from "./log.ts";
import type { StderrLines } from "./stderr-lines.ts";

/** How long a stream may take for the rest of its bytes after a signal. */
const GRACE_MS = 50;

type SessionParts = Pick<Session, "events" | "intervalMs" | "log" | "showsProgress" | "stderr"> &
  Partial<Pick<Session, "sizes">>;

/** The context of a run. Disposing it closes every resource that the command owns. */
export class Session implements AsyncDisposable {
  /** Aborted by {@link stop}: by the first signal, with {@link Interrupted} as the reason. */
  readonly signal: AbortSignal;
  /** The log of `--verbose`, or of `--json-lines`; undefined without them. */
  readonly log: Log | undefined;
  /** The events of `--json-lines`; undefined without it. */
  readonly events: Events | undefined;
  /** How often to tell the progress as an event, in milliseconds. */
  readonly intervalMs: number;
  /** What appears on stderr during the run. */
  readonly stderr: StderrLines;
  /** Whether to show progress. */
  readonly showsProgress: boolean;
  /** The sizes of buffers that their addresses give and no option overrides: {@link Named.sizes}. */
  readonly sizes: Named["sizes"];
  readonly #controller = new AbortController();
  readonly #resources = new DisposableStack();
  /** When the run was stopped, by `performance.now()`. */
  #abortedAt = 0;

  constructor({ events, intervalMs, log, showsProgress, sizes = new Map(), stderr }: SessionParts) {
    this.log = log;
    this.events = events;
    this.intervalMs = intervalMs;
    this.sizes = sizes;
    this.stderr = stderr;
    this.showsProgress = showsProgress;
    this.signal = this.#controller.signal;
    for (const [signal, exitCode] of Object.entries(SIGNAL_EXIT_CODES)) {
      process.on(signal, () => {
        if (this.signal.aborted || this.#resources.disposed) this.#exit(exitCode);
        this.stop(new Interrupted(signal, exitCode));
      });
    }
  }

  /** Stops the run. The first reason counts. */
  stop(reason: Error): void {
    if (this.signal.aborted) return;
    this.#abortedAt = performance.now();
    this.#controller.abort(reason);
  }

  /** Closes a resource at the end of the run, the latest resource first, also if a second signal ends the run. */
  own<T extends Disposable>(resource: T): T {
    return this.#resources.use(resource);
  }

  /** Waits for a stream to take its bytes. Rejects at a signal, or briefly after an earlier signal. */
  async finish(work: Promise<void>): Promise<void> {
    if (!this.signal.aborted) return await raceAbort(work, this.signal);
    const graceLeft = this.#abortedAt + GRACE_MS - performance.now();
    await Promise.race([work, Bun.sleep(Math.max(0, graceLeft)).then(() => this.signal.throwIfAborted())]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#resources.dispose();
    await this.finish(this.stderr.flush()).catch(() => {});
    await this.events?.flush();
  }

  /** Exits at the second signal, or at a signal while the result is printed; resources are closed even then. */
  #exit(exitCode: number): never {
    try {
      this.#resources.dispose();
    } finally {
      process.exit(exitCode);
    }
  }
}
