// Needs tmux: top in a shell that controls jobs, in a terminal inside of a terminal.

import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Reader, Writer } from "../../src/core/index.ts";
import { uniqueName, WAIT_LIMIT_MS } from "../support/buffers.ts";
import { Child, program } from "../support/process.ts";
import { Screen, type Size } from "../support/screens.ts";
import { promptLine } from "../support/shells.ts";

const [CTRL_Z, DOWN, ENTER] = ["\x1a", "\x1b[B", "\r"];
const TOP = `${program.map((word) => `'${word}'`).join(" ")} top --interval-ms 200`;

test.each([
  { columns: 80, rows: 24 },
  { columns: 200, rows: 50 },
])(
  "top in tmux at %p stops and goes on, follows the size, and leaves the shell as it was",
  async (size: Size) => {
    const directory = mkdtempSync(join(tmpdir(), "zerobuffer-tmux-"));
    const socket = join(directory, "socket");
    const settings = join(directory, "tmux.conf");
    const rc = join(directory, "bashrc");
    writeFileSync(settings, "set -g status off\n");
    writeFileSync(rc, `${promptLine}\n`);
    using reader = new Reader(uniqueName(), { payloadSize: 4096 });
    using writer = await Writer.connect(reader.name, { connectTimeoutMs: WAIT_LIMIT_MS });
    const command = ["tmux", "-u", "-S", socket, "-f", settings, "new-session", `bash --rcfile ${rc}`];
    const env = { TERM: "xterm-256color", NO_COLOR: "", HISTFILE: "" };
    await using child = Child.program(command, { ...size, env });
    try {
      using screen = new Screen(child, size);
      await screen.showsRow(/^ready>/);
      child.write(`before=$(stty -g)${ENTER}${TOP}${ENTER}`);
      await screen.showsRow(new RegExp(`^> ${reader.name.slice(0, 8)}.* live `));
      writer.writeFrame(new Uint8Array(100));
      await screen.showsRow(/ [1-9][\d.]* +\d+ B +<1s /);

      for (let round = 1; round <= 2; round++) {
        child.write(CTRL_Z);
        await screen.showsRow(/^\[1\]\+ +Stopped/);
        child.write(`clear; test "$before" = "$(stty -g)" && echo same $((40 + ${round}))${ENTER}`);
        await screen.showsRow(new RegExp(`^same 4${round}$`));
        const rows = await screen.rows();
        expect(rows.join("\n")).not.toContain("zerobuffer top  ");
        child.write(`fg${ENTER}`);
        await screen.showsRow(/^zerobuffer top {2}/);
      }

      child.write(DOWN);
      screen.resize({ columns: 120, rows: 30 });
      await screen.shows(
        (rows) => rows[1]?.includes("LAST MINUTE") === true && rows[29]?.startsWith("q quit") === true,
      );
      screen.resize({ columns: 60, rows: 12 });
      await screen.shows(
        (rows) => rows[11]?.startsWith("q quit") === true && rows[1]?.startsWith("  NAME") === true,
      );
      child.write("?");
      await screen.showsRow(/^ *Enter +show the selected buffer/);
      child.write("q");
      await screen.shows((rows) => !rows.some((row) => row.startsWith("zerobuffer top  ")));
      child.write(`clear; test "$before" = "$(stty -g)" && echo code $?${ENTER}`);
      await screen.showsRow(/^code 0$/);
      child.write(`exit${ENTER}`);
      expect((await child.exited()).code).toBe(0);
    } finally {
      Bun.spawnSync(["tmux", "-S", socket, "kill-server"]);
      rmSync(directory, { recursive: true });
    }
  },
);
