import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { nameIn, resolveAddresses } from "../../../src/cli/address.ts";
import { scanArguments } from "../../../src/cli/arguments.ts";
import { CommandError } from "../../../src/cli/failure.ts";
import { bufferName, bufferNames, channelName, chosenWord, size } from "../../../src/cli/options.ts";

const option = size({ group: "Test", description: "for the test", default: undefined, min: 0 });
const sizes = { bufferSize: option, metadataSize: option };
const args = { buffer: bufferName("the buffer"), ...sizes };

const resolve = (...argv: string[]) => resolveAddresses(scanArguments(argv, args), { name: "reader", args });

/** What an address says about sizes. */
const sizesOf = (query: string) => resolve(`shm://cam?${query}`).sizes.get("buffer");

describe("an address", () => {
  test("names a buffer, and its sizes", () => {
    const { positionals, sizes, ignored, problem } = resolve("shm://cam?size=256MB&metadata=4KB&mode=OneWay");
    expect(positionals).toEqual(["cam"]);
    expect([...sizes]).toEqual([["buffer", { bufferSize: 2 ** 28, metadataSize: 4096 }]]);
    expect([ignored, problem]).toEqual([[], undefined]);
  });

  test.each([
    ["size=1000", { bufferSize: 1000 }],
    ["buffer_size=1MB", { bufferSize: 2 ** 20 }],
    ["metadata_size=0", { metadataSize: 0 }],
    ["size=1.5KB", { bufferSize: 1536 }],
    ["size=2kb&METADATA=1K", { bufferSize: 2048, metadataSize: 1024 }],
    ["size=64KiB&metadata=17B", { bufferSize: 65536, metadataSize: 17 }],
    ["size=1G&metadata=1TB", { bufferSize: 2 ** 30, metadataSize: 2 ** 40 }],
    ["size=1KB&size=2KB", { bufferSize: 2048 }],
    ["size=1KB&buffer_size=3KB", { bufferSize: 3072 }],
    ["&&size=1KB&", { bufferSize: 1024 }],
    ["", {}],
  ])("with %p has these sizes", (query, expected) => {
    expect(sizesOf(query)).toEqual(expected);
  });

  test("gives way to options that are given", () => {
    const address = "shm://cam?size=1MB&metadata=1KB";
    expect(resolve(address, "--buffer-size", "7").sizes.get("buffer")).toEqual({ metadataSize: 1024 });
    expect(resolve(address, "--metadata-size", "7").sizes.get("buffer")).toEqual({ bufferSize: 2 ** 20 });
  });

  test.each([
    ["size=", "size"],
    ["size", "size"],
    ["size=abc", "size"],
    ["size=-1", "size"],
    ["size=16", "size"],
    ["size=1e6", "size"],
    ["size=1.0001KB", "size"],
    ["size=1024TB", "size"],
    ["size=256MB%20", "size"],
    ["size=25%36MB", "size"],
    ["buffer_size=1PB", "buffer_size"],
    ["Metadata=4 KB", "Metadata"],
    ["metadata_size=x&size=y", "metadata_size"],
    ["size=x&size=1KB", "size"],
    ["mode=", "mode"],
    ["mode=Both", "mode"],
    ["size=1KB=", "size"],
  ])("with %p is refused, and the message names the key", (query, key) => {
    const { problem, positionals } = resolve(`shm://cam?${query}`);
    expect(problem).toBeInstanceOf(CommandError);
    expect(problem?.code).toBe("USAGE");
    expect(problem?.message).toStartWith(`Key ${key} of address shm://cam takes `);
    expect(positionals).toEqual(["cam"]);
  });

  test("with keys that mean nothing here lists each of them once", () => {
    const { ignored, problem } = resolve("shm://cam?fps=30&fps=25&b%20c&size=1KB&=x");
    expect(problem).toBeUndefined();
    expect(ignored).toEqual(['Ignored in address shm://cam: "fps", "b%20c", "".']);
    const many = Array.from({ length: 20 }, (_, at) => `k${at}`).join("&");
    expect(resolve(`shm://cam?${many}`).ignored[0]).toEndWith('"k6", "k7" and 12 more keys.');
  });

  test("is not decoded: neither name, key nor value needs it", () => {
    expect(resolve("shm://ca%6D?s%69ze=1KB")).toMatchObject({
      positionals: ["ca%6D"],
      ignored: ['Ignored in address shm://ca%6D: "s%69ze".'],
    });
    expect(resolve("shm://cam/x#y").positionals).toEqual(["cam/x#y"]);
    expect(resolve("shm://a?size=1KB?x").problem?.message).toContain('"1KB?x"');
  });

  test("of another scheme is a name", () => {
    for (const text of ["tcp://cam?size=x", "shm:/cam", "shm:cam", "cam?size=x", "://cam"]) {
      expect(resolve(text).positionals).toEqual([text]);
      expect(resolve(text).problem).toBeUndefined();
    }
    expect(resolve("SHM://cam").positionals).toEqual(["cam"]);
    expect([nameIn("shm://cam?size=x"), nameIn("cam")]).toEqual(["cam", "cam"]);
  });

  test("of 10 KB has messages and lines of a readable length", () => {
    const long = "x".repeat(10_000);
    for (const text of [`shm://${long}?size=${long}`, `shm://${long}?${long}=1&mode=${long}`]) {
      const { problem, ignored } = resolve(text);
      expect(problem?.message.length).toBeLessThan(400);
      for (const line of ignored) expect(line.length).toBeLessThan(400);
    }
  });

  test("has no control characters in its messages and lines", () => {
    const { problem, ignored } = resolve("shm://ca\x1b[31m\n?a\x07b&size=\x1b");
    expect([problem?.message, ...ignored].join("").match(/\p{C}/u)).toBeNull();
    expect(ignored).toEqual(['Ignored in address shm://ca?[31m?: "a?b".']);
  });

  test("of any text is read or refused", () => {
    const keys = fc.constantFrom("size", "metadata", "mode", "x");
    const pair = fc.tuple(keys, fc.oneof(fc.string(), fc.stringMatching(/^\d{1,4}[KM]B$/)));
    const query = fc.array(pair).map((pairs) => pairs.map((both) => both.join("=")).join("&"));
    fc.assert(
      fc.property(fc.string(), query, (name, query) => {
        const { positionals, problem } = resolve(`shm://${name}?${query}`);
        return positionals.length === 1 && (problem === undefined || problem.code === "USAGE");
      }),
    );
  });
});

describe("the mode of an address", () => {
  const channelArgs = { channel: channelName("the channel") };
  const problemOf = (command: string, args: Parameters<typeof scanArguments>[1], text: string) =>
    resolveAddresses(scanArguments([text], args), { name: command, args }).problem;

  test.each([
    ["reader", "duplex serve"],
    ["writer", "duplex request"],
  ])("Duplex is refused by %s, which names %s", (command, counterpart) => {
    const problem = problemOf(command, args, "shm://cam?mode=Duplex");
    expect(problem).toMatchObject({
      code: "USAGE",
      message: `Key mode of address shm://cam says that it is a duplex channel, and ${command} takes one-way buffers.`,
      hint: `Run zerobuffer ${counterpart} cam, or leave the mode out.`,
    });
    expect(problemOf(command, args, "shm://cam?mode=oneway")).toBeUndefined();
  });

  test.each([
    ["duplex serve", "reader"],
    ["duplex request", "writer"],
  ])("OneWay is refused by %s, which names %s", (command, counterpart) => {
    expect(problemOf(command, channelArgs, "shm://cam?mode=OneWay")).toMatchObject({
      code: "USAGE",
      message: `Key mode of address shm://cam says that it is a one-way buffer, and ${command} takes a duplex channel.`,
      hint: `Run zerobuffer ${counterpart} cam, or leave the mode out.`,
    });
    expect(problemOf(command, channelArgs, "shm://cam?mode=DUPLEX")).toBeUndefined();
  });

  test("Duplex is refused by other commands, which name the two buffers", () => {
    expect(problemOf("inspect", args, "shm://cam?mode=Duplex")?.hint).toBe(
      "Name one of the two buffers of the channel: cam_request or cam_response.",
    );
  });
});

test("every argument that names a buffer may be an address, and no other", () => {
  const args = { input: bufferName("one"), names: bufferNames("others", "none"), ...sizes };
  const scan = scanArguments(["shm://a?size=1KB", "shm://b?size=2KB", "c", "shm://d"], args);
  const { positionals, sizes: found } = resolveAddresses(scan, { name: "relay", args });
  expect(positionals).toEqual(["a", "b", "c", "d"]);
  expect(found.get("input")).toEqual({ bufferSize: 1024 });
  const words = { word: chosenWord(["a", "b"], "a word", "none") };
  expect(
    resolveAddresses(scanArguments(["shm://a"], words), { name: "bench", args: words }).positionals,
  ).toEqual(["shm://a"]);
});
