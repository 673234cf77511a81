// What --verbose tells: on stderr, because stdout carries data only.

import type { ConsolaInstance } from "consola/core";
import { Descriptor, print } from "./terminal.ts";

/** The log of a run. Lines wait for a slow stderr instead of making the run wait. */
export class Log {
  readonly #consola: ConsolaInstance;
  #lines: string[] = [];
  #printing: Promise<void> | undefined;

  private constructor(createConsola: typeof import("consola/core").createConsola) {
    this.#consola = createConsola({
      reporters: [{ log: ({ type, args }) => this.#add(`${type}: ${args.join(" ")}\n`) }],
      // Every line counts, however often it comes.
      throttle: 0,
    });
  }

  /** Opens the log; consola is loaded only here. */
  static async open(): Promise<Log> {
    const { createConsola } = await import("consola/core");
    return new Log(createConsola);
  }

  /** Tells what happens. */
  info(message: string): void {
    this.#consola.info(message);
  }

  /** Tells what is odd. */
  warn(message: string): void {
    this.#consola.warn(message);
  }

  /** Settles once all lines are printed. */
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
      // Nowhere is left to say that stderr is closed or full.
      await print(Descriptor.STDERR, text).catch(() => {});
    }
    this.#printing = undefined;
  }
}
