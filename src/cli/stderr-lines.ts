// The lines that appear on stderr while a command runs: those of the log, and those of a program that it runs.

import { count } from "./format.ts";
import { Lines } from "./lines.ts";
import { Descriptor } from "./terminal.ts";

/** Goes to the start of the terminal's line and empties it: the progress is there. */
const CLEAR_LINE = "\r\x1b[2K";

/** Lines on stderr. If it is closed or full, there is nowhere left to report that. */
export class StderrLines extends Lines {
  /** Set while the last line of the terminal shows the progress. */
  belowIsProgress = false;

  constructor() {
    super(
      Descriptor.STDERR,
      (lost) => `warn: ${count(lost, "lines")} lost, because stderr was too slow for them.`,
    );
  }

  protected override get prefix(): string {
    return this.belowIsProgress ? CLEAR_LINE : "";
  }
}
