import { describe, expect, test } from "bun:test";
import { checkName } from "../../../../src/core/buffer/names.ts";
import { InvalidNameError, Reader, Writer } from "../../../../src/core/index.ts";
import { filesOfBuffers, openDescriptors, thrownBy } from "../../../support/buffers.ts";

describe("a buffer name", () => {
  for (const name of ["a", "cam", "A.b_c-9", "x".repeat(245), "semaphore", "a.lock"]) {
    test(`${JSON.stringify(name.slice(0, 20))} (${name.length} bytes) is accepted`, () => {
      expect(() => checkName(name)).not.toThrow();
    });
  }

  const refused = [
    "",
    ".",
    "..",
    ".x",
    "-x",
    "../x",
    "/abs",
    "a/b",
    "a\0b",
    "a\nb",
    "é",
    "😀",
    "a b",
    "sem.x",
    "x".repeat(246),
  ];
  for (const name of refused) {
    test(`${JSON.stringify(name.slice(0, 20))} (${name.length} bytes) is refused before anything is touched`, () => {
      const before = [filesOfBuffers(), openDescriptors()];
      for (const open of [() => new Reader(name), () => new Writer(name)]) {
        const error = thrownBy(open) as InvalidNameError;
        expect(error).toBeInstanceOf(InvalidNameError);
        expect(error.code).toBe("INVALID_NAME");
        expect(error.hint).toContain("A-Z a-z 0-9");
      }
      expect([filesOfBuffers(), openDescriptors()]).toEqual(before);
    });
  }

  test.each([10n, 5, null, undefined, {}, Symbol("x")])(
    "what is no string is refused as well (%p)",
    (name) => {
      expect(() => checkName(name as string)).toThrow(InvalidNameError);
    },
  );
});
