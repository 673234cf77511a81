// Builds the native helper for this machine, and finds the C compiler that does it.

import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative } from "node:path";

/** Root of the checkout. */
export const root = join(import.meta.dir, "..");

/** Directory of the helper's C sources. */
export const nativeSourceDirectory = join(root, "src", "native", "c");

const windows = process.platform === "win32";
const libraryName = { darwin: "libzerobuffer.dylib", win32: "libzerobuffer.dll" }[process.platform as string];

/** Where the helper for this machine is built. */
export const libraryPath = join(root, "dist", "native", libraryName ?? "libzerobuffer.so");

/** What all our C is compiled with, in the helper and in tests. */
export const cFlags: readonly string[] = [
  ...["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-D_GNU_SOURCE"],
  ...(windows ? [] : ["-pthread"]),
];

const sharedFlags = windows ? ["-shared"] : ["-shared", "-fPIC"];

/** A library made from the helper's sources. */
export interface LibraryBuild {
  /** Where it is built. */
  readonly path: string;
  readonly flags: readonly string[];
  /** Sources besides the helper's own. */
  readonly extraSources: readonly string[];
}

const libraryFlags = [
  ...cFlags,
  ...sharedFlags,
  ...["-O2", "-fvisibility=hidden"],
  // An undefined function must fail here: later it would end the process at its first call.
  ...(process.platform === "linux" ? ["-Wl,-z,defs"] : []),
];

const helper: LibraryBuild = { path: libraryPath, flags: libraryFlags, extraSources: [] };

/** The helper with its fault points (src/native/c/fault.h): for tests only, never part of an executable. */
export const faultBuild: LibraryBuild = {
  path: join(dirname(libraryPath), "faults", basename(libraryPath)),
  flags: [...libraryFlags, "-DZB_FAULT_POINTS", "-I", nativeSourceDirectory],
  extraSources: [join(root, "tests", "faults", "fault.c")],
};

/** A C compiler that was seen to build a shared library. */
export interface Compiler {
  /** The program and the arguments that always go first. */
  readonly command: readonly string[];
  /** What it needs besides this process's environment. */
  readonly env: Readonly<Record<string, string>>;
}

export interface Compilation {
  readonly sources: readonly string[];
  /** Path of the program or library to write. */
  readonly output: string;
  /** All flags but `-o`, libraries included; usually `cFlags` and more. */
  readonly flags: readonly string[];
}

/**
 * Runs a command to its end without showing what it prints.
 *
 * @throws if it cannot be started or exits with another code than 0; the message holds all it printed.
 */
export async function run(
  command: readonly string[],
  { cwd = root, env = {} }: { cwd?: string; env?: Readonly<Record<string, string>> } = {},
): Promise<void> {
  const child = Bun.spawn([...command], {
    cwd,
    env: { ...process.env, ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  if (code === 0) return;
  throw new Error(`exit code ${code} from ${command.join(" ")}\n${stdout}${stderr}`.trimEnd());
}

/**
 * Compiles C sources into one program or library.
 *
 * @throws if the compiler fails; the message holds its diagnostics.
 */
export async function compile(compiler: Compiler, { sources, output, flags }: Compilation): Promise<void> {
  await run([...compiler.command, ...sources, ...flags, "-o", output], { env: compiler.env });
}

async function inTemporaryDirectory(work: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "zerobuffer-build-"));
  try {
    await work(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function requireSharedLibraries(compiler: Compiler): Promise<void> {
  await inTemporaryDirectory(async (directory) => {
    const source = join(directory, "probe.c");
    // With headers, because many machines have a compiler without the C library's development files.
    writeFileSync(source, "#include <stdatomic.h>\n#include <stdlib.h>\nint probe(void) { return rand(); }");
    await compile(compiler, { sources: [source], output: join(directory, "probe"), flags: libraryFlags });
  });
}

async function succeeds(work: Promise<void>): Promise<boolean> {
  return await work.then(
    () => true,
    () => false,
  );
}

/**
 * Whether programs built with `-fsanitize=<sanitizers>` compile, link and start here.
 *
 * @param sanitizers as the compiler takes them, such as `address,undefined`.
 */
export async function sanitizersWork(compiler: Compiler, sanitizers: string): Promise<boolean> {
  const attempt = inTemporaryDirectory(async (directory) => {
    const source = join(directory, "probe.c");
    const output = join(directory, "probe");
    // It reads memory, as a sanitizer's missing runtime is missed at the first access only.
    writeFileSync(source, "int main(int count, char **words) { return words[count] == 0 ? 0 : 1; }\n");
    // Each by itself, too: in a list, zig drops one that it does not have without a word.
    for (const sanitizer of new Set([...sanitizers.split(","), sanitizers])) {
      await compile(compiler, { sources: [source], output, flags: [...cFlags, `-fsanitize=${sanitizer}`] });
      await run([output]);
    }
  });
  return await succeeds(attempt);
}

async function installZig(): Promise<Compiler> {
  const directory = join(root, "scripts", "zig");
  const packages = join(directory, "node_modules");
  const program = windows ? "zig.exe" : "zig";
  const zig = join(packages, "@zigc", `${process.platform}-${process.arch}`, "bin", program);
  if (!existsSync(zig)) console.error("setup: found no C compiler, installing zig (400 MB)");
  await run([process.execPath, "install", "--frozen-lockfile"], { cwd: directory });

  const architecture = process.arch === "arm64" ? "aarch64" : "x86_64";
  // By itself zig links for the newest glibc it knows, which may be newer than the one here.
  const target = process.platform === "linux" ? ["-target", `${architecture}-linux-gnu.2.17`] : [];
  const cache = join(packages, ".cache");
  return {
    command: [zig, "cc", ...target],
    env: { ZIG_GLOBAL_CACHE_DIR: cache, ZIG_LOCAL_CACHE_DIR: cache },
  };
}

/**
 * The compiler to use here: `$CC` if that is set, otherwise the first of cc, gcc and clang that works, otherwise zig,
 * which is installed into scripts/zig for it.
 *
 * @throws if `$CC` is set and does not work, or if zig cannot be installed.
 */
export async function findCompiler(): Promise<Compiler> {
  const named = process.env.CC?.trim();
  if (named) {
    const compiler = { command: named.split(/\s+/), env: {} };
    await requireSharedLibraries(compiler).catch((cause: Error) => {
      throw new Error(`CC=${named} does not work: ${cause.message}`, { cause });
    });
    return compiler;
  }
  for (const name of ["cc", "gcc", "clang"]) {
    const compiler = { command: [name], env: {} };
    if (await succeeds(requireSharedLibraries(compiler))) return compiler;
  }
  return await installZig();
}

const sourcesOfOtherSystems: Readonly<Record<string, readonly string[]>> = {
  linux: ["darwin.c", "win32.c"],
  darwin: ["linux.c", "win32.c"],
  win32: ["posix.c", "linux.c", "darwin.c"],
};

function nativeFiles(pattern: string): string[] {
  return [...new Bun.Glob(pattern).scanSync(nativeSourceDirectory)].sort();
}

/** Changes whenever anything changes that the library is made from. */
function hashSources({ flags, extraSources }: LibraryBuild): string {
  const hasher = new Bun.CryptoHasher("sha256");
  hasher.update(JSON.stringify([process.platform, process.arch, process.env.CC ?? "", flags]));
  const own = nativeFiles("*.{c,h,def}").map((name) => join(nativeSourceDirectory, name));
  for (const path of [...own, ...extraSources]) {
    hasher.update(`\n${basename(path)}\n`).update(readFileSync(path));
  }
  return hasher.digest("hex");
}

/** What the stamp beside the library must hold: a library that another build replaced meanwhile does not match it. */
function stampFor(path: string, sourceHash: string): string {
  return `${sourceHash} ${new Bun.CryptoHasher("sha256").update(readFileSync(path)).digest("hex")}\n`;
}

/**
 * Builds the helper, unless the one that is there was built from just these sources and flags.
 *
 * @throws if no compiler is found or it fails; the message holds its diagnostics.
 */
export async function buildLibrary(build: LibraryBuild = helper): Promise<void> {
  const { path, flags, extraSources } = build;
  const stampPath = `${path}.stamp`;
  const sourceHash = hashSources(build);
  const built = existsSync(path) && existsSync(stampPath);
  if (built && readFileSync(stampPath, "utf8") === stampFor(path, sourceHash)) return;

  const compiler = await findCompiler();
  console.error(`setup: compiling ${relative(root, path)} with ${basename(compiler.command[0]!)}`);
  const foreign = sourcesOfOtherSystems[process.platform] ?? [];
  const own = nativeFiles("*.c").filter((name) => !foreign.includes(name));
  mkdirSync(dirname(path), { recursive: true });
  // Renamed when complete: nobody loads half a library, and running processes keep the one they have mapped.
  const output = `${path}.${process.pid}`;
  const sources = [...own.map((name) => join(nativeSourceDirectory, name)), ...extraSources];
  await compile(compiler, { sources, output, flags });
  renameSync(output, path);
  writeFileSync(stampPath, stampFor(path, sourceHash));
}

/** The result codes that C and TypeScript share. */
export const codesDefinitionPath = join(nativeSourceDirectory, "codes.def");

/** Where the TypeScript made from them is. */
export const codesPath = join(root, "src", "native", "codes.ts");

/**
 * Turns the text of codes.def into the text of codes.ts.
 *
 * @throws if a line is neither a comment nor of the form `ZB_CODE(NAME, -number, "description")`.
 */
export function generateCodes(definition: string): string {
  const code = /^ZB_CODE\(([A-Z][A-Z0-9_]*), (-[1-9][0-9]*), ("(?:[^"\\]|\\["\\])*")\)$/;
  const lines = definition.replaceAll(/\/\*[\s\S]*?\*\/|^\/\/.*$/gm, "").split("\n");
  const codes = lines
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [, name, value, description] = code.exec(line) ?? [];
      if (name === undefined) throw new Error(`codes.def: not a code: ${line}`);
      return { name, value, description };
    });
  return `// Generated from c/codes.def by \`bun run build:native\`.

/** What the helper's functions return where they return no count. */
export const Code = {
  OK: 0,
${codes.map(({ name, value }) => `  ${name}: ${value},\n`).join("")}} as const;

export type Code = (typeof Code)[keyof typeof Code];

/** What each code means, in a few words. */
export const codeDescriptions: Readonly<Record<Code, string>> = {
  [Code.OK]: "done",
${codes.map(({ name, description }) => `  [Code.${name}]: ${description},\n`).join("")}};
`;
}

if (import.meta.main) {
  try {
    await buildLibrary();
    writeFileSync(codesPath, generateCodes(readFileSync(codesDefinitionPath, "utf8")));
    console.log(relative(process.cwd(), libraryPath));
  } catch (error) {
    console.error(`build-native: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}
