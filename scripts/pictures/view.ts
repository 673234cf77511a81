// Takes the pictures of view: docs/view*.png for its page of the documentation, and tests/golden/view, which people look at and, of
// the formats, tests compare with.
//
//   view.ts   needs Chromium, and mounts of its own, so that nobody else's buffers are in the pictures

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Reader } from "../../src/core/index.ts";
import { alone, canBeAlone } from "../../tests/support/alone.ts";
import { openBrowser } from "../../tests/support/browser.ts";
import { Child } from "../../tests/support/process.ts";
import { View, ViewPage, writeFrames } from "../../tests/support/view.ts";
import { root } from "../build-native.ts";
import { buildExecutable } from "../executable.ts";
import { takeFormats } from "./formats.ts";

const docs = join(root, "docs");
const golden = join(root, "tests", "golden", "view");

const [WIDTH, HEIGHT, RATE] = [640, 400, 25];
const RGB = { width: WIDTH, height: HEIGHT, format: "rgb24" };
const DESKTOP = { viewport: { width: 1240, height: 780 } };
const DARK = { ...DESKTOP, colorScheme: "dark" as const };
const PHONE = { viewport: { width: 360, height: 740 } };

/** A landscape at a time of its evening, from 0 to 1. */
function landscape(time: number): Uint8Array {
  const frame = new Uint8Array(WIDTH * HEIGHT * 3);
  const sun = { x: WIDTH * (0.25 + 0.4 * time), y: HEIGHT * (0.3 + 0.2 * time) };
  const hills = [0.58, 0.68, 0.8].map((level, at) => ({
    top: (x: number) =>
      HEIGHT *
      (level + 0.05 * Math.sin(x / (90 - at * 20) + at * 2 + time * at) + 0.02 * Math.sin(x / 23 + at)),
    colour: [70 - at * 22, 84 - at * 20, 116 - at * 30] as const,
  }));
  for (let y = 0; y < HEIGHT; y++) {
    for (let x = 0; x < WIDTH; x++) {
      const hill = hills.findLast(({ top }) => y > top(x));
      const height = y / HEIGHT;
      const glow = Math.exp(-Math.hypot(x - sun.x, y - sun.y) / 90);
      const sky = [
        60 + 150 * height + 120 * glow,
        90 + 90 * height + 90 * glow,
        160 - 20 * height + 20 * glow,
      ];
      const colour = hill?.colour ?? (Math.hypot(x - sun.x, y - sun.y) < 26 ? [255, 236, 190] : sky);
      const at = (y * WIDTH + x) * 3;
      const grain = ((x * 7919 + y * 104729) % 7) - 3;
      for (let i = 0; i < 3; i++) frame[at + i] = Math.min(255, Math.max(0, colour[i]! + grain));
    }
  }
  return frame;
}

async function shoot({ page }: ViewPage, directory: string, name: string): Promise<void> {
  await page.screenshot({ path: join(directory, `${name}.png`) });
}

/** Plays the landscape into a buffer until the end. */
function play(name: string): Child {
  const frames = Array.from({ length: 40 }, (_, at) => landscape(at / 40));
  const camera = Child.cli(
    ["writer", name, "-i", "-", "--video", `${WIDTH}x${HEIGHT}:rgb24`, "--stamp", "--rate", `${RATE}`],
    { stdin: "pipe" },
  );
  // A minute of it, back and forth.
  for (let round = 0; round < 19; round++) {
    for (const frame of [...frames, ...frames.toReversed()]) camera.write(frame);
  }
  return camera;
}

async function takeAll(): Promise<void> {
  mkdirSync(golden, { recursive: true });
  const browser = await openBrowser();
  try {
    await using empty = await View.start([]);
    {
      await using page = await ViewPage.open(browser, empty.address, DESKTOP);
      await page.shows("#none", "There is no buffer");
      await shoot(page, golden, "no-buffers");
    }
    await empty.end();
    await using view = await View.start(["preview", "--stamp"]);
    {
      await using page = await ViewPage.open(browser, view.address, DESKTOP);
      await page.shows("#empty", "Waiting for a writer");
      await shoot(page, golden, "waiting");
      await using _ = play("preview");
      await page.showsFact("Shown", /\d/);
      await Bun.sleep(20_000);
      await page.page.mouse.move(330, 330);
      await page.page.focus("#stage");
      await Bun.sleep(1000);
      await shoot(page, docs, "view");
      await page.page.keyboard.press("Space");
      for (let step = 0; step < 9; step++) await page.page.keyboard.press("+");
      await Bun.sleep(1000);
      await shoot(page, golden, "paused-and-zoomed");
      await using phone = await ViewPage.open(browser, view.address, PHONE);
      await phone.showsFact("Shown", /\d/);
      await shoot(phone, golden, "phone");
      await page.page.emulateMedia({ colorScheme: "dark" });
      await page.page.keyboard.press("?");
      await Bun.sleep(500);
      await shoot(page, golden, "keys");
    }
    {
      await using page = await ViewPage.open(browser, view.address, DARK);
      using _ = await writeFrames("preview", { width: 320, height: 200, format: "gray8" }, gradient());
      await page.showsFact("Size", "320 × 200");
      await shoot(page, golden, "another-size");
    }
    {
      await using page = await ViewPage.open(browser, view.address, DARK);
      using _ = await writeFrames("preview", RGB, Buffer.concat([Buffer.alloc(24), Buffer.from(EVENTS)]));
      await page.shows("#dump", "event");
      await shoot(page, golden, "bytes");
    }
    await takeBuffers(browser, view);
    await view.end();
    await takeFormats(browser);
  } finally {
    await browser.close();
  }
}

async function takeBuffers(browser: Parameters<typeof ViewPage.open>[0], view: View): Promise<void> {
  const readers = ["lidar", "camera", "log", "archive"].map((name) =>
    Child.cli([
      "reader",
      name,
      "--buffer-size",
      "16MiB",
      "--connect-timeout-ms",
      "0",
      "--timeout-ms",
      "0",
      "--quiet",
    ]),
  );
  const writers = [
    Child.cli("writer camera -s 3110400 --rate 30 -n 0 --quiet"),
    Child.cli("writer log -s 300 --rate 400 -n 0 --quiet"),
    Child.cli("writer archive -s 1MiB --rate 12 -n 0 --quiet"),
  ];
  await using page = await ViewPage.open(browser, view.address, DARK);
  await page.page.keyboard.press("b");
  await page.shows("tbody", "live");
  await Bun.sleep(40_000);
  await shoot(page, docs, "view-buffers");
  await page.page.getByRole("button", { name: "camera" }).click();
  await page.shows("#details-facts", "live");
  await Bun.sleep(1000);
  await shoot(page, golden, "details");
  await using phone = await ViewPage.open(browser, view.address, PHONE);
  await phone.shows("#connection", "connected");
  await phone.page.keyboard.press("b");
  await phone.shows("tbody", "live");
  await shoot(phone, golden, "phone-buffers");
  const many = Array.from(
    { length: 300 },
    (_, at) => new Reader(`sensor-${at}`, { payloadSize: 4096, metadataSize: 0 }),
  );
  await page.page.keyboard.press("Escape");
  await page.shows("#total", "305 buffers");
  await shoot(page, golden, "300-buffers");
  for (const reader of many) reader.close();
  for (const child of [...writers, ...readers]) {
    child.kill("SIGINT");
    await child.exited();
  }
}

/** Levels of gray. */
function gradient(): Uint8Array {
  const stamped = new Uint8Array(24 + 320 * 200);
  for (let at = 0; at < 320 * 200; at++) stamped[24 + at] = ((at % 320) * 255) / 319;
  return stamped;
}

const EVENTS = Array.from(
  { length: 40 },
  (_, at) => `{"event":"door","number":${at},"state":"${at % 2 === 0 ? "open" : "closed"}"}\n`,
).join("");

async function main(): Promise<void> {
  if (process.argv[2] === "taken") return await takeAll();
  if (!canBeAlone) throw new Error("mounts are not permitted here");
  const directory = mkdtempSync(join(tmpdir(), "zerobuffer-pictures-"));
  try {
    // By their names, as they are in the pictures.
    await buildExecutable(join(root, "src", "main.ts"), join(directory, "zerobuffer"));
    const PATH = `${directory}:${dirname(process.execPath)}:${process.env.PATH}`;
    const child = Bun.spawn(alone(["bun", "scripts/pictures/view.ts", "taken"]), {
      cwd: root,
      env: { ...process.env, PATH, ZB_EXECUTABLE: "zerobuffer" },
      stdio: ["ignore", "inherit", "inherit"],
    });
    process.exitCode = await child.exited;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

await main();
process.exit();
