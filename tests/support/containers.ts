// Containers: processes that share /dev/shm with the others, but not the numbers of processes, and perhaps not /tmp.

import { readFileSync } from "node:fs";
import { root } from "../../scripts/build-native.ts";
import { Child, fixtureCommand } from "./process.ts";

/** Makes its command process 1 of a pid namespace, which ends with it. */
const newNamespace = ["unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"];

/** The words in front of a command that make it process 1 of a container: `within` of {@link Child}. */
export const container: readonly string[] = newNamespace;

/** The same with lock files of its own. */
export const containerWithoutTmp: readonly string[] = [
  ...newNamespace,
  ...[
    "sh",
    "-c",
    'mkdir -p /tmp/zerobuffer && mount -t tmpfs -o mode=1777 tmpfs /tmp/zerobuffer && exec "$@"',
  ],
  "sh",
];

/** The words in front of a command that make it another process of the container of `child`. */
export function beside(child: Child): string[] {
  return ["nsenter", "--target", `${child.pid}`, "--pid", "--mount", `--wd=${root}`];
}

/** Whether this process may make containers. */
export const canContain =
  process.platform === "linux" && Bun.spawnSync([...containerWithoutTmp, "true"]).exitCode === 0;
if (!canContain) console.error("Containers are not permitted here: their tests are skipped.");

/** The numbers of a process from this pid namespace to its own, as /proc tells. */
export function numbersOf(pid: number): number[] {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  return (/^NSpid:\s+(.*)$/m.exec(status)?.[1] ?? "").split("\t").map(Number);
}

/** A pid namespace of its own, whose process 1 does nothing. */
export class Namespace implements AsyncDisposable {
  readonly #init: Child;

  private constructor(init: Child) {
    this.#init = init;
  }

  static async start(): Promise<Namespace> {
    const script = 'echo \'{"event":"ready"}\'; read _';
    const init = Child.program(["sh", "-c", script], { within: container });
    await init.receive("ready");
    return new Namespace(init);
  }

  /** Starts a script of tests/process/fixtures as the process of this number there. */
  fixture(pid: number, script: string, ...args: unknown[]): Child {
    return this.start(pid, ...fixtureCommand(script, ...args));
  }

  /** Starts a program as the process of this number there. */
  start(pid: number, ...program: string[]): Child {
    return Child.program([
      ...beside(this.#init),
      // The shell waits for the program: nothing else may get the next number.
      ...["sh", "-c", 'echo "$1" > /proc/sys/kernel/ns_last_pid; shift; "$@"; exit $?', "sh"],
      ...[`${pid - 1}`, ...program],
    ]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#init[Symbol.asyncDispose]();
  }
}
