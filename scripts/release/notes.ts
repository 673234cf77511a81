// What the page of a release says.

import { addressOf, archivesFor, type Release } from "./table.ts";

/**
 * The notes of a release, in Markdown: what has changed, and how it is installed.
 *
 * @param changelog CHANGELOG.md.
 * @throws if the changelog has no section of this version.
 */
export function releaseNotes(release: Release, changelog: string): string {
  const { version } = release;
  const [, changes] = changelog.split(new RegExp(`^## ${RegExp.escape(version)}\\b.*$`, "m"));
  if (changes === undefined) throw new Error(`CHANGELOG.md has no section "## ${version}"`);
  const [deb, rpm] = [
    (architecture: string) => `zerobuffer_${version}_${architecture}.deb`,
    (architecture: string) => `zerobuffer-${version}-1.${architecture}.rpm`,
  ];
  const ways: readonly (readonly [string, readonly string[]])[] = [
    ["Linux and macOS", [`curl -fsSL ${addressOf(release, "install.sh")} | sh`]],
    ["The API, for Bun", [`bun add zerobuffer@${version}`]],
    [
      "Homebrew",
      [
        "brew tap-new zerobuffer/tap --no-git",
        `curl -fsSL ${addressOf(release, "zerobuffer.rb")} -o "$(brew --repository zerobuffer/tap)/Formula/zerobuffer.rb"`,
        "brew install zerobuffer/tap/zerobuffer",
      ],
    ],
    ["Scoop", [`scoop install ${addressOf(release, "zerobuffer.json")}`]],
    [
      "Debian, Ubuntu",
      archivesFor(release, "deb").map(
        ({ name }) => `curl -fsSLO ${addressOf(release, deb(name))} && sudo apt install ./${deb(name)}`,
      ),
    ],
    [
      "Fedora",
      archivesFor(release, "rpm").map(({ name }) => `sudo dnf install ${addressOf(release, rpm(name))}`),
    ],
    [
      "Docker",
      [
        `docker build --tag zerobuffer ${addressOf(release, "Dockerfile")}`,
        "docker run --rm --shm-size 1g zerobuffer doctor",
      ],
    ],
  ];
  return [
    changes.split(/^## /m)[0]?.trim() ?? "",
    "## Install",
    ...ways.flatMap(([title, lines]) => [`**${title}**`, `\`\`\`sh\n${lines.join("\n")}\n\`\`\``]),
    "`SHA256SUMS` has the hash of every file. Where it comes from can be checked with " +
      `\`gh attestation verify FILE --repo ${new URL(release.repository).pathname.slice(1)}\`.`,
    "",
  ].join("\n\n");
}
