// Programs that have the directories which all programs share for themselves.

const isolate = [
  ...["unshare", "--mount", "sh", "-c"],
  `mkdir -p -m 1777 /tmp/zerobuffer
   for directory in /dev/shm /tmp/zerobuffer; do mount -t tmpfs -o mode=1777 tmpfs $directory || exit; done
   exec "$@"`,
  "sh",
];

/** Whether this process may give a program mounts of its own. */
export const canBeAlone = process.platform === "linux" && Bun.spawnSync([...isolate, "true"]).exitCode === 0;

/** A command that has shared memory and lock files for itself, where that is permitted. */
export function alone(command: readonly string[]): string[] {
  return [...(canBeAlone ? isolate : []), ...command];
}
