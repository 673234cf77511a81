import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { version as packageVersion } from "../../package.json";
import { root } from "../../scripts/build-native.ts";
import { Reader } from "../../src/core/index.ts";
import { uniqueName } from "../support/buffers.ts";
import { Child, run, runJson, runOnTerminal } from "../support/process.ts";
import { expectValid } from "../support/schemas.ts";
import { ask } from "./channels.ts";

describe("a usage error", () => {
  test("is one line on stderr, nothing on stdout, and code 3", async () => {
    const { code, stdout, stderr } = await run("writer", uniqueName(), "--framse", "5");
    expect(code).toBe(3);
    expect(stdout.length).toBe(0);
    expect(stderr).toBe("zerobuffer writer: Unknown option --framse. Did you mean --frames?\n");
  });

  test.each(["--quiet", "--json-output", "--version", "-n"])("is %s before the command", async (option) => {
    for (const command of ["list", "duplex request"]) {
      const { code, stdout, stderr } = await run(option, "5", ...command.split(" "));
      expect(code).toBe(3);
      expect(stdout.toString() || stderr).toContain(`Option ${option} must come after the command.`);
      expect(stderr).toContain(`See zerobuffer ${command} --help.`);
    }
  });

  test("names the option and what it takes", async () => {
    const { code, stderr } = await run("reader", uniqueName(), "--batch-size", "0");
    expect(code).toBe(3);
    expect(stderr).toBe(
      'zerobuffer reader: Option --batch-size takes a whole number from 1 to 9007199254740991, not "0". See zerobuffer reader --help.\n',
    );
  });

  test("is one JSON object on stdout with --json-output, wherever that stands", async () => {
    const name = uniqueName();
    const { code, document } = await runJson("writer", name, "--framse");
    expect(code).toBe(3);
    expect(document.operation).toBe("write");
    expect(document.buffer_name).toBe(name);
    expect(document.error).toEqual({
      code: "USAGE",
      message: "Unknown option --framse.",
      hint: "Did you mean --frames?",
    });
    expect(document.errors).toEqual(["Unknown option --framse."]);
    const attached = await run("writer", name, "--json-output=yes");
    expect(JSON.parse(attached.stdout.toString()).error.code).toBe("USAGE");
  });

  test("is JSON on stderr alone where the frames own stdout", async () => {
    for (const output of [["-o", "-"], ["-o-"], ["--output=-"], ["--output", "-"]]) {
      const { code, stdout, stderr } = await run(
        "reader",
        uniqueName(),
        "--json-output",
        "--nosuch",
        ...output,
      );
      expect(code).toBe(3);
      expect(stdout.length).toBe(0);
      expect(JSON.parse(stderr).error.code).toBe("USAGE");
    }
  });

  test.each(["metadata", "metadata-file", "input"])("is bytes in --%s that are not UTF-8", async (option) => {
    const shell = `exec "$@" --${option} "$(printf 'a\\377\\303b')"`;
    await using child = Child.cli(["writer", uniqueName(), "--connect-timeout-ms", "0"], { shell });
    const { code, stdout, stderr } = await child.exited();
    expect([code, stdout.length]).toEqual([3, 0]);
    expect(stderr).toStartWith(`zerobuffer writer: Option --${option} takes UTF-8, and no character U+FFFD.`);
    expect(stderr.includes("--metadata-file.")).toBe(option === "metadata");
  });

  test("in the arguments is found before anything else is touched", async () => {
    const { code, stderr } = await run("writer", uniqueName(), "--input", "/nonexistent", "--rate", "fast");
    expect(code).toBe(3);
    expect(stderr).toContain("--rate");
  });

  test.each([
    [["--input", "-", "--pattern", "zero"]],
    [["--metadata", "a", "--metadata-file", "/dev/null"]],
    [["--metadata-file", "/dev/null"]],
  ])("is that %p contradict each other or say nothing", async (argv) => {
    const { code, document } = await runJson("writer", uniqueName(), ...argv);
    expect(code).toBe(3);
    expect(document.error.code).toBe("USAGE");
  });

  test("is a name that no buffer can have", async () => {
    for (const name of ["../x", "/abs", "", ".", "sem.x", "a b", "ü", "x".repeat(246)]) {
      const { code, document } = await runJson("writer", name, "--connect-timeout-ms", "0");
      expect(document.error.code).toBe("INVALID_NAME");
      expect(code).toBe(3);
    }
    const { code, stdout } = await run("writer", "--json-output", "--", "-x");
    expect(JSON.parse(stdout.toString()).error.code).toBe("INVALID_NAME");
    expect(code).toBe(3);
  });
});

describe("the program", () => {
  test("without a command shows the help", async () => {
    const { stdout: help } = await run("--help");
    for (const args of [[], ["help"], ["-h"]]) {
      const { code, stdout, stderr } = await run(...args);
      expect([code, stdout.toString(), stderr]).toEqual([0, help.toString(), ""]);
    }
    expect((await runJson()).document.operation).toBe("help");
  });

  test.each([["writer"], ["duplex"], ["duplex serve"]])(
    "shows the help of %p after the word help",
    async (name) => {
      const { code, stdout, stderr } = await run("help", ...name.split(" "));
      const asked = await run(...name.split(" "), "--help");
      expect([code, stdout.toString(), stderr]).toEqual([0, asked.stdout.toString(), ""]);
      expect(stdout.toString()).toContain(`zerobuffer ${name} <`);
    },
  );

  test.each([
    [["help", "wrtier"], 'Unknown command "wrtier". Did you mean writer?'],
    [["help", "duplex", "sreve"], "duplex needs a subcommand: serve or request. Did you mean serve?"],
    [["help", "writer", "--nosuch"], "Unknown option --nosuch."],
    [["version", "now"], 'Unexpected argument "now".'],
    [["hlep"], 'Unknown command "hlep". Did you mean help?'],
  ])("refuses %p", async (args, message) => {
    const { code, stdout, stderr } = await run(...args);
    expect([code, stdout.length]).toEqual([3, 0]);
    expect(stderr).toStartWith(`zerobuffer: ${message}`);
  });

  test("knows the nearest command to a mistyped one", async () => {
    const { code, stderr } = await run("wrtier", "video");
    expect(code).toBe(3);
    expect(stderr).toBe('zerobuffer: Unknown command "wrtier". Did you mean writer?\n');
  });

  test.each(["toString", "__proto__", "constructor"])("does not take %p for a command", async (name) => {
    const { code, document } = await runJson(name);
    expect(code).toBe(3);
    expect(document.error.message).toBe(`Unknown command "${name}".`);
    expect(document.operation).toBeNull();
  });

  test("wants the command first", async () => {
    const { code, document } = await runJson("-v");
    expect(code).toBe(3);
    expect(document.error.message).toBe("Unknown option -v.");
    expect((await run("--json-output", "writer", "video")).code).toBe(3);
  });

  test("tells its version", async () => {
    const { code, stdout, stderr } = await run("--version");
    expect(code).toBe(0);
    expect(stderr).toBe("");
    for (const same of ["version", "-V"]) expect((await run(same)).stdout).toEqual(stdout);
    const { document } = await runJson("--version");
    const { version, target, commit, protocol, bun } = document;
    expect(document).toEqual({ operation: "version", version, commit, protocol, target, bun, errors: [] });
    expect(stdout.toString()).toBe(
      `zerobuffer ${version} (${target}, commit ${commit}, protocol ${protocol}, Bun ${bun})\n`,
    );
    expect(version).toBe(packageVersion);
    expect(bun).toBe(Bun.version);
    expect(target).toMatch(/^(linux|darwin|windows)-(x64|arm64)(-baseline)?(-musl)?$/);
  });

  test("shows its licence, and those of what is inside", async () => {
    const { code, stdout, stderr } = await run("--licenses");
    expect([code, stderr]).toEqual([0, ""]);
    const [own, others] = ["LICENSE", "THIRD-PARTY-NOTICES.txt"].map((name) =>
      readFileSync(join(root, name), "utf8"),
    );
    expect(stdout.toString()).toBe(`${own}\n${others}`);
    const { document } = await runJson("--licenses");
    expect(document).toEqual({ operation: "licenses", licenses: stdout.toString(), errors: [] });
  });

  test("tells the version of the protocol that a buffer of its own has", async () => {
    const name = uniqueName();
    using _ = new Reader(name, { payloadSize: 4096 });
    const { document } = await runJson("inspect", name);
    expect((await runJson("--version")).document.protocol).toBe(document.oieb.version);
  });
});

describe("help", () => {
  test.each([[["--help"]], [["-h"]], [["writer", "--help"]], [["reader", "-h", "--nosuch"]]])(
    "for %p goes to stdout, without colour, with code 0",
    async (argv) => {
      const { code, stdout, stderr } = await run(...argv);
      expect(code).toBe(0);
      expect(stderr).toBe("");
      expect(stdout.toString()).toContain("Usage\n  zerobuffer ");
      expect(stdout.toString()).not.toContain("\x1b");
    },
  );

  test("of a command names every option with its default, the exit codes and examples", async () => {
    const { stdout } = await run("reader", "--help");
    const text = stdout.toString();
    const flags = [
      ..."--frames --size --verify --checksum --batch-size --follow --output --framing".split(" "),
      ..."--metadata-output --buffer-size --metadata-size --mode --connect-timeout-ms".split(" "),
      ..."--timeout-ms --json-output --quiet --verbose --help".split(" "),
    ];
    for (const flag of flags) expect(text).toMatch(new RegExp(`^  (-\\w, |    )${flag}( |$)`, "m"));
    expect(text).toContain("(default 256MiB)");
    expect(text).toContain("Exit codes\n");
    expect(text).toContain("Examples\n");
    for (const line of text.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
  });

  test("of the program lists the commands", async () => {
    const { stdout } = await run("--help");
    for (const name of ["writer", "reader", "relay", "duplex serve", "duplex request"]) {
      expect(stdout.toString()).toMatch(new RegExp(`^  ${name} +\\w`, "m"));
    }
  });

  test("is in colour on a terminal, unless NO_COLOR is set", async () => {
    const coloured = await runOnTerminal(["writer", "--help"]);
    expect(coloured.code).toBe(0);
    expect(coloured.output).toContain("\x1b[1mUsage\x1b[22m");
    const plain = await runOnTerminal(["writer", "--help"], { env: { NO_COLOR: "1" } });
    expect(plain.output).toContain("Usage");
    expect(plain.output).not.toContain("\x1b");
  });
});

describe("help of a group", () => {
  test("lists its commands, on stdout and with code 0", async () => {
    const { code, stdout, stderr } = await run("duplex", "--help");
    expect([code, stderr]).toEqual([0, ""]);
    expect((await run("duplex")).stdout).toEqual(stdout);
    const page = stdout.toString();
    expect(page).toContain("duplex serve ");
    expect(page).toContain("duplex request ");
    expect(page).not.toContain("writer ");
  });

  test("is not given for a word that is no command", async () => {
    expect((await run("wrtier", "--help")).code).toBe(3);
    expect((await run("duplex", "serv", "--help")).code).toBe(3);
  });
});

test("the list of commands has one sentence of each", async () => {
  const { stdout } = await run("--help");
  const clean = stdout
    .toString()
    .split("\n")
    .find((line) => line.startsWith("  clean "));
  expect(clean).toEndWith("with their semaphores and locks.");
});

test("a duration that is too long is refused with the longest there is", async () => {
  const { code, stderr } = await run("writer", uniqueName(), "--timeout-ms", "99999999999");
  expect(code).toBe(3);
  expect(stderr).toContain("takes milliseconds up to 2147483647, or a number with us, ms, s or m");
});

describe("arguments", () => {
  test.each([
    [["list", "surplus"]],
    [["list", "--interval", "1"]],
    [["list", "--interval-ms", "x"]],
    [["inspect"]],
    [["inspect", "a", "b"]],
    [["inspect", "a", "--interval-ms", "-1"]],
    [["clean", "--dryrun"]],
    [["clean", "--dry-run=yes"]],
    [["doctor", "--fix"]],
  ])("%p are refused with code 3", async (args) => {
    const { code, document } = await runJson(...args);
    expect([code, expectValid(args[0] as "list", document).error.code]).toEqual([3, "USAGE"]);
  });

  test("have help", async () => {
    expect((await run("clean", "--help")).stdout.toString()).toContain("zerobuffer clean [names…] [options]");
    for (const command of ["list", "inspect", "doctor"]) expect((await run(command, "--help")).code).toBe(0);
  });
});

describe("the arguments", () => {
  test.each([
    [["duplex", "sreve"], "Did you mean serve?"],
    [["duplex", "serve"], "<channel> is missing"],
    [["duplex", "serve", "c", "--handler", "upper"], "--handler"],
    [["duplex", "serve", "c", "--xor-key", "256"], "--xor-key"],
    [["duplex", "serve", "c", "--exec", "x", "--handler", "xor"], "--exec and --handler"],
    [["duplex", "serve", "c", "--exec", "x", "--mode", "mutable"], "--exec and --mode mutable"],
    [["duplex", "serve", "c", "--workers", "0"], "--workers"],
    [["duplex", "request", "c", "--in-flight", "0"], "--in-flight"],
    [["duplex", "request", "c", "-i", "-", "--pattern", "zero"], "--input and --pattern"],
    [["duplex", "request", "c", "--verify", "sequential"], "--verify"],
  ])("%p are refused with code 3", async (argv, text) => {
    const { code, stderr } = await run(...argv);
    expect(code).toBe(3);
    expect(stderr).toContain(text);
    expect(stderr.trimEnd().split("\n").length).toBe(1);
  });

  test("name a channel that leaves room for the names of its buffers", async () => {
    const { code, document } = await ask("c".repeat(237), "--connect-timeout-ms", "0");
    expect(code).toBe(3);
    expect(document.error.code).toBe("INVALID_NAME");
  });

  test("--help are explained", async () => {
    for (const command of ["serve", "request"]) {
      const { code, stdout } = await run("duplex", command, "--help");
      expect(code).toBe(0);
      expect(stdout.toString()).toContain(`zerobuffer duplex ${command} <channel> [options]`);
    }
  });
});

test("defaults come from the environment, and a bad one is a usage error that names the variable", async () => {
  const name = uniqueName();
  const env = {
    ZEROBUFFER_CONNECT_TIMEOUT_MS: "20",
    ZEROBUFFER_BUFFER_SIZE: "64K",
    ZEROBUFFER_METADATA_SIZE: "1K",
  };
  await using child = Child.cli(["reader", name, "-v", "--json-output"], { env });
  const { code, document, stderr } = await child.report();
  expect(stderr).toContain("of 65,536 bytes.");
  expect([code, document.error.message]).toEqual([1, expect.stringContaining("within 20 ms")]);
  for (const [variable, value] of [
    ["BUFFER_SIZE", "16"],
    ["METADATA_SIZE", "x"],
    ["TIMEOUT_MS", "1h"],
  ]) {
    const bad = { [`ZEROBUFFER_${variable}`]: value };
    await using refused = Child.cli(["reader", name, "--json-output"], { env: bad });
    const { code, document } = await refused.report();
    expect([code, document.error.code]).toEqual([3, "USAGE"]);
    expect(document.error.message).toStartWith(`Variable ZEROBUFFER_${variable} takes `);
  }
});

describe("the arguments of a relay", () => {
  test.each([
    ["--frames", "a whole number from 0 to 9007199254740991", ["-1", "1.5", "many", ""]],
    ["--buffer-size", "a size from 17 to 262144GiB", ["0", "16", "-5", "1k", "1e6", ""]],
    ["--metadata-size", "a size from 0 to 262144GiB", ["-1", "4kb", "much"]],
    ["--timeout-ms", "milliseconds", ["-1", "1h", "soon", ""]],
    ["--connect-timeout-ms", "milliseconds", ["-1", "2147483648", "x"]],
    ["--transform", "none, reverse or xor", ["mirror", "XOR", ""]],
    ["--xor-key", "a whole number from 0 to 255", ["-1", "256", "0xff", "1.5", ""]],
    ["--log-interval", "a whole number from 0", ["-1", "often", "0.5"]],
  ])("%s takes %s", async (option, takes, values) => {
    for (const value of values) {
      const { code, document } = await runJson("relay", uniqueName(), uniqueName(), `${option}=${value}`);
      expect([code, document.error.code]).toEqual([3, "USAGE"]);
      expect(document.error.message).toStartWith(`Option ${option} takes ${takes}`);
      expect(document.error.message).toEndWith(`not ${JSON.stringify(value)}.`);
    }
  });

  test.each([
    [["--create-output=yes"], "Option --create-output takes no value."],
    [["--quiet=1"], "Option --quiet takes no value."],
    [["-n"], "Option -n needs a value: it takes a whole number from 0 to 9007199254740991."],
    [["--size", "5"], "Unknown option --size."],
    [["--output", "x"], "Unknown option --output."],
  ])("%p are refused", async (args, message) => {
    const { code, document } = await runJson("relay", uniqueName(), uniqueName(), ...args);
    expect(code).toBe(3);
    expect(document.error).toMatchObject({ code: "USAGE", message });
    expectValid("relay", document);
  });

  test("name two buffers", async () => {
    const none = await runJson("relay");
    expect(none.document).toMatchObject({
      input_buffer: null,
      output_buffer: null,
      error: { code: "USAGE" },
    });
    expect(none.document.error.message).toStartWith("Argument <input> is missing");
    const one = await runJson("relay", "raw");
    expect(one.document).toMatchObject({
      input_buffer: "raw",
      output_buffer: null,
      error: { code: "USAGE" },
    });
    expect(one.document.error.message).toStartWith("Argument <output> is missing");
    for (const { document } of [none, one]) expectValid("relay", document);
  });

  test("name different buffers, also where the one is there already", async () => {
    using reader = new Reader(uniqueName(), { payloadSize: 4096 });
    for (const name of [uniqueName(), reader.name]) {
      const { code, document } = await runJson("relay", name, name, "--create-output");
      expect([code, document.error.code]).toEqual([3, "USAGE"]);
      expect(document.error.message).toBe(`Input and output are both buffer "${name}".`);
    }
  });

  test("name buffers that can be, looked at before one is made", async () => {
    for (const names of [
      ["../x", uniqueName()],
      [uniqueName(), "a b"],
    ]) {
      const { code, document } = await runJson("relay", ...names, "--connect-timeout-ms", "1");
      expect([code, document.error.code]).toEqual([3, "INVALID_NAME"]);
    }
  });

  test("are listed by --help, with their defaults", async () => {
    const { code, stdout } = await run("relay", "--help");
    expect(code).toBe(0);
    const text = stdout.toString();
    expect(text).toContain("zerobuffer relay <input> <output…> [options]");
    const flags = [
      ..."--frames --create-output --buffer-size --timeout-ms --transform --xor-key --log-interval".split(
        " ",
      ),
      ..."--metadata-size --connect-timeout-ms --json-output --verbose --quiet --help".split(" "),
    ];
    for (const flag of flags) expect(text).toMatch(new RegExp(`^  (-\\w, |    )${flag}( |$)`, "m"));
    for (const value of ["(default 255)", "(default 100)", "(default 256MiB)", "(default 30s)"]) {
      expect(text).toContain(value);
    }
  });
});
