// Interactive shells on a terminal, in which this program's arguments are completed.

import { afterAll, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Reader } from "../../src/core/index.ts";
import { uniqueName } from "./buffers.ts";
import { Child, program } from "./process.ts";

const PROMPT = "ready> ";
const TAB = "\t";
const TO_START_OF_LINE = "\x01";

/** A directory with `zerobuffer` in its `bin`, and files to complete. It goes with the tests among which it is made. */
export class Desk {
  readonly directory = mkdtempSync(join(tmpdir(), "zerobuffer-shell-"));

  constructor() {
    mkdirSync(join(this.directory, "bin"));
    const path = join(this.directory, "bin", "zerobuffer");
    writeFileSync(path, `#!/bin/sh\nexec ${program.map((word) => `'${word}'`).join(" ")} "$@"\n`);
    chmodSync(path, 0o755);
    writeFileSync(join(this.directory, "frames.raw"), "");
    afterAll(() => rmSync(this.directory, { recursive: true }));
  }

  get env(): Record<string, string> {
    const { PATH = "", HOME = "" } = process.env;
    return { PATH: `${join(this.directory, "bin")}:${PATH}`, HOME, TERM: "dumb", ZDOTDIR: this.directory };
  }

  /** Writes a file that a shell reads when it starts. */
  write(name: string, lines: readonly string[]): string {
    const path = join(this.directory, name);
    writeFileSync(path, `${lines.join("\n")}\n`);
    return path;
  }

  /**
   * Types `line` and TAB into an interactive shell, and has it print the words that stand there then.
   *
   * @param shell the command line of a shell that prompts with {@link PROMPT}.
   */
  async complete(shell: readonly string[], line: string): Promise<string[]> {
    const output = await this.#type(shell, `${line}${TAB}${TO_START_OF_LINE}printf '<%s>' \r`);
    return [...output.matchAll(/<([^>%]*)>/g)].map(([, word]) => word ?? "").slice(1);
  }

  /** What an interactive shell shows for a line and two TABs. */
  async offers(shell: readonly string[], line: string): Promise<string> {
    return await this.#type(shell, `${line}${TAB}${TAB}\x15`);
  }

  async #type(shell: readonly string[], keys: string): Promise<string> {
    await using child = Child.program(shell, {
      cwd: this.directory,
      env: this.env,
      inheritsEnv: false,
      columns: 200,
    });
    await child.printed(PROMPT);
    const { stdout } = await child.write(`${keys}exit\r`).exited();
    const output = stdout.toString();
    return output.slice(output.indexOf(PROMPT) + PROMPT.length);
  }
}

/** Makes a shell set its prompt. */
export const promptLine = `PS1='${PROMPT}'`;

/**
 * The tests that bash and zsh have in common.
 *
 * @param shell its command line, as for {@link Desk.complete}.
 */
export function completesLines(desk: Desk, shell: readonly string[]): void {
  test.each([
    ["zerobuffer wri", ["writer"]],
    ["zerobuffer duplex s", ["duplex", "serve"]],
    ["zerobuffer reader cam --veri", ["reader", "cam", "--verify"]],
    ["zerobuffer reader cam --verify seq", ["reader", "cam", "--verify", "sequential"]],
    ["zerobuffer reader cam --verify=seq", ["reader", "cam", "--verify=sequential"]],
    ["zerobuffer reader cam -o fr", ["reader", "cam", "-o", "frames.raw"]],
    ["zerobuffer reader cam --output=fr", ["reader", "cam", "--output=frames.raw"]],
    ["zerobuffer writer cam -m 'a:b c=d' --pat", ["writer", "cam", "-m", "a:b c=d", "--pattern"]],
    ["zerobuffer reader cam --verify fr", ["reader", "cam", "--verify", "fr"]],
    ["zerobuffer completion f", ["completion", "fish"]],
  ])("completes %p", async (line, words) => {
    expect(await desk.complete(shell, line)).toEqual(words);
  });

  test("completes the name of a buffer that is there, and executes nothing of the line", async () => {
    const name = uniqueName();
    using _ = new Reader(name, { payloadSize: 4096 });
    expect(await desk.complete(shell, `zerobuffer inspect ${name.slice(0, -1)}`)).toEqual(["inspect", name]);
    expect(await desk.offers(shell, `zerobuffer list "$(touch executed)" --`)).toContain("--quiet");
    expect(await Bun.file(`${desk.directory}/executed`).exists()).toBe(false);
  });
}
