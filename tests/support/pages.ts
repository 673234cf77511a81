// Pages of the documentation: their blocks of code, and the anchors of their headings.

import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../../scripts/build-native.ts";
import { uniqueName } from "./buffers.ts";
import { Child, type Outcome, program } from "./process.ts";

/** Every page, by its path from the root. */
export const PAGES: readonly string[] = [".", "docs", "docs/dev", "examples"].flatMap((directory) =>
  readdirSync(join(root, directory))
    .filter((file) => file.endsWith(".md"))
    .map((file) => join(directory, file)),
);

export function textOf(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

/** A block of code of a page. */
export interface Block {
  readonly language: string;
  readonly text: string;
  /** The heading that it stands below. */
  readonly heading: string;
}

/** The blocks of code of a page, in its order. */
export function blocksOf(page: string): Block[] {
  return [...page.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(
    ({ 1: language = "", 2: text = "", index }) => {
      const headings = [...withoutBlocks(page.slice(0, index)).matchAll(/^#+ (.*)$/gm)];
      return { language, text, heading: headings.at(-1)?.[1] ?? "" };
    },
  );
}

function withoutBlocks(page: string): string {
  return page.replace(/^```[\s\S]*?^```$/gm, "");
}

/** The targets of the links and pictures of a page. */
export function linksOf(page: string): string[] {
  const prose = withoutBlocks(page).replace(/`[^`\n]*`/g, "code");
  return [...prose.matchAll(/\]\(([^)\s]+)\)|<img [^>]*src="([^"]+)"/g)].map(
    ([, link, source]) => link ?? source ?? "",
  );
}

/** The anchors that GitHub makes of a page's headings, with the headings. */
export function anchorsOf(page: string): Map<string, string> {
  return new Map(
    [...withoutBlocks(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => [
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
      heading,
    ]),
  );
}

/** A directory for what a page tells to type, in which `zerobuffer` is the program under test. */
export class Desk implements Disposable {
  readonly directory: string = mkdtempSync(join(tmpdir(), "zerobuffer-page-"));

  constructor() {
    const words = program.map((word) => `'${word}'`).join(" ");
    this.write("zerobuffer", `#!/bin/sh\nexec ${words} "$@"\n`);
    chmodSync(join(this.directory, "zerobuffer"), 0o755);
  }

  write(file: string, text: string): void {
    writeFileSync(join(this.directory, file), text);
  }

  read(file: string): Buffer {
    return readFileSync(join(this.directory, file));
  }

  /**
   * Runs lines of a shell. Each `wait` fails if the last job in the background does; what runs in front fails at once.
   *
   * @param env changes to the environment.
   */
  async run(lines: string, env: Readonly<Record<string, string>> = {}): Promise<Outcome> {
    const script = `set -e -o pipefail\n${lines.replace(/^wait$/gm, "wait $!")}`;
    await using shell = Child.program(["bash", "-c", script], {
      cwd: this.directory,
      env: { PATH: `${this.directory}:${process.env.PATH}`, ...env },
    });
    return await shell.exited();
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true });
  }
}

const COMMANDS =
  "reader|writer|relay|record|replay|duplex serve|duplex request|bridge publish|bridge subscribe";

/** Lines of a shell with names of buffers and channels that no other test uses. */
export function withUniqueNames(lines: string): string {
  const named = [...lines.matchAll(new RegExp(`zerobuffer (?:${COMMANDS}) ((?:[a-z]+ )+)`, "g"))];
  const names = new Set(named.flatMap(([, words = ""]) => words.trim().split(" ")));
  return [...names].reduce(
    (text, name) => text.replace(new RegExp(`(?<![\\w./-])${name}(?![\\w.=-])`, "g"), uniqueName()),
    lines,
  );
}
