import { expect, test } from "bun:test";
import * as api from "../../../src/core/index.ts";

/** The error classes that programs catch, by their names. */
const classes = Object.entries(api).filter(
  ([, value]) => typeof value === "function" && value.prototype instanceof api.ZeroBufferError,
) as [string, new (...args: unknown[]) => api.ZeroBufferError][];

const WITH_REASON = ["BufferFullError", "ReaderDeadError", "WriterDeadError"];

test("there is a class for each code but those of streams and bugs, and each has a code of its own", () => {
  const codes = classes.map(([name, type]) =>
    WITH_REASON.includes(name) ? new type("left", "message").code : new type("message").code,
  );
  expect(codes.length).toBe(17);
  expect([...codes, "IO_ERROR", "INTERNAL"].sort()).toEqual([...api.ERROR_CODES].sort());
});

test.each(classes)("%s tells its name, what happened, the buffer, the advice and the cause", (name, type) => {
  const cause = new Error("the system");
  const details = { buffer: "video", hint: "Do it again.", cause };
  const hasReason = WITH_REASON.includes(name);
  const error = hasReason ? new type("left", "It failed.", details) : new type("It failed.", details);
  expect(error).toBeInstanceOf(Error);
  expect(error).toBeInstanceOf(api.ZeroBufferError);
  expect(error).toMatchObject({
    ...details,
    name,
    message: "It failed.",
    ...(hasReason && { reason: "left" }),
  });
  expect(error.stack).toContain("errors.test.ts");
});

test("the reasons of an error are types that a program can compare", () => {
  const full: "timeout" | "signal" = new api.BufferFullError("signal", "message").reason;
  const reader: "left" | "died" = new api.ReaderDeadError("died", "message").reason;
  const writer: "left" | "died" = new api.WriterDeadError("left", "message").reason;
  expect([full, reader, writer]).toEqual(["signal", "died", "left"]);
});
