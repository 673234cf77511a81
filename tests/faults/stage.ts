// A child process on the build of the helper with fault points, and the test that plays its peer.

import { expect } from "bun:test";
import { appendFileSync, existsSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Reader, ReaderAlreadyConnectedError, Writer, ZeroBufferError } from "../../src/core/index.ts";
import { sweep } from "../process/peers.ts";
import {
  bytesOf,
  eventually,
  filesOfBuffers,
  thrownBy,
  uniqueName,
  WAIT_LIMIT_MS,
} from "../support/buffers.ts";
import { fastest } from "../support/fastest.ts";
import { Child, type Event } from "../support/process.ts";

/** How soon a death has to be noticed, and how soon the next owner of a name can start. */
const PROMPT_MS = 1000;

const MARKER = "begin";

/** The child has ended, as the fault wanted. */
class Gone extends Error {}

/** What happens between a child and its test: told once, it is played with every fault. */
export interface Scenario {
  readonly name: string;
  /** The script that is run, and its arguments, by the name of its buffer or channel. */
  readonly program: (name: string) => readonly string[];
  /** A fault that goes with every run of it. */
  readonly always?: string;
  /** Plays the test's part, and checks what has to hold however the child ended. */
  readonly play: (stage: Stage) => Promise<void>;
}

/** One step of a scenario: the `nth` time that the child reaches the fault point `step`. */
interface Moment {
  readonly step: string;
  readonly nth: number;
}

/** What happens at a moment: an action of ZB_FAULT. */
interface Fault extends Moment {
  readonly action: string;
}

/** One run of a scenario. */
export class Stage implements AsyncDisposable {
  readonly name = uniqueName();
  readonly child: Child;
  readonly #tracePath = join(tmpdir(), `zerobuffer-trace-${uniqueName()}`);
  /** What was refused, in order. */
  readonly refusals: Event[] = [];
  /** When the child was found to be gone, by performance.now(). */
  goneAt: number | undefined;
  /** The longest that has to be at most {@link PROMPT_MS} has taken. */
  slowestMs = 0;

  constructor(
    scenario: Scenario,
    readonly fault?: Fault,
  ) {
    const order = fault && `${fault.step}:${fault.action}:${fault.nth}`;
    const faults = [scenario.always, order].filter((one) => one !== undefined).join(",");
    const trace = fault === undefined ? [`ZB_FAULT_TRACE=${this.#tracePath}`] : [];
    const orders = [...trace, ...(faults === "" ? [] : [`ZB_FAULT=${faults}`])];
    const preload = join(import.meta.dir, "preload.ts");
    const command = [process.execPath, "--preload", preload, ...scenario.program(this.name)];
    this.child = Child.program(["env", ...orders, ...command]);
  }

  /** Tells the child what to do, and returns what came of it. Ends the play if the child has gone. */
  async ask(instruction: { do: string; [detail: string]: unknown }): Promise<Event> {
    if (!this.child.isOver) this.child.send(instruction);
    return await this.hear();
  }

  /** The child's next announcement. Ends the play if there is none. */
  async hear(): Promise<Event> {
    const announcement = await this.child.receiveOrEnd();
    if (announcement === undefined) throw new Gone();
    if (announcement.event === "refused") this.refusals.push(announcement);
    return announcement;
  }

  /** As {@link ask}, for what can only end after `meanwhile`, which is done once the child waits for the semaphore. */
  async askAndLetWait(
    instruction: { do: string; [detail: string]: unknown },
    semaphore: "w" | "r",
    meanwhile: () => void,
  ): Promise<Event> {
    await this.ask({ ...instruction, waits: true });
    await this.hasWaiter(semaphore);
    meanwhile();
    return await this.hear();
  }

  /** Waits until somebody waits for the semaphore, or the child does not wait any more. */
  async hasWaiter(semaphore: "w" | "r"): Promise<void> {
    const path = `/dev/shm/sem.sem-${semaphore}-${this.name}`;
    // Its second word counts those who wait for it.
    await eventually(
      () => this.child.isOver || this.child.hasEvent || readFileSync(path).readUInt32LE(4) > 0,
    );
  }

  /** Plays until the child does not answer any more, or to the end. */
  async perform(play: () => Promise<void>): Promise<void> {
    try {
      expect(await this.hear()).toEqual({ event: "ready" });
      await play();
      await this.child.succeed();
    } catch (error) {
      if (!(error instanceof Gone)) throw error;
      this.goneAt = performance.now();
      await this.child.end();
    }
  }

  /**
   * Does what fails with one of these codes when the child has gone, and soon then. Ends the play if it has failed so, or
   * the child has gone.
   */
  async untilGone(codes: readonly string[], action: () => Promise<void>): Promise<void> {
    const ended = this.child.exited().then(() => performance.now());
    try {
      await action();
    } catch (error) {
      if (!(error instanceof ZeroBufferError)) throw error;
      expect({ code: error.code, isExpected: codes.includes(error.code), message: error.message }).toEqual({
        code: error.code,
        isExpected: true,
        message: error.message,
      });
      const failedAt = performance.now();
      this.slowestMs = Math.max(this.slowestMs, failedAt - (await ended));
    }
  }

  /** Says that something that must not take long has just happened. */
  noteTimeSince(start: number): void {
    this.slowestMs = Math.max(this.slowestMs, performance.now() - start);
  }

  /**
   * Starts the next owner of a name that the child had, which must not take long. A reader of another lane may hold the
   * locks of the name just now, to remove what the child has left.
   */
  startNext<T>(start: () => T): T {
    const begunAt = performance.now();
    for (;;) {
      try {
        const next = start();
        this.noteTimeSince(begunAt);
        return next;
      } catch (error) {
        const isLate = performance.now() > begunAt + WAIT_LIMIT_MS;
        if (!(error instanceof ReaderAlreadyConnectedError) || isLate) throw error;
      }
    }
  }

  /** The next reader of the name starts at once, works, and leaves nothing behind. */
  expectTheNextReaderToWork(name = this.name): void {
    const reader = this.startNext(() => new Reader(name, { metadataSize: 64, payloadSize: 1024 }));
    const writer = new Writer(name);
    writer.writeFrame(bytesOf(1, 100));
    const frame = reader.readFrame(0);
    expect([frame.sequence, frame.size]).toEqual([1, 100]);
    writer.close();
    reader.close();
    expect(filesOfBuffers().filter((path) => path.includes(name))).toEqual([]);
  }

  /** What happened before this is of no interest: faults come later. */
  begin(): void {
    appendFileSync(this.#tracePath, `${MARKER}\n`);
  }

  /** The steps that the child has taken since {@link begin}, each with its number since the child's start. */
  moments(): Moment[] {
    const lines = existsSync(this.#tracePath) ? readFileSync(this.#tracePath, "utf8").trim().split("\n") : [];
    const counts = new Map<string, number>();
    const all = lines.map((step) => {
      const nth = (counts.get(step) ?? 0) + 1;
      counts.set(step, nth);
      return { step, nth };
    });
    // How often a wait begins again is a matter of chance.
    return all
      .slice(lines.indexOf(MARKER) + 1)
      .filter(
        ({ step }, index, rest) =>
          step !== "await_sleep" || rest.findIndex((one) => one.step === step) === index,
      );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.child[Symbol.asyncDispose]();
    rmSync(this.#tracePath, { force: true });
  }
}

/** The steps of a scenario, in the order they are taken in when nothing happens. */
export async function momentsOf(scenario: Scenario): Promise<Moment[]> {
  // What other programs have left goes now: its removal is no step of the scenario.
  sweep();
  await using stage = new Stage(scenario);
  await scenario.play(stage);
  return stage.moments();
}

/** How often a step is taken can depend on time: this share of a scenario's moments need not come again. */
const MAX_MISSED = 0.25;

/**
 * Plays the scenario once for each of its moments, with a child that is killed there; in several lanes at once where the
 * test's part in it never blocks.
 */
export async function killAtEachStep(scenario: Scenario, lanes = 1): Promise<void> {
  const moments = await momentsOf(scenario);
  expect(moments.length).toBeGreaterThan(0);
  const missed: string[] = [];
  const rest = [...moments];
  const playNext = async () => {
    for (let moment = rest.shift(); moment !== undefined; moment = rest.shift()) {
      if (!(await isKilledAt(scenario, moment))) missed.push(`${moment.step} ${moment.nth}`);
    }
  };
  await Promise.all(Array.from({ length: lanes }, playNext));
  console.log(`${moments.length} moments, ${moments.length - missed.length} kills`);
  if (missed.length > MAX_MISSED * moments.length) throw new Error(`not reached again: ${missed.join(", ")}`);
}

/** Plays the scenario with a child that is killed at the moment: false if that did not come again. */
async function isKilledAt(scenario: Scenario, moment: Moment): Promise<boolean> {
  let isKilled = false;
  try {
    const slowestMs = await fastest(PROMPT_MS, async () => {
      await using stage = new Stage(scenario, { ...moment, action: "kill" });
      await scenario.play(stage);
      const { code, signal } = await stage.child.end();
      isKilled = signal === "SIGKILL";
      if (!isKilled) expect(code).toBe(0);
      return stage.slowestMs;
    });
    expect(slowestMs).toBeLessThan(PROMPT_MS);
  } catch (error) {
    throw new Error(`killed at ${moment.step}, the ${moment.nth}th time`, { cause: error });
  }
  return isKilled;
}

/** A writer finds no buffer, or one that is not ready: never half of one. */
export function expectNoHalfBuffer(name: string): void {
  expect(["BUFFER_NOT_FOUND", "PEER_TIMEOUT"]).toContain(
    (thrownBy(() => new Writer(name)) as { code: string }).code,
  );
}
