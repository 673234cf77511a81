import { describe, expect, test } from "bun:test";
import { flagOf } from "../../src/cli/options.ts";
import { commands } from "../../src/commands/index.ts";
import { Reader } from "../../src/core/index.ts";
import { uniqueName } from "../support/buffers.ts";
import { Child, run, runJson } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";
import { completesLines, Desk, promptLine } from "../support/shells.ts";

/** The document of what is offered in place of `word`. */
async function ask(words: readonly string[], word: string) {
  await using child = Child.cli(["complete", "--json-output", `--word=${word}`, "--", ...words]);
  const { code, document } = await child.report();
  expect(code).toBe(0);
  expectValid("complete", document);
  return document;
}

/** The words that are offered. */
async function offers(words: readonly string[], word = ""): Promise<string[]> {
  const { offers } = await ask(words, word);
  return offers.map(({ value }: { value: string }) => value);
}

async function offersFiles(words: readonly string[], word = ""): Promise<boolean> {
  return (await ask(words, word)).files;
}

describe("what is offered", () => {
  test("first are the commands, without those that only programs call", async () => {
    const all = await offers([]);
    expect(all).toEqual(expect.arrayContaining(["writer", "reader", "duplex", "list", "completion"]));
    expect(all).not.toContain("complete");
    expect(await offers([], "in")).toEqual(["inspect"]);
    expect(await offers(["duplex"])).toEqual(["serve", "request"]);
    expect(await offers([], "he")).toEqual(["help"]);
    expect(await offers(["help"], "re")).toEqual(["reader", "relay", "record", "replay"]);
    expect(await offers(["help", "duplex"])).toEqual(["serve", "request"]);
    expect(await offers([], "--v")).toEqual(["--version"]);
    expect(await offers(["nosuch"])).toEqual([]);
  });

  test("for a dash is every option that is not given yet, of every command", async () => {
    for (const [name, load] of Object.entries(commands)) {
      const { args } = await load();
      const expected = Object.entries(args).filter(([, { type }]) => type !== "positional");
      expect(await offers(name.split(" "), "--")).toEqual(expected.map(([option]) => flagOf(option)));
    }
    const left = await offers(["reader", "cam", "-n", "5", "--follow"], "--f");
    expect(left).toEqual(["--framing"]);
  });

  test("for an option with choices are these, in both ways of writing it", async () => {
    expect(await offers(["reader", "cam", "--framing"])).toEqual(["fixed", "lines", "length-prefixed"]);
    expect(await offers(["reader", "cam"], "--framing=l")).toEqual([
      "--framing=lines",
      "--framing=length-prefixed",
    ]);
    expect(await offers(["completion"])).toEqual(["bash", "zsh", "fish", "powershell"]);
  });

  test("for a buffer are names, also after an address, which counts as the name in it", async () => {
    using first = new Reader(uniqueName(), { payloadSize: 64 });
    using second = new Reader(uniqueName(), { payloadSize: 64 });
    const offered = await offers(["relay", `shm://${first.name}?size=1MB`]);
    expect([offered.includes(first.name), offered.includes(second.name)]).toEqual([false, true]);
  });

  test("where a path is taken are files, and nowhere else", async () => {
    expect(await offersFiles(["reader", "cam", "-o"])).toBe(true);
    expect(await offersFiles(["reader", "cam"], "--metadata-output=x")).toBe(true);
    expect(await offersFiles(["reader", "cam", "-n"])).toBe(false);
    expect(await offersFiles(["reader"])).toBe(false);
    expect(await offers(["reader", "cam", "-n"])).toEqual([]);
  });

  test("for a buffer are those that there are, with their state, and for a channel those with a server", async () => {
    const name = uniqueName();
    using _ = new Reader(name, { payloadSize: 4096 });
    using __ = new Reader(`${name}_request`, { payloadSize: 4096 });
    expect(await offers(["inspect"], name)).toEqual([name, `${name}_request`]);
    expect(await offers(["duplex", "request"], name)).toEqual([name]);
    expect((await run("complete", `--word=${name}`, "--", "writer")).stdout.toString()).toBe(
      `${name}\tidle\n${name}_request\tidle\n`,
    );
    // Each buffer once; where no more are taken, options follow.
    expect(await offers(["clean", name], name)).toEqual([`${name}_request`]);
    expect(await offers(["relay", "a"], name)).toHaveLength(2);
    expect(await offers(["inspect", name])).toContain("--watch");
    // Behind "--" nothing is an option.
    expect(await offers(["inspect", "--"], "--")).toEqual([]);
  });
});

describe("bash", () => {
  const desk = new Desk();
  const file = desk.write("bashrc", [promptLine, "source <(zerobuffer completion bash)"]);
  const bash = ["bash", "--noprofile", "--rcfile", file, "-i"];

  completesLines(desk, bash);

  test("shows the choices where there are several", async () => {
    expect(await desk.offers(bash, "zerobuffer reader cam --framing ")).toMatch(
      /fixed\s+length-prefixed\s+lines/,
    );
  });
});

test("the scripts are printed as they are, and no other shell is known", async () => {
  for (const shell of ["bash", "zsh", "fish", "powershell"]) {
    const { document } = await runJson("completion", shell);
    expectValid("completion", document);
    expect((await run("completion", shell)).stdout.toString()).toBe(`${document.script.trimEnd()}\n`);
  }
  const asked = async (shell: string | undefined) => {
    await using child = Child.cli(["completion", "--json-output"], { env: { SHELL: shell } });
    return await child.report();
  };
  for (const [path, shell] of [
    ["/usr/bin/zsh", "zsh"],
    ["/bin/bash", "bash"],
    ["/opt/pwsh", "powershell"],
  ]) {
    const { code, document } = await asked(path);
    expect([code, expectValid("completion", document).shell]).toEqual([0, shell]);
  }
  for (const path of [undefined, "/bin/tcsh"]) {
    const { code, document } = await asked(path);
    expect([code, document.error.hint]).toEqual([
      3,
      "Name one: zerobuffer completion bash|zsh|fish|powershell.",
    ]);
  }
  const { code, document } = await runJson("completion", "tcsh");
  expect(code).toBe(3);
  expect(document.error.message).toContain("bash, zsh, fish or powershell");
});
