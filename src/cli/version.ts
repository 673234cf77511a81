// The versions of this program and of its parts.

import { version } from "../../package.json";

export { version };

// Defined by scripts/build-binaries.ts; missing if the program runs from its source.
declare const BUILD_COMMIT: string | undefined;
declare const BUILD_TARGET: string | undefined;

/** The version of the protocol: of the OIEB that a reader creates (docs/protocol.md, section 1). */
export const PROTOCOL_VERSION = "1.0.0";

const system = process.platform === "win32" ? "windows" : process.platform;

/** What `zerobuffer --version` prints. */
export interface Versions {
  readonly version: string;
  /** The commit, with `-dirty` if files were changed since; `unknown` outside a git checkout. */
  readonly commit: string;
  readonly protocol: string;
  /** System, processor and C library: `linux-x64-musl`. */
  readonly target: string;
  readonly bun: string;
}

/** The versions of this program and of its parts. */
export async function versions(): Promise<Versions> {
  return {
    version,
    commit: typeof BUILD_COMMIT === "string" ? BUILD_COMMIT : (await import("./checkout.ts")).commitOf(),
    protocol: PROTOCOL_VERSION,
    target: typeof BUILD_TARGET === "string" ? BUILD_TARGET : `${system}-${process.arch}`,
    bun: Bun.version,
  };
}

/** The same in one line. */
export function versionText({ version, commit, protocol, target, bun }: Versions): string {
  return `zerobuffer ${version} (${target}, commit ${commit}, protocol ${protocol}, Bun ${bun})`;
}
