// The log of --verbose, on stderr: stdout carries only data.
//
// consola logs through a reporter of ours: to import its own, from consola/basic, makes stdout and stderr non-blocking for
// every process that shares them.

import type { ConsolaInstance } from "consola/core";
import type { StderrLines } from "./stderr-lines.ts";

/** The log of a run. */
export class Log {
  readonly #consola: ConsolaInstance;

  private constructor(createConsola: typeof import("consola/core").createConsola, stderr: StderrLines) {
    this.#consola = createConsola({
      reporters: [{ log: ({ type, args }) => stderr.add(`${type}: ${args.join(" ")}`) }],
      // Repeated lines are printed, too.
      throttle: 0,
    });
  }

  /** Opens the log. Only this loads consola. */
  static async open(stderr: StderrLines): Promise<Log> {
    const { createConsola } = await import("consola/core");
    return new Log(createConsola, stderr);
  }

  /** Logs what happens. */
  info(message: string): void {
    this.#consola.info(message);
  }

  /** Logs a problem that does not end the run. */
  warn(message: string): void {
    this.#consola.warn(message);
  }
}
