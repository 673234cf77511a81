// A command that has the whole terminal for itself, with its keys, and gives it back however the run ends.

import { files } from "../runtime/files.ts";
import { SIGNAL_EXIT_CODES } from "./exit-codes.ts";
import { Interrupted, systemCode } from "./failure.ts";
import { USUAL_SIZE } from "./screen.ts";
import type { Session } from "./session.ts";
import { Descriptor, isTerminal, print, type Style, styleFor } from "./terminal.ts";

/** The alternate screen, without a cursor and without wrapping: a row that is too long for a new width takes no second one. */
const ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/** Terminals that know it show an update only when it is complete. */
const [BEGIN_UPDATE, END_UPDATE] = ["\x1b[?2026h", "\x1b[?2026l"];

/** How long the terminal may take to be given back. */
const GRACE_MS = 50;

/** The signals that keys send where a program does not take the keys itself. */
const SIGNALS: Readonly<Record<string, "SIGINT" | "SIGQUIT" | "SIGTSTP">> = {
  "\x03": "SIGINT",
  "\x1c": "SIGQUIT",
  "\x1a": "SIGTSTP",
};

/** A key that was pressed. */
export interface Key {
  /** `up`, `pagedown`, `return`, `escape` …; of a character, this character in small. */
  readonly name: string;
  /** The character; empty if the key has none. */
  readonly text: string;
}

export interface FullScreenOptions {
  /** A key was pressed. */
  readonly onKey: (key: Key) => void;
  /** The terminal has another size, or has lost what it showed. */
  readonly onResize: () => void;
}

/** The terminal of stdout while a command has it. */
export class FullScreen implements Disposable {
  readonly style: Style;
  /** Whether there are keys: whether stdin is a terminal, too. */
  readonly hasKeys: boolean;
  readonly #session: Session;
  readonly #options: FullScreenOptions;
  #isEntered = false;
  #shown = "";
  #next: string | undefined;
  #printing: Promise<void> | undefined;

  private constructor(session: Session, options: FullScreenOptions, style: Style, hasKeys: boolean) {
    this.#session = session;
    this.#options = options;
    this.style = style;
    this.hasKeys = hasKeys;
  }

  /** Takes the terminal until the end of the session. */
  static async open(session: Session, options: FullScreenOptions): Promise<FullScreen> {
    const { emitKeypressEvents } = await import("node:readline");
    const hasKeys = await isTerminal(Descriptor.STDIN);
    const screen = new FullScreen(session, options, await styleFor(Descriptor.STDOUT), hasKeys);
    process.on("SIGTSTP", screen.#onStop).on("SIGCONT", screen.#onContinue);
    process.stdout.on("resize", screen.#onResize);
    if (hasKeys) {
      emitKeypressEvents(process.stdin);
      process.stdin
        .on("keypress", screen.#onKeypress)
        .on("end", screen.#onHangUp)
        .on("error", screen.#onHangUp);
    }
    screen.#enter();
    return session.own(screen);
  }

  get size(): { rows: number; columns: number } {
    return process.stdout.rows > 0 ? process.stdout : USUAL_SIZE;
  }

  /** Shows lines, each no longer than the screen is wide, and as many as it has rows. */
  show(lines: readonly string[]): void {
    if (!this.#isEntered) return;
    // Emptied before: behind a line as long as the screen is wide, the cursor stands on its last character.
    const text = lines.map((line) => `\x1b[K${line}`).join("\r\n");
    this.#next = text === this.#shown ? undefined : text;
    if (this.#next !== undefined) this.#printing ??= this.#printAll();
  }

  /** Waits, though not for long, until nothing is being printed: that would come after the terminal was given back. */
  async settle(): Promise<void> {
    this.#next = undefined;
    await Promise.race([this.#printing, Bun.sleep(GRACE_MS)]);
  }

  [Symbol.dispose](): void {
    process.off("SIGTSTP", this.#onStop).off("SIGCONT", this.#onContinue);
    process.stdout.off("resize", this.#onResize);
    if (this.hasKeys) {
      process.stdin.off("keypress", this.#onKeypress).off("end", this.#onHangUp).off("error", this.#onHangUp);
    }
    this.#leave();
  }

  /** A terminal that is slow gets the newest update next. */
  async #printAll(): Promise<void> {
    while (this.#next !== undefined && this.#isEntered) {
      const text = this.#next;
      this.#next = undefined;
      this.#shown = text;
      try {
        await print(Descriptor.STDOUT, `${BEGIN_UPDATE}\x1b[H${text}${END_UPDATE}`);
      } catch {
        this.#onHangUp();
      }
    }
    this.#printing = undefined;
  }

  #enter(): void {
    this.#isEntered = true;
    this.#shown = "";
    if (this.hasKeys) process.stdin.setRawMode(true).resume();
    writeNow(ENTER);
  }

  #leave(): void {
    if (!this.#isEntered) return;
    this.#isEntered = false;
    const isTaken = writeNow(LEAVE);
    if (!this.hasKeys) return;
    // This waits until the terminal has taken everything. Where it takes nothing, the runtime ends the raw mode at its end.
    if (isTaken) process.stdin.setRawMode(false);
    process.stdin.pause();
  }

  /** Ctrl-Z, or `kill -TSTP`: the shell gets the terminal as it was. */
  readonly #onStop = async (): Promise<void> => {
    await this.settle();
    this.#leave();
    process.kill(process.pid, "SIGSTOP");
  };

  /** The shell lets the command go on, also after a SIGSTOP that nobody is told of. */
  readonly #onContinue = (): void => {
    this.#leave();
    this.#enter();
    this.#options.onResize();
  };

  readonly #onResize = (): void => {
    this.#shown = "";
    this.#options.onResize();
  };

  readonly #onKeypress = (text: string | undefined, { name = "", ctrl = false, sequence = "" }): void => {
    const signal = SIGNALS[sequence];
    if (signal !== undefined) this.#signal(signal);
    else if (!ctrl) this.#options.onKey({ name: name || sequence, text: isPrintable(text) ? text : "" });
  };

  /** Sends it to all processes of the job, as the terminal does: a shell waits for its child, which may be our parent. */
  #signal(signal: keyof typeof SIGNAL_EXIT_CODES | "SIGTSTP"): void {
    if (process.platform !== "win32") process.kill(0, signal);
    else if (signal !== "SIGTSTP") this.#session.stop(new Interrupted(signal, SIGNAL_EXIT_CODES[signal]));
  }

  /** The terminal is gone, and nobody will see the rest. */
  readonly #onHangUp = (): void => {
    this.#session.stop(new Interrupted("SIGHUP", SIGNAL_EXIT_CODES.SIGHUP));
  };
}

function isPrintable(text: string | undefined): text is string {
  return text !== undefined && /^\P{C}+$/u.test(text);
}

/**
 * Prints at once, also while the process is about to end.
 *
 * @returns whether the terminal has taken the text within a while.
 */
function writeNow(text: string): boolean {
  const { closeSync, constants, openSync, writeSync } = files();
  let descriptor: number = Descriptor.STDOUT;
  try {
    // Opened once more: a write to stdout itself waits for as long as the terminal takes nothing.
    descriptor = openSync(
      `/proc/self/fd/${descriptor}`,
      constants.O_WRONLY | constants.O_NOCTTY | constants.O_NONBLOCK,
    );
  } catch {
    // Another system than Linux, or a terminal that only its owner may open.
  }
  let rest = Buffer.from(text);
  const deadline = performance.now() + GRACE_MS;
  while (rest.length > 0 && performance.now() < deadline) {
    try {
      rest = rest.subarray(writeSync(descriptor, rest));
    } catch (error) {
      if (systemCode(error) !== "EAGAIN") break;
    }
  }
  if (descriptor !== Descriptor.STDOUT) closeSync(descriptor);
  return rest.length === 0;
}
