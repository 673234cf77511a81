// The counted part of a worker's run, and the resources used meanwhile.

import { framesPerLook, type Length, roundUp, WARM_UP, type WorkerSettings } from "./plan.ts";

/** The frames and resources of one process while it counted. */
export interface Usage {
  readonly frames: number;
  readonly seconds: number;
  /** Processor time, user and system, in seconds. */
  readonly cpuSeconds: number;
  /** Peak resident memory of its whole life, shared memory included, in bytes. */
  readonly peakMemoryBytes: number;
}

/** How often a process checks that bench still runs. */
const PARENT_CHECK_NS = 100e6;

/** Counts frames after the warm-up. It reads the clock only every few frames. */
export class Span {
  readonly #length: Length;
  readonly #framesPerLook: number;
  readonly #batchSize: number;
  readonly #parent: number;
  #done = 0;
  #untilLook: number;
  #startedNs: number | undefined;
  #lookedNs = 0;
  #doneAtLook = 0;
  #parentSeenNs = 0;
  /** Frames, time and processor time at the end of the warm-up. */
  #warm: { readonly done: number; readonly ns: number; readonly cpu: NodeJS.CpuUsage } | undefined;

  constructor(settings: WorkerSettings) {
    this.#length = settings.length;
    this.#parent = settings.parent;
    this.#batchSize = settings.batchSize;
    this.#framesPerLook = framesPerLook(settings);
    this.#untilLook = this.next;
  }

  /** Whether the warm-up is over. */
  get counts(): boolean {
    return this.#warm !== undefined;
  }

  /** Whether enough is counted, or bench is gone. The first call starts the clock. */
  get isOver(): boolean {
    if (this.#startedNs === undefined) this.#look();
    if (this.#lookedNs - this.#parentSeenNs > PARENT_CHECK_NS) {
      this.#parentSeenNs = this.#lookedNs;
      if (process.ppid !== this.#parent) return true;
    }
    if (this.#warm === undefined) return false;
    const { frames, durationMs } = this.#length;
    return frames === undefined
      ? this.#lookedNs - this.#warm.ns >= durationMs * 1e6
      : this.#done - this.#warm.done >= frames;
  }

  /** Frames to handle before the next reading of the clock, in whole calls; never more than are left. */
  get next(): number {
    const { frames } = this.#length;
    if (frames === undefined) return this.#framesPerLook;
    const goal = this.#warm === undefined ? this.#warmUpFrames(frames) : this.#warm.done + frames;
    return Math.max(1, Math.min(this.#framesPerLook, goal - this.#done));
  }

  /** Counts frames. */
  add(count: number): void {
    this.#done += count;
    this.#untilLook -= count;
    if (this.#untilLook > 0) return;
    this.#look();
    this.#untilLook = this.next;
  }

  /** The figures up to the last reading of the clock. */
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
    if (frames !== undefined) return this.#done >= this.#warmUpFrames(frames);
    return this.#lookedNs - (this.#startedNs ?? 0) >= durationMs * WARM_UP * 1e6;
  }

  #warmUpFrames(frames: number): number {
    return roundUp(frames * WARM_UP, this.#batchSize);
  }
}

/** How late a sleeping thread may wake up; it spins for the rest. */
const SLEEP_ACCURACY_NS = 150_000;

/** When frames are due, by `Bun.nanoseconds()`. A late frame does not delay the frames after it. */
export class Schedule {
  readonly #intervalNs: number;
  readonly #span: Span;
  /** Waiting on it sleeps: nothing ever notifies it. */
  readonly #cell = new Int32Array(new SharedArrayBuffer(4));
  #startedNs = 0;
  #frames = 0;
  #counted = false;

  /** @param rate frames per second; 0: each frame is due at once. */
  constructor(rate: number, span: Span) {
    this.#intervalNs = rate > 0 ? 1e9 / rate : 0;
    this.#span = span;
  }

  /** Blocks until the next frame is due; returns the time when it was due, which may be in the past. */
  next(): number {
    const now = Bun.nanoseconds();
    if (this.#intervalNs === 0) return now;
    // Delays of the warm-up must not count.
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
