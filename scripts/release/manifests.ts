// The small files by which others install a release: install.sh, the Homebrew formula, the Scoop manifest, the Dockerfile.

import { addressOf, archivesFor, PLACES, type Release, SUMMARY } from "./table.ts";

/**
 * install.sh of a release, which takes the files of that release.
 *
 * @param script install.sh of the source.
 * @throws if it has no place for the address.
 */
export function installer(script: string, release: Release): string {
  const blank = /^from=''$/m;
  if (!blank.test(script)) throw new Error("install.sh has no line from=''");
  return script.replace(blank, `from='${addressOf(release, "").replace(/\/$/, "")}'`);
}

/** `zerobuffer.rb`, for a tap of Homebrew. */
export function homebrewFormula(release: Release): string {
  const archives = archivesFor(release, "homebrew");
  const blocks = (["macos", "linux"] as const).flatMap((system) => [
    `  on_${system} do`,
    ...archives
      .filter(({ name }) => name[0] === system)
      .flatMap(({ name, file, sha256 }) => [
        `    on_${name[1]} do`,
        `      url "${addressOf(release, file)}"`,
        `      sha256 "${sha256}"`,
        "    end",
      ]),
    "  end",
    "",
  ]);
  return [
    "class Zerobuffer < Formula",
    `  desc "${SUMMARY}"`,
    `  homepage "${release.repository}"`,
    `  version "${release.version}"`,
    '  license "MIT"',
    "",
    ...blocks,
    "  def install",
    ...PLACES.filter(({ isNotice }) => !isNotice).map(
      ({ file, place }) =>
        `    (prefix/"${place.replace(/\/[^/]+$/, "")}").install "${file}" => "${place.split("/").at(-1)}"`,
    ),
    `    prefix.install ${PLACES.filter(({ isNotice }) => isNotice)
      .map(({ file }) => `"${file}"`)
      .join(", ")}`,
    "  end",
    "",
    "  test do",
    '    assert_match version.to_s, shell_output("#{bin}/zerobuffer --version")',
    "  end",
    "end",
    "",
  ].join("\n");
}

/** `zerobuffer.json`, for a bucket of Scoop. */
export function scoopManifest(release: Release): string {
  const { version, repository } = release;
  const archives = archivesFor(release, "scoop");
  const latest: Release = { ...release, version: "$version" };
  const manifest = {
    version,
    description: SUMMARY,
    homepage: repository,
    license: "MIT",
    architecture: Object.fromEntries(
      archives.map(({ name, target, file, sha256 }) => [
        name,
        { url: addressOf(release, file), hash: sha256, extract_dir: `zerobuffer-${target}` },
      ]),
    ),
    bin: "zerobuffer.exe",
    checkver: { github: repository },
    autoupdate: {
      architecture: Object.fromEntries(
        archives.map(({ name, file }) => [name, { url: addressOf(latest, file) }]),
      ),
      hash: { url: addressOf(latest, "SHA256SUMS") },
    },
  };
  return `${JSON.stringify(manifest, undefined, 2)}\n`;
}

/** `Dockerfile`, for an image that has the executable as its entry point. */
export function dockerfile(release: Release): string {
  return `# docker build --tag zerobuffer - < Dockerfile
# docker run --rm --shm-size 1g zerobuffer doctor
#
# Buffers are in /dev/shm, which is as large as --shm-size says, and 64 MB otherwise: the default buffer needs 256 MiB and a bit.
# Containers share a buffer by sharing /dev/shm: --ipc shareable for the first one, --ipc container:NAME for the others.
FROM alpine:3.22
RUN apk add --no-cache libstdc++ \\
  && wget -qO- ${addressOf(release, "install.sh")} | sh \\
  && zerobuffer version
ENTRYPOINT ["zerobuffer"]
`;
}
