// Opens the page in the user's browser.

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Descriptor, isTerminal } from "../../cli/terminal.ts";

/** What opens a file as if it were clicked. */
const OPENERS: Readonly<Record<string, readonly string[]>> = {
  darwin: ["open"],
  win32: ["rundll32", "url.dll,FileProtocolHandler"],
  linux: ["xdg-open"],
};

/** Whether somebody is there who can see a browser: at a terminal, with a display. */
export async function hasOnlooker(): Promise<boolean> {
  const { DISPLAY, WAYLAND_DISPLAY } = process.env;
  const hasDisplay = process.platform !== "linux" || Boolean(DISPLAY || WAYLAND_DISPLAY);
  return hasDisplay && (await isTerminal(Descriptor.STDOUT));
}

/**
 * Opens an address, by a file that goes to it: command lines, in which the token would be, can be read by every user.
 *
 * @param onFailure is told why it could not be opened, and may be told much later.
 * @returns the file, for as long as the browser may read it.
 */
export function openPage(address: string, onFailure: (reason: string) => void): Disposable {
  const directory = mkdtempSync(join(tmpdir(), "zerobuffer-view-"));
  const path = join(directory, "view.html");
  writeFileSync(path, `<!doctype html><meta http-equiv="refresh" content="0;url=${address}">`, {
    mode: 0o600,
  });
  chmodSync(path, 0o600);
  const opener = OPENERS[process.platform] ?? OPENERS.linux ?? [];
  try {
    const child = Bun.spawn([...opener, path], { stdio: ["ignore", "ignore", "ignore"] });
    child.unref();
    void child.exited.then((code) => {
      if (code !== 0) onFailure(`${opener[0]} ended with code ${code}`);
    });
  } catch {
    onFailure(`there is no ${opener[0]}`);
  }
  return { [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }) };
}
