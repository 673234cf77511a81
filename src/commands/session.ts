// One run of a command: how a signal stops it, and what it has to give back however it ends.

import type { ConsolaInstance } from "consola";
import { Interrupted } from "./failure.ts";

/** The exit code of each signal that stops a command: 128 and the signal's number. */
const STOP_SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** What a command needs besides its options. Its owner disposes it, and with it all that the command owns. */
export class Session implements Disposable {
  /** Aborted by the first signal, with {@link Interrupted} as the reason. */
  readonly signal: AbortSignal;
  /** What `--verbose` shows, on stderr; absent without it. */
  readonly log: ConsolaInstance | undefined;
  /** Whether to show progress. */
  readonly showsProgress: boolean;
  readonly #resources = new DisposableStack();

  constructor({ log, showsProgress }: { log: ConsolaInstance | undefined; showsProgress: boolean }) {
    this.log = log;
    this.showsProgress = showsProgress;
    const controller = new AbortController();
    this.signal = controller.signal;
    for (const [signal, exitCode] of Object.entries(STOP_SIGNALS)) {
      process.on(signal, () => {
        if (this.signal.aborted || this.#resources.disposed) this.#exit(exitCode);
        controller.abort(new Interrupted(signal, exitCode));
      });
    }
  }

  /** Sees to it that a resource is closed at the end, the latest one first, also if a second signal ends the command. */
  own<T extends Disposable>(resource: T): T {
    return this.#resources.use(resource);
  }

  [Symbol.dispose](): void {
    this.#resources.dispose();
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

/** Opens the log of `--verbose`: on stderr, because stdout carries data only. */
export async function openLog(): Promise<ConsolaInstance> {
  const { createConsola } = await import("consola/basic");
  return createConsola({ stdout: process.stderr, stderr: process.stderr });
}
