// What the README tells to type does what it says. Installing is tested in tests/distribution, the API there, too.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../../scripts/build-native.ts";
import { firstSentence } from "../../../src/cli/command.ts";
import { commands } from "../../../src/commands/index.ts";
import { alone, canBeAlone } from "../../support/alone.ts";
import { bufferMade, uniqueName } from "../../support/buffers.ts";
import { canServe, NatsServer } from "../../support/nats.ts";
import { blocksOf, Desk, textOf, withUniqueNames } from "../../support/pages.ts";
import { Child } from "../../support/process.ts";

const page = textOf("README.md");
const recipes = blocksOf(page).flatMap(({ language, text }) => (language === "sh" ? [text] : []));

/** The only recipe with these words. */
function recipeWith(words: string): string {
  const [found, ...others] = recipes.filter((text) => text.includes(words));
  if (found === undefined || others.length > 0)
    throw new Error(`README.md has no recipe, or several, with ${words}`);
  return found;
}

const lacks = (...programs: string[]) => programs.some((name) => Bun.which(name) === null);

test("the README has at most 200 lines, and the two commands for a fresh clone", () => {
  expect(page.trimEnd().split("\n").length).toBeLessThanOrEqual(200);
  for (const command of ["demo", "test"]) expect(page).toContain(`npx -y bun@1.4.5 run ${command} `);
});

test("the demo moves frames, and shows that everything arrived", async () => {
  await using demo = Child.program([process.execPath, join(root, "scripts", "demo.ts")]);
  const { stdout, stderr } = await demo.succeed();
  expect(stdout.toString().match(/every byte verified/g)).toHaveLength(3);
  expect(stdout.toString()).toMatch(/the reader knew after \d+ ms that the writer was killed/);
  expect(stderr).toBe("");
});

test("the README has every command with what its help says of it", async () => {
  const rows = [...page.matchAll(/^\| \[([a-z ]+)\]\(docs\/commands\.md#([a-z-]+)\) +\| (.*?) +\|$/gm)];
  const all = await Promise.all(Object.values(commands).map((load) => load()));
  const expected = all.flatMap(({ meta: { name, description, hidden } }) =>
    hidden ? [] : [[name, name.replace(" ", "-"), firstSentence(description)]],
  );
  expect(rows.map(([, ...cells]) => cells)).toEqual(expected);
});

describe("a recipe", () => {
  let desk: Desk;
  beforeEach(() => {
    desk = new Desk();
    symlinkSync(join(root, "examples"), join(desk.directory, "examples"));
  });
  afterEach(() => desk[Symbol.dispose]());

  /** Runs a recipe, shorter and without a window, until its last job in the background has ended. */
  async function follow(recipe: string, end = "wait $!"): Promise<string> {
    const shorter = withUniqueNames(recipe).replaceAll("-t 10 ", "-t 1 ").replaceAll("-n 300 ", "-n 30 ");
    const dummies = { SDL_VIDEODRIVER: "dummy", SDL_AUDIODRIVER: "dummy" };
    const { code, stdout, stderr } = await desk.run(`${shorter}\n${end}`, dummies);
    expect([code, stderr]).toEqual([0, expect.any(String)]);
    return stdout.toString() + stderr;
  }

  /** How many frames a video file has, of which size. */
  function probe(file: string): string {
    const show = ["-count_frames", "-show_entries", "stream=width,height,nb_read_frames", "-of", "csv=p=0"];
    const path = join(desk.directory, file);
    return Bun.spawnSync(["ffprobe", "-v", "error", ...show, path])
      .stdout.toString()
      .trim();
  }

  test("for sixty seconds moves its frames", async () => {
    const [sixty = ""] = blocksOf(page).flatMap(({ heading, text }) =>
      heading === "Sixty seconds" ? [text] : [],
    );
    const [reader = "", writer = "", list = ""] = withUniqueNames(sixty.replaceAll(/ +#.*/g, ""))
      .trim()
      .split("\n");
    const name = reader.split(" ").at(-1);
    // Until the list has been seen, however slow this machine is.
    const lines = `${reader} & reader=$!\n${writer.replace("-n 300", "-n 0")} & writer=$!`;
    const end = `until ${list} | grep '^${name} .*live'; do :; done; kill $writer; wait $reader`;
    const output = await follow(lines, end);
    expect(output).toMatch(/^\S+ +live +256\.0 MiB /m);
    expect(output).toMatch(/^Read \d+ frames? \(/m);
  });

  test.skipIf(lacks("ffmpeg", "ffplay"))("shows a camera", async () => {
    expect(await follow(recipeWith("ffplay"))).toContain("Wrote 30 frames");
  });

  test.skipIf(lacks("gst-launch-1.0", "ffmpeg", "ffprobe"))("goes from GStreamer to ffmpeg", async () => {
    await follow(recipeWith("gst-launch-1.0"));
    expect(probe("cam.mkv")).toBe("640,480,90");
  });

  test("follows a log", async () => {
    writeFileSync(join(desk.directory, "app.log"), "one\nan error\ntwo\nanother error\n");
    // Without an end it would never end.
    await follow(recipeWith("app.log").replaceAll(" --follow", "").replace("tail -f", "tail -n +1"));
    expect(desk.read("errors.log").toString()).toBe("an error\nanother error\n");
  });

  test.skipIf(lacks("ffmpeg"))("passes a camera on to several programs", async () => {
    const recipe = recipeWith("zerobuffer relay");
    const output = await follow(
      recipe.trimEnd().replace("-f rawvideo -", "-f rawvideo - | tee camera.raw"),
      "wait",
    );
    const size = 640 * 480;
    expect(desk.read("camera.raw").length).toBe(30 * size);
    expect(output).toContain("Recorded 30 frames");
    // Its output may drop frames, but the first one finds room.
    const shown = desk.read("shown.raw");
    expect(shown.subarray(0, size).equals(desk.read("camera.raw").subarray(0, size))).toBe(true);
  });

  test.skipIf(lacks("ffmpeg", "python3"))("asks a model", async () => {
    await follow(recipeWith("duplex serve"), "kill $!; wait $! || [ $? = 143 ]");
    const answers = desk.read("answers.txt").toString().trim().split("\n");
    expect(answers.map((answer) => Object.keys(JSON.parse(answer)))).toEqual(
      Array(10).fill(["mean", "brightest", "x", "y"]),
    );
  });

  test("for containers is one of docs/containers.md, whose test runs it", () => {
    const tested = blocksOf(textOf("docs/containers.md")).map(({ text }) => text);
    expect(tested).toContain(recipeWith("docker run"));
  });

  test.skipIf(!canServe || !canBeAlone)("reaches another machine", async () => {
    const [publish = "", subscribe = ""] = recipeWith("bridge publish").trim().split("\n");
    await using broker = await NatsServer.start();
    const name = uniqueName();
    const words = (line: string) =>
      wordsOf(line.replace(" cam ", ` ${name} `).replace("nats://broker:4222", broker.url));
    await using publisher = Child.cli(words(publish));
    await bufferMade(name);
    // The other machine: its buffers are not ours.
    const script = `zerobuffer reader ${name} --verify sequential & "$@" --json-lines; wait $!`;
    await using remote = Child.program(["bash", "-c", script, "bash", "zerobuffer", ...words(subscribe)], {
      cwd: desk.directory,
      env: { PATH: `${desk.directory}:${process.env.PATH}` },
      within: alone([]),
    });
    await remote.printed(`"event":"ready"`);
    await using writer = Child.cli(["writer", name, "-n", "100", "-s", "64KiB"]);
    await writer.succeed();
    await publisher.succeed();
    expect((await remote.succeed()).stderr).toContain("Read 100 frames (6.3 MiB)");
  });

  test("records and replays", async () => {
    const output = await follow(recipeWith("zerobuffer replay"));
    expect(output).toContain("Recorded 30 frames");
    expect(output).toContain("Read 30 frames (1.9 MiB)");
  });

  test("looks at a buffer, and at every buffer", async () => {
    const [view = "", top = "", metrics = ""] = recipeWith("zerobuffer top").trim().split("\n");
    const name = uniqueName();
    await using viewer = Child.cli([...wordsOf(view).with(1, name), "--no-open", "--json-lines"]);
    await viewer.printed(/http:\/\/127\.0\.0\.1:\d+\//);
    const [address = ""] = /http:\/\/127\.0\.0\.1:\d+\//.exec(viewer.output.toString()) ?? [];
    expect(await (await fetch(address)).text()).toContain("<title>");

    const row = new RegExp(`^${name} +idle `, "m");
    expect(await follow(top)).toMatch(row);
    await using server = Child.cli([...wordsOf(metrics.replace("9464", "0")), "--json-lines"]);
    const ready = await server.receive("started").then(() => server.receive("ready"));
    expect(await (await fetch(ready.address)).text()).toContain(`{buffer="${name}"`);
    for (const child of [viewer, server]) child.kill("SIGTERM");
    await viewer.exited();
    await server.exited();
  });
});

/** The words of a command line of zerobuffer, without its first and its comment. */
function wordsOf(line: string): string[] {
  return line.replace(/ +#.*/, "").split(" ").slice(1);
}
