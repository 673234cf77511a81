// The workflows, and their scripts with stand-ins for the programs that reach beyond this machine.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import {
  chmodSync,
  cpSync,
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
import { packageManager, version } from "../../package.json";
import { tarGz, zip } from "../../scripts/binaries/archive.ts";
import { root } from "../../scripts/build-native.ts";
import { targets } from "../../scripts/targets.ts";
import { Child } from "../support/process.ts";

interface Step {
  readonly uses?: string;
  readonly run?: string;
}

interface Job {
  readonly if?: string;
  readonly needs?: string | readonly string[];
  readonly "timeout-minutes"?: number;
  readonly strategy?: { readonly matrix: { readonly include: readonly { readonly target: string }[] } };
  readonly steps: readonly Step[];
}

interface Workflow {
  readonly on: Readonly<Record<string, unknown>>;
  readonly permissions: Readonly<Record<string, string>>;
  readonly jobs: Readonly<Record<string, Job>>;
}

const place = join(root, ".github", "workflows");
const scripts = join(root, ".github", "scripts");
const texts = new Map(readdirSync(place).map((name) => [name, readFileSync(join(place, name), "utf8")]));
const workflows = new Map([...texts].map(([name, text]) => [name, Bun.YAML.parse(text) as Workflow]));
const release = workflows.get("release.yml")!;
const jobs = [...workflows.values()].flatMap((workflow) => Object.values(workflow.jobs));

describe("the workflows", () => {
  test("take every action by its commit, the same everywhere, with its version beside it", () => {
    const used = [...texts.values()].flatMap((text) =>
      [...text.matchAll(/uses: (.*)/g)].map(([, action = ""]) => action),
    );
    expect(used.length).toBeGreaterThan(10);
    for (const action of used) expect(action).toMatch(/^actions\/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
    const names = new Set(used.map((action) => action.split("@")[0]));
    expect(new Set(used).size).toBe(names.size);
  });

  test("do nothing but call scripts, which tests can run", () => {
    const lines = jobs.flatMap(({ steps }) => steps.flatMap(({ run }) => run ?? []));
    expect(lines.length).toBeGreaterThan(8);
    for (const line of lines) {
      const [, script = ""] =
        /^(?:sudo --preserve-env=PATH,CI )?(?:another\/place\/)?((?:\.github\/scripts\/[a-z-]+\.sh|\.ci\/run))( \S+)*$/.exec(
          line,
        ) ?? [];
      expect([line, statSync(join(root, script || "nothing"), { throwIfNoEntry: false })?.mode]).toEqual([
        line,
        0o100755,
      ]);
    }
    for (const name of readdirSync(scripts))
      expect([name, Bun.spawnSync(["sh", "-n", join(scripts, name)]).exitCode]).toEqual([name, 0]);
  });

  test("find scripts on Windows as they are here, without a carriage return", () => {
    const names = readdirSync(scripts).map((name) => join(scripts, name));
    const { stdout } = Bun.spawnSync(["git", "check-attr", "text", ...names], { cwd: root });
    expect(stdout.toString().match(/: text: unset$/gm)).toHaveLength(names.length);
    for (const name of names) expect(readFileSync(name, "utf8")).not.toContain("\r");
  });

  test("may read, and no more than that unless a job says so, and end", () => {
    for (const { permissions } of workflows.values()) expect(permissions).toEqual({ contents: "read" });
    for (const job of jobs) expect(job["timeout-minutes"]).toBeGreaterThan(0);
  });
});

describe("a release", () => {
  test("is tested on every target", () => {
    const tested = Object.values(release.jobs).flatMap(({ strategy }) => strategy?.matrix.include ?? []);
    expect(tested.map(({ target }) => target).sort()).toEqual(targets.map(({ name }) => name).sort());
  });

  test("is published for a tag, once everything has passed; the rest runs every night", () => {
    expect(Object.keys(release.on).sort()).toEqual(["push", "schedule", "workflow_dispatch"]);
    const { publish, ...others } = release.jobs;
    expect(publish?.if).toBe("github.ref_type == 'tag'");
    expect([...(publish?.needs ?? [])].sort()).toEqual(["build", "reproduce", "test", "test-musl"]);
    for (const name of ["attest", "publish-npm"]) expect(others[name]?.needs).toBe("publish");
  });
});

describe("the script", () => {
  let checkout: string;
  let calls: string;

  beforeEach(() => {
    checkout = mkdtempSync(join(tmpdir(), "zerobuffer workflow "));
    cpSync(scripts, join(checkout, ".github", "scripts"), { recursive: true });
    cpSync(join(root, "package.json"), join(checkout, "package.json"));
    for (const name of ["artifacts", "bin"]) mkdirSync(join(checkout, name));
    calls = join(checkout, "calls");
    writeFileSync(calls, "");
  });
  afterEach(() => rmSync(checkout, { recursive: true }));

  /** Puts a program before all others in PATH that notes how it is called, and then runs a script. */
  function pretend(name: string, script = ""): void {
    const path = join(checkout, "bin", name);
    writeFileSync(path, `#!/bin/sh\necho "${name} $*" >> "${calls}"\n${script}\n`);
    chmodSync(path, 0o755);
  }

  /** What the stand-ins were called with. */
  const called = () => readFileSync(calls, "utf8").trimEnd().split("\n");

  async function run(name: string, ...args: string[]) {
    await using child = Child.program([join(checkout, ".github", "scripts", name), ...args], {
      cwd: tmpdir(),
      env: { PATH: `${join(checkout, "bin")}:${process.env.PATH}` },
    });
    const { code, stdout, stderr } = await child.end();
    return { code, stdout: stdout.toString(), stderr };
  }

  /** Puts files into the directory of artifacts, with their hashes. */
  function publish(files: Readonly<Record<string, Uint8Array | string>>): void {
    const sums = Object.entries(files).map(([name, content]) => {
      writeFileSync(join(checkout, "artifacts", name), content);
      return `${createHash("sha256").update(content).digest("hex")}  ${name}\n`;
    });
    writeFileSync(join(checkout, "artifacts", "SHA256SUMS"), sums.join(""));
    writeFileSync(join(checkout, "artifacts", "release-notes.md"), "");
  }

  test("bun.sh runs the Bun of package.json, with its arguments", async () => {
    pretend("npx");
    expect((await run("bun.sh", "run", "a b")).code).toBe(0);
    expect(called()).toEqual([`npx -y ${packageManager} run a b`]);
  });

  test("build.sh names the repository in everything, and refuses a tag of another version", async () => {
    for (const name of ["npx", "rpmbuild"]) pretend(name);
    const wrong = await run("build.sh", "https://example.org/a/b", "v99.0.0");
    expect([wrong.code, wrong.stderr]).toEqual([
      1,
      `build.sh: the tag is v99.0.0, and package.json has version ${version}\n`,
    ]);
    expect((await run("build.sh", "https://example.org/a/b", `v${version}`)).code).toBe(0);
    expect(called()).toEqual(
      ["build:all", "build:npm", "build:release"].map(
        (part) => `npx -y ${packageManager} run ${part} --repository https://example.org/a/b`,
      ),
    );
  });

  describe("compare.sh", () => {
    const sums = Array.from({ length: 16 }, (_, at) => `${at}  file-${at}.tgz\n`).join("");
    const write = (name: string, text: string) => {
      mkdirSync(join(checkout, name), { recursive: true });
      writeFileSync(join(checkout, name, "SHA256SUMS"), text);
      return join(checkout, name);
    };

    test("lets nothing pass that differs, but the compression of packages", async () => {
      const first = write("first", `${sums}a  x.deb\nb  x.rpm\n`);
      expect((await run("compare.sh", first, write("second", `${sums}c  x.deb\nd  x.rpm\n`))).code).toBe(0);
      const third = await run("compare.sh", first, write("third", sums.replace("7  file-7", "8  file-7")));
      expect([third.code, third.stdout]).toEqual([1, expect.stringContaining("< 7  file-7.tgz")]);
    });

    test("does not take nothing for the same", async () => {
      const { code, stderr } = await run("compare.sh", write("first", ""), write("second", ""));
      expect([code, stderr]).toEqual([1, expect.stringContaining("lacks files")]);
    });
  });

  describe("test-target.sh", () => {
    /** Stands in for Bun: of everything it is told to run, the project's program alone is known to be there. */
    const bun = 'case "$*" in *program.ts*) test -f program.ts ;; esac';
    const entries = (target: string, name: string) =>
      [
        name,
        "zerobuffer.1",
        "completions/zerobuffer.bash",
        "completions/_zerobuffer",
        "completions/zerobuffer.fish",
      ].map((file) => ({
        name: `zerobuffer-${target}/${file}`,
        content: Buffer.from(file === name ? "#!/bin/sh\necho zerobuffer 1.2.3\n" : ""),
        isExecutable: file === name,
      }));
    const runsOf = () => called().flatMap((line) => line.split(`npx -y ${packageManager} `)[1] ?? []);

    beforeEach(() => {
      pretend("npx", bun);
      pretend("codesign");
      // Of Git for Windows.
      pretend(
        "unzip",
        'mkdir -p "$4/zerobuffer-windows-x64" && cp "$2" "$4/zerobuffer-windows-x64/zerobuffer.exe"',
      );
      cpSync(join(root, "install.sh"), join(checkout, "artifacts", "install.sh"));
    });

    test.each(["linux-x64", "darwin-arm64", "windows-x64"])(
      "tests what is installed of %s",
      async (target) => {
        const isWindows = target === "windows-x64";
        const name = isWindows ? "zerobuffer.exe" : "zerobuffer";
        const time = new Date(Date.UTC(2026, 0, 1));
        publish({
          [`zerobuffer-${target}.${isWindows ? "zip" : "tar.gz"}`]: isWindows
            ? zip(entries(target, name), time)
            : await tarGz(entries(target, name), time),
          [`zerobuffer-${version}.tgz`]: "package",
        });
        const { code, stderr } = await run("test-target.sh", target);
        expect([code, stderr]).toEqual([0, ""]);
        const program = isWindows
          ? "dist/installed/zerobuffer-windows-x64/zerobuffer.exe"
          : "dist/installed/bin/zerobuffer";
        expect(existsSync(join(checkout, program))).toBe(true);
        expect(runsOf()).toEqual([
          "add ./zerobuffer.tgz",
          "program.ts",
          "x zerobuffer version",
          "install --frozen-lockfile",
          `tests/targets/run.ts --executable ${program} ${target}`,
          "run test tests/native",
          ...(target === "linux-x64" ? [`scripts/test.ts --executable ${program} tests/cli`] : []),
        ]);
        if (isWindows) expect(called()[0]).toStartWith("unzip -q artifacts/zerobuffer-windows-x64.zip -d ");
        const signed = called().filter((line) => line.startsWith("codesign"));
        expect(signed).toEqual(
          target === "darwin-arm64" ? [`codesign --verify --strict --verbose=2 ${program}`] : [],
        );
      },
    );

    test("fails with the first thing that fails", async () => {
      pretend("npx", 'case "$*" in *tests/targets/run.ts*) exit 9 ;; esac');
      publish({
        "zerobuffer-linux-x64.tar.gz": await tarGz(entries("linux-x64", "zerobuffer"), new Date(0)),
        [`zerobuffer-${version}.tgz`]: "package",
      });
      expect((await run("test-target.sh", "linux-x64")).code).toBe(9);
      expect(runsOf().at(-1)).toStartWith("tests/targets/run.ts");
    });
  });

  test("test-musl.sh gives its container more shared memory than Docker does, and what is run there installs", async () => {
    // The container is this machine, without what is Alpine's.
    pretend("docker", 'while [ "$1" != sh ]; do shift; done; cd "$(dirname "$0")/.." && exec "$@"');
    for (const name of ["apk", "npx"]) pretend(name);
    writeFileSync(join(checkout, "artifacts", "install.sh"), `echo "install.sh $*" >> "${calls}"\n`);
    expect((await run("test-musl.sh", "linux-x64-musl")).code).toBe(0);
    expect(called()).toEqual([
      `docker run --rm --shm-size 2g --volume ${checkout}:/work --workdir /work alpine:3.22 sh .github/scripts/in-alpine.sh linux-x64-musl`,
      "apk add --no-cache libstdc++ nodejs npm",
      "install.sh --from artifacts",
      `npx -y ${packageManager} install --frozen-lockfile`,
      `npx -y ${packageManager} tests/targets/run.ts --executable /usr/local/bin/zerobuffer linux-x64-musl`,
    ]);
  });

  describe("publish.sh", () => {
    beforeEach(() => pretend("gh"));

    test("publishes all that has a hash", async () => {
      publish({ "a.tar.gz": "a", "b.deb": "b", "install.sh": "c" });
      writeFileSync(join(checkout, "artifacts", "manifest.json"), "");
      expect((await run("publish.sh", "v1.2.3")).code).toBe(0);
      expect(called()).toEqual([
        "gh release create v1.2.3 --verify-tag --title v1.2.3 --notes-file release-notes.md a.tar.gz b.deb install.sh SHA256SUMS manifest.json",
      ]);
    });

    test("publishes nothing if a file has changed on the way, or is missing", async () => {
      publish({ "a.tar.gz": "a", "b.deb": "b" });
      writeFileSync(join(checkout, "artifacts", "a.tar.gz"), "A");
      expect((await run("publish.sh", "v1.2.3")).code).not.toBe(0);
      rmSync(join(checkout, "artifacts", "a.tar.gz"));
      expect((await run("publish.sh", "v1.2.3")).code).not.toBe(0);
      expect(called()).toEqual([""]);
    });
  });

  test("publish-npm.sh publishes the package, as a file, with its provenance", async () => {
    pretend("npx");
    publish({ "a.tar.gz": "a", "zerobuffer-1.2.3.tgz": "package" });
    expect((await run("publish-npm.sh")).code).toBe(0);
    expect(called()).toEqual([
      expect.stringMatching(
        /^npx -y npm@\d+\.\d+\.\d+ publish \.\/zerobuffer-1\.2\.3\.tgz --provenance --access public$/,
      ),
    ]);
    writeFileSync(join(checkout, "artifacts", "zerobuffer-1.2.3.tgz"), "another");
    expect((await run("publish-npm.sh")).code).not.toBe(0);
    expect(called()).toHaveLength(1);
  });
});
