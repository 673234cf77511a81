// Progress on the terminal.

import type { SingleBar } from "cli-progress";
import { bytesText, count } from "./figures.ts";

/** Fewer than the ten redraws a second that are allowed, because the first and the last come on top. */
const REDRAWS_PER_SECOND = 8;
const BAR_WIDTH = 24;

/** What is known of the end; a bar, percent and the time left are shown by it. */
export interface Total {
  readonly frames?: number | undefined;
  /** Bytes of the input. */
  readonly bytes?: number | undefined;
}

/** One line on stderr about a run. The line redraws itself by a timer, so an update costs next to nothing. */
export class Progress implements Disposable {
  readonly #bar: SingleBar;
  readonly #startedAt = performance.now();
  #frames = 0;
  #bytes = 0;

  private constructor(bar: SingleBar) {
    this.#bar = bar;
  }

  /** Shows the line. `what` is what goes on: `Writing video`. */
  static async start(what: string, total: Total): Promise<Progress> {
    const { default: cliProgress } = await import("cli-progress");
    const end = total.frames ?? total.bytes;
    const bar = new cliProgress.SingleBar({
      stream: process.stderr,
      fps: REDRAWS_PER_SECOND,
      clearOnComplete: true,
      hideCursor: true,
      barsize: BAR_WIDTH,
      barCompleteChar: "█",
      barIncompleteChar: "░",
      format: end === undefined ? `${what}: {figures}` : `${what} {bar} {percentage} %: {figures}, {eta_formatted} left`,
    });
    const progress = new Progress(bar);
    bar.start(end ?? 0, 0, { figures: progress.#figures() });
    return progress;
  }

  /** Tells how far the run is; `done` counts what the total counts. */
  update(frames: number, bytes: number, done: number): void {
    this.#frames = frames;
    this.#bytes = bytes;
    this.#bar.update(done, { figures: this.#figures() });
  }

  /** Takes the line away. */
  [Symbol.dispose](): void {
    this.#bar.stop();
  }

  #figures(): string {
    const seconds = (performance.now() - this.#startedAt) / 1000;
    const rate = Math.round(this.#frames / Math.max(seconds, 0.001));
    return `${count(this.#frames, "frames")}, ${bytesText(this.#bytes)}, ${count(rate, "frames")}/s, ${Math.floor(seconds)} s`;
  }
}
