// A copy of this system, in which packages are installed for real.

import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Child, type Outcome } from "./process.ts";

/** $1 is an empty directory, $2 one that is /mnt in the copy, $3 the script. */
const enter = `
  mount -t tmpfs tmpfs "$1"
  mkdir "$1/upper" "$1/work" "$1/root"
  mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
  for directory in dev proc sys; do mount --rbind "/$directory" "$1/root/$directory"; done
  mount --bind "$2" "$1/root/mnt"
  exec chroot "$1/root" sh -euc "$3"`;

/**
 * Runs a shell script, up to its first failure, as root of a copy of this system: what it installs is gone when it ends. Its
 * processes, its network and its /dev are those of this system.
 *
 * @param mounted a directory that is /mnt in the copy.
 */
export async function inCopy(script: string, mounted: string): Promise<Outcome> {
  const empty = mkdtempSync(join(tmpdir(), "zerobuffer-copy-"));
  try {
    await using child = Child.program(
      ["unshare", "--mount", "sh", "-euc", enter, "sh", empty, mounted, script],
      {
        cwd: "/",
      },
    );
    return await child.end();
  } finally {
    rmdirSync(empty);
  }
}
