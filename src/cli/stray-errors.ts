// The last resort: errors that nothing handles end the run as a bug, with its report and exit code.

/** Collects errors that nothing handles, from its construction on. Without it Bun prints source text and ends the process. */
export class StrayErrors {
  readonly #first = Promise.withResolvers<never>();
  #hasFirst = false;
  #error: unknown;

  constructor() {
    this.#first.promise.catch(() => {});
    const note = (error: unknown) => {
      if (this.#hasFirst) return;
      this.#hasFirst = true;
      this.#error = bugOf(error);
      this.#first.reject(this.#error);
    };
    process.on("uncaughtException", note);
    process.on("unhandledRejection", note);
  }

  /** Settles as `work` does, or rejects at the first stray error: `work` might wait forever then. */
  race<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#first.promise]);
  }

  /** Throws the first stray error, if there was one. */
  check(): void {
    if (this.#hasFirst) throw this.#error;
  }
}

/** An error without a code: whatever the code says, it is a bug that nothing handled it. */
function bugOf(error: unknown): Error {
  const { message, stack } = error instanceof Error ? error : new Error(`${error}`);
  return Object.assign(new Error(message), { stack });
}
