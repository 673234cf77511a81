// Programs that have the directories which all programs share for themselves.

/** The words in front of a command that gives it these directories, of this size each, as mount(8) takes it. */
const isolate = (size: string) => [
  ...["unshare", "--mount", "sh", "-c"],
  `mkdir -p -m 1777 /tmp/zerobuffer
   for directory in /dev/shm /tmp/zerobuffer; do mount -t tmpfs -o mode=1777,size=${size} tmpfs $directory || exit; done
   exec "$@"`,
  "sh",
];

/** Whether this process may give a program mounts of its own. */
export const canBeAlone =
  process.platform === "linux" && Bun.spawnSync([...isolate("50%"), "true"]).exitCode === 0;

/** A command that has shared memory, of this size, and lock files for itself, where that is permitted. */
export function alone(command: readonly string[], size = "50%"): string[] {
  return [...(canBeAlone ? isolate(size) : []), ...command];
}
