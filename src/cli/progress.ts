// Progress, on the terminal or as events.

import type { SingleBar } from "cli-progress";
import type { Events } from "./events.ts";
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

/** Tells how far a run is. Updates are cheap: a timer draws or prints. */
export interface Progress {
  /** Updates the figures; `done` counts towards the total. */
  update(frames: number, bytes: number, done: number): void;
  /** Shows the current step instead of figures; `done` counts towards the total. */
  step(what: string, done: number): void;
}

/**
 * Tells the progress until the end of the session: as a line on the terminal, or as events, or not at all.
 *
 * @param what the command does: `Writing`.
 * @param total the final value of `done`; with it the line shows percent and the time left.
 * @param units what is counted.
 */
export async function startProgress(
  session: Session,
  what: string,
  total: number | undefined,
  units = "frames",
): Promise<Progress | undefined> {
  if (session.events !== undefined)
    return session.own(new ProgressEvents(session.events, session.intervalMs));
  return session.showsProgress ? await ProgressLine.start(session, what, total, units) : undefined;
}

/** The least time between two events, in milliseconds. */
const LEAST_INTERVAL_MS = 10;

/** Events with the figures, and with the speed since the one before. */
class ProgressEvents implements Progress, Disposable {
  readonly #events: Events;
  readonly #timer: Timer;
  #toldAt = performance.now();
  #told = { frames: 0, bytes: 0 };
  #now = { frames: 0, bytes: 0 };
  #step: string | undefined;

  constructor(events: Events, intervalMs: number) {
    this.#events = events;
    this.#timer = setInterval(() => this.#emit(), Math.max(LEAST_INTERVAL_MS, intervalMs));
  }

  update(frames: number, bytes: number): void {
    this.#now = { frames, bytes };
  }

  step(what: string): void {
    this.#step = what;
  }

  #emit(): void {
    const now = performance.now();
    const seconds = (now - this.#toldAt) / 1000;
    const perSecond = (key: "frames" | "bytes") =>
      Math.max(0, Math.round((this.#now[key] - this.#told[key]) / seconds));
    this.#events.emit("progress", {
      ...this.#now,
      frames_per_second: perSecond("frames"),
      bytes_per_second: perSecond("bytes"),
      ...(this.#step !== undefined && { step: this.#step }),
    });
    this.#toldAt = now;
    this.#told = this.#now;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** One line on stderr. */
class ProgressLine implements Progress, Disposable {
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

  static async start(
    session: Session,
    what: string,
    total: number | undefined,
    units: string,
  ): Promise<ProgressLine> {
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
    const progress = new ProgressLine(bar, total, units, session.stderr);
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

  update(frames: number, bytes: number, done: number): void {
    if (frames > 0) this.#startedAt ??= performance.now();
    this.#frames = frames;
    this.#bytes = bytes;
    this.#done = done;
    this.#bar.update(done);
  }

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
