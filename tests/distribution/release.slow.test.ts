// A release, made as the workflow makes it, and every way to install it, with the files that were made. Needs root, rpmbuild, ruby,
// curl and wget (.ci/run).

import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
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
import { unzipSync } from "fflate";
import { version } from "../../package.json";
import { helperPath, root } from "../../scripts/build-native.ts";
import { PACKAGINGS, PLACES } from "../../scripts/release/table.ts";
import { targets } from "../../scripts/targets.ts";
import { uniqueName } from "../support/buffers.ts";
import { inCopy } from "../support/copy.ts";
import { Child } from "../support/process.ts";

const REPOSITORY = "https://example.org/owner/name";
const ADDRESS = `${REPOSITORY}/releases/download/v${version}`;
const BUILD_LIMIT_MS = 20 * 60_000;

setDefaultTimeout(BUILD_LIMIT_MS);

const dist = join(root, "dist");
const read = (name: string) => readFileSync(join(dist, name), "utf8");

let directory: string;
let server: Bun.Server<undefined>;

beforeAll(async () => {
  await using child = Child.program([join(root, ".github", "scripts", "build.sh"), REPOSITORY], {
    limitMs: BUILD_LIMIT_MS,
    // Whoever builds it, others can read what is installed.
    shell: 'umask 077; exec "$@"',
  });
  await child.succeed();
  // What a release has is served at an address of this machine.
  server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch({ url }) {
      const file = new URL(url).pathname.slice(1);
      if (file === "install.sh") return new Response(here(read(file)));
      return existsSync(join(dist, file))
        ? new Response(Bun.file(join(dist, file)))
        : new Response("", { status: 404 });
    },
  });
});
afterAll(() => server.stop(true));

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "zerobuffer-release-"));
  return () => rmSync(directory, { recursive: true });
});

/** A text of the release with the address that this machine has it at. */
function here(text: string): string {
  expect(text).toContain(ADDRESS);
  return text.replaceAll(ADDRESS, `http://127.0.0.1:${server.port}`);
}

/** Runs a shell script in an empty directory; what it prints. */
async function shell(script: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
  await using child = Child.program(["sh", "-euc", script], {
    cwd: directory,
    env: { PATH: process.env.PATH, HOME: directory, TMPDIR: tmpdir(), ...env },
    inheritsEnv: false,
  });
  return (await child.succeed()).stdout.toString();
}

/** Shell: the executable tells its version, finds its helper, and moves frames from one process to another. */
function uses(program: string): string {
  const name = uniqueName();
  return `
    ${program} --version
    ${program} doctor --json-output > /dev/null
    ${program} reader ${name} -n 1000 --verify sequential --quiet &
    ${program} writer ${name} -n 1000 -s 4096 --quiet
    wait $!
    ${program} --licenses | grep -q JavaScriptCore
  `;
}

const itsVersion = (target: string) =>
  expect.stringMatching(new RegExp(`^zerobuffer ${version} \\(${target}, commit `, "m"));

describe("the release", () => {
  const sums = () =>
    read("SHA256SUMS")
      .trimEnd()
      .split("\n")
      .map((line) => line.split("  ")[1] ?? "");

  test("has a hash of each of its files, and no file twice", async () => {
    await shell(`cd '${dist}' && sha256sum --check --strict --quiet SHA256SUMS`);
    const published = readdirSync(dist).filter((name) => statSync(join(dist, name)).isFile());
    const others = ["SHA256SUMS", "manifest.json", "release-notes.md", "zerobuffer"];
    expect(sums().sort()).toEqual(published.filter((name) => !others.includes(name)).sort());
    expect(sums()).toHaveLength(targets.length + PACKAGINGS.filter(({ deb }) => deb).length * 2 + 6);
  });

  test("names no file of itself that it does not have, nor do the README and docs/install.md", () => {
    const texts = ["release-notes.md", "zerobuffer.rb", "zerobuffer.json", "Dockerfile", "install.sh"].map(
      read,
    );
    const pages = ["README.md", "docs/install.md"]
      .map((path) => readFileSync(join(root, path), "utf8"))
      .join();
    const named = [
      ...texts.flatMap((text) => [...text.matchAll(/releases\/download\/v[0-9.]+\/([\w.-]+)/g)]),
      ...pages.matchAll(/\$REPOSITORY\/releases\/latest\/download\/([\w.-]+)/g),
    ].map(([, file]) => file ?? "");
    expect(named.length).toBeGreaterThan(15);
    expect(sums()).toEqual(expect.arrayContaining([...new Set(named)]));
    for (const pattern of pages.matchAll(/install \.\/(zerobuffer\S+)/g))
      expect([...new Bun.Glob(pattern[1] ?? "").scanSync(dist)]).toHaveLength(1);
  });

  test("is compared with another one of the same commit by compare.sh", async () => {
    const compare = join(root, ".github", "scripts", "compare.sh");
    writeFileSync(join(directory, "SHA256SUMS"), read("SHA256SUMS").replace(/^\w+(?=.*\.deb$)/m, "0"));
    await shell(`'${compare}' '${dist}' .`);
    writeFileSync(join(directory, "SHA256SUMS"), read("SHA256SUMS").replace(/^\w+(?=.*\.tgz$)/m, "0"));
    expect(await shell(`! '${compare}' '${dist}' .`)).toContain(`zerobuffer-${version}.tgz`);
  });
});

test("curl | sh installs, and --uninstall removes", async () => {
  const pipe = `curl -fsSL http://127.0.0.1:${server.port}/install.sh | sh -s --`;
  const output = await shell(`
    ${pipe} --prefix installed
    ${uses("installed/bin/zerobuffer")}
    ${pipe} --prefix installed --uninstall
    find installed -type f`);
  expect(output).toEqual(itsVersion("linux-x64(-baseline)?"));
  expect(output).toEndWith(
    `removed ${directory}/installed/share/fish/vendor_completions.d/zerobuffer.fish\n`,
  );
});

test("the .deb is installed and removed by dpkg", async () => {
  const { code, stdout, stderr } = await inCopy(
    `dpkg -i /mnt/zerobuffer_${version}_amd64.deb >&2
     test "$(command -v zerobuffer)" = /usr/bin/zerobuffer
     ${uses("zerobuffer")}
     dpkg --verify zerobuffer
     dpkg -L zerobuffer | while read -r path; do test -d "$path" || echo "file $path"; done
     dpkg -r zerobuffer >&2
     ! test -e /usr/bin/zerobuffer`,
    dist,
  );
  expect([code, code === 0 ? "" : stderr]).toEqual([0, ""]);
  expect(stdout.toString()).toEqual(itsVersion("linux-x64-baseline"));
  const files = [...stdout.toString().matchAll(/^file (.*)$/gm)].map(([, path]) => path);
  expect(files.sort()).toEqual(PLACES.map(({ place, debian }) => `/usr/${debian ?? place}`).sort());
});

test("the .rpm is installed and removed by rpm", async () => {
  const { code, stdout, stderr } = await inCopy(
    // Debian has no glibc for rpm.
    `rpm --force-debian --nodeps -i /mnt/zerobuffer-${version}-1.x86_64.rpm >&2
     test "$(command -v zerobuffer)" = /usr/bin/zerobuffer
     ${uses("zerobuffer")}
     rpm --verify --nodeps zerobuffer
     rpm -ql zerobuffer | while read -r path; do test -d "$path" || echo "file $path"; done
     rpm --force-debian -e zerobuffer >&2
     ! test -e /usr/bin/zerobuffer
     ! test -e /usr/share/licenses/zerobuffer`,
    dist,
  );
  expect([code, code === 0 ? "" : stderr]).toEqual([0, ""]);
  expect(stdout.toString()).toEqual(itsVersion("linux-x64-baseline"));
  const files = [...stdout.toString().matchAll(/^file (.*)$/gm)].map(([, path]) => path);
  expect(files.sort()).toEqual(PLACES.map(({ place }) => `/usr/${place}`).sort());
});

test.each(["deb", "rpm"] as const)("everything in a .%s is root's, and can be read by all", async (kind) => {
  const list =
    kind === "deb"
      ? `dpkg-deb -c '${dist}/zerobuffer_${version}_arm64.deb' | awk '{ print $1, $2, $NF }'`
      : `rpm -qp --queryformat '[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} .%{FILENAMES}\\n]' '${dist}/zerobuffer-${version}-1.aarch64.rpm'`;
  const entries = (await shell(list)).trimEnd().split("\n");
  expect(entries.length).toBeGreaterThan(PLACES.length);
  for (const entry of entries)
    expect(entry).toMatch(
      /^(drwxr-xr-x root\/root|-rw-r--r-- root\/root|-rwxr-xr-x root\/root \.\/usr\/bin\/zerobuffer$)/,
    );
});

test.each(["deb", "rpm"] as const)(
  "each .%s holds the executable of its target, byte for byte",
  async (kind) => {
    for (const { target, [kind]: architecture } of PACKAGINGS) {
      if (architecture === undefined) continue;
      const unpack =
        kind === "deb"
          ? `dpkg-deb -x '${dist}/zerobuffer_${version}_${architecture}.deb' ${target}`
          : `mkdir ${target} && rpm2archive - < '${dist}/zerobuffer-${version}-1.${architecture}.rpm' | tar -xz -C ${target}`;
      await shell(`${unpack} && cmp ${target}/usr/bin/zerobuffer '${dist}/${target}/zerobuffer'`);
    }
  },
);

describe("the Homebrew formula", () => {
  const brew = (...args: string[]) =>
    shell(`ruby '${join(import.meta.dir, "formula.rb")}' '${dist}/zerobuffer.rb' ${args.join(" ")}`);

  test("installs what works", async () => {
    expect(await brew("linux", "intel", `'${dist}'`, `'${directory}/cellar'`)).toEndWith(
      "zerobuffer-linux-x64-baseline.tar.gz\n",
    );
    expect(await shell(uses("cellar/bin/zerobuffer"))).toEqual(itsVersion("linux-x64-baseline"));
    const files = [...new Bun.Glob("**").scanSync({ cwd: join(directory, "cellar") })];
    const places = PLACES.map(({ place, file, isNotice }) => (isNotice ? file : place));
    expect(files.sort()).toEqual(places.sort());
  });

  test("names the archive of each machine with its hash", async () => {
    for (const { homebrew, target } of PACKAGINGS)
      if (homebrew !== undefined)
        expect(await brew(...homebrew, `'${dist}'`)).toBe(`zerobuffer-${target}.tar.gz\n`);
  });
});

test("the Scoop manifest names archives with their hashes, and the executable in them", () => {
  const { version: told, architecture, bin } = JSON.parse(read("zerobuffer.json"));
  expect(told).toBe(version);
  expect(Object.keys(architecture)).toEqual(["64bit", "arm64"]);
  for (const { url, hash, extract_dir } of Object.values<Record<string, string>>(architecture)) {
    expect(url).toStartWith(`${ADDRESS}/`);
    const archive = readFileSync(join(dist, url!.slice(ADDRESS.length + 1)));
    expect(new Bun.CryptoHasher("sha256").update(archive).digest("hex")).toBe(hash!);
    expect(Object.keys(unzipSync(archive))).toContain(`${extract_dir}/${bin}`);
  }
});

test("the Dockerfile installs what works, and starts it", async () => {
  const [, commands = ""] = /^RUN (.*?[^\\])$/ms.exec(here(read("Dockerfile"))) ?? [];
  const [, entry = ""] = /^ENTRYPOINT (.*)$/m.exec(read("Dockerfile")) ?? [];
  // This system stands for Alpine, which gets its C++ library by apk.
  const { code, stdout, stderr } = await inCopy(
    `printf '#!/bin/sh\\ntest "$*" = "add --no-cache libstdc++"\\n' > /usr/local/bin/apk
     chmod 755 /usr/local/bin/apk
     sh -c '${commands}'
     ${uses(JSON.parse(entry).join(" "))}`,
    dist,
  );
  expect([code, code === 0 ? "" : stderr]).toEqual([0, ""]);
  expect(stdout.toString()).toEqual(itsVersion("linux-x64(-baseline)?"));
});

test("the npm package has the helper of every system", async () => {
  cpSync(join(dist, `zerobuffer-${version}.tgz`), join(directory, "zerobuffer.tgz"));
  mkdirSync(join(directory, "bin"));
  const env = { BUN_CONFIG_REGISTRY: "http://127.0.0.1:1", BUN_INSTALL_CACHE_DIR: join(directory, "cache") };
  await shell(
    `ln -s '${process.execPath}' bin/bun && ln -s '${process.execPath}' bin/bunx && bin/bun add ./zerobuffer.tgz`,
    env,
  );
  const place = join(directory, "node_modules", "zerobuffer");
  const helpers = [...new Bun.Glob("**").scanSync({ cwd: join(place, "helpers") })];
  const own = targets.filter(({ name, helper }) => name === helper);
  expect(helpers.sort()).toEqual(own.map(({ name, helperFile }) => `${name}/${helperFile}`).sort());
  for (const target of own)
    expect(
      readFileSync(join(place, "helpers", target.name, target.helperFile)).equals(
        readFileSync(helperPath(target)),
      ),
    ).toBe(true);
  const size = [...new Bun.Glob("**").scanSync({ cwd: place })].reduce(
    (sum, name) => sum + statSync(join(place, name)).size,
    0,
  );
  expect(size).toBeLessThan(3e6);
  expect(JSON.parse(readFileSync(join(place, "package.json"), "utf8")).repository.url).toBe(
    `git+${REPOSITORY}.git`,
  );
  expect(readFileSync(join(place, "README.md"), "utf8")).toContain(
    `curl -fsSL ${REPOSITORY}/releases/latest/download/install.sh | sh`,
  );
  expect(await shell("PATH=$PWD/bin:$PATH bin/bunx zerobuffer doctor", env)).toContain(
    "the native helper is loaded",
  );
});
