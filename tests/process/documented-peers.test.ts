// The code for C++, C# and Python of docs/interop.md compiles, and moves frames to and from the commands. Stand-ins have the API that
// those libraries document, and behave like a peer of version 1. Languages that are not installed are skipped.

import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { run } from "../../scripts/build-native.ts";
import { bufferMade, uniqueName } from "../support/buffers.ts";
import { blocksOf, textOf } from "../support/pages.ts";
import { Child } from "../support/process.ts";
import { compileLibrary } from "./compiled.ts";

const COUNT = 1000;
const SIZE = 921_600;
const STAND_INS = join(import.meta.dir, "fixtures", "documented");

const page = textOf("docs/interop.md");

/** The library that the stand-ins call. */
const peer = await compileLibrary("peer", "documented/peer.c", "v1-buffer.c");

interface Language {
  /** As blocks of the page are called. */
  readonly block: string;
  readonly isThere: boolean;
  /** Compiles a program, if that is needed. Returns the command that runs it. */
  prepare(code: string, name: string): Promise<string[]>;
}

const compiler = Bun.which("c++");
const dotnet = dotnetFiles();
const python = Bun.which("python3");

const languages: readonly Language[] = [
  {
    block: "cpp",
    isThere: compiler !== null,
    async prepare(code, name) {
      const source = inDirectory(`${name}.cpp`);
      // It prints as the others do.
      const printing = code.replace("// frame.data(), frame.size()", 'std::printf("%zu\\n", frame.size());');
      writeFileSync(source, `#include <cstdio>\n${printing}`);
      const program = inDirectory(name);
      const flags = ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-I", STAND_INS];
      await run([compiler ?? "", source, peer, ...flags, "-o", program]);
      return [program];
    },
  },
  {
    block: "csharp",
    isThere: dotnet !== undefined,
    async prepare(code, name) {
      const { program, compiler, assemblies, version } = dotnet ?? fail();
      const source = inDirectory(`${name}.cs`);
      writeFileSync(source, code);
      const references = readdirSync(assemblies)
        .filter((file) => /^(System|netstandard|mscorlib|Microsoft)\b.*\.dll$/.test(file))
        .filter((file) => !file.includes(".Native."))
        .map((file) => `-reference:${join(assemblies, file)}`);
      const output = inDirectory(`${name}.dll`);
      const words = ["-nologo", "-nostdlib", "-warnaserror", `-out:${output}`, ...references];
      await run([program, "exec", compiler, ...words, source, join(STAND_INS, "ZeroBuffer.cs")]);
      const framework = { name: "Microsoft.NETCore.App", version };
      writeFileSync(
        inDirectory(`${name}.runtimeconfig.json`),
        JSON.stringify({ runtimeOptions: { framework } }),
      );
      return [program, "exec", output];
    },
  },
  {
    block: "python",
    isThere: python !== null,
    async prepare(code, name) {
      const source = inDirectory(`${name}.py`);
      writeFileSync(source, code);
      return [python ?? "", source];
    },
  },
];

function fail(): never {
  throw new Error("it is not there");
}

const inDirectory = (file: string) => join(dirname(peer), file);

/** Where .NET has its compiler, and the assemblies of its newest runtime; undefined if it is not there. */
function dotnetFiles() {
  const program = Bun.which("dotnet");
  if (program === null) return undefined;
  const newest = (kind: string, name: string) => {
    const lines = Bun.spawnSync([program, `--list-${kind}`]).stdout.toString();
    const found = [...lines.matchAll(/^(?:(\S+) )?(\d\S*) \[(.*)\]$/gm)].filter(([, it = ""]) => it === name);
    const [, , version = "", directory = ""] = found.at(-1) ?? [];
    return { version, path: join(directory, version) };
  };
  const compiler = join(newest("sdks", "").path, "Roslyn", "bincore", "csc.dll");
  const { version, path } = newest("runtimes", "Microsoft.NETCore.App");
  return existsSync(compiler) ? { program, compiler, assemblies: path, version } : undefined;
}

/** The environment of a program: where the stand-ins are, and what they call. */
const env = () => ({ PYTHONPATH: STAND_INS, ZEROBUFFER_PEER: peer, LD_LIBRARY_PATH: dirname(peer) });

describe.each(languages.map((language) => [language.block, language] as const))(
  "the %s of docs/interop.md",
  (block, { isThere, prepare }) => {
    const codes = blocksOf(page).flatMap(({ language, text }) => (language === block ? [text] : []));
    const named = (part: string, name: string) => {
      const code = codes.filter((code) => code.includes(part) && code.includes('"cam"'));
      expect(code).toHaveLength(1);
      return (code[0] ?? "").replaceAll('"cam"', `"${name}"`);
    };

    test.skipIf(!isThere)("writes frames that a reader receives", async () => {
      const name = uniqueName();
      const command = await prepare(named(block === "cpp" ? "Writer writer(" : "Writer(", name), "writer");
      await using reader = Child.cli(["reader", name, "--json-output"]);
      await bufferMade(name);
      await using writer = Child.program(command, { env: env() });
      await writer.succeed();
      const { code, document } = await reader.report();
      expect([code, document]).toMatchObject([0, { frames_read: COUNT, bytes_read: COUNT * SIZE }]);
    });

    test.skipIf(!isThere)("reads the frames of a writer", async () => {
      const name = uniqueName();
      const command = await prepare(named("BufferConfig", name), "reader");
      await using reader = Child.program(command, { env: env() });
      await bufferMade(name);
      await using writer = Child.cli(["writer", name, "-n", `${COUNT}`, "-s", `${SIZE}`]);
      await writer.succeed();
      const { stdout } = await reader.succeed();
      expect(stdout.toString()).toBe(`${SIZE}\n`.repeat(COUNT));
    });
  },
);
