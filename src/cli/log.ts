// The log of --verbose, on stderr: stdout carries only data.
//
// consola logs through a reporter of ours: to import its own, from consola/basic, makes stdout and stderr non-blocking for
// every process that shares them.

import type { ConsolaInstance } from "consola/core";
import { Descriptor, print } from "./terminal.ts";

/** The log of a run. A slow stderr delays the lines, not the run. */
export class Log {
  readonly #consola: ConsolaInstance;
  #lines: string[] = [];
  #printing: Promise<void> | undefined;

  private constructor(createConsola: typeof import("consola/core").createConsola) {
    this.#consola = createConsola({
      reporters: [{ log: ({ type, args }) => this.#add(`${type}: ${args.join(" ")}\n`) }],
      // Repeated lines are printed, too.
      throttle: 0,
    });
  }

  /** Opens the log. Only this loads consola. */
  static async open(): Promise<Log> {
    const { createConsola } = await import("consola/core");
    return new Log(createConsola);
  }

  /** Logs what happens. */
  info(message: string): void {
    this.#consola.info(message);
  }

  /** Logs a problem that does not end the run. */
  warn(message: string): void {
    this.#consola.warn(message);
  }

  /** Waits until all lines are printed. */
  async flush(): Promise<void> {
    await this.#printing;
  }

  #add(line: string): void {
    this.#lines.push(line);
    this.#printing ??= this.#printAll();
  }

  async #printAll(): Promise<void> {
    while (this.#lines.length > 0) {
      const text = this.#lines.join("");
      this.#lines = [];
      // If stderr is closed or full, there is nowhere left to report it.
      await print(Descriptor.STDERR, text).catch(() => {});
    }
    this.#printing = undefined;
  }
}
