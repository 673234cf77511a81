// The pictures of terminals: real runs in tmux, with shared memory of their own, so that nobody else's buffers are in them.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { alone, canBeAlone } from "../../tests/support/alone.ts";
import { root } from "../build-native.ts";
import { buildExecutable } from "../executable.ts";
import { svgOf } from "./svg.ts";

/** In seconds: what top shows of the last minute is full then. */
const WATCHED = 62;

/** Between screens in the output of a scene. */
const NEXT_SCREEN = "\f";

/** A camera that keeps its pace, a log in bursts, an archive that is too slow for its writer, and what was left behind. */
const TOP = `
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
tmux -S "$1/socket" -f /dev/null new-session -d -x 120 -y 17 'zerobuffer top'
sleep ${WATCHED}
tmux -S "$1/socket" send-keys Down; sleep 2
tmux -S "$1/socket" capture-pane -e -p`;

/** What is typed into the three terminals of the README, with their sizes. */
const TERMINALS = [
  { name: "reader", heading: "terminal 1", columns: 62, rows: 3, typed: "zerobuffer reader cam" },
  {
    ...{ name: "writer", heading: "terminal 2", columns: 64, rows: 3, column: 66 },
    typed: "zerobuffer writer cam -n 300 -s 2MiB --rate 30",
  },
  { name: "list", heading: "terminal 3", columns: 130, rows: 4, row: 6, typed: "zerobuffer list" },
] as const;

/** Each line is typed where the one before has begun to do what it does; the pictures are taken when the list is there. */
const THREE = `
${TERMINALS.map(
  ({ name, columns, rows }) =>
    `tmux -S "$1/socket" -f /dev/null new-session -d -s ${name} -x ${columns} -y ${rows} "env PS1='$ ' bash --norc --noprofile"`,
).join("\n")}
sleep 1
${TERMINALS.map(({ name, typed }) => `tmux -S "$1/socket" send-keys -t ${name} '${typed}' Enter; sleep 3`).join("\n")}
${TERMINALS.map(({ name }) => `tmux -S "$1/socket" capture-pane -t ${name} -e -p; printf '\\f'`).join("\n")}`;

/** docs/top.svg: what top shows after a minute, of buffers through which frames pass. */
export async function drawTop(): Promise<string> {
  const output = await play(TOP, "zerobuffer top");
  return await svgOf([{ output, columns: 120, rows: 17 }], "zerobuffer top");
}

/** docs/terminals.svg: a reader, a writer and the list of buffers, three seconds after the writer has begun. */
export async function drawTerminals(): Promise<string> {
  const outputs = (await play(THREE, "NAME")).split(NEXT_SCREEN);
  const screens = TERMINALS.map((terminal, at) => ({ ...terminal, output: outputs[at]?.trimEnd() ?? "" }));
  return await svgOf(screens, "A reader, a writer and the list of buffers in three terminals");
}

/** What a scene prints, which must contain this text. Everything that it has started ends with it. */
async function play(scene: string, text: string): Promise<string> {
  if (!canBeAlone) throw new Error("mounts are not permitted here");
  const directory = mkdtempSync(join(tmpdir(), "zerobuffer-pictures-"));
  try {
    await buildExecutable(join(root, "src", "main.ts"), join(directory, "zerobuffer"));
    const script = `${scene}\ntmux -S "$1/socket" kill-server\ntrap : TERM\nkill 0`;
    const shell = Bun.spawn(alone(["setsid", "--wait", "bash", "-c", script, "bash", directory]), {
      env: { ...process.env, PATH: `${directory}:${process.env.PATH}`, TERM: "xterm-256color", NO_COLOR: "" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const output = (await shell.stdout.text()).trimEnd();
    if (!output.includes(text)) throw new Error(`tmux does not show ${text}: ${output}`);
    return output;
  } finally {
    rmSync(directory, { recursive: true });
  }
}
