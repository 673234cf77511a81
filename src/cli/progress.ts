// Progress on the terminal.

import type { SingleBar } from "cli-progress";
import { bytesText, count } from "./format.ts";
import type { Session } from "./session.ts";
import type { StderrLines } from "./stderr-lines.ts";

/** Less than the allowed ten per second, because the first and the last redraw come on top. */
const REDRAWS_PER_SECOND = 8;
const BAR_WIDTH = 16;

/** Where the cursor was at the start is not restored at the end: lines may have been printed since. */
const CURSOR_POSITION = ["\x1b7", "\x1b8"];

/** The terminal as the bar draws on it. */
const terminal = {
  isTTY: true,
  get columns() {
    return process.stderr.columns;
  },
  write: (text: string) => CURSOR_POSITION.includes(text) || process.stderr.write(text),
};

/** One line on stderr about a run. A timer redraws it, so that updates are cheap. */
export class Progress implements Disposable {
  readonly #bar: SingleBar;
  readonly #stderr: StderrLines;
  readonly #total: number | undefined;
  readonly #units: string;
  readonly #shownAt = performance.now();
  #startedAt: number | undefined;
  #frames = 0;
  #bytes = 0;
  #done = 0;
  #step: string | undefined;

  private constructor(bar: SingleBar, total: number | undefined, units: string, stderr: StderrLines) {
    this.#bar = bar;
    this.#stderr = stderr;
    this.#total = total;
    this.#units = units;
  }

  /**
   * Shows the line until the end of the session, if the session shows progress.
   *
   * @param what the command does: `Writing`.
   * @param total the final value of `done`; with it the line shows percent and the time left.
   * @param units what is counted.
   */
  static async start(
    session: Session,
    what: string,
    total: number | undefined,
    units = "frames",
  ): Promise<Progress | undefined> {
    if (!session.showsProgress) return undefined;
    const { default: cliProgress } = await import("cli-progress");
    const bar = new cliProgress.SingleBar({
      stream: terminal as typeof process.stderr,
      format: total === undefined ? `${what}: {figures}` : `${what} {bar} {percentage} %{left}: {figures}`,
      fps: REDRAWS_PER_SECOND,
      barsize: BAR_WIDTH,
      barCompleteChar: "█",
      barIncompleteChar: "░",
      clearOnComplete: true,
      hideCursor: true,
      // Cut to the width instead: what is printed above it may wrap.
      linewrap: true,
      // Also when its text is the same: a line that was printed has removed it.
      forceRedraw: true,
    });
    const progress = new Progress(bar, total, units, session.stderr);
    session.stderr.belowIsProgress = true;
    process.on("SIGTSTP", progress.#onStop);
    progress.#draw();
    return session.own(progress);
  }

  #draw(): void {
    const figures = () => this.#figures();
    const left = () => this.#left();
    // The texts are computed when the line is drawn.
    this.#bar.start(this.#total ?? 0, this.#done, {
      get figures() {
        return figures();
      },
      get left() {
        return left();
      },
    });
  }

  /** Ctrl-Z: the shell gets the terminal as it was, and the line comes back when it lets the process go on. */
  readonly #onStop = (): void => {
    this.#bar.stop();
    process.kill(process.pid, "SIGSTOP");
    this.#draw();
  };

  /** Updates the figures; `done` counts towards the total. */
  update(frames: number, bytes: number, done: number): void {
    if (frames > 0) this.#startedAt ??= performance.now();
    this.#frames = frames;
    this.#bytes = bytes;
    this.#done = done;
    this.#bar.update(done);
  }

  /** Shows the current step instead of figures; `done` counts towards the total. */
  step(what: string, done: number): void {
    this.#startedAt ??= performance.now();
    this.#step = what;
    this.#done = done;
    this.#bar.update(done);
  }

  /** Removes the line. */
  [Symbol.dispose](): void {
    process.off("SIGTSTP", this.#onStop);
    this.#bar.stop();
    this.#stderr.belowIsProgress = false;
  }

  #figures(): string {
    if (this.#step !== undefined) return this.#step;
    const elapsed = Math.floor((performance.now() - this.#shownAt) / 1000);
    const rate = Math.round(this.#frames / Math.max(this.#seconds(), 0.1));
    const [frames, speed] = [this.#frames, rate].map((value) => count(value, this.#units));
    return `${frames}, ${bytesText(this.#bytes)}, ${speed}/s, ${elapsed} s`;
  }

  #left(): string {
    if (this.#total === undefined || this.#done === 0) return "";
    return `, ${Math.ceil((this.#seconds() * (this.#total - this.#done)) / this.#done)} s left`;
  }

  /** Since the first frame. */
  #seconds(): number {
    const now = performance.now();
    return (now - (this.#startedAt ?? now)) / 1000;
  }
}
