import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tarGz } from "../../scripts/binaries/archive.ts";
import { root } from "../../scripts/build-native.ts";
import { installer } from "../../scripts/release/manifests.ts";
import { PLACES, type Release } from "../../scripts/release/table.ts";
import { Child, type ChildOptions } from "../support/process.ts";

/** Stands in for the executable: installing looks at nothing but that it runs. */
const PROGRAM = '#!/bin/sh\n[ "$1" = --version ] && echo "zerobuffer 1.2.3"\n';

const FILES = PLACES.filter(({ isNotice }) => !isNotice)
  .map(({ place }) => place)
  .sort();

let directory: string;
let artifacts: string;
let prefix: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "zerobuffer install "));
  artifacts = join(directory, "artifacts");
  prefix = join(directory, "home", ".local");
  for (const name of ["artifacts", "home", "tmp", "bin"]) mkdirSync(join(directory, name));
  // Root installs for everybody, and that is not to happen here.
  pretend("id", "echo 1000");
});

afterEach(() => {
  // Whatever became of it, nothing of its own is left.
  expect(readdirSync(join(directory, "tmp"))).toEqual([]);
  rmSync(directory, { recursive: true });
});

/** Makes the archive of a target, and adds it to SHA256SUMS. */
async function publish(target: string, program = PROGRAM): Promise<string> {
  const contents: Readonly<Record<string, string>> = {
    zerobuffer: program,
    "zerobuffer.1": "manual",
    "completions/zerobuffer.bash": "bash",
    "completions/_zerobuffer": "zsh",
    "completions/zerobuffer.fish": "fish",
  };
  const entries = Object.entries(contents).map(([name, text]) => ({
    name: `zerobuffer-${target}/${name}`,
    content: Buffer.from(text),
    isExecutable: name === "zerobuffer",
  }));
  const archive = await tarGz(entries, new Date(0));
  const file = join(artifacts, `zerobuffer-${target}.tar.gz`);
  writeFileSync(file, archive);
  const hash = createHash("sha256").update(archive).digest("hex");
  const sums = join(artifacts, "SHA256SUMS");
  const before = existsSync(sums) ? readFileSync(sums, "utf8") : "";
  writeFileSync(sums, `${before}${hash}  zerobuffer-${target}.tar.gz\n`);
  return file;
}

/** Puts a program before all others in PATH. */
function pretend(name: string, script: string): void {
  writeFileSync(join(directory, "bin", name), `#!/bin/sh\n${script}\n`);
  chmodSync(join(directory, "bin", name), 0o755);
}

/** A machine that may be another than this. */
function pretendMachine(
  system: string,
  machine: string,
  { libc = "glibc", avx2 = true }: { libc?: "glibc" | "musl" | "none"; avx2?: boolean } = {},
): void {
  pretend("uname", `case $1 in -s) echo ${system} ;; -m) echo ${machine} ;; esac`);
  pretend("getconf", libc === "glibc" ? "echo glibc 2.36" : "exit 1");
  pretend("ldd", libc === "musl" ? "echo musl libc; exit 1" : "exit 1");
  // The only things that are searched are what ldd says, and the processor's flags.
  pretend("grep", `case $* in *avx2*) exit ${avx2 ? 0 : 1} ;; *) exec /bin/grep "$@" ;; esac`);
  pretend("sysctl", "exit 1");
}

async function install(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  { script = join(root, "install.sh"), ...options }: ChildOptions & { script?: string } = {},
) {
  await using child = Child.program(["sh", script, ...args], {
    ...options,
    env: {
      PATH: `${join(directory, "bin")}:${process.env.PATH}`,
      HOME: join(directory, "home"),
      TMPDIR: join(directory, "tmp"),
      ...env,
    },
    inheritsEnv: false,
  });
  const { code, stdout, stderr } = await child.end();
  return { code, stdout: stdout.toString(), stderr };
}

/** Everything below the home directory, directories included. */
function installed(): string[] {
  return [
    ...new Bun.Glob("**").scanSync({ cwd: join(directory, "home"), dot: true, onlyFiles: false }),
  ].sort();
}

const here = ["--target", "linux-x64", "--from"] as const;

describe("from a directory", () => {
  test("everything gets to its place, and is told", async () => {
    await publish("linux-x64");
    const { code, stdout, stderr } = await install([...here, artifacts, "--prefix", prefix]);
    expect([code, stderr]).toEqual([0, ""]);
    expect([...new Bun.Glob("**").scanSync({ cwd: prefix, dot: true })].sort()).toEqual(FILES);
    const program = join(prefix, "bin", "zerobuffer");
    expect(statSync(program).mode & 0o777).toBe(0o755);
    expect(statSync(join(prefix, FILES[3]!)).mode & 0o777).toBe(0o644);
    expect(stdout).toContain("installed zerobuffer 1.2.3\n");
    expect(stdout).toContain(`${program}\n`);
    expect(stdout).toContain(`export PATH="${prefix}/bin:$PATH"`);
  });

  test("PATH is not spoken of where it is as it has to be", async () => {
    await publish("linux-x64");
    const { stdout } = await install([...here, artifacts, "--prefix", prefix], {
      PATH: `${prefix}/bin:${process.env.PATH}`,
    });
    expect(stdout).not.toContain("PATH");
  });

  test("an older installation is replaced, and what is beside it stays", async () => {
    mkdirSync(join(prefix, "bin"), { recursive: true });
    writeFileSync(join(prefix, "bin", "zerobuffer"), "old");
    writeFileSync(join(prefix, "bin", "other"), "other");
    await publish("linux-x64");
    expect((await install([...here, artifacts, "--prefix", prefix])).code).toBe(0);
    expect(readFileSync(join(prefix, "bin", "zerobuffer"), "utf8")).toBe(PROGRAM);
    expect(readdirSync(join(prefix, "bin")).sort()).toEqual(["other", "zerobuffer"]);
  });
});

describe("nothing is installed, and nothing made,", () => {
  const refused = async (args: readonly string[], message: string | RegExp) => {
    const before = installed();
    const { code, stdout, stderr } = await install(args);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd().split("\n").at(-1)).toStartWith("install.sh: ");
    expect(installed()).toEqual(before);
  };

  test("if the hash is wrong", async () => {
    const file = await publish("linux-x64");
    writeFileSync(file, Buffer.concat([readFileSync(file), Buffer.from([0])]));
    await refused([...here, artifacts], /has the hash [0-9a-f]{64}, and SHA256SUMS says [0-9a-f]{64}/);
  });

  test("if the archive is missing, or not listed, or there is no list", async () => {
    await refused([...here, artifacts], "cannot get SHA256SUMS");
    const file = await publish("linux-x64");
    await refused(["--target", "linux-arm64", "--from", artifacts], "has no zerobuffer-linux-arm64.tar.gz");
    rmSync(file);
    await refused([...here, artifacts], "cannot get zerobuffer-linux-x64.tar.gz from");
  });

  test("if the executable does not run here", async () => {
    await publish("linux-x64", "#!/nonexistent\n");
    await refused([...here, artifacts], "the executable for linux-x64 does not run here");
  });

  test("if a directory cannot be made or written", async () => {
    await publish("linux-x64");
    writeFileSync(join(directory, "home", "file"), "");
    await refused(
      [...here, artifacts, "--prefix", join(directory, "home", "file")],
      "cannot make the directory",
    );
    await refused([...here, artifacts, "--prefix", "/proc"], "cannot make the directory /proc/bin");
    // Found out after others have been made and filled.
    mkdirSync(join(prefix, "share"), { recursive: true });
    writeFileSync(join(prefix, "share", "fish"), "");
    await refused([...here, artifacts], "cannot make the directory");
    mkdirSync(join(prefix, "bin", "zerobuffer"), { recursive: true });
    await refused([...here, artifacts], "is a directory");
  });

  test("if the arguments are not understood, or say too little", async () => {
    await refused(["--form", "x"], "unknown argument --form");
    await refused(["--from"], "--from needs a value");
    await refused(["--target", "linux-x64"], "say where its files are");
  });

  test("if it is stopped", async () => {
    await publish("linux-x64", `#!/bin/sh\nkill -TERM $PPID\n${PROGRAM}`);
    const { code } = await install([...here, artifacts]);
    expect(code).toBe(143);
    expect(installed()).toEqual([]);
  });
});

describe("the executable for", () => {
  test.each([
    ["linux-x64", "Linux", "x86_64", {}],
    ["linux-x64-baseline", "Linux", "x86_64", { avx2: false }],
    ["linux-x64-musl", "Linux", "x86_64", { libc: "musl" }],
    ["linux-arm64", "Linux", "aarch64", {}],
    ["linux-arm64-musl", "Linux", "aarch64", { libc: "musl" }],
    ["darwin-x64", "Darwin", "x86_64", {}],
    ["darwin-arm64", "Darwin", "arm64", {}],
  ] as const)("%s is taken", async (target, system, machine, what) => {
    for (const other of ["linux-x64", "linux-x64-musl", "darwin-x64"])
      if (other !== target) await publish(other, "");
    await publish(target);
    pretendMachine(system, machine, what);
    const { code, stderr } = await install(["--from", artifacts]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(readFileSync(join(prefix, "bin", "zerobuffer"), "utf8")).toBe(PROGRAM);
  });

  test("a shell that runs translated on an Apple processor is that processor's", async () => {
    await publish("darwin-arm64");
    pretendMachine("Darwin", "x86_64");
    pretend("sysctl", "echo 1");
    expect((await install(["--from", artifacts])).code).toBe(0);
  });

  test.each([
    ["Linux", "riscv64", {}, "no executable for processors of type riscv64"],
    ["Linux", "x86_64", { libc: "none" }, "cannot tell which C library"],
    ["Linux", "x86_64", { libc: "musl", avx2: false }, "need AVX2"],
    ["FreeBSD", "amd64", {}, "no executable for FreeBSD"],
    ["MINGW64_NT-10.0", "x86_64", {}, "unpack zerobuffer-windows-x64.zip"],
  ] as const)("%s on %s with %p is not there", async (system, machine, what, message) => {
    await publish("linux-x64");
    pretendMachine(system, machine, what);
    const { code, stderr } = await install(["--from", artifacts]);
    expect(code).toBe(1);
    expect(stderr).toContain(message);
    expect(installed()).toEqual([]);
  });
});

test("from an address, with what there is to fetch it", async () => {
  await publish("linux-x64");
  using server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: ({ url }) => {
      const file = Bun.file(join(artifacts, new URL(url).pathname.slice(1)));
      return existsSync(file.name ?? "") ? new Response(file) : new Response("", { status: 404 });
    },
  });
  const from = `http://127.0.0.1:${server.port}`;
  const { code, stderr } = await install([...here, from]);
  if (Bun.which("curl") === null && Bun.which("wget") === null) {
    expect([code, stderr]).toEqual([1, expect.stringContaining("neither curl nor wget is here")]);
    return;
  }
  expect([code, stderr]).toEqual([0, ""]);
  const missing = await install(["--target", "linux-x64", "--from", `${from}/nosuch`]);
  expect(missing.code).toBe(1);
  expect(missing.stderr).toContain("cannot get SHA256SUMS from");
});

/** install.sh of a release whose files are those of the test. */
function released(): string {
  const release: Release = { version: "1.2.3", repository: "https://example.org/a/b", archives: new Map() };
  const script = installer(readFileSync(join(root, "install.sh"), "utf8"), release);
  const address = "https://example.org/a/b/releases/download/v1.2.3";
  expect(script).toContain(`\nfrom='${address}'\n`);
  return script.replace(address, artifacts);
}

describe("of a release", () => {
  beforeEach(async () => {
    await publish("linux-x64");
    writeFileSync(join(directory, "install.sh"), released());
  });
  const script = () => join(directory, "install.sh");

  test("from that release", async () => {
    expect((await install(["--target", "linux-x64"], {}, { script: script() })).code).toBe(0);
    expect(readFileSync(join(prefix, "bin", "zerobuffer"), "utf8")).toBe(PROGRAM);
  });

  const pipe = (text: string, ...args: string[]) =>
    install(["--", ...args], {}, { script: "-s", stdin: Buffer.from(text) });

  test("through a pipe, with options", async () => {
    const help = await pipe(released(), "--help");
    expect([help.code, help.stdout]).toEqual([0, expect.stringContaining("sh install.sh --uninstall")]);
    const { code, stderr } = await pipe(released(), "--target", "linux-x64");
    expect([code, stderr]).toEqual([0, ""]);
    expect(readFileSync(join(prefix, "bin", "zerobuffer"), "utf8")).toBe(PROGRAM);
  });

  test("through a pipe that breaks, does nothing", async () => {
    const text = released();
    const last = Array.from({ length: 14 }, (_, at) => text.length - 2 - at);
    const others = Array.from({ length: 16 }, (_, at) => Math.floor((text.length * at) / 16));
    for (const end of [...last, ...others]) {
      await pipe(text.slice(0, end), "--target", "linux-x64");
      expect([end, installed()]).toEqual([end, []]);
    }
  });
});

test("what root installs with a umask of its own can be read by all", async () => {
  await publish("linux-x64");
  const { code } = await install(
    [...here, artifacts, "--prefix", prefix],
    {},
    { shell: 'umask 077; exec "$@"' },
  );
  expect(code).toBe(0);
  for (const path of installed().filter((path) => path !== ".local/" && path !== "")) {
    const status = statSync(join(directory, "home", path));
    const isProgram = path.endsWith("bin/zerobuffer");
    expect([path, status.mode & 0o777]).toEqual([path, status.isDirectory() || isProgram ? 0o755 : 0o644]);
  }
});

test("below a prefix that is relative", async () => {
  await publish("linux-x64");
  const { code, stdout } = await install(
    [...here, artifacts, "--prefix", "opt/zb"],
    {},
    { cwd: join(directory, "home") },
  );
  expect(code).toBe(0);
  expect(
    [...new Bun.Glob("**").scanSync({ cwd: join(directory, "home", "opt", "zb"), dot: true })].sort(),
  ).toEqual(FILES);
  expect(stdout).toContain(`export PATH="${join(directory, "home", "opt", "zb", "bin")}:$PATH"`);
});

describe("--uninstall", () => {
  test("removes what was installed, and nothing else", async () => {
    await publish("linux-x64");
    await install([...here, artifacts]);
    writeFileSync(join(prefix, "bin", "other"), "other");
    const { code, stdout, stderr } = await install(["--uninstall"]);
    expect([code, stderr]).toEqual([0, ""]);
    expect([...new Bun.Glob("**").scanSync({ cwd: prefix, dot: true })]).toEqual(["bin/other"]);
    for (const file of FILES) expect(stdout).toContain(`removed ${join(prefix, file)}\n`);
  });

  test("says when nothing is installed", async () => {
    const { code, stderr } = await install(["--uninstall"]);
    expect([code, stderr]).toEqual([
      1,
      `install.sh: there is no ${prefix}/bin/zerobuffer: nothing is removed\n`,
    ]);
  });
});
