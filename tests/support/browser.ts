// A real browser for the tests of view: Chromium without a window.

import { type Browser, chromium } from "playwright-core";

const PROGRAM = Bun.which("chromium") ?? Bun.which("chromium-browser") ?? Bun.which("google-chrome");

/** Whether there is a browser to test with. */
export const canBrowse = PROGRAM !== null;
if (!canBrowse) console.error("chromium is not installed: the tests of view in a browser are skipped.");

/** Its options where there is no graphics processor, no sandbox and little shared memory. */
const OPTIONS = ["--no-sandbox", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage"];

/** Starts a browser. Close it at the end. */
export async function openBrowser(...options: readonly string[]): Promise<Browser> {
  return await chromium.launch({
    executablePath: PROGRAM ?? "chromium",
    args: [...OPTIONS, ...options],
    // Signals are for the tests' own processes.
    ...{ handleSIGHUP: false, handleSIGINT: false, handleSIGTERM: false },
  });
}
