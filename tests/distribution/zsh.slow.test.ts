// Needs zsh.

import { expect, test } from "bun:test";
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/build-native.ts";
import { completesLines, Desk, promptLine } from "../support/shells.ts";

const desk = new Desk();
const zsh = ["zsh", "-i"];

/** What zsh starts with. */
function configure(...lines: readonly string[]): void {
  desk.write(".zshrc", ["unsetopt zle_bracketed_paste prompt_sp", "bindkey -e", ...lines, promptLine]);
}

configure("autoload -U compinit && compinit -u -D", "source <(zerobuffer completion zsh)");

completesLines(desk, zsh);

test("shows the choices with what they are", async () => {
  const shown = await desk.offers(zsh, "zerobuffer reader cam --metadata-");
  expect(shown).toMatch(/--metadata-output +-- write the metadata to a file/);
  expect(shown).toMatch(/--metadata-size +-- reserve room for metadata/);
});

test("completes with the script in a directory of $fpath, too", async () => {
  mkdirSync(join(desk.directory, "functions"));
  const script = join(root, "src", "commands", "completion", "scripts", "zerobuffer.zsh");
  copyFileSync(script, join(desk.directory, "functions", "_zerobuffer"));
  configure("fpath=($ZDOTDIR/functions $fpath)", "autoload -U compinit && compinit -u -D");
  expect(await desk.complete(zsh, "zerobuffer wri")).toEqual(["writer"]);
});
