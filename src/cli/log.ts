// The log of --verbose, on stderr: stdout carries only data.
//
// consola logs through a reporter of ours: to import its own, from consola/basic, makes stdout and stderr non-blocking for
// every process that shares them.

import type { ConsolaInstance } from "consola/core";
import type { Events } from "./events.ts";
import type { StderrLines } from "./stderr-lines.ts";

/** What happens during a run. */
export interface Log {
  /** Logs what happens. */
  info(message: string): void;
  /** Logs a problem that does not end the run. */
  warn(message: string): void;
}

/** The log of --json-lines: warnings are events, with --verbose everything is logged to stderr, too. */
export function eventLog(events: Events, log: Log | undefined): Log {
  return {
    info: (message) => log?.info(message),
    warn(message) {
      events.emit("warning", { message });
      log?.warn(message);
    },
  };
}

/** The log of --verbose. */
export class StderrLog implements Log {
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
    return new StderrLog(createConsola, stderr);
  }

  info(message: string): void {
    this.#consola.info(message);
  }

  warn(message: string): void {
    this.#consola.warn(message);
  }
}
