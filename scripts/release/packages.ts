// The .deb and .rpm packages of a release, made by the tools of Debian and of RPM from its archives.

import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { run } from "../build-native.ts";
import { archivesFor, PLACES, type Release, SUMMARY } from "./table.ts";

const DESCRIPTION = [
  "A reader creates a buffer in shared memory, a writer fills it with frames (video images, records, any bytes), and each",
  "side knows within a second when the other has gone.",
];

/**
 * Makes the packages of a release beside its archives. Returns their file names.
 *
 * @param directory where the archives are.
 * @param time that of every file in the packages.
 * @throws if dpkg-deb or rpmbuild is missing, or fails; the message holds what it says.
 */
export async function linuxPackages(release: Release, directory: string, time: Date): Promise<string[]> {
  for (const [tool, name] of Object.entries({ "dpkg-deb": "dpkg", rpmbuild: "rpm" }))
    if (Bun.which(tool) === null) throw new Error(`${tool} is missing: apt-get install ${name}`);
  const made: string[] = [];
  for (const kind of ["deb", "rpm"] as const) {
    for (const { file, name, target } of archivesFor(release, kind)) {
      const work = mkdtempSync(join(tmpdir(), "zerobuffer-package-"));
      try {
        await run(["tar", "-xzf", join(directory, file), "-C", work]);
        const tree = layOut(join(work, `zerobuffer-${target}`), join(work, "tree"), kind === "deb");
        const make = kind === "deb" ? makeDeb : makeRpm;
        made.push(await make({ release, architecture: name, work, tree, directory, time }));
      } finally {
        rmSync(work, { recursive: true });
      }
    }
  }
  return made;
}

/** Puts the files of an archive where the package has them. Returns the directory that stands for `/`. */
function layOut(archive: string, tree: string, isDebian: boolean): string {
  for (const { file, place, debian, isExecutable } of PLACES) {
    const path = join(tree, "usr", isDebian ? (debian ?? place) : place);
    mkdirSync(dirname(path), { recursive: true });
    copyFileSync(join(archive, file), path);
    chmodSync(path, isExecutable ? 0o755 : 0o644);
  }
  return tree;
}

interface Making {
  readonly release: Release;
  readonly architecture: string;
  /** A directory that is removed afterwards. */
  readonly work: string;
  /** What stands for `/`. */
  readonly tree: string;
  /** Where the package goes. */
  readonly directory: string;
  readonly time: Date;
}

async function makeDeb({ release, architecture, tree, directory, time }: Making): Promise<string> {
  const owner = new URL(release.repository).pathname.split("/")[1];
  const control = [
    "Package: zerobuffer",
    `Version: ${release.version}`,
    `Architecture: ${architecture}`,
    `Maintainer: ${owner} <${owner}@users.noreply.github.com>`,
    `Installed-Size: ${Math.ceil(sizeOf(tree) / 1024)}`,
    "Depends: libc6 (>= 2.17)",
    "Section: utils",
    "Priority: optional",
    `Homepage: ${release.repository}`,
    `Description: ${SUMMARY[0]?.toLowerCase()}${SUMMARY.slice(1)}`,
    ...DESCRIPTION.map((line) => ` ${line}`),
  ];
  mkdirSync(join(tree, "DEBIAN"));
  writeFileSync(join(tree, "DEBIAN", "control"), `${control.join("\n")}\n`);
  chmodSync(join(tree, "DEBIAN", "control"), 0o644);
  const file = `zerobuffer_${release.version}_${architecture}.deb`;
  settle(tree, time);
  await run(["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", tree, join(directory, file)], {
    env: clock(time),
  });
  return file;
}

async function makeRpm({ release, architecture, work, tree, directory, time }: Making): Promise<string> {
  const spec = [
    "Name: zerobuffer",
    `Version: ${release.version}`,
    "Release: 1",
    `Summary: ${SUMMARY}`,
    "License: MIT",
    `URL: ${release.repository}`,
    "AutoReqProv: no",
    "Requires: libc.so.6(GLIBC_2.17)(64bit)",
    "%description",
    ...DESCRIPTION,
    "%install",
    `mkdir -p %{buildroot} && cp -a ${tree}/. %{buildroot}/`,
    "%files",
    "%defattr(-,root,root,-)",
    ...PLACES.map(({ place, isNotice }) => `${isNotice ? "%license " : ""}/usr/${place}`),
    "%dir /usr/share/licenses/zerobuffer",
  ];
  const path = join(work, "zerobuffer.spec");
  writeFileSync(path, `${spec.join("\n")}\n`);
  const definitions = {
    _topdir: join(work, "rpm"),
    _rpmdir: directory,
    _build_name_fmt: "%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm",
    _buildhost: "localhost",
    _binary_payload: "w6.gzdio",
    _build_id_links: "none",
    // The executable holds the program behind its code: nothing may be stripped from it.
    __os_install_post: "%{nil}",
    debug_package: "%{nil}",
    use_source_date_epoch_as_buildtime: "1",
    clamp_mtime_to_source_date_epoch: "1",
  };
  const defined = Object.entries(definitions).flatMap(([name, value]) => ["--define", `${name} ${value}`]);
  settle(tree, time);
  await run(["rpmbuild", "-bb", "--target", `${architecture}-linux`, ...defined, path], { env: clock(time) });
  const file = `zerobuffer-${release.version}-1.${architecture}.rpm`;
  if (!existsSync(join(directory, file))) throw new Error(`rpmbuild has not made ${file}`);
  return file;
}

function clock(time: Date): Record<string, string> {
  return { SOURCE_DATE_EPOCH: String(Math.floor(time.getTime() / 1000)) };
}

/** Gives everything in a directory one time, and directories a mode of their own, whatever the umask was. */
function settle(directory: string, time: Date): void {
  for (const name of [".", ...readdirSync(directory, { recursive: true })]) {
    const path = join(directory, String(name));
    if (statSync(path).isDirectory()) chmodSync(path, 0o755);
    utimesSync(path, time, time);
  }
}

function sizeOf(directory: string): number {
  return [...new Bun.Glob("**").scanSync({ cwd: directory })].reduce(
    (sum, name) => sum + Bun.file(join(directory, name)).size,
    0,
  );
}
