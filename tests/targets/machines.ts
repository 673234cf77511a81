// How this machine runs what is built for others: emulators, C libraries that lie beside its own, and Wine.

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { compile, run, zigFor } from "../../scripts/build-native.ts";
import { targetNamed } from "../../scripts/targets.ts";
import { Child } from "../support/process.ts";

/** What programs of one target run on here. */
export interface Machine {
  /** Goes before the program. */
  readonly prefix: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Whether its programs leave others behind that keep their output open. */
  readonly keepsOutputOpen?: boolean;
  /** Gives an executable of Bun's, in a directory of its own, what it needs besides itself. */
  complete(executable: string): Promise<void>;
}

/** What a program printed, and how it ended: null if it was killed. */
export interface Outcome {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A directory of this run; everything is below it. */
export const directory = mkdtempSync(join(tmpdir(), "zerobuffer-targets-"));

const QEMU = "/usr/bin/qemu-aarch64-static";
const ARM64_LIBRARIES = "/usr/aarch64-linux-gnu";
const MUSL_LOADER = "/lib/ld-musl-x86_64.so.1";
const WINE = "/usr/lib/wine/wine64";
const WINE_SERVER = "/usr/lib/wine/wineserver64";

/** This machine, without anything between. */
export const native: Machine = { prefix: [], env: {}, complete: async () => {} };

/** The machine of each target that can be run here, and the Debian packages without which it cannot. */
const machines: Readonly<
  Record<string, { readonly needs: Readonly<Record<string, string>>; start(): Promise<Machine> }>
> = {
  "linux-x64": { needs: {}, start: async () => native },
  "linux-x64-baseline": { needs: {}, start: async () => native },
  "linux-arm64": {
    needs: { [QEMU]: "qemu-user-static", [ARM64_LIBRARIES]: "libc6-arm64-cross" },
    start: async () => ({ ...native, prefix: [QEMU, "-L", ARM64_LIBRARIES] }),
  },
  "linux-x64-musl": {
    needs: { [MUSL_LOADER]: "musl", "/usr/bin/g++": "g++" },
    start: async () => ({
      ...native,
      // Only what is completed has such a directory.
      env: { LD_LIBRARY_PATH: "$ORIGIN" },
      complete: addMuslLibrary,
    }),
  },
  "windows-x64": { needs: { [WINE]: "wine64", [WINE_SERVER]: "wine64" }, start: startWine },
};

/** The packages that are missing for programs of a target to run here; undefined if there is nothing that runs them. */
export function missingPackages(target: string): string[] | undefined {
  const machine = machines[target];
  if (machine === undefined) return undefined;
  const missing = Object.entries(machine.needs).filter(([path]) => !existsSync(path));
  return [...new Set(missing.map(([, name]) => name))];
}

/** Starts what programs of the target run on. */
export async function machineOf(target: string): Promise<Machine> {
  const machine = machines[target];
  if (machine === undefined) throw new Error(`nothing here runs programs of ${target}`);
  return await machine.start();
}

/** A program that has been started. */
export interface Started {
  /** Ends it in the middle of whatever it does. */
  kill(): void;
  readonly outcome: Promise<Outcome>;
}

let count = 0;

/** Starts a program on its machine, on request in a terminal of its own, or with a file piped to it. Killed after `limitMs`. */
export function start(
  { prefix, env, keepsOutputOpen = false }: Machine,
  [program, ...args]: readonly [string, ...string[]],
  { limitMs = 120_000, terminal = false, stdin = "" } = {},
): Started {
  const variables = Object.entries(env).map(([name, value]) => [
    name,
    value.replace("$ORIGIN", dirname(program)),
  ]);
  const command = [...prefix, program, ...args];
  const inTerminal = ["script", "-qec", command.map((word) => `'${word}'`).join(" "), "/dev/null"];
  // A pipe of the shell's: Wine's files do not tell what they are once they are a descriptor.
  const run = stdin === "" ? 'exec "$@"' : `cat '${stdin}' | "$@"`;
  const file = join(directory, `${++count}`);
  const redirection = keepsOutputOpen ? ` >'${file}.out' 2>'${file}.err'` : "";
  const shell = run + redirection;
  const child = Child.program(terminal ? inTerminal : command, {
    stdin: "ignore",
    env: Object.fromEntries(variables),
    limitMs,
    ...(shell === 'exec "$@"' ? {} : { shell }),
  });
  const kill = () => child.kill("SIGKILL");
  const outcome = child.exited().then(
    ({ code, stdout, stderr }) => ({
      exitCode: code,
      stdout: keepsOutputOpen ? readFileSync(`${file}.out`, "utf8") : stdout.toString(),
      stderr: keepsOutputOpen ? readFileSync(`${file}.err`, "utf8") : stderr,
    }),
    (error: Error) => {
      kill();
      return { exitCode: null, stdout: "", stderr: error.message };
    },
  );
  return { kill, outcome };
}

// ---- Wine ----------------------------------------------------------------------------------------------------------

async function startWine(): Promise<Machine> {
  const prefix = join(directory, "wine");
  const env = { WINEPREFIX: prefix, WINEDEBUG: "-all" };
  mkdirSync(prefix, { recursive: true });
  const { outcome } = start({ ...native, env, keepsOutputOpen: true }, [WINE, "wineboot", "-i"]);
  await outcome;
  return { prefix: [WINE], env, keepsOutputOpen: true, complete: addRandomLibrary };
}

/** Bun for Windows asks this library for random numbers, and Wine 8 lacks it. */
async function addRandomLibrary(executable: string): Promise<void> {
  const source = join(directory, "bcryptprimitives.c");
  const text = `__declspec(dllimport) unsigned char __stdcall SystemFunction036(void *, unsigned long);
__declspec(dllexport) int __stdcall ProcessPrng(unsigned char *bytes, unsigned long long size) {
  return SystemFunction036(bytes, (unsigned long)size);
}
int __stdcall _DllMainCRTStartup(void *library, unsigned long reason, void *reserved) {
  return library != 0 || reason != 0 || reserved != 0 ? 1 : 0;
}
`;
  writeFileSync(source, text);
  await compile(await zigFor(targetNamed("windows-x64").zigTarget), {
    sources: [source],
    output: join(dirname(executable), "bcryptprimitives.dll"),
    flags: ["-O2", "-shared", "-nostdlib", "-ffreestanding", "-ladvapi32"],
  });
}

/** Ends what runs in the background, and removes everything. */
export async function cleanUp(): Promise<void> {
  const prefix = join(directory, "wine");
  if (existsSync(prefix)) {
    await start({ ...native, env: { WINEPREFIX: prefix }, keepsOutputOpen: true }, [WINE_SERVER, "-k", "-w"])
      .outcome;
  }
  rmSync(directory, { recursive: true });
}

// ---- musl ----------------------------------------------------------------------------------------------------------

/**
 * Bun for musl needs the C++ library of a musl system, which Debian has not. What Bun uses of it is taken from the
 * static one of this machine; the rest is what glibc has and musl lacks. It throws no exceptions.
 */
async function addMuslLibrary(executable: string): Promise<void> {
  const libraries = ["libstdc++.a", "libgcc_eh.a", "libgcc.a"].map((name) =>
    output(["g++", `-print-file-name=${name}`]).trim(),
  );
  const source = join(directory, "musl.c");
  writeFileSync(
    source,
    `void *__dso_handle = &__dso_handle;
char __libc_single_threaded = 0;
int _dl_find_object(void *address, void *result) { return address == result ? -1 : -1; }
unsigned arc4random(void) { return 4; }
`,
  );
  const provided = new Set(namesOf(["nm", "-D", "--defined-only", MUSL_LOADER]));
  const wanted = [
    ...namesOf(["nm", "-D", "--undefined-only", executable]),
    // Data that the linker has given a place in the executable, and the library the contents.
    ...[...output(["readelf", "-rW", executable]).matchAll(/R_X86_64_COPY.* (\w+) \+ 0$/gm)].map(
      ([, name = ""]) => name,
    ),
  ];
  const undefinedNames = wanted.filter((name) => !provided.has(name));
  await run([
    ...["g++", "-x", "c", "-fPIC", "-shared", "-nostdlib", source, "-x", "none"],
    ...undefinedNames.map((name) => `-Wl,-u,${name}`),
    ...["-Wl,-soname,libstdc++.so.6", ...libraries, "-o", join(dirname(executable), "libstdc++.so.6")],
  ]);
}

/** The names in the last column of what a command prints, without their versions. */
function namesOf(command: readonly string[]): string[] {
  const lines = output(command).trim().split("\n");
  return lines.map((line) => line.trim().split(/\s+/).at(-1)?.split("@")[0] ?? "");
}

function output(command: readonly string[]): string {
  const { stdout, stderr, exitCode } = Bun.spawnSync([...command]);
  if (exitCode !== 0) throw new Error(`exit code ${exitCode} from ${command.join(" ")}\n${stderr}`);
  return stdout.toString();
}
