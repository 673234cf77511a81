// Archives that depend on nothing but what is put into them: sorted names, one time, no owner.

import { zipSync } from "fflate";
import { packTar } from "modern-tar";
import { commitOf } from "../../src/cli/checkout.ts";
import { root } from "../build-native.ts";

/** A file in an archive. */
export interface Entry {
  /** With `/` between directories. */
  readonly name: string;
  readonly content: Uint8Array;
  readonly isExecutable?: boolean;
}

const READABLE = 0o644;
const EXECUTABLE = 0o755;
/** Of a zip archive: whose permission bits it has, and that they are those of a file. */
const UNIX = 3;
const REGULAR_FILE = 0o100000;

/** When the commit was made; the first moment that a zip archive can have where there is none. */
export function timeOfCommit(): Date {
  if (commitOf() === "unknown") return new Date(Date.UTC(1980, 0, 1));
  const { stdout } = Bun.spawnSync(["git", "log", "-1", "--format=%ct"], { cwd: root });
  return new Date(Number(stdout) * 1000);
}

/** A `.tar.gz` of the entries; `time` is that of each of them. */
export async function tarGz(entries: readonly Entry[], time: Date): Promise<Uint8Array> {
  const tar = await packTar(
    sorted(entries).map(({ name, content, isExecutable }) => ({
      header: {
        name,
        size: content.length,
        mode: isExecutable ? EXECUTABLE : READABLE,
        mtime: time,
        uid: 0,
        gid: 0,
      },
      body: content,
    })),
  );
  return Bun.gzipSync(Uint8Array.from(tar), { level: 9, library: "libdeflate" });
}

/** A `.zip` of the entries; `time` is that of each of them, in UTC, and not before 1980. */
export function zip(entries: readonly Entry[], time: Date): Uint8Array {
  // A zip archive has the time of a place, without saying of which.
  const mtime = new Date(time.getTime() + time.getTimezoneOffset() * 60_000);
  return zipSync(
    Object.fromEntries(
      sorted(entries).map(({ name, content, isExecutable }) => {
        const attrs = (REGULAR_FILE | (isExecutable ? EXECUTABLE : READABLE)) << 16;
        return [name, [content, { mtime, os: UNIX, attrs }]];
      }),
    ),
  );
}

function sorted(entries: readonly Entry[]): Entry[] {
  return [...entries].sort((a, b) => (a.name < b.name ? -1 : 1));
}
