// The npm package in projects of its users, offline: with the helper of this machine alone, as the others cannot be loaded here.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { engines, version } from "../../package.json";
import { libraryPath, root } from "../../scripts/build-native.ts";
import { host } from "../../scripts/executable.ts";
import { npmPackage, packageFile } from "../../scripts/npm/package.ts";
import { declarations } from "../../scripts/npm/types.ts";
import { uniqueName } from "../support/buffers.ts";
import { blocksOf, linksOf, textOf } from "../support/pages.ts";
import { Child, type ChildOptions, type Outcome } from "../support/process.ts";

const readme = textOf("README.md");

/** The oldest Bun that the package runs on. */
const NEEDED = engines.bun.slice(2);

let directory: string;
let project: string;
/** A directory with Bun and nothing else, for PATH. */
let bun: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "zerobuffer npm "));
  bun = join(directory, "bun");
  mkdirSync(bun);
  symlinkSync(process.execPath, join(bun, "bun"));
  symlinkSync(process.execPath, join(bun, "bunx"));
  writeFileSync(
    join(directory, packageFile),
    await npmPackage([{ target: host, path: libraryPath }], new Date(0), "https://example.org/a/b"),
  );
});
afterAll(() => rmSync(directory, { recursive: true }));

// An empty directory, but for the package.
beforeEach(async () => {
  project = mkdtempSync(join(directory, "project "));
  copyFileSync(join(directory, packageFile), join(project, packageFile));
  const { code, stderr } = await run(["bun", "add", `./${packageFile}`]);
  expect([code, stderr]).toEqual([0, expect.not.stringContaining("error")]);
});

/** A program in the project, without anything of this checkout, and without a registry. */
function start(command: readonly string[], path = bun, options: ChildOptions = {}): Child {
  const [name = "", ...args] = command;
  const found = name.includes("/") ? name : Bun.which(name, { PATH: path });
  return Child.program([found ?? name, ...args], {
    cwd: project,
    env: {
      PATH: path,
      HOME: directory,
      TMPDIR: tmpdir(),
      BUN_INSTALL_CACHE_DIR: join(directory, "cache"),
      BUN_CONFIG_REGISTRY: "http://127.0.0.1:1",
      npm_config_registry: "http://127.0.0.1:1",
    },
    inheritsEnv: false,
    ...options,
  });
}

async function run(command: readonly string[], path = bun): Promise<Outcome> {
  await using child = start(command, path);
  return await child.end();
}

/** What a program prints that ends well. */
async function outputOf(command: readonly string[], path = bun): Promise<string> {
  const { code, stdout, stderr } = await run(command, path);
  expect([code, stderr]).toEqual([0, ""]);
  return stdout.toString();
}

function write(name: string, text: string): void {
  writeFileSync(join(project, name), text);
}

/** Node, as it is needed for what users of Node get. */
function node(): string {
  const path = Bun.which("node");
  if (path === null) throw new Error("there is no node in PATH");
  return path;
}

/** The TypeScript of a page. */
const typeScriptOf = (page: string) =>
  blocksOf(page).flatMap(({ language, text }) => (language === "ts" ? [text] : []));

/** What the code of the guide leaves to its reader. */
const surroundings = `
import type { Frame as AnyFrame, Reader, Writer } from "zerobuffer";
declare global {
  type Frame = AnyFrame;
  const reader: Reader, writer: Writer, pixels: Uint8Array, records: Uint8Array;
  const camera: { captureInto(place: Uint8Array): void };
  const model: { run(data: Uint8Array): Promise<Uint8Array> };
  let dropped: number;
  function show(data: Uint8Array, sequence?: number): void;
}
`;

describe("the package", () => {
  const files = () =>
    [...new Bun.Glob("**").scanSync({ cwd: join(project, "node_modules", "zerobuffer") })].sort();

  test("brings code, types, maps, helper and notices, runs nothing when installed, and needs no other package", () => {
    const place = join(project, "node_modules", "zerobuffer");
    const manifest = JSON.parse(readFileSync(join(place, "package.json"), "utf8"));
    for (const key of ["scripts", "dependencies", "optionalDependencies", "peerDependencies", "private"])
      expect(manifest).not.toContainKey(key);
    expect(manifest.repository.url).toBe("git+https://example.org/a/b.git");
    expect(readdirSync(join(project, "node_modules")).filter((name) => !name.startsWith("."))).toEqual([
      "zerobuffer",
    ]);
    expect(
      readFileSync(join(place, "helpers", host.helper, host.helperFile)).equals(readFileSync(libraryPath)),
    ).toBe(true);
    for (const name of ["LICENSE", "THIRD-PARTY-NOTICES.txt", "CHANGELOG.md"])
      expect(readFileSync(join(place, name), "utf8")).toBe(readFileSync(join(root, name), "utf8"));
    const published = readFileSync(join(place, "README.md"), "utf8");
    expect(published).not.toContain("$REPOSITORY");
    expect(published).toContain(
      "curl -fsSL https://example.org/a/b/releases/latest/download/install.sh | sh",
    );
    expect(linksOf(published)).toEqual(
      linksOf(readme).map((link) => {
        if (/^https:/.test(link)) return link;
        return `https://example.org/a/b/${link.endsWith(".svg") ? "raw" : "blob"}/v${version}/${link}`;
      }),
    );
    expect(files().filter((name) => name.endsWith(".d.ts"))).toEqual([
      "lib/index.d.ts",
      "lib/inspection.d.ts",
      "lib/shared.d.ts",
    ]);
    for (const name of files().filter((name) => name.endsWith(".js") && name.startsWith("lib/")))
      if (name !== "lib/needs-bun.js") expect(files()).toContain(`${name}.map`);
    // There are at most eight helpers.
    const size = files().reduce((sum, name) => sum + statSync(join(place, name)).size, 0);
    expect(size + 7 * statSync(libraryPath).size).toBeLessThan(3e6);
  });

  test("has the types of the API with what they mean, and no others", async () => {
    const types = readFileSync(join(project, "node_modules", "zerobuffer", "lib", "index.d.ts"), "utf8");
    expect(types).toContain("* Takes the next frame, blocking the thread for up to `timeoutMs`");
    expect(types).not.toMatch(/Lender|SharedMemory|Ring(Reader|Writer)|#ring/);
    const foreign = { objects: join(root, "src", "core", "buffer", "objects.ts") };
    await expect(declarations(foreign)).rejects.toThrow("objects.d.ts needs node:fs");
    const ofBun = { failures: join(root, "src", "core", "failures.ts") };
    await expect(declarations(ofBun)).rejects.toThrow("failures.d.ts needs types of Bun");
  });

  test("is the same wherever it is made", async () => {
    const made = await npmPackage(
      [{ target: host, path: libraryPath }],
      new Date(0),
      "https://example.org/a/b",
    );
    expect(readFileSync(join(directory, packageFile)).equals(Buffer.from(made))).toBe(true);
    const names = new TextDecoder().decode(Bun.gunzipSync(Uint8Array.from(made)));
    expect(names).not.toContain(root);
  });

  test("is not made of the source as it is", async () => {
    await using child = Child.program([process.execPath, "pm", "pack", "--destination", directory]);
    const { code, stderr } = await child.end();
    expect([code, stderr]).toEqual([1, expect.stringContaining("bun run build:npm makes the package")]);
  });

  test("an error of it is told with the place in its TypeScript", async () => {
    write("fails.ts", 'import { checkName } from "zerobuffer"; checkName(".");');
    const { stderr } = await run(["bun", "fails.ts"]);
    expect(stderr).toMatch(/src\/core\/buffer\/names\.ts:\d+/);
  });
});

describe("the TypeScript of the README and the guide", () => {
  const [reader = "", writer = "", ...others] = typeScriptOf(readme);
  const guide = typeScriptOf(textOf("docs/guide.md"));

  test("moves the frames from one process to another", async () => {
    const name = uniqueName();
    write("reader.ts", reader.replaceAll('"cam"', `"${name}"`));
    write("writer.ts", writer.replaceAll('"cam"', `"${name}"`));
    await using reading = start(["bun", "reader.ts"]);
    await using writing = start(["bun", "writer.ts"]);
    expect(await writing.succeed()).toMatchObject({ stderr: "" });
    const { stdout, stderr } = await reading.succeed();
    const frames = Array.from({ length: 100 }, (_, at) => `${at + 1} ${640 * 480} ${at}\n`);
    expect([stdout.toString(), stderr]).toEqual([`${frames.join("")}the writer has left\n`, ""]);
    expect(others).toEqual([]);
  });

  test("looks after buffers", async () => {
    const inspection = guide.find((text) => text.includes("zerobuffer/inspection")) ?? "";
    write("inspection.ts", inspection.replaceAll('"cam"', `"${uniqueName()}"`));
    expect(await outputOf(["bun", "inspection.ts"])).toContain("helper the native helper is loaded");
  });

  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");

  describe.each(["nodenext", "bundler"])("with module resolution %s", (resolution) => {
    test.each(["Bun's types", "the DOM's types", "no other types"])(
      "is right for tsc --strict with %s",
      async (types) => {
        const hasBun = types === "Bun's types";
        const lib = types === "the DOM's types" ? ["esnext", "dom"] : ["esnext"];
        if (hasBun)
          for (const name of ["@types", "bun-types", "undici-types"])
            if (existsSync(join(root, "node_modules", name)))
              symlinkSync(join(root, "node_modules", name), join(project, "node_modules", name));
        mkdirSync(join(project, "src"));
        for (const [at, example] of [reader, writer, ...guide].entries())
          write(join("src", `${at}.ts`), `export {};\n${example}`);
        write("src/surroundings.d.ts", surroundings);
        // What every program has from somewhere.
        if (types === "no other types")
          write(
            "src/host.d.ts",
            `declare const console: { log(...what: unknown[]): void; error(...what: unknown[]): void };
           declare class TextDecoder { decode(bytes: Uint8Array): string }
           declare class TextEncoder { encode(text: string): Uint8Array }`,
          );
        write(
          "tsconfig.json",
          JSON.stringify({
            compilerOptions: {
              ...{ strict: true, noEmit: true, skipLibCheck: false, exactOptionalPropertyTypes: true },
              ...{ target: "esnext", lib, types: hasBun ? ["bun"] : [] },
              module: resolution === "nodenext" ? "nodenext" : "preserve",
              moduleResolution: resolution,
            },
            include: ["src"],
          }),
        );
        write(
          "package.json",
          JSON.stringify({ type: "module", dependencies: { zerobuffer: `./${packageFile}` } }),
        );
        const { code, stdout } = await run([node(), tsc, "--project", "."], dirname(node()));
        expect([stdout.toString(), code]).toEqual(["", 0]);
      },
    );
  });

  test("is checked: a wrong use is an error", async () => {
    write("wrong.ts", 'import { Reader } from "zerobuffer"; new Reader("cam").readFrame("soon");');
    const flags = ["--strict", "--noEmit", "--types", "", "--module", "nodenext", "--target", "esnext"];
    const { code, stdout } = await run([node(), tsc, ...flags, "wrong.ts"], dirname(node()));
    expect(code).not.toBe(0);
    expect(stdout.toString()).toContain("error TS2345: Argument of type 'string'");
  });
});

describe("a program with the package", () => {
  beforeEach(() => {
    write(
      "program.ts",
      `import { Reader, Writer } from "zerobuffer";
       using reader = new Reader("${uniqueName()}", { payloadSize: 4096 });
       using writer = new Writer(reader.name);
       writer.writeFrame(Uint8Array.of(1, 2, 3));
       using frame = reader.readFrame(1000);
       console.log(frame.toArray().join());`,
    );
  });

  test("runs after bun build, and as an executable, far from the package", async () => {
    await run(["bun", "build", "program.ts", "--target", "bun", "--outdir", "built"]);
    await run(["bun", "build", "program.ts", "--compile", "--outfile", "built/program"]);
    rmSync(join(project, "node_modules"), { recursive: true });
    expect(await outputOf(["bun", "built/program.js"])).toBe("1,2,3\n");
    expect(await outputOf([join(project, "built", "program")])).toBe("1,2,3\n");
  });

  test("is told by Node in one line what it needs, whatever it imports", async () => {
    for (const module of ["zerobuffer", "zerobuffer/inspection"]) {
      const names = Object.keys(
        await import(join(root, "src", "core", module === "zerobuffer" ? "index.ts" : "inspection.ts")),
      );
      write("program.mjs", `import { ${names.join(", ")} } from "${module}";`);
      const { code, stderr } = await run([node(), "program.mjs"]);
      expect(code).toBe(1);
      expect(stderr).toContain(
        `\nError: zerobuffer needs Bun ${NEEDED} or newer: start this program with bun instead of node\n`,
      );
    }
  });
});

describe("the command", () => {
  const command = () => join(project, "node_modules", ".bin", "zerobuffer");
  /** PATH of a machine with Node, and with Bun or without. */
  const nodeOnly = () => {
    const path = join(project, "node-only");
    mkdirSync(path, { recursive: true });
    if (!existsSync(join(path, "node"))) symlinkSync(node(), join(path, "node"));
    return path;
  };
  const both = () => `${nodeOnly()}:${bun}`;

  test("runs by bunx, without Node", async () => {
    expect(await outputOf(["bunx", "zerobuffer", "doctor"])).toContain("the native helper is loaded");
  });

  test("runs by bunx, with Node", async () => {
    expect(await outputOf(["bunx", "zerobuffer", "doctor"], both())).toContain("the native helper is loaded");
  });

  test("runs by npx, which finds Bun", async () => {
    const npx = Bun.which("npx") ?? "";
    const output = await outputOf([npx, "--offline", "zerobuffer", "version"], `${dirname(npx)}:${both()}`);
    expect(output).toMatch(/^zerobuffer \d+\.\d+\.\d+ \([a-z0-9-]+, commit /);
  });

  test("says under Node that there is no Bun", async () => {
    const { code, stdout, stderr } = await run([command(), "doctor"], nodeOnly());
    expect([code, stdout.toString(), stderr]).toEqual([
      127,
      "",
      `zerobuffer needs Bun ${NEEDED} or newer, and there is no bun in PATH. To install it: npm install --global bun\n`,
    ]);
  });

  test("says under an older Bun that it is too old", async () => {
    write(
      "older.ts",
      'Object.defineProperty(process, "versions", { value: { ...process.versions, bun: "1.3.9" } });',
    );
    const { code, stderr } = await run(["bun", "--preload", "./older.ts", command(), "doctor"]);
    expect([code, stderr]).toEqual([
      127,
      `zerobuffer needs Bun ${NEEDED} or newer, and this is Bun 1.3.9. To install it: bun upgrade\n`,
    ]);
  });

  test.each(["bun.exe", "../bun/bin/bun.exe", "node_modules/bun/bin/bun.exe"])(
    "finds %s of PATH on Windows, where npm's bun is no program",
    async (place) => {
      const path = join(project, "path");
      mkdirSync(dirname(join(path, place)), { recursive: true });
      symlinkSync(process.execPath, join(path, place));
      write("pretend.mjs", 'Object.defineProperty(process, "platform", { value: "win32" });');
      await using child = start(
        [node(), "--import", "./pretend.mjs", command(), "version"],
        `${path}:/nowhere`,
      );
      expect((await child.succeed()).stdout.toString()).toStartWith("zerobuffer ");
    },
  );

  test("moves frames, with Node as with Bun, and passes on the exit code", async () => {
    const name = uniqueName();
    await using reader = start([command(), "reader", name, "-n", "20", "--verify", "sequential"], both());
    await using writer = start(["bun", command(), "writer", name, "-n", "20", "-s", "1KiB"]);
    await writer.succeed();
    await reader.succeed();
    const { code } = await run([command(), "reader", "--no-such-option"], both());
    expect(code).toBe(3);
  });

  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
    "passes %s on to Bun, and ends as it does",
    async (signal) => {
      const name = uniqueName();
      await using reader = start([command(), "reader", name, "-v"], both());
      await reader.handles(signal);
      await reader.logged(name);
      reader.kill(signal);
      const { code } = await reader.exited();
      expect(code).toBe({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 }[signal]);
    },
  );

  test("benchmarks itself: it finds its own program", async () => {
    const output = await outputOf([
      "bunx",
      "zerobuffer",
      "bench",
      "throughput",
      "--sizes",
      "64",
      "--json-output",
    ]);
    expect(JSON.parse(output).errors).toEqual([]);
  });
});
