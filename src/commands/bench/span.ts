// The part of a worker's run that counts, and what this process used meanwhile.

import { framesPerLook, type Length, WARM_UP, type WorkerSettings } from "./plan.ts";

/** What one process did and used while it counted. */
export interface Usage {
  readonly frames: number;
  readonly seconds: number;
  /** Processor time, user and system, in seconds. */
  readonly cpuSeconds: number;
  /** The most memory it had resident in its life, shared memory included, in bytes. */
  readonly peakMemoryBytes: number;
}

/** How often a process looks for the one that started it. */
const PARENT_LOOK_NS = 100e6;

/** Counts frames, from the end of the warm-up on. It looks at the clock only now and then, and knows what was done then. */
export class Span {
  readonly #length: Length;
  readonly #framesPerLook: number;
  readonly #parent: number;
  #done = 0;
  #untilLook: number;
  #startedNs: number | undefined;
  #lookedNs = 0;
  #doneAtLook = 0;
  #parentSeenNs = 0;
  /** What had been done and used when the warm-up was over. */
  #warm: { readonly done: number; readonly ns: number; readonly cpu: NodeJS.CpuUsage } | undefined;

  constructor(settings: WorkerSettings) {
    this.#length = settings.length;
    this.#parent = settings.parent;
    this.#framesPerLook = framesPerLook(settings);
    this.#untilLook = this.next;
  }

  /** Whether what happens now counts. */
  get counts(): boolean {
    return this.#warm !== undefined;
  }

  /** Whether enough has been counted, or the process that wanted it is gone. The first question starts the clock. */
  get isOver(): boolean {
    if (this.#startedNs === undefined) this.#look();
    if (this.#lookedNs - this.#parentSeenNs > PARENT_LOOK_NS) {
      this.#parentSeenNs = this.#lookedNs;
      if (process.ppid !== this.#parent) return true;
    }
    if (this.#warm === undefined) return false;
    const { frames, durationMs } = this.#length;
    return frames === undefined
      ? this.#lookedNs - this.#warm.ns >= durationMs * 1e6
      : this.#done - this.#warm.done >= frames;
  }

  /** Frames that may be handled before the next look at the clock; never more than are wanted. */
  get next(): number {
    const { frames } = this.#length;
    if (frames === undefined) return this.#framesPerLook;
    const goal = this.#warm === undefined ? warmUpFrames(frames) : this.#warm.done + frames;
    return Math.max(1, Math.min(this.#framesPerLook, goal - this.#done));
  }

  /** Notes that frames are done. */
  add(count: number): void {
    this.#done += count;
    this.#untilLook -= count;
    if (this.#untilLook > 0) return;
    this.#look();
    this.#untilLook = this.next;
  }

  /** What was done and used up to the last look at the clock. */
  get usage(): Usage {
    const { done = this.#doneAtLook, ns = this.#lookedNs, cpu } = this.#warm ?? {};
    const used = cpu === undefined ? { user: 0, system: 0 } : process.cpuUsage(cpu);
    return {
      frames: this.#doneAtLook - done,
      seconds: (this.#lookedNs - ns) / 1e9,
      cpuSeconds: (used.user + used.system) / 1e6,
      peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
    };
  }

  #look(): void {
    const now = Bun.nanoseconds();
    this.#lookedNs = now;
    this.#doneAtLook = this.#done;
    this.#startedNs ??= now;
    if (this.#warm === undefined && this.#isWarm()) {
      this.#warm = { done: this.#done, ns: now, cpu: process.cpuUsage() };
    }
  }

  #isWarm(): boolean {
    const { frames, durationMs } = this.#length;
    if (frames !== undefined) return this.#done >= warmUpFrames(frames);
    return this.#lookedNs - (this.#startedNs ?? 0) >= durationMs * WARM_UP * 1e6;
  }
}

function warmUpFrames(frames: number): number {
  return Math.ceil(frames * WARM_UP);
}

/** How much later than asked a sleeping thread may run again; it spins for the rest. */
const SLEEP_ACCURACY_NS = 150_000;

/** When frames are due, by `Bun.nanoseconds()`, at a rate that is kept whatever happens to one of them. */
export class Schedule {
  readonly #intervalNs: number;
  readonly #span: Span;
  /** Nobody ever wakes whoever waits here. */
  readonly #cell = new Int32Array(new SharedArrayBuffer(4));
  #startedNs = 0;
  #frames = 0;
  #counted = false;

  /** @param rate frames a second; 0: each is due at once. */
  constructor(rate: number, span: Span) {
    this.#intervalNs = rate > 0 ? 1e9 / rate : 0;
    this.#span = span;
  }

  /** Blocks until the next frame is due; returns when it was, which may be earlier than now. */
  next(): number {
    const now = Bun.nanoseconds();
    if (this.#intervalNs === 0) return now;
    // What is late at the end of the warm-up is none of what counts.
    if (this.#frames === 0 || this.#counted !== this.#span.counts) {
      this.#startedNs = now;
      this.#frames = 0;
      this.#counted = this.#span.counts;
    }
    const dueNs = this.#startedNs + this.#frames++ * this.#intervalNs;
    const sleepNs = dueNs - now - SLEEP_ACCURACY_NS;
    if (sleepNs > 0) Atomics.wait(this.#cell, 0, 0, sleepNs / 1e6);
    while (Bun.nanoseconds() < dueNs);
    return dueNs;
  }
}
