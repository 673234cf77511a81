// Builds the native helper, for this machine or for any target, and finds the C compiler that does it.

import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { helperFiles, type OperatingSystem, type Target } from "./targets.ts";

/** Root of the checkout. */
export const root = join(import.meta.dir, "..");

/** Directory of the helper's C sources. */
export const nativeSourceDirectory = join(root, "src", "native", "c");

const builtDirectory = join(root, "dist", "native");

/**
 * Where the helper for this machine is built. Its name is the same on every system, because the import of it in
 * src/native/library.ts can have one name only.
 */
export const libraryPath = join(builtDirectory, "libzerobuffer.so");

const systems: Readonly<Record<string, OperatingSystem>> = { darwin: "darwin", win32: "windows" };

/** The system of this machine. */
export const hostSystem: OperatingSystem = systems[process.platform] ?? "linux";

/** The helper's C sources for a system. */
export function helperSources(system: OperatingSystem): string[] {
  const files = {
    linux: [
      "posix.c",
      "posix_signals.c",
      "linux.c",
      "linux_presence.c",
      "linux_populating.c",
      "linux_sharing.c",
      "linux_uring.c",
      "waiter.c",
    ],
    darwin: [
      "posix.c",
      "posix_signals.c",
      "darwin.c",
      "no_presence.c",
      "no_sharing.c",
      "no_uring.c",
      "waiter.c",
    ],
    windows: [
      "win32.c",
      "win32_objects.c",
      "win32_waiting.c",
      "win32_locks.c",
      "no_presence.c",
      "no_sharing.c",
      "freestanding.c",
    ],
  };
  const everywhere = [
    "oieb.c",
    "reader.c",
    "descriptors.c",
    "writer.c",
    "sharing.c",
    "cancellation.c",
    "wait.c",
    "pacing.c",
    "signals.c",
    "memory.c",
    "threads.c",
  ];
  return [...everywhere, ...files[system]].map((file) => join(nativeSourceDirectory, file));
}

/** What all our C is compiled with for a system, in the helper and in tests. */
export function cFlagsFor(system: OperatingSystem): string[] {
  const flags = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-D_GNU_SOURCE"];
  return system === "windows" ? flags : [...flags, "-pthread"];
}

/** {@link cFlagsFor} this machine's. */
export const cFlags: readonly string[] = cFlagsFor(hostSystem);

const zigPackages = join(root, "scripts", "zig", "node_modules");

const windowsHeaders = join(zigPackages, "@zigc", "lib", "libc", "include", "any-windows-any");

/** What the helper is compiled with for a system. */
function libraryFlagsFor(system: OperatingSystem): string[] {
  const flags = [...cFlagsFor(system), "-shared", "-O3", "-fvisibility=hidden"];
  // An undefined function must fail here: later it would end the process at its first call. Mach-O's and Windows'
  // linkers see to that by themselves.
  // Calls among our own functions mean those, and can be inlined: ELF lets a program replace them.
  if (system === "linux") return [...flags, "-fPIC", "-fno-semantic-interposition", "-Wl,-z,defs"];
  if (system === "darwin") return [...flags, "-fPIC"];
  // Without a C runtime there is nothing in the library but our own code and the names of KERNEL32's functions, and zig
  // gives no headers of the system's.
  return [...flags, "-nostdlib", "-ffreestanding", "-lkernel32", "-isystem", windowsHeaders];
}

/** A library made from the helper's sources. */
interface LibraryBuild {
  /** Where it is built. */
  readonly path: string;
  readonly sources: readonly string[];
  readonly flags: readonly string[];
  /** As `zig cc -target` takes it; empty for this machine. */
  readonly target: string;
  readonly findCompiler: () => Promise<Compiler>;
}

const helper: LibraryBuild = {
  path: libraryPath,
  sources: helperSources(hostSystem),
  flags: libraryFlagsFor(hostSystem),
  target: "",
  findCompiler,
};

/** The helper with its fault points (src/native/c/fault.h): for tests only, never part of an executable. */
export const faultBuild: LibraryBuild = {
  ...helper,
  path: join(builtDirectory, "faults", basename(libraryPath)),
  sources: [...helper.sources, join(root, "tests", "faults", "fault.c")],
  flags: [...helper.flags, "-DZB_FAULT_POINTS", "-I", nativeSourceDirectory],
};

/** Where the helper of a target is built. */
export function helperPath({ helper, helperFile }: Target): string {
  return join(builtDirectory, helper, helperFile);
}

/** Nothing that differs from build to build or holds a path: names, debug information, what the library calls itself. */
const reproducibleFlags: Readonly<Record<OperatingSystem, readonly string[]>> = {
  linux: ["-s", "-Wl,--build-id=none"],
  darwin: ["-s", `-Wl,-install_name,@rpath/${helperFiles.darwin}`],
  windows: ["-s"],
};

/** The helper of a target: always made by zig, so that it is the same wherever it is built. */
function helperBuild(target: Target): LibraryBuild {
  return {
    target: target.zigTarget,
    path: helperPath(target),
    sources: helperSources(target.os),
    flags: [...libraryFlagsFor(target.os), ...reproducibleFlags[target.os]],
    findCompiler: () => zigFor(target.zigTarget),
  };
}

/** A C compiler that was seen to build a shared library. */
export interface Compiler {
  /** The program and the arguments that always go first. */
  readonly command: readonly string[];
  /** What it needs besides this process's environment. */
  readonly env: Readonly<Record<string, string>>;
}

interface Compilation {
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
    await compile(compiler, { sources: [source], output: join(directory, "probe"), flags: helper.flags });
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

/**
 * zig, which is installed into scripts/zig where it is not yet.
 *
 * @param target as `-target` takes it; this machine by default.
 */
export async function zigFor(target?: string): Promise<Compiler> {
  const program = process.platform === "win32" ? "zig.exe" : "zig";
  const zig = join(zigPackages, "@zigc", `${process.platform}-${process.arch}`, "bin", program);
  if (!existsSync(zig)) {
    console.error("setup: installing zig (400 MB)");
    await run([process.execPath, "install", "--frozen-lockfile"], { cwd: dirname(zigPackages) });
  }
  const command = [zig, "cc"];
  if (target !== undefined) command.push("-target", target);
  const cache = join(zigPackages, ".cache");
  return { command, env: { ZIG_GLOBAL_CACHE_DIR: cache, ZIG_LOCAL_CACHE_DIR: cache } };
}

/** By itself zig links for the newest glibc it knows, which may be newer than the one here. */
function nativeZigTarget(): string | undefined {
  if (hostSystem !== "linux") return undefined;
  return `${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu.2.17`;
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
  return await zigFor(nativeZigTarget());
}

/** Changes whenever anything changes that the library is made from. */
function hashSources({ sources, flags, target }: LibraryBuild): string {
  const hasher = new Bun.CryptoHasher("sha256");
  hasher.update(JSON.stringify([process.platform, process.arch, process.env.CC ?? "", flags, target]));
  const headers = [...new Bun.Glob("*.{h,def}").scanSync(nativeSourceDirectory)].sort();
  for (const path of [...headers.map((name) => join(nativeSourceDirectory, name)), ...sources]) {
    hasher.update(`\n${basename(path)}\n`).update(readFileSync(path));
  }
  return hasher.digest("hex");
}

/** What the stamp beside the library must hold: a library that another build replaced meanwhile does not match it. */
function stampFor(path: string, sourceHash: string): string {
  return `${sourceHash} ${new Bun.CryptoHasher("sha256").update(readFileSync(path)).digest("hex")}\n`;
}

/**
 * Builds a library, this machine's helper by default, unless the one that is there was built from just these sources
 * and flags.
 *
 * @throws if no compiler is found or it fails; the message holds its diagnostics.
 */
export async function buildLibrary(build: LibraryBuild = helper): Promise<void> {
  const { path, sources, flags } = build;
  const stampPath = `${path}.stamp`;
  const sourceHash = hashSources(build);
  const built = existsSync(path) && existsSync(stampPath);
  if (built && readFileSync(stampPath, "utf8") === stampFor(path, sourceHash)) return;

  const compiler = await build.findCompiler();
  console.error(`setup: compiling ${relative(root, path)} with ${basename(compiler.command[0]!)}`);
  mkdirSync(dirname(path), { recursive: true });
  // In a directory of its own, as linkers write more than the library; renamed when complete: nobody loads half a
  // library, and running processes keep the one they have mapped.
  const directory = mkdtempSync(join(dirname(path), ".build-"));
  try {
    const output = join(directory, basename(path));
    await compile(compiler, { sources, output, flags });
    renameSync(output, path);
  } finally {
    rmSync(directory, { recursive: true });
  }
  writeFileSync(stampPath, stampFor(path, sourceHash));
}

/**
 * Builds the helper of a target into dist/native/TARGET, the same bytes wherever it is built. Returns its path.
 *
 * @throws as {@link buildLibrary}.
 */
export async function buildHelper(target: Target): Promise<string> {
  await buildLibrary(helperBuild(target));
  return helperPath(target);
}

/** For `Bun.build`: an executable for the target gets the target's helper, which is built, instead of this machine's. */
export function embedHelper(target: Target): Bun.BunPlugin {
  return {
    name: "helper of the target",
    setup(build) {
      build.onResolve({ filter: /\/libzerobuffer\.so$/ }, () => ({ path: helperPath(target) }));
    },
  };
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
