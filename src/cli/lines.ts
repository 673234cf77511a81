// Lines on their way to a descriptor whose reader may be slow.

import { type Descriptor, print } from "./terminal.ts";

/** The most characters that wait for a slow descriptor, while as many are being printed. */
const MAX_WAITING = 256 * 1024;

/** Prints whole lines in their order. A slow reader delays or loses lines, but not the run; lost lines are counted. */
export class Lines {
  readonly #descriptor: Descriptor;
  readonly #lossLine: (lost: number) => string;
  readonly #onFailed: (error: unknown) => void;
  #lines: string[] = [];
  #size = 0;
  #lost = 0;
  #printing: Promise<void> | undefined;

  /**
   * @param lossLine the line that tells how many were lost.
   * @param onFailed is told why lines cannot be printed.
   */
  constructor(
    descriptor: Descriptor,
    lossLine: (lost: number) => string,
    onFailed: (error: unknown) => void = () => {},
  ) {
    this.#descriptor = descriptor;
    this.#lossLine = lossLine;
    this.#onFailed = onFailed;
  }

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

  /** What is printed before lines that are printed together. */
  protected get prefix(): string {
    return "";
  }

  #push(line: string): void {
    this.#lines.push(`${line}\n`);
    this.#size += line.length;
  }

  #noteLost(): void {
    if (this.#lost === 0) return;
    this.#push(this.#lossLine(this.#lost));
    this.#lost = 0;
  }

  async #printAll(): Promise<void> {
    while (this.#lines.length > 0) {
      // With one call, so that what else draws on a terminal does so before these lines or below them.
      const text = this.prefix + this.#lines.join("");
      this.#lines = [];
      this.#size = 0;
      await print(this.#descriptor, text).catch(this.#onFailed);
      if (this.#lines.length === 0) this.#noteLost();
    }
    this.#printing = undefined;
  }
}
