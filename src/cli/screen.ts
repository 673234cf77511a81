// Shows lines again and again (--watch): redrawn in place on a terminal, one block after another elsewhere.

import { raceAbort } from "../runtime/abort.ts";
import { systemCode } from "./failure.ts";
import { count } from "./format.ts";
import { duration, flag } from "./options.ts";
import { resultLost } from "./report.ts";
import { Descriptor, print, type Style, styleFor, takesEscapes } from "./terminal.ts";

/** Faster updates than this cannot be read. */
const MIN_INTERVAL_MS = 100;

/** The size of a terminal that does not tell its own. */
export const USUAL_SIZE = { rows: 24, columns: 80 };

/** The option that starts to watch. */
export const watchFlag = (until: string) => flag({ group: "Watching", description: `update until ${until}` });

/** How long to wait between updates. */
export const WATCH_INTERVAL_MS = 1000;

/** The option for that. */
export const watchInterval = () =>
  duration({
    group: "Watching",
    description: "wait this long between updates, at least 100ms",
    default: WATCH_INTERVAL_MS,
  });

/** Waits until the next update. Rejects with the signal's reason if it is aborted. */
export async function untilNextUpdate(intervalMs: number, signal: AbortSignal): Promise<void> {
  await raceAbort(Bun.sleep(Math.max(MIN_INTERVAL_MS, intervalMs)), signal);
}

/** The stdout of a command that watches. */
export class Screen {
  readonly style: Style;
  readonly #redraws: boolean;
  #height = 0;
  #isClosed = false;

  private constructor(style: Style, redraws: boolean) {
    this.style = style;
    this.#redraws = redraws;
  }

  /** After Ctrl-Z the shell has written below the last update. */
  readonly #onContinue = (): void => {
    this.#height = 0;
  };

  static async open(): Promise<Screen> {
    const screen = new Screen(await styleFor(Descriptor.STDOUT), await takesEscapes(Descriptor.STDOUT));
    process.on("SIGCONT", screen.#onContinue);
    return screen;
  }

  /** Whether stdout is closed. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** @throws CommandError IO_ERROR if the lines cannot be printed, unless their reader has closed stdout. */
  async show(lines: readonly string[]): Promise<void> {
    const text = this.#redraws ? this.#redraw(lines) : `${lines.join("\n")}\n\n`;
    try {
      await print(Descriptor.STDOUT, text);
    } catch (error) {
      if (systemCode(error) !== "EPIPE") throw resultLost(error);
      this.#isClosed = true;
    }
  }

  /** Turns off line wrapping meanwhile: a wrapped line would take a second row if the terminal has just become narrower. */
  #redraw(lines: readonly string[]): string {
    const { rows, columns } = process.stdout.rows > 0 ? process.stdout : USUAL_SIZE;
    const shown = fit(lines, rows, columns, this.style);
    const back = this.#height === 0 ? "" : `\x1b[${this.#height}A\x1b[J`;
    this.#height = shown.length;
    return `${back}\x1b[?7l${shown.join("\n")}\n\x1b[?7h`;
  }
}

/** The lines that a terminal shows without scrolling or wrapping, above the row that its cursor stays in. */
export function fit(lines: readonly string[], rows: number, columns: number, style: Style): string[] {
  const room = Math.max(1, rows - 1);
  const shown = lines.length <= room ? lines : lines.slice(0, room - 1);
  const cut = shown.map((line) =>
    Bun.stringWidth(line) <= columns ? line : `${Bun.sliceAnsi(line, 0, columns - 1)}…`,
  );
  const hidden = lines.length - shown.length;
  return hidden === 0 ? cut : [...cut, style.dim(`… ${count(hidden, "more lines")}`)];
}
