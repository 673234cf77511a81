// Needs zsh.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../../scripts/build-native.ts";
import { Reader } from "../../../src/core/index.ts";
import { uniqueName } from "../../support/buffers.ts";
import { leavesNoBuffersBehind } from "../../support/cli.ts";
import { Desk, promptLine } from "../../support/shells.ts";

leavesNoBuffersBehind();

let desk: Desk;
const zsh = ["zsh", "-i"];

/** What zsh starts with. */
function configure(...lines: readonly string[]): void {
  desk.write(".zshrc", ["unsetopt zle_bracketed_paste prompt_sp", "bindkey -e", ...lines, promptLine]);
}

beforeAll(() => {
  desk = new Desk();
  configure("autoload -U compinit && compinit -u -D", "source <(zerobuffer completion zsh)");
});
afterAll(() => desk[Symbol.dispose]());

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
])("completes %p", async (line, words) => {
  expect(await desk.complete(zsh, line)).toEqual(words);
});

test("shows the choices with what they are", async () => {
  const shown = await desk.offers(zsh, "zerobuffer reader cam --metadata-");
  expect(shown).toMatch(/--metadata-output +-- write the metadata to a file/);
  expect(shown).toMatch(/--metadata-size +-- room for metadata/);
});

test("completes the name of a buffer that is there, and executes nothing of the line", async () => {
  const name = uniqueName();
  using _ = new Reader(name, { payloadSize: 4096 });
  expect(await desk.complete(zsh, `zerobuffer inspect ${name.slice(0, -1)}`)).toEqual(["inspect", name]);
  expect(await desk.offers(zsh, `zerobuffer list "$(touch executed)" --`)).toContain("--quiet");
  expect(await Bun.file(`${desk.directory}/executed`).exists()).toBe(false);
});

test("completes with the script in a directory of $fpath, too", async () => {
  mkdirSync(join(desk.directory, "functions"));
  const script = join(root, "src", "commands", "completion", "zerobuffer.zsh");
  copyFileSync(script, join(desk.directory, "functions", "_zerobuffer"));
  configure("fpath=($ZDOTDIR/functions $fpath)", "autoload -U compinit && compinit -u -D");
  expect(await desk.complete(zsh, "zerobuffer wri")).toEqual(["writer"]);
});
