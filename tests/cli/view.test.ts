import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import axe from "axe-core";
import type { Browser } from "playwright-core";
import { Reader, stampFrame } from "../../src/core/index.ts";
import { canBrowse, openBrowser } from "../support/browser.ts";
import { uniqueName } from "../support/buffers.ts";
import { expectPicture } from "../support/golden.ts";
import {
  differenceOf,
  encodedPicture,
  expectedPixels,
  FORMATS,
  isYuv,
  PICTURE,
  type Pixels,
  pictureIn,
} from "../support/pictures.ts";
import { View, ViewPage, writeFrames } from "../support/view.ts";
import { Visitor } from "../support/visitor.ts";

const SIZE = ["--buffer-size", "1MiB"];
const { width, height } = PICTURE;
const PHONE = { viewport: { width: 360, height: 740 } };

/** A picture of the test picture's size whose bytes are all of one value. */
const plain = (value: number) => new Uint8Array(width * height * 3).fill(value);
const RGB = { width, height, format: "rgb24" };

describe.skipIf(!canBrowse)("the page of view", () => {
  let browser: Browser;
  let state: string;
  beforeAll(async () => {
    browser = await openBrowser();
    state = mkdtempSync(join(tmpdir(), "zerobuffer-view-test-"));
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(state, { recursive: true });
  });

  describe.each([
    { painter: "2d", emulatesGl: false },
    { painter: "webgl2", emulatesGl: true },
  ])("draws with $painter", ({ painter, emulatesGl }) => {
    test("every format, with the colours that the caps or the option say", async () => {
      const name = uniqueName();
      await using view = await View.start([name, ...SIZE]);
      await using page = await ViewPage.open(browser, view.address, { emulatesGl });
      // Other colours each time; without a shift they are those of the golden picture.
      const cases = FORMATS.flatMap((format) =>
        (isYuv(format) ? ["bt601", "bt709", "1:4:0:1", "1:3:0:1"] : ["", ""]).map((colorimetry, shift) => ({
          format,
          colorimetry,
          shift,
        })),
      );
      let shown: Pixels | undefined;
      for (const { format, colorimetry, shift } of cases) {
        const colour = colorimetry.startsWith("1:")
          ? `${colorimetry[2] === "4" ? "bt601" : "bt709"}-full`
          : colorimetry;
        const caps = `video/x-raw, format=${format}, width=${width}, height=${height}, colorimetry=${colorimetry}`;
        using _ = await writeFrames(name, { caps }, pictureIn(format, colour, shift));
        shown = await page.pixelsAfter(shown);
        expectPicture(shown, format, shift);
      }
      await page.showsFact("Format", "NV24, bt709-full");
      expect(await page.painter()).toBe(painter);
      expect(page.complaints).toEqual([]);
    });

    test("JPEG and PNG", async () => {
      const name = uniqueName();
      await using view = await View.start([name, ...SIZE]);
      await using page = await ViewPage.open(browser, view.address, { emulatesGl });
      using writer = await writeFrames(name, undefined, await encodedPicture("png", 1));
      await page.showsFact("Format", "PNG");
      expectPicture(await page.pixels(), "rgb24", 1);
      writer.writeFrame(await encodedPicture("jpeg", 2));
      await page.showsFact("Format", "JPEG");
      const { data } = await page.pixels();
      // In the middle of a block of its own colour nothing is lost.
      const expected = expectedPixels("rgb24", 2);
      expect(differenceOf(data.slice(0, 4), expected.subarray(0, 4))).toBeLessThanOrEqual(60);
      expect(data).toHaveLength(expected.length);
      writer.writeFrame(Uint8Array.of(0xff, 0xd8, 0xff, 1, 2, 3));
      await page.shows("#reason", "It cannot be decoded.");
    });
  });

  test("pauses, steps to the newest frame, and plays on; the writer never waits", async () => {
    const name = uniqueName();
    await using view = await View.start([name, "--buffer-size", "64KiB"]);
    await using page = await ViewPage.open(browser, view.address);
    using writer = await writeFrames(name, RGB, plain(10));
    await page.showsFact("Frame", /^1$/);
    await page.page.keyboard.press("Space");
    await page.shows("#pause", "Play");
    // The server answers this after it has heard of the pause.
    await fetch(`${view.origin}/inspect/${name}`);
    // Far more than fit the ring.
    for (let value = 11; value < 200; value++) await writer.writeFrameAsync(plain(value));
    expect([await page.fact("Frame"), (await page.pixels()).data[0]]).toEqual(["1", 10]);
    await page.page.click("#step");
    await page.showsFact("Frame", "190");
    expect((await page.pixels()).data[0]).toBe(199);
    await writer.writeFrameAsync(plain(200));
    await writer.writeFrameAsync(plain(201));
    await page.page.keyboard.press(".");
    await page.showsFact("Frame", "192");
    await page.page.click("#pause");
    await writer.writeFrameAsync(plain(202));
    await page.showsFact("Frame", "193");
    expect((await page.pixels()).data[0]).toBe(202);
  });

  test("goes on with a writer that comes back with another size, and says that it was away", async () => {
    const name = uniqueName();
    await using view = await View.start([name, ...SIZE]);
    await using page = await ViewPage.open(browser, view.address);
    await page.shows("#writer", "waits for a writer");
    const first = await writeFrames(name, RGB, plain(10));
    await page.showsFact("Size", `${width} × ${height}`);
    await page.shows("#writer", "writer connected");
    first.close();
    await page.shows("#writer", "waits for a writer");
    using second = await writeFrames(
      name,
      { width: 5, height: 3, format: "gray8" },
      new Uint8Array(15).fill(99),
    );
    await page.showsFact("Size", "5 × 3");
    const shown = await page.pixels();
    expect([shown.width, shown.height, ...shown.data.slice(0, 4)]).toEqual([5, 3, 99, 99, 99, 255]);
    second.writeFrame(new Uint8Array(16));
    await page.shows("#reason", "It has 16 bytes; a picture of 5x3 in GRAY8 has 15.");
    second.writeFrame(new Uint8Array(15));
    await page.page.locator("#bytes").waitFor({ state: "hidden" });
    await page.showsFact("Size", "5 × 3");
  });

  test("shows bytes as hexadecimal numbers and as text, and why", async () => {
    const name = uniqueName();
    await using view = await View.start([name, ...SIZE]);
    await using page = await ViewPage.open(browser, view.address);
    using writer = await writeFrames(name, undefined, new TextEncoder().encode("<b>An event</b>\n"));
    await page.shows("#dump", /^000000 {2}3c 62 3e 41 6e .* <b>An event<\/b>·$/);
    await page.shows("#reason", "Neither the metadata nor --video says what it is");
    await page.page.click("#as-text");
    await page.shows("#dump", /^<b>An event<\/b>\n$/);
    writer.writeFrame(new TextEncoder().encode("another"));
    await page.shows("#dump", /^another$/);
    expect(await page.page.locator("#dump b").count()).toBe(0);
  });

  test("shows the number in the stamp and the age, and takes off what is to be skipped", async () => {
    const name = uniqueName();
    await using view = await View.start([
      name,
      ...SIZE,
      "--stamp",
      "--skip-bytes",
      "8",
      "--video",
      `${width}x${height}:rgb24`,
    ]);
    await using page = await ViewPage.open(browser, view.address);
    const frame = new Uint8Array(24 + 8 + width * height * 3).fill(50, 32);
    stampFrame(frame, { number: 4711n });
    using _ = await writeFrames(name, undefined, frame);
    await page.showsFact("In its stamp", "4,711");
    await page.showsFact("Age", /\d (ms|s)/);
    await page.showsFact("Bytes", `32 + ${width * height * 3} bytes`);
    expect((await page.pixels()).data.slice(0, 3)).toEqual([50, 50, 50]);
  });

  test("tells the value of a pixel by mouse and by keys, zooms, and saves what it shows", async () => {
    const name = uniqueName();
    await using view = await View.start([name, ...SIZE]);
    await using page = await ViewPage.open(browser, view.address, { viewport: { width: 1200, height: 800 } });
    using _ = await writeFrames(name, RGB, pictureIn("rgb24", ""));
    await page.showsFact("Frame", /^1$/);
    await page.page.hover("#stage");
    await page.shows("#pixel-text", /^\(\d+, \d+\) {2}R \d+ {2}G \d+ {2}B \d+ {2}#[\da-f]{6}$/);
    await page.page.focus("#stage");
    for (let step = 0; step < 3; step++) await page.page.keyboard.press("Shift+ArrowLeft");
    for (let step = 0; step < 2; step++) await page.page.keyboard.press("Shift+ArrowUp");
    await page.shows("#pixel-text", "(0, 0)  R 255  G 0  B 0  #ff0000");
    for (let step = 0; step < 4; step++) await page.page.keyboard.press("ArrowRight");
    await page.shows("#pixel-text", "(4, 0)  R 0  G 255  B 0  #00ff00");
    await page.page.keyboard.press("1");
    await page.shows("#zoom", "100 %");
    await page.page.keyboard.press("+");
    await page.page.click("#zoom-in");
    await page.shows("#zoom", "200 %");
    const [download] = await Promise.all([page.page.waitForEvent("download"), page.page.keyboard.press("s")]);
    expect(download.suggestedFilename()).toBe(`${name}-1.png`);
    const saved = await new Bun.Image(readFileSync(await download.path())).metadata();
    expect([saved.width, saved.height, saved.format]).toEqual([width, height, "png"]);
    await page.page.waitForSelector("#histogram canvas");
  });

  test("has two browsers side by side, each at its own pace", async () => {
    const name = uniqueName();
    await using view = await View.start([name, ...SIZE]);
    await using one = await ViewPage.open(browser, view.address);
    await using two = await ViewPage.open(browser, view.address);
    await two.shows("#connection", "connected");
    using writer = await writeFrames(name, RGB, plain(1));
    await Promise.all([one.showsFact("Frame", /^1$/), two.showsFact("Frame", /^1$/)]);
    await one.page.click("#pause");
    writer.writeFrame(plain(2));
    await two.showsFact("Frame", "2");
    expect(await one.fact("Frame")).toBe("1");
  });

  test("says that the server has ended, and comes back when it is started again on the same port", async () => {
    const name = uniqueName();
    const env = { XDG_STATE_HOME: state };
    // The first one finds a port that is free.
    const scout = await View.start([name, ...SIZE]);
    const { port } = scout;
    await scout.end();
    await scout[Symbol.asyncDispose]();
    await using view = await View.start([name, ...SIZE, "--listen", port], { env });
    await using page = await ViewPage.open(browser, view.address);
    await page.shows("#connection", "connected");
    await view.end();
    await page.shows("#connection", "ended");
    await page.shows("#notice", "has ended, or cannot be reached");
    await using again = await View.start([name, ...SIZE, "--listen", port], { env });
    expect(again.address).toBe(view.address);
    await page.shows("#connection", "connected");
    using _ = await writeFrames(name, RGB, plain(3));
    await page.showsFact("Frame", /^1$/);
    expect((await page.pixels()).data[0]).toBe(3);
  });

  test("asks for the token where the address has none", async () => {
    await using view = await View.start([]);
    await using page = await ViewPage.open(browser, view.origin);
    await page.shows("#notice", "The token is missing");
    await page.page.getByLabel("Token of this server").fill(view.token);
    await page.page.keyboard.press("Enter");
    await page.shows("#connection", "connected");
  });

  test("is told when there are enough browsers", async () => {
    await using view = await View.start([]);
    const others = Array.from({ length: 16 }, () => new Visitor(view));
    for (const other of others) await (await other.say({ token: view.token })).hears("welcome");
    await using late = await ViewPage.open(browser, view.address);
    await late.shows("#connection", "full");
    await late.shows("#notice", "tries again");
    for (const other of others) await other[Symbol.asyncDispose]();
    await late.shows("#connection", "connected");
  });

  describe("shows all buffers", () => {
    test("none, and one with its details", async () => {
      await using view = await View.start([]);
      await using page = await ViewPage.open(browser, view.address);
      await page.shows("#connection", "connected");
      expect(await page.page.isHidden("#go-picture")).toBe(true);
      // Other tests have buffers meanwhile.
      const name = uniqueName();
      await page.page.fill("#filter", name);
      await page.page.waitForSelector("#none:not([hidden])");
      using reader = new Reader(name, { payloadSize: 4096, metadataSize: 256 });
      using _ = await writeFrames(reader.name, "<i>hostile</i>", new Uint8Array(1000));
      await page.shows("tbody", reader.name);
      await page.shows("tbody", "live");
      await page.shows("tbody", "25 %");
      await page.page.getByRole("button", { name: reader.name }).click();
      await page.shows("#details-facts", "<i>hostile</i>");
      await page.shows("#details-facts", "live, healthy");
      await page.page.keyboard.press("Escape");
      await page.page.waitForSelector("#details:not([open])", { state: "attached" });
      reader.close();
      await page.page.waitForSelector("#none:not([hidden])");
      expect(page.complaints).toEqual([]);
    });

    test("sorted and filtered", async () => {
      const names = [uniqueName(), uniqueName()].sort();
      using small = new Reader(names[0]!, { payloadSize: 1024, metadataSize: 0 });
      using large = new Reader(names[1]!, { payloadSize: 8192, metadataSize: 0 });
      using _ = await writeFrames(small.name, undefined, new Uint8Array(500));
      using __ = await writeFrames(large.name, undefined, new Uint8Array(500));
      await using view = await View.start([]);
      await using page = await ViewPage.open(browser, view.address);
      const order = (first: string, second: string) => page.shows("tbody", new RegExp(`${first}.*${second}`));
      await order(small.name, large.name);
      await page.page.getByRole("button", { name: "Fill" }).click();
      await order(small.name, large.name);
      await page.page.getByRole("button", { name: "Fill" }).click();
      await order(large.name, small.name);
      await page.page.keyboard.press("/");
      await page.page.keyboard.type(large.name);
      await page.shows("tbody", new RegExp(`^(?!.*${small.name}\\b).*${large.name}`));
    });
  });

  describe.each([
    { name: "light", options: { colorScheme: "light" as const } },
    { name: "dark", options: { colorScheme: "dark" as const } },
    { name: "on a phone", options: PHONE },
  ])("can be used by everybody: $name", ({ options }) => {
    test("axe finds no violation, and nothing is wider than the window", async () => {
      const name = uniqueName();
      await using view = await View.start([name, ...SIZE]);
      await using page = await ViewPage.open(browser, view.address, options);
      using writer = await writeFrames(name, RGB, pictureIn("rgb24", ""));
      await page.showsFact("Frame", /^1$/);
      await violationFree(page, "picture");
      writer.writeFrame(new Uint8Array(500));
      await page.shows("#dump", "000010");
      await violationFree(page, "bytes");
      await page.page.click("#go-buffers");
      await page.shows("tbody", name);
      await violationFree(page, "buffers");
      await page.page.getByRole("button", { name }).click();
      await page.shows("#details-facts", "live");
      await violationFree(page, "details");
      await page.page.keyboard.press("Escape");
      await page.page.click("#show-keys");
      await violationFree(page, "keys");
    });
  });

  /** What axe complains about, and what sticks out of the window. */
  async function violationFree({ page }: ViewPage, what: string): Promise<void> {
    // The page's own policy keeps scripts out: axe comes as the browser's.
    await page.evaluate(axe.source);
    const violations = await page.evaluate(`axe.run().then(({ violations }) =>
      violations.map(({ id, nodes }) => id + ": " + nodes.map(({ html }) => html.slice(0, 120)).join(" ")))`);
    const overhang = await page.evaluate("Math.max(0, document.documentElement.scrollWidth - innerWidth)");
    expect({ what, violations, overhang }).toEqual({ what, violations: [], overhang: 0 });
  }
});
