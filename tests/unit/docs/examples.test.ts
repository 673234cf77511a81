// The examples do what they say. Those of containers and bridges are run by the tests of their pages.

import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../../scripts/build-native.ts";
import { bufferMade, uniqueName } from "../../support/buffers.ts";
import { Desk, textOf } from "../../support/pages.ts";
import { Child } from "../../support/process.ts";

const examples = join(root, "examples");
const lacks = (...programs: string[]) => programs.some((name) => Bun.which(name) === null);

test("examples/README.md has every example", () => {
  const directories = readdirSync(examples, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const { name } of directories) expect(textOf("examples/README.md")).toContain(`[${name}](${name}/`);
});

/** Runs a script of the examples, with names of buffers that no other test uses. */
async function runExample(directory: string, script: string, names: Record<string, string>): Promise<string> {
  using desk = new Desk();
  for (const file of readdirSync(join(examples, directory))) {
    const text = textOf(join("examples", directory, file));
    desk.write(
      file,
      Object.entries(names).reduce((all, [name, own]) => all.replaceAll(name, own), text),
    );
  }
  // Neither a window nor a sound.
  const dummies = { SDL_VIDEODRIVER: "dummy", SDL_AUDIODRIVER: "dummy" };
  const { code, stdout, stderr } = await desk.run(`bash ${script} 1`, dummies);
  expect([code, stderr]).toEqual([0, expect.any(String)]);
  return stdout.toString() + stderr;
}

test.skipIf(lacks("ffmpeg", "ffplay"))("examples/camera shows the frames of a camera", async () => {
  const name = uniqueName();
  const output = await runExample("camera", "camera-to-display.sh", {
    "reader camera": `reader ${name}`,
    "writer camera": `writer ${name}`,
  });
  expect(output).toMatch(/Wrote 30 frames/);
});

test.skipIf(lacks("ffmpeg", "python3"))("examples/model answers about each picture", async () => {
  const name = uniqueName();
  const output = await runExample("model", "ask.sh", {
    "serve model": `serve ${name}`,
    "request model": `request ${name}`,
  });
  const lines = output.split("\n").filter((line) => line.startsWith("{"));
  expect(lines).toHaveLength(10);
  for (const line of lines) {
    const { mean, brightest, x, y } = JSON.parse(line);
    expect(mean).toBeGreaterThan(0);
    expect(mean).toBeLessThan(brightest);
    expect([x >= 0 && x < 320, y >= 0 && y < 240]).toEqual([true, true]);
  }
});

describe("examples/api", () => {
  const start = (script: string, ...args: string[]) =>
    Child.program([process.execPath, join(examples, "api", script), ...args]);

  test("moves frames, all of which are shown or skipped", async () => {
    const name = uniqueName();
    await using consumer = start("consumer.ts", name);
    await bufferMade(name);
    await using producer = start("producer.ts", name, "70");
    await producer.succeed();
    const output = (await consumer.succeed()).stdout.toString();
    expect(output).toContain('receiving {"format":"gray8","width":640,"height":480}\n');
    expect(output).toContain("the producer has left\n");
    const [, read, skipped] = /^(\d+) frames, (\d+) skipped, \d+ microseconds old/m.exec(output) ?? [];
    expect(Number(read) + Number(skipped)).toBe(70);
  });

  test("goes on when the consumer is restarted, and tells that the producer was killed", async () => {
    const name = uniqueName();
    await using producer = start("producer.ts", name);
    {
      await using consumer = start("consumer.ts", name);
      await consumer.printed("receiving");
      consumer.kill("SIGKILL");
      await consumer.exited();
    }
    await using consumer = start("consumer.ts", name);
    await consumer.printed("receiving");
    await producer.printed("the consumer died, waiting for the next one");
    producer.kill("SIGKILL");
    const { stdout } = await consumer.succeed();
    expect(stdout.toString()).toContain("the producer was killed\n");
  });
});
