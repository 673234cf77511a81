// The lines that appear on stderr while a command runs: those of the log, and those of a program that it runs.

import { count } from "./format.ts";
import { Descriptor, print } from "./terminal.ts";

/** The most characters that wait for a slow stderr, while as many are being printed. */
const MAX_WAITING = 256 * 1024;

/** Goes to the start of the terminal's line and empties it: the progress is there. */
const CLEAR_LINE = "\r\x1b[2K";

/** Prints whole lines in their order. A slow stderr delays or loses lines, but not the run; lost lines are counted. */
export class StderrLines {
  /** Set while the last line of the terminal shows the progress. */
  belowIsProgress = false;
  #lines: string[] = [];
  #size = 0;
  #lost = 0;
  #printing: Promise<void> | undefined;

  /** Adds a line, without its newline. */
  add(line: string): void {
    if (this.#size + line.length > MAX_WAITING) {
      this.#lost++;
      return;
    }
    this.#noteLost();
    this.#push(line);
    this.#printing ??= this.#printAll();
  }

  /** Waits until all lines are printed. */
  async flush(): Promise<void> {
    await this.#printing;
  }

  #push(line: string): void {
    this.#lines.push(`${line}\n`);
    this.#size += line.length;
  }

  #noteLost(): void {
    if (this.#lost === 0) return;
    this.#push(`warn: ${count(this.#lost, "lines")} lost, because stderr was too slow for them.`);
    this.#lost = 0;
  }

  async #printAll(): Promise<void> {
    while (this.#lines.length > 0) {
      // With one call, so that the progress is drawn before these lines or below them.
      const text = (this.belowIsProgress ? CLEAR_LINE : "") + this.#lines.join("");
      this.#lines = [];
      this.#size = 0;
      // If stderr is closed or full, there is nowhere left to report it.
      await print(Descriptor.STDERR, text).catch(() => {});
      if (this.#lines.length === 0) this.#noteLost();
    }
    this.#printing = undefined;
  }
}
