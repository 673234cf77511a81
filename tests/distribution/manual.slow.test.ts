// Needs mandoc.

import { expect, test } from "bun:test";
import { manual } from "../../scripts/binaries/manual.ts";
import { Child } from "../support/process.ts";

test("mandoc finds no fault in the manual page", async () => {
  const page = Buffer.from(await manual(new Date()));
  await using mandoc = Child.program(["mandoc", "-Tlint", "-Wwarning"], { stdin: page });
  const { code, stdout } = await mandoc.exited();
  expect([code, stdout.toString()]).toEqual([0, ""]);
});
