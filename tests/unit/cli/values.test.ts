import { afterEach, describe, expect, test } from "bun:test";
import { hintFor, parseArguments, scanArguments } from "../../../src/cli/arguments.ts";
import { CommandError } from "../../../src/cli/failure.ts";
import {
  bufferName,
  choice,
  duration,
  flag,
  integer,
  path,
  permissions,
  rate,
  size,
  text,
} from "../../../src/cli/options.ts";
import { formatSize, parseDuration, parseEndpoint, parseSize } from "../../../src/cli/values.ts";

const common = { group: "Test", description: "for the test" };

const options = {
  buffer: bufferName("the buffer"),
  frames: integer({ ...common, alias: "n", default: 7, min: 0 }),
  size: size({ ...common, alias: "s", default: 1024, min: 1, max: 2 ** 32 }),
  timeoutMs: duration({ ...common, default: 5000, zeroIsForever: true }),
  delayMs: duration({ ...common, default: 0 }),
  rate: rate(common),
  pattern: choice(["zero", "ones"], { ...common, default: "zero", valueHint: "PATTERN" }),
  metadata: text({ ...common, alias: "m" }),
  input: path({ ...common, alias: "i", dash: true }),
  metadataFile: path(common),
  mode: permissions(common),
  jsonOutput: flag(common),
  verbose: flag({ ...common, alias: "v" }),
};

const parse = (...argv: string[]) => parseArguments(scanArguments(argv, options), options, "See --help.");

async function refusal(...argv: string[]): Promise<CommandError> {
  const error = await parse(...argv).then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(error instanceof CommandError))
    throw new Error(`accepted, or failed otherwise: ${argv.join(" ")}: ${error}`);
  expect(error.code).toBe("USAGE");
  return error;
}

describe("what is not given", () => {
  test("has its default, typed", async () => {
    expect(await parse("video")).toEqual({
      buffer: "video",
      frames: 7,
      size: 1024,
      timeoutMs: 5000,
      delayMs: 0,
      rate: undefined,
      pattern: "zero",
      metadata: undefined,
      input: undefined,
      metadataFile: undefined,
      mode: undefined,
      jsonOutput: false,
      verbose: false,
    });
  });

  test("is refused if it is a positional argument", async () => {
    expect((await refusal("-n", "5")).message).toContain("<buffer>");
  });
});

describe("an option's value", () => {
  test.each([[["-n", "5"]], [["-n5"]], [["--frames", "5"]], [["--frames=5"]], [["-vn5"]], [["-vn", "5"]]])(
    "can be written as %p",
    async (argv) => {
      expect((await parse("video", ...argv)).frames).toBe(5);
      expect((await parse(...argv, "video")).frames).toBe(5);
    },
  );

  test("may contain an equals sign, or be a dash", async () => {
    expect((await parse("video", "--metadata=a=b")).metadata).toBe("a=b");
    expect((await parse("video", "-m", "a=b")).metadata).toBe("a=b");
    expect((await parse("video", "-i", "-")).input).toBe("-");
    expect((await parse("video", "-i-")).input).toBe("-");
    expect((await parse("video", "--input=-")).input).toBe("-");
  });

  test("may start with a dash where it is attached", async () => {
    expect((await parse("video", "--metadata=--frames")).metadata).toBe("--frames");
  });

  test.each([
    [["-n"]],
    [["--frames"]],
    [["-n", "--verbose"]],
    [["--metadata", "-v"]],
    [["-n", "--"]],
    [["--frames="]],
    [["-n", ""]],
  ])("is missing in %p", async (argv) => {
    const { message } = await refusal("video", ...argv);
    expect(message).toMatch(/^Option (-n|--frames|--metadata) (needs a value: it )?takes? (a|whole)/);
  });

  test("does not follow a short option with an equals sign", async () => {
    expect((await refusal("video", "-n=5")).message).toContain('without "="');
  });

  test("is not for a flag", async () => {
    expect((await refusal("video", "--verbose=true")).message).toBe("Option --verbose takes no value.");
  });

  test("that is given again holds", async () => {
    expect((await parse("video", "-n", "many", "--frames=6", "-n7")).frames).toBe(7);
    expect((await parse("video", "-v", "--verbose")).verbose).toBe(true);
    expect((await refusal("video", "-n7", "-n", "many")).message).toContain('not "many"');
  });
});

describe("whole numbers", () => {
  test.each([
    "abc",
    "1e3",
    "-5",
    "5.5",
    " 5",
    "5 ",
    "0x10",
    "+5",
    "NaN",
    "Infinity",
    "9007199254740993",
    "5,000",
    "٥",
    "1k",
    "1KB",
    "1.0005K",
    "9007200G",
    "K",
  ])("%p is refused", async (value) => {
    const { message } = await refusal("video", "--frames", value);
    expect(message).toBe(
      `Option --frames takes a whole number from 0 to 9007199254740991, not ${JSON.stringify(value)}.`,
    );
  });
});

test("a count may have a suffix for a power of 1000", async () => {
  for (const [value, count] of [
    ["2K", 2000],
    ["1.5M", 1_500_000],
    ["3G", 3_000_000_000],
  ] as const) {
    expect((await parse("video", "-n", value)).frames).toBe(count);
  }
});

describe("a default", () => {
  const variable = "ZEROBUFFER_TIMEOUT_MS";
  afterEach(() => {
    delete process.env[variable];
  });

  test("comes from the environment, and gives way to the option", async () => {
    process.env[variable] = "2s";
    expect((await parse("video")).timeoutMs).toBe(2000);
    expect((await parse("video", "--timeout-ms", "3s")).timeoutMs).toBe(3000);
    process.env[variable] = "0";
    expect((await parse("video")).timeoutMs).toBe(Number.POSITIVE_INFINITY);
    process.env[variable] = "";
    expect((await parse("video")).timeoutMs).toBe(5000);
  });

  test("from the environment is checked as the option is", async () => {
    process.env[variable] = "soon";
    expect((await refusal("video")).message).toMatch(
      /^Variable ZEROBUFFER_TIMEOUT_MS takes milliseconds .*, not "soon"\.$/,
    );
    expect((await parse("video", "--timeout-ms", "3s")).timeoutMs).toBe(3000);
  });
});

describe("sizes", () => {
  test.each([
    ["1", 1],
    ["1024", 1024],
    ["1KiB", 1024],
    ["2K", 2048],
    ["64M", 67_108_864],
    ["1.5G", 1_610_612_736],
    ["64MiB", 67_108_864],
    ["4GiB", 4_294_967_296],
    ["1KB", 1000],
    ["2MB", 2_000_000],
    ["1GB", 1_000_000_000],
    ["1.5KiB", 1536],
    ["1.001KB", 1001],
  ])("%p is %p bytes", async (value, bytes) => {
    expect((await parse("video", "-s", value)).size).toBe(bytes);
  });

  test.each([
    "",
    "0",
    "-5",
    "1.5",
    "5 apples",
    "5apples",
    "5 KiB",
    " 5",
    "1e3",
    "1e3KiB",
    "0.3KiB",
    "1k",
    "1kib",
    "1TiB",
    "1B",
    "KiB",
    "NaN",
    "Infinity",
    "5GiB",
    "99999999999999999999GiB",
    "1_000",
  ])("%p is refused", async (value) => {
    expect((await refusal("video", `--size=${value}`)).message).toContain(
      "Option --size takes a size from 1 to 4GiB",
    );
  });

  test("are shown as they can be written", () => {
    for (const bytes of [1, 1000, 1024, 4096, 16_384, 2 ** 20, 3 * 2 ** 29, 2 ** 28, 2 ** 32, 10 ** 6]) {
      expect(parseSize(formatSize(bytes), 0, 2 ** 48)).toBe(bytes);
    }
  });
});

describe("times", () => {
  test.each([
    ["250", 250],
    ["1.5", 1.5],
    ["500us", 0.5],
    ["250ms", 250],
    ["2s", 2000],
    ["1.5s", 1500],
    ["2m", 120_000],
    ["0s", 0],
  ])("%p is %p milliseconds", async (value, milliseconds) => {
    expect((await parse("video", "--delay-ms", value)).delayMs).toBe(milliseconds);
  });

  test.each([
    "",
    "-5",
    "1h",
    "5 s",
    "1m30s",
    "1e3",
    "s",
    "5sec",
    "NaN",
    "2147483648",
    "99999m",
    " 5",
    "1,5s",
  ])("%p is refused", async (value) => {
    const { message } = await refusal("video", `--delay-ms=${value}`);
    expect(message).toContain(
      "Option --delay-ms takes milliseconds up to 2147483647, or a number with us, ms, s or m",
    );
  });

  test("0 waits for ever where the option says so", async () => {
    expect((await parse("video", "--timeout-ms", "0")).timeoutMs).toBe(Number.POSITIVE_INFINITY);
    expect((await parse("video", "--timeout-ms", "0s")).timeoutMs).toBe(Number.POSITIVE_INFINITY);
    expect(parseDuration("0")).toBe(0);
  });
});

describe("other values", () => {
  test("a rate is a number above 0", async () => {
    expect((await parse("video", "--rate", "29.97")).rate).toBe(29.97);
    for (const value of ["0", "-1", "1e3", "fast", "0.0"]) await refusal("video", "--rate", value);
  });

  test("a choice is one of the words", async () => {
    expect((await parse("video", "--pattern", "ones")).pattern).toBe("ones");
    expect((await refusal("video", "--pattern", "two")).message).toBe(
      'Option --pattern takes zero or ones, not "two".',
    );
  });

  test.each([
    ["9464", "127.0.0.1", 9464],
    ["0", "127.0.0.1", 0],
    ["0.0.0.0:65535", "0.0.0.0", 65_535],
    ["localhost:80", "localhost", 80],
    ["[::1]:9464", "::1", 9464],
  ])("%p is a place to listen", (text, host, port) => {
    expect(parseEndpoint(text)).toEqual({ host, port });
  });

  test.each([
    "",
    ":",
    ":80",
    "host",
    "host:",
    "host:-1",
    "65536",
    "::1:80",
    "[::1]",
    "http://host:80",
    "a b:80",
    "1e3",
  ])("%p is no place to listen", (text) => {
    expect(parseEndpoint(text)).toBeUndefined();
  });

  test("permissions are octal", async () => {
    expect((await parse("video", "--mode", "0660")).mode).toBe(0o660);
    expect((await parse("video", "--mode", "600")).mode).toBe(0o600);
    for (const value of ["0888", "66", "1777", "0o660", "rw", "-600"])
      await refusal("video", `--mode=${value}`);
  });

  test("a path is not empty, and - only where that means stdin or stdout", async () => {
    expect((await parse("video", "--metadata-file", "a b")).metadataFile).toBe("a b");
    await refusal("video", "--input=");
    await refusal("video", "--metadata-file", "-");
  });
});

describe("unknown arguments", () => {
  test.each([
    ["--framse", "--frames"],
    ["--frame", "--frames"],
    ["--timeout", "--timeout-ms"],
    ["--json", "--json-output"],
    ["--no-verbose", "--verbose"],
    ["--sise=5", "--size"],
    ["--timeoutMs", "--timeout-ms"],
  ])("%p: did you mean %p?", async (argument, meant) => {
    const error = await refusal("video", argument);
    expect(error.message).toContain(`Unknown option ${argument.split("=")[0]}`);
    expect(error.hint).toBe(`Did you mean ${meant}?`);
  });

  test.each(["--xyzzy", "-x", "-vx", "---", "--toString", "--__proto__", "--buffer"])(
    "%p is refused without a guess",
    async (argument) => {
      expect((await refusal("video", argument)).hint).toBe("See --help.");
    },
  );

  test("a surplus positional argument is refused", async () => {
    expect((await refusal("video", "audio")).message).toBe('Unexpected argument "audio".');
  });

  test("after -- everything is positional", async () => {
    expect((await parse("-n", "5", "--", "-video")).buffer).toBe("-video");
    expect((await refusal("--", "video", "-n")).message).toBe('Unexpected argument "-n".');
  });

  test("the nearest word is not just any word", async () => {
    const commands = ["writer", "reader"];
    expect(await hintFor("wrter", commands, "See --help.")).toBe("Did you mean writer?");
    expect(await hintFor("wri", commands, "See --help.")).toBe("Did you mean writer?");
    expect(await hintFor("banana", commands, "See --help.")).toBe("See --help.");
  });
});
