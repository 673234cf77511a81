// The command line as any user can run it, and from any directory.

import { afterAll } from "bun:test";
import { chmodSync, copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../../scripts/build-native.ts";

/** Whether this process may become another user, and give a program mounts of its own. */
export const isRoot = process.geteuid?.() === 0 && Bun.which("setpriv") !== null;

/** A directory with Bun and the command line as one file. It goes with the tests among which it is made. */
export class Bundle {
  readonly directory = mkdtempSync(join(tmpdir(), "zerobuffer-bundle-"));

  private constructor() {
    afterAll(() => rmSync(this.directory, { recursive: true }));
  }

  static async build(): Promise<Bundle> {
    const bundle = new Bundle();
    chmodSync(bundle.directory, 0o755);
    copyFileSync(process.execPath, join(bundle.directory, "bun"));
    const entrypoints = [join(root, "src", "main.ts")];
    await Bun.build({ entrypoints, outdir: bundle.directory, target: "bun" });
    return bundle;
  }

  /** The words of a command. It looks for its helper in `place`, its working directory. */
  command(args: readonly string[], place = this.directory): string[] {
    return ["sh", "-c", `cd ${place} && exec ${this.directory}/bun main.js "$@"`, "sh", ...args];
  }
}
