import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { root } from "../../scripts/build-native.ts";
import { bufferMade, uniqueName } from "../support/buffers.ts";
import { Child } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";

const stray = join(import.meta.dir, "fixtures", "stray.ts");

/** The command line from source, with an error that nothing handles at SIGUSR2. */
function start(how: string, args: readonly string[]): Child {
  const command = [process.execPath, "--preload", stray, join(root, "src", "main.ts"), ...args];
  return Child.program(command, { env: { STRAY: how } });
}

describe("an error that nothing handles", () => {
  for (const how of ["thrown", "rejected", "of another kind", "with a code"]) {
    test(`${how}, is reported as a bug with code 70, and everything is closed`, async () => {
      const name = uniqueName();
      await using reader = start(how, ["reader", name, "--buffer-size", "1MiB", "--json-output"]);
      await bufferMade(name);
      reader.kill("SIGUSR2");
      const { code, document, stderr } = await reader.report();
      expect(code).toBe(70);
      expectValid("reader", document);
      expect(document.error).toMatchObject({ code: "INTERNAL", message: "astray" });
      expect(document.errors).toEqual(["astray"]);
      expect(stderr).toContain("zerobuffer reader: astray\n  This is a bug in zerobuffer.");
      // Bun quotes source text as numbered lines.
      expect(stderr).not.toMatch(/^\d+ \| /m);
    });
  }

  test("ends a server and the program of its --exec", async () => {
    const server = ["duplex", "serve", uniqueName(), "--buffer-size", "1MiB", "--exec", "cat", "-v"];
    await using child = start("rejected", server);
    await child.logged('Started "cat"');
    child.kill("SIGUSR2");
    const { code, stdout, stderr } = await child.exited();
    expect([code, stdout.toString()]).toEqual([70, ""]);
    expect(stderr).toContain("zerobuffer duplex serve: astray\n");
  });
});
