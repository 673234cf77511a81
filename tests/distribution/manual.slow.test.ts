// Needs mandoc.

import { expect, test } from "bun:test";
import { manual } from "../../scripts/binaries/manual.ts";

test("mandoc finds no fault in the manual page", async () => {
  const child = Bun.spawn(["mandoc", "-Tlint", "-Wwarning"], {
    stdin: new Blob([await manual(new Date())]),
    stdout: "pipe",
  });
  expect(await child.stdout.text()).toBe("");
  expect(await child.exited).toBe(0);
});
