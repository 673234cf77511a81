// The processes of one measurement: starts them, connects them, and ends them in every case.

import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CommandError, systemReason } from "../../cli/failure.ts";
import type { Session } from "../../cli/session.ts";
import { buffersOf } from "../../core/index.ts";
import { cleanBuffer } from "../../core/inspection.ts";
import { raceAbort } from "../../runtime/abort.ts";
import {
  BENCH_WORKER,
  batchSizeOf,
  type Case,
  comesBack,
  type Role,
  rolesOf,
  type WorkerSettings,
} from "./plan.ts";
import { bufferNames } from "./transports.ts";
import type { WorkerReport, WorkerResult } from "./worker.ts";

/** The command that starts this program: the executable, or Bun with the source. */
const program = Bun.isStandaloneExecutable ? [process.execPath] : [process.execPath, Bun.main];

/** The descriptors of a worker that lead to the other worker. Its stdout is for its report. */
const INPUT = 0;
const OUTPUT = 3;

/** How long a killed process may still seem to be alive. */
const DEATH_MS = 200;

type Child = Bun.Subprocess<Bun.SpawnOptions.Writable, "pipe", "inherit">;

/** The settings that all processes share. */
type SharedSettings = Pick<WorkerSettings, "length" | "wait" | "batchSize" | "bufferSize" | "sharing">;

/** The results of the processes of one run; the process that decides the end comes first. */
export type Results = readonly { readonly role: Role; readonly result: WorkerResult }[];

/** Runs the processes of one measurement after another. Disposing it kills the running processes. */
export class Processes implements Disposable {
  readonly #session: Session;
  readonly #shared: SharedSettings;
  #runs = 0;
  #buffer = "";
  /** The running processes, and the processes of a run that failed. */
  #children: Child[] = [];

  constructor(session: Session, shared: SharedSettings) {
    this.#session = session;
    this.#shared = shared;
  }

  /**
   * Runs the processes of one case to their ends.
   *
   * @throws CommandError as a process reports it, INCOMPLETE if a process reports nothing; the signal's reason.
   */
  async run(wanted: Case): Promise<Results> {
    this.#buffer = `bench-${process.pid}-${++this.#runs}`;
    const roles = rolesOf(wanted);
    try {
      const [lead, other, ...rest] = this.#start(wanted, roles);
      const reports = [
        // A server runs until it is told to end.
        reportOf(lead, roles[0]).finally(() => roles[1] === "server" && other.kill("SIGTERM")),
        reportOf(other, roles[1]),
        ...rest.map((child) => reportOf(child, "sink")),
      ];
      const results = await raceAbort(Promise.all(reports), this.#session.signal);
      this.#children = [];
      return results.map((result, i) => ({ role: roles[i]!, result }));
    } finally {
      this[Symbol.dispose]();
    }
  }

  /** Starts the processes, connected with each other. */
  #start(
    wanted: Case,
    [first, second, ...sinks]: readonly [Role, Role, ...Role[]],
  ): [Child, Child, ...Child[]] {
    const { transport, work } = wanted;
    if (transport === "zerobuffer") {
      const others = sinks.map((role, sink) => this.#spawn({ ...wanted, sink }, role));
      return [this.#spawn(wanted, first), this.#spawn(wanted, second), ...others];
    }
    using descriptors = new Descriptors();
    if (transport === "socket") {
      // Bun's pipe to a child is a pair of sockets; our end becomes the stdin of the other child.
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
    wanted: Case & { readonly sink?: number },
    role: Role,
    descriptors = PIPES,
    input: number | "ignore" = "ignore",
    output?: number | "pipe",
  ): Child {
    const { frameSize, rate, sink = 0, transport, work } = wanted;
    const settings: WorkerSettings = {
      ...{ role, work, sink, transport, frameSize, rate, ...descriptors, parent: process.pid },
      ...{ ...this.#shared, buffer: this.#buffer },
      batchSize: batchSizeOf(wanted, this.#shared.batchSize),
    };
    const child = Bun.spawn([...program, BENCH_WORKER, JSON.stringify(settings)], {
      stdio: output === undefined ? [input, "pipe", "inherit"] : [input, "pipe", "inherit", output],
      // In a process group of its own, so that Ctrl-C reaches only us.
      detached: true,
    }) as Child;
    this.#children.push(child);
    return child;
  }

  /** Kills the running processes and removes their buffers. */
  [Symbol.dispose](): void {
    const children = this.#children.splice(0);
    if (children.length === 0) return;
    for (const child of children) child.kill("SIGKILL");
    const deadline = performance.now() + DEATH_MS;
    for (const name of buffersOfRun(this.#buffer)) {
      while (!isGone(name) && performance.now() < deadline) Bun.sleepSync(1);
    }
  }
}

/** The descriptors of a worker over pipes. */
const PIPES = { input: INPUT, output: OUTPUT };

/** Every buffer that a run can have created. */
function buffersOfRun(run: string): string[] {
  return [...Object.values(bufferNames(run)).flat(), ...Object.values(buffersOf(run))];
}

/** Removes a buffer of killed processes; returns false while one of them still seems to be alive. */
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
      "Check whether it was killed or memory ran out, then run bench again.",
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

/** Our ends of descriptors that only the children need: closed once the children have them. */
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

/** A pipe of the system's default size: a named pipe whose name is removed at once. */
function makePipe(descriptors: Descriptors): { readonly read: number; readonly write: number } {
  const directory = mkdtempSync(join(tmpdir(), "zerobuffer-bench-"));
  try {
    const path = join(directory, "pipe");
    if (!Bun.spawnSync(["mkfifo", path]).success) throw new Error("mkfifo failed");
    // Opening one end waits for the other, unless a descriptor for both is open.
    const both = openSync(path, "r+");
    try {
      return { read: descriptors.own(openSync(path, "r")), write: descriptors.own(openSync(path, "w")) };
    } finally {
      closeSync(both);
    }
  } catch (error) {
    throw new CommandError(
      "IO_ERROR",
      `Cannot create a pipe: ${systemReason(error)}.`,
      "Install mkfifo (coreutils), make the temp directory writable, or leave out --baselines.",
      error,
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
}
