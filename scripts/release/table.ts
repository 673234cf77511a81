// What a release consists of and where its files go. Every way to install zerobuffer is made from this.

import { version } from "../../package.json";

/** The description that every package has. */
export const SUMMARY = "Move frames between processes on one machine through shared memory";

/** A file of an archive, and where it is installed: below /usr/local, ~/.local, /usr or what else is chosen. */
export interface Place {
  readonly file: string;
  readonly place: string;
  readonly isExecutable?: boolean;
  /** Where Debian has it instead. */
  readonly debian?: string;
  /** Whether install.sh leaves it out: the executable prints it as well. */
  readonly isNotice?: boolean;
}

export const PLACES: readonly Place[] = [
  { file: "zerobuffer", place: "bin/zerobuffer", isExecutable: true },
  { file: "zerobuffer.1", place: "share/man/man1/zerobuffer.1" },
  { file: "completions/zerobuffer.bash", place: "share/bash-completion/completions/zerobuffer" },
  {
    file: "completions/_zerobuffer",
    place: "share/zsh/site-functions/_zerobuffer",
    debian: "share/zsh/vendor-completions/_zerobuffer",
  },
  { file: "completions/zerobuffer.fish", place: "share/fish/vendor_completions.d/zerobuffer.fish" },
  {
    file: "LICENSE",
    place: "share/licenses/zerobuffer/LICENSE",
    debian: "share/doc/zerobuffer/copyright",
    isNotice: true,
  },
  {
    file: "THIRD-PARTY-NOTICES.txt",
    place: "share/licenses/zerobuffer/THIRD-PARTY-NOTICES.txt",
    debian: "share/doc/zerobuffer/THIRD-PARTY-NOTICES.txt",
    isNotice: true,
  },
];

/** A target that is installed by something else than install.sh, by the names that this has for it. */
export interface Packaging {
  readonly target: string;
  readonly deb?: string;
  readonly rpm?: string;
  readonly homebrew?: readonly [system: "macos" | "linux", processor: "arm" | "intel"];
  readonly scoop?: string;
}

/** Packages for x64 have to run on every such processor, and so on one without AVX2. */
export const PACKAGINGS: readonly Packaging[] = [
  { target: "linux-x64-baseline", deb: "amd64", rpm: "x86_64", homebrew: ["linux", "intel"] },
  { target: "linux-arm64", deb: "arm64", rpm: "aarch64", homebrew: ["linux", "arm"] },
  { target: "darwin-arm64", homebrew: ["macos", "arm"] },
  { target: "darwin-x64", homebrew: ["macos", "intel"] },
  { target: "windows-x64", scoop: "64bit" },
  { target: "windows-arm64", scoop: "arm64" },
];

/** A release that is being made. */
export interface Release {
  readonly version: string;
  /** The address of the repository, such as https://example.org/owner/name. */
  readonly repository: string;
  /** The archives by their targets. */
  readonly archives: ReadonlyMap<string, { readonly file: string; readonly sha256: string }>;
}

/** The address of a file of a release. */
export function addressOf({ repository, version }: Release, file: string): string {
  return `${repository}/releases/download/v${version}/${file}`;
}

/**
 * The packagings of one kind, with the archives that they install.
 *
 * @throws if the release lacks one of the archives.
 */
export function archivesFor<Kind extends "deb" | "rpm" | "homebrew" | "scoop">(release: Release, kind: Kind) {
  return PACKAGINGS.flatMap(({ target, [kind]: name }) => {
    if (name === undefined) return [];
    const archive = release.archives.get(target);
    if (archive === undefined) throw new Error(`the release has no ${target}`);
    return [{ target, name: name as NonNullable<Packaging[Kind]>, ...archive }];
  });
}

/**
 * The README with the address of the repository in place of `$REPOSITORY`, and in front of its links and pictures, which are not
 * beside it. Unchanged where the address is not known.
 */
export function withAddress(readme: string, repository: string | undefined): string {
  if (repository === undefined) return readme;
  return readme
    .replaceAll("$REPOSITORY", repository)
    .replace(/(!?)(\[[^\]]*\])\((?![a-z]+:|#)/g, (_, isPicture, text) => {
      return `${isPicture}${text}(${repository}/${isPicture ? "raw" : "blob"}/v${version}/`;
    });
}
