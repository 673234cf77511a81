// The processes of one measurement: started, joined, and ended, whatever happens to them or to us.

import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CommandError, systemReason } from "../../cli/failure.ts";
import type { Session } from "../../cli/session.ts";
import { buffersOf } from "../../core/index.ts";
import { cleanBuffer } from "../../core/inspection.ts";
import { raceAbort } from "../../runtime/abort.ts";
import { BENCH_WORKER, type Case, comesBack, type Role, rolesOf, type WorkerSettings } from "./plan.ts";
import { bufferNames } from "./transports.ts";
import type { WorkerReport, WorkerResult } from "./worker.ts";

/** This program, as it was started: the executable, or Bun with the source. */
const program = Bun.isStandaloneExecutable ? [process.execPath] : [process.execPath, Bun.main];

/** The descriptors of a worker that lead to the other one. stdout is for its report. */
const INPUT = 0;
const OUTPUT = 3;

/** How long the remains of a process that was killed may still look alive. */
const DEATH_MS = 200;

type Child = Bun.Subprocess<Bun.SpawnOptions.Writable, "pipe", "inherit">;

/** What is the same for all processes. */
type Manner = Pick<WorkerSettings, "length" | "wait" | "batchSize" | "bufferSize">;

/** What the processes of one run found out; the one that decides the end comes first. */
export type Results = readonly { readonly role: Role; readonly result: WorkerResult }[];

/** Runs the processes of one measurement after the other. Its disposal kills those of the moment. */
export class Processes implements Disposable {
  readonly #session: Session;
  readonly #manner: Manner;
  #runs = 0;
  #buffer = "";
  /** Those of the moment, and those of a run that failed. */
  #children: Child[] = [];

  constructor(session: Session, manner: Manner) {
    this.#session = session;
    this.#manner = manner;
  }

  /**
   * Runs the two processes of one case to their ends.
   *
   * @throws CommandError what one of them reports, INCOMPLETE if it reports nothing; the signal's reason.
   */
  async run(wanted: Case): Promise<Results> {
    this.#buffer = `bench-${process.pid}-${++this.#runs}`;
    const roles = rolesOf(wanted);
    try {
      const [lead, other] = this.#start(wanted, roles);
      const reports = [
        // A server goes on until it is told.
        reportOf(lead, roles[0]).finally(() => roles[1] === "server" && other.kill("SIGTERM")),
        reportOf(other, roles[1]),
      ];
      const results = await raceAbort(Promise.all(reports), this.#session.signal);
      this.#children = [];
      return results.map((result, i) => ({ role: roles[i]!, result }));
    } finally {
      this[Symbol.dispose]();
    }
  }

  /** Starts both; what leads from one to the other is theirs alone. */
  #start(wanted: Case, [first, second]: readonly [Role, Role]): [Child, Child] {
    const { transport, work } = wanted;
    if (transport === "zerobuffer") return [this.#spawn(wanted, first), this.#spawn(wanted, second)];
    using descriptors = new Descriptors();
    if (transport === "socket") {
      // What Bun calls a pipe to the child is a pair of sockets; its own end of it becomes the other child's stdin.
      const lead = this.#spawn(wanted, first, { input: OUTPUT, output: OUTPUT }, "ignore", "pipe");
      const peer = descriptors.own(lead.stdio[OUTPUT]!);
      return [lead, this.#spawn(wanted, second, { input: INPUT, output: INPUT }, peer)];
    }
    const there = makePipe(descriptors);
    const back = comesBack(work) ? makePipe(descriptors) : undefined;
    return [
      this.#spawn(wanted, first, PIPES, back?.read ?? "ignore", there.write),
      this.#spawn(wanted, second, PIPES, there.read, back?.write),
    ];
  }

  #spawn(
    { frameSize, rate, transport }: Case,
    role: Role,
    descriptors = PIPES,
    input: number | "ignore" = "ignore",
    output?: number | "pipe",
  ): Child {
    const settings: WorkerSettings = {
      ...{ role, transport, frameSize, rate, ...descriptors, parent: process.pid },
      ...{ ...this.#manner, buffer: this.#buffer },
    };
    const child = Bun.spawn([...program, BENCH_WORKER, JSON.stringify(settings)], {
      stdio: output === undefined ? [input, "pipe", "inherit"] : [input, "pipe", "inherit", output],
      // Ctrl-C is ours to hear.
      detached: true,
    }) as Child;
    this.#children.push(child);
    return child;
  }

  /** Kills what is still running, and removes what it leaves. */
  [Symbol.dispose](): void {
    const children = this.#children.splice(0);
    if (children.length === 0) return;
    for (const child of children) child.kill("SIGKILL");
    const deadline = performance.now() + DEATH_MS;
    for (const name of buffersMadeBy(this.#buffer)) {
      while (!isGone(name) && performance.now() < deadline) Bun.sleepSync(1);
    }
  }
}

/** The descriptors of a worker that pipes lead to. */
const PIPES = { input: INPUT, output: OUTPUT };

/** Every buffer that a run can have made. */
function buffersMadeBy(run: string): string[] {
  return [...Object.values(bufferNames(run)), ...Object.values(buffersOf(run))];
}

/** Removes a buffer whose processes were killed; false as long as one of them still seems to live. */
function isGone(name: string): boolean {
  const { obstacle } = cleanBuffer(name);
  return obstacle?.code !== "READER_ALREADY_CONNECTED" && obstacle?.code !== "WRITER_ALREADY_CONNECTED";
}

async function reportOf(child: Child, role: Role): Promise<WorkerResult> {
  const [text] = await Promise.all([child.stdout.text(), child.exited]);
  const report = parseReport(text);
  if (report === undefined) {
    const end = child.signalCode ?? `code ${child.exitCode}`;
    throw new CommandError(
      "INCOMPLETE",
      `The ${role} (process ${child.pid}) ended early, with ${end}.`,
      "See whether somebody ended it, or the memory was short, and run bench again.",
    );
  }
  if ("result" in report) return report.result;
  const { code, message, hint } = report.failure;
  throw new CommandError(code, `The ${role} failed: ${message}`, hint ?? undefined);
}

function parseReport(text: string): WorkerReport | undefined {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Descriptors of ours that only the children keep. */
class Descriptors implements Disposable {
  readonly #open: number[] = [];

  own(descriptor: number): number {
    this.#open.push(descriptor);
    return descriptor;
  }

  [Symbol.dispose](): void {
    for (const descriptor of this.#open) closeSync(descriptor);
  }
}

/** A pipe of the system's default size: a named one, whose name goes at once. */
function makePipe(descriptors: Descriptors): { readonly read: number; readonly write: number } {
  const directory = mkdtempSync(join(tmpdir(), "zerobuffer-bench-"));
  try {
    const path = join(directory, "pipe");
    if (!Bun.spawnSync(["mkfifo", path]).success) throw new Error("mkfifo failed");
    // Both ends open at once only if there is a descriptor that is both.
    const both = openSync(path, "r+");
    try {
      return { read: descriptors.own(openSync(path, "r")), write: descriptors.own(openSync(path, "w")) };
    } finally {
      closeSync(both);
    }
  } catch (error) {
    throw new CommandError(
      "IO_ERROR",
      `Cannot make a pipe: ${systemReason(error)}.`,
      "Install coreutils for mkfifo, see that the temp directory can be written, or leave out --baselines.",
      error,
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
}
