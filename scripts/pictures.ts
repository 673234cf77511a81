// Draws docs/top.svg: what top shows in tmux after a minute, of buffers through which frames pass.
//
//   pictures.ts   needs Linux, tmux, and mounts of its own, so that nobody else's buffers are in the picture

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { alone, canBeAlone } from "../tests/support/alone.ts";
import { root } from "./build-native.ts";
import { buildExecutable } from "./executable.ts";
import { svgOf } from "./pictures/svg.ts";

const SIZE = { columns: 120, rows: 17 };

/** In seconds: what top shows of the last minute is full then. */
const WATCHED = 62;

/** A camera that keeps its pace, a log in bursts, an archive that is too slow for its writer, and what was left behind. */
const SCENE = `
zerobuffer reader lidar --buffer-size 16MiB --connect-timeout-ms 0 --quiet &
zerobuffer reader camera --buffer-size 64MiB --timeout-ms 0 --quiet &
zerobuffer reader log --buffer-size 1MiB --timeout-ms 0 --quiet &
{ zerobuffer reader archive --buffer-size 32MiB --timeout-ms 0 --quiet -o - | while sleep 0.1; do head -c 1M; done >/dev/null; } &
zerobuffer reader old --buffer-size 8MiB --timeout-ms 0 --quiet & old=$!
sleep 1
zerobuffer writer camera -s 3110400 --rate 30 -n 0 --quiet &
zerobuffer writer archive -s 1MiB -n 0 --timeout-ms 0 --quiet &
while :; do for pause in 0.5 0.2 0.1 0.05 0.02 0.1 0.4; do for line in 1 2 3 4 5 6 7 8 9 10; do
  echo "an event $line"; sleep $pause
done; done; done | zerobuffer writer log -i - --framing lines --quiet &
kill -9 $old
tmux -S "$1/socket" -f /dev/null new-session -d -x ${SIZE.columns} -y ${SIZE.rows} 'zerobuffer top'
sleep ${WATCHED}
tmux -S "$1/socket" send-keys Down; sleep 2
tmux -S "$1/socket" capture-pane -e -p
tmux -S "$1/socket" kill-server
trap : TERM
kill 0`;

if (!canBeAlone) throw new Error("mounts are not permitted here");
const directory = mkdtempSync(join(tmpdir(), "zerobuffer-pictures-"));
try {
  await buildExecutable(join(root, "src", "main.ts"), join(directory, "zerobuffer"));
  const shell = Bun.spawn(alone(["setsid", "--wait", "bash", "-c", SCENE, "bash", directory]), {
    env: { ...process.env, PATH: `${directory}:${process.env.PATH}`, TERM: "xterm-256color", NO_COLOR: "" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const output = (await shell.stdout.text()).trimEnd();
  if (!output.includes("zerobuffer top")) throw new Error(`tmux shows no top: ${output}`);
  writeFileSync(join(root, "docs", "top.svg"), await svgOf(output, SIZE, "zerobuffer top"));
} finally {
  rmSync(directory, { recursive: true });
}
