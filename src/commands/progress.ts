// Progress on the terminal.

import type { SingleBar } from "cli-progress";
import { bytesText, count } from "./figures.ts";

/** Fewer than the ten redraws a second that are allowed, because the first and the last come on top. */
const REDRAWS_PER_SECOND = 8;
const BAR_WIDTH = 24;

/** One line on stderr about a run. A timer redraws it, so that an update costs next to nothing. */
export class Progress implements Disposable {
  readonly #bar: SingleBar;
  readonly #startedAt = performance.now();
  #frames = 0;
  #bytes = 0;

  private constructor(bar: SingleBar) {
    this.#bar = bar;
  }

  /**
   * Shows the line.
   *
   * @param what goes on: `Writing into video`.
   * @param total what `done` will be at the end; with it the line shows percent and the time left.
   */
  static async start(what: string, total: number | undefined): Promise<Progress> {
    const { default: cliProgress } = await import("cli-progress");
    const rest = total === undefined ? "" : " {bar} {percentage} %, {eta_formatted} left";
    const bar = new cliProgress.SingleBar({
      stream: process.stderr,
      format: `${what}: {figures}${rest}`,
      fps: REDRAWS_PER_SECOND,
      barsize: BAR_WIDTH,
      barCompleteChar: "█",
      barIncompleteChar: "░",
      clearOnComplete: true,
      hideCursor: true,
    });
    const progress = new Progress(bar);
    // The figures are made when the line is drawn.
    bar.start(total ?? 0, 0, {
      get figures() {
        return progress.#figures();
      },
    });
    return progress;
  }

  /** Tells how far the run is. */
  update(frames: number, bytes: number, done: number): void {
    this.#frames = frames;
    this.#bytes = bytes;
    this.#bar.update(done);
  }

  /** Takes the line away. */
  [Symbol.dispose](): void {
    this.#bar.stop();
  }

  #figures(): string {
    const seconds = (performance.now() - this.#startedAt) / 1000;
    const rate = count(Math.round(this.#frames / Math.max(seconds, 0.001)), "frames");
    return `${count(this.#frames, "frames")}, ${bytesText(this.#bytes)}, ${rate}/s, ${Math.floor(seconds)} s`;
  }
}
