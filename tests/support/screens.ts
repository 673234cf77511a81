// Commands on a terminal that is emulated: a test sees the screen that a person would see.

import { Terminal } from "@xterm/headless";
import { WAIT_LIMIT_MS } from "./buffers.ts";
import type { Child } from "./process.ts";

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** The terminal that a child was started on, with the same size. */
export class Screen implements Disposable {
  readonly #child: Child;
  readonly #terminal: Terminal;
  /** How many bytes of the child's output the terminal has got. */
  #taken = 0;

  constructor(child: Child, { columns, rows }: Size) {
    this.#child = child;
    this.#terminal = new Terminal({ cols: columns, rows, allowProposedApi: true });
  }

  /** The rows, without blanks at their ends. */
  async rows(): Promise<string[]> {
    const output = this.#child.output;
    const more = output.subarray(this.#taken);
    this.#taken = output.length;
    await new Promise<void>((resolve) => this.#terminal.write(more, resolve));
    const { active } = this.#terminal.buffer;
    return Array.from(
      { length: this.#terminal.rows },
      (_, row) => active.getLine(active.viewportY + row)?.translateToString(true) ?? "",
    );
  }

  /** Waits until the rows are as they should be; returns them. */
  async shows(condition: (rows: readonly string[]) => boolean): Promise<string[]> {
    const deadline = performance.now() + WAIT_LIMIT_MS;
    for (;;) {
      const rows = await this.rows();
      if (condition(rows)) return rows;
      if (performance.now() > deadline || this.#child.isOver) {
        throw new Error(`does not show ${condition}:\n${rows.join("\n")}`);
      }
      await Bun.sleep(1);
    }
  }

  /** Waits until a row is like this; returns it. */
  async showsRow(pattern: RegExp): Promise<string> {
    const rows = await this.shows((rows) => rows.some((row) => pattern.test(row)));
    return rows.find((row) => pattern.test(row)) ?? "";
  }

  /** Gives the child's terminal another size, and this one as well. */
  resize({ columns, rows }: Size): void {
    this.#terminal.resize(columns, rows);
    this.#child.resize(columns, rows);
  }

  /** Whether a program has the screen for itself. */
  get isTaken(): boolean {
    return this.#terminal.buffer.active.type === "alternate";
  }

  [Symbol.dispose](): void {
    this.#terminal.dispose();
  }
}
