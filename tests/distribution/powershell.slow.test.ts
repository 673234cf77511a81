// Needs PowerShell, as `pwsh`.

import { expect, test } from "bun:test";
import { Reader } from "../../src/core/index.ts";
import { uniqueName } from "../support/buffers.ts";
import { Desk } from "../support/shells.ts";

const desk = new Desk();

/** The words that PowerShell offers for a line. */
function offers(line: string): string[] {
  const script = `
    zerobuffer completion powershell | Out-String | Invoke-Expression
    $line = $env:LINE_TO_COMPLETE
    (TabExpansion2 -inputScript $line -cursorColumn $line.Length).CompletionMatches.CompletionText`;
  const { stdout, stderr } = Bun.spawnSync(["pwsh", "-NoProfile", "-NonInteractive", "-Command", script], {
    cwd: desk.directory,
    env: { ...desk.env, LINE_TO_COMPLETE: line },
  });
  expect(stderr.toString()).toBe("");
  return stdout.toString().split(/\r?\n/).filter(Boolean);
}

test.each([
  ["zerobuffer wri", ["writer"]],
  ["zerobuffer duplex s", ["serve"]],
  ["zerobuffer reader cam --metadata-o", ["--metadata-output"]],
  ["zerobuffer reader cam --verify seq", ["sequential"]],
  ["zerobuffer reader cam --verify=seq", ["--verify=sequential"]],
  ["zerobuffer reader cam --verify fr", []],
  ["zerobuffer reader cam --framing ", ["fixed", "lines", "length-prefixed"]],
])("completes %p", (line, expected) => {
  expect(offers(line)).toEqual(expected);
});

test("offers files where a path is taken", () => {
  expect(offers("zerobuffer reader cam -o fr").join()).toContain("frames.raw");
});

test("completes the name of a buffer that is there", () => {
  const name = uniqueName();
  using _ = new Reader(name, { payloadSize: 4096 });
  expect(offers(`zerobuffer inspect ${name.slice(0, -1)}`)).toEqual([name]);
});
