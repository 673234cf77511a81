// One run of a command: how a signal stops it, and what it has to give back however it ends.

import { raceAbort } from "../runtime/abort.ts";
import { SIGNAL_EXIT_CODES } from "./exit-codes.ts";
import { Interrupted } from "./failure.ts";
import type { Log } from "./log.ts";

/** How long a stream may take for what is left once a signal has come. */
const GRACE_MS = 50;

/** What a command needs besides its options. Its owner disposes it, and with it all that the command owns. */
export class Session implements AsyncDisposable {
  /** Aborted by the first signal, with {@link Interrupted} as the reason. */
  readonly signal: AbortSignal;
  /** What `--verbose` shows; absent without it. */
  readonly log: Log | undefined;
  /** Whether to show progress. */
  readonly showsProgress: boolean;
  readonly #resources = new DisposableStack();
  /** When the first signal came, by `performance.now()`. */
  #abortedAt = 0;

  constructor({ log, showsProgress }: { log: Log | undefined; showsProgress: boolean }) {
    this.log = log;
    this.showsProgress = showsProgress;
    const controller = new AbortController();
    this.signal = controller.signal;
    for (const [signal, exitCode] of Object.entries(SIGNAL_EXIT_CODES)) {
      process.on(signal, () => {
        if (this.signal.aborted || this.#resources.disposed) this.#exit(exitCode);
        this.#abortedAt = performance.now();
        controller.abort(new Interrupted(signal, exitCode));
      });
    }
  }

  /** Sees to it that a resource is closed at the end, the latest one first, also if a second signal ends the command. */
  own<T extends Disposable>(resource: T): T {
    return this.#resources.use(resource);
  }

  /** Waits for what a stream is still to take: until a signal comes, or shortly after it has come; then rejects. */
  async finish(work: Promise<void>): Promise<void> {
    if (!this.signal.aborted) return await raceAbort(work, this.signal);
    const graceLeft = this.#abortedAt + GRACE_MS - performance.now();
    await Promise.race([work, Bun.sleep(Math.max(0, graceLeft)).then(() => this.signal.throwIfAborted())]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#resources.dispose();
    if (this.log !== undefined) await this.finish(this.log.flush()).catch(() => {});
  }

  /** The second signal, or one while the result is being printed: nothing is left behind all the same. */
  #exit(exitCode: number): never {
    try {
      this.#resources.dispose();
    } finally {
      process.exit(exitCode);
    }
  }
}
