// Takes the golden picture of the formats that view shows: the test picture in each of them, as the page draws it.

import type { Browser } from "playwright-core";
import { placeOf, SCALE, SHEET, SHEET_SIZE } from "../../tests/support/golden.ts";
import { FORMATS, isYuv, PICTURE, pictureIn } from "../../tests/support/pictures.ts";
import { View, ViewPage, writeFrames } from "../../tests/support/view.ts";

const { width, height } = PICTURE;

/** What draws a picture on the sheet, with the name of its format below. */
const DRAW = `({ format, left, top, width, height, scale, data }) => {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  canvas.getContext("2d").putImageData(new ImageData(Uint8ClampedArray.from(data), width, height), 0, 0);
  const name = Object.assign(document.createElement("p"), { textContent: format });
  canvas.style.cssText =
    \`position: absolute; image-rendering: pixelated; left: \${left}px; top: \${top}px; width: \${width * scale}px\`;
  name.style.cssText =
    \`position: absolute; margin: 0; left: \${left}px; top: \${top + height * scale + 2}px; font: 13px sans-serif\`;
  document.body.append(canvas, name);
}`;

/** Takes the sheet, see {@link SHEET}. */
export async function takeFormats(browser: Browser): Promise<void> {
  const sheet = await browser.newPage({ viewport: SHEET_SIZE });
  await using view = await View.start(["preview", "--buffer-size", "1MiB"]);
  await using page = await ViewPage.open(browser, view.address);
  for (const [at, format] of FORMATS.entries()) {
    const caps = `video/x-raw, format=${format}, width=${width}, height=${height}, colorimetry=bt601`;
    const frames = Array.from({ length: 1 + (at % 2) }, () =>
      pictureIn(format, isYuv(format) ? "bt601" : ""),
    );
    using _ = await writeFrames("preview", { caps }, ...frames);
    await page.showsFact("Frame", new RegExp(`^${frames.length}$`));
    const picture = { format, scale: SCALE, ...placeOf(format), ...(await page.pixels()) };
    await sheet.evaluate(`(${DRAW})(${JSON.stringify(picture)})`);
  }
  await sheet.screenshot({ path: SHEET });
  await sheet.close();
}
