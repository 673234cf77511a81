import { expect, test } from "bun:test";
import { cmdCommand } from "../../../src/commands/duplex/shell.ts";

test("cmd.exe gets a command line between two quotes of its own, and nothing in it is changed", () => {
  const line = '"C:\\Program Files\\model.exe" "a & b" c^&d %NAME% "say ""hi"""';
  expect(cmdCommand(line, "D:\\Windows")).toEqual([
    "D:\\Windows\\System32\\cmd.exe",
    "/d",
    "/s",
    "/c",
    `"${line}"`,
  ]);
});
