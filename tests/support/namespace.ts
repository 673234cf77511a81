// Shell scripts in a mount namespace, where they have the directories that all programs share for themselves.

import { dirname } from "node:path";
import { root } from "../../scripts/build-native.ts";
import { Child } from "./process.ts";

/** What a script has printed. */
export interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
}

/** What has to stay where it is, even below /tmp. */
const kept = [root, dirname(process.execPath)].filter((path) => path.startsWith("/tmp/"));

/** Runs a shell script where /tmp is empty but for this checkout, and so is /dev/shm, which has `shmSize` bytes. */
export async function runScript(script: string, shmSize = "64m"): Promise<Outcome> {
  const setUp = [
    "mount -t tmpfs -o mode=1777 tmpfs /mnt",
    ...kept.map((path) => `mkdir -p "/mnt${path.slice(4)}" && mount --bind "${path}" "/mnt${path.slice(4)}"`),
    "mount --move /mnt /tmp",
    `mount -t tmpfs -o mode=1777,size=${shmSize} tmpfs /dev/shm`,
  ].join(" && ");
  await using child = Child.program(["unshare", "--mount", "sh", "-c", `${setUp} && cd /tmp\n${script}`], {
    env: { TMPDIR: undefined },
  });
  const { stdout, stderr } = await child.end();
  return { stdout: stdout.toString(), stderr };
}
