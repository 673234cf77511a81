// Needs fish.

import { expect, test } from "bun:test";
import { Reader } from "../../src/core/index.ts";
import { uniqueName } from "../support/buffers.ts";
import { Desk } from "../support/shells.ts";

const desk = new Desk();

/** What fish offers for a line: words, some with a TAB and their description. */
function offers(line: string): string[] {
  const script = "zerobuffer completion fish | source; complete --do-complete $argv[1]";
  const { stdout } = Bun.spawnSync(["fish", "--no-config", "-c", script, line], {
    cwd: desk.directory,
    env: desk.env,
  });
  return stdout.toString().split("\n").slice(0, -1);
}

test.each([
  ["zerobuffer wri", ["writer\tWrites frames to a buffer that a reader has created."]],
  ["zerobuffer duplex s", ["serve\tCreates a channel and answers the requests of its clients."]],
  ["zerobuffer reader cam --metadata-o", ["--metadata-output\twrite the metadata to a file"]],
  ["zerobuffer reader cam --verify seq", ["sequential"]],
  ["zerobuffer reader cam --verify=seq", ["--verify=sequential"]],
  ["zerobuffer reader cam --verify fr", []],
  ["zerobuffer writer cam -m 'a:b c=d' --pat", ["--pattern\tfill frames: sequential, random, zero or ones"]],
])("completes %p", (line, expected) => {
  expect(offers(line)).toEqual(expected);
});

test.each(["-o fr", "--output=fr"])("offers files for %p", (option) => {
  const [offer, ...others] = offers(`zerobuffer reader cam ${option}`);
  expect(offer).toStartWith(option.replace("-o fr", "frames.raw").replace("=fr", "=frames.raw"));
  expect(others).toEqual([]);
});

test("completes the name of a buffer that is there, and executes nothing of the line", async () => {
  const name = uniqueName();
  using _ = new Reader(name, { payloadSize: 4096 });
  expect(offers(`zerobuffer inspect ${name.slice(0, -1)}`)).toEqual([`${name}\tidle`]);
  expect(offers(`zerobuffer list "(touch executed)" --q`)).toEqual(["--quiet\thide the progress"]);
  expect(await Bun.file(`${desk.directory}/executed`).exists()).toBe(false);
});
