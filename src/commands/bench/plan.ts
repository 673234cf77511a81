// What bench measures: each kind of work over several transports, with several frame sizes and rates.

import type { WaitMode } from "../../core/index.ts";
import type { Transport, Work } from "../../schemas/words.ts";

/** The argument with which bench starts this program as one of its processes. It is no command, and has no help. */
export const BENCH_WORKER = "@bench-worker";

/** A picture of 1920 x 1080 pixels in YUV 4:2:0 and 16 bytes more, the classic frame of this protocol. */
export const PICTURE_SIZE = 3_110_416;

/** What a process does. The first role of a work decides when the work ends. */
export type Role = "source" | "sink" | "initiator" | "echo" | "relay" | "client" | "server";

/** The roles of each work over buffers. */
const ROLES: Readonly<Record<Work, readonly [Role, Role, ...Role[]]>> = {
  throughput: ["source", "sink"],
  latency: ["initiator", "echo"],
  relay: ["initiator", "relay"],
  fanout: ["source", "relay", "sink", "sink", "sink"],
  duplex: ["client", "server"],
};

/** One combination of work, transport, frame size and rate. */
export interface Case {
  readonly work: Work;
  readonly transport: Transport;
  readonly frameSize: number;
  /** Frames per second; 0: as fast as possible. */
  readonly rate: number;
}

/** How much is measured, after a warm-up of a fifth as much. */
export interface Length {
  /** Frames that count; undefined: as many as the duration allows. */
  readonly frames: number | undefined;
  readonly durationMs: number;
}

/** The task of a process. */
export interface WorkerSettings {
  readonly role: Role;
  readonly work: Work;
  /** Which of several sinks it is, from 0. */
  readonly sink: number;
  readonly transport: Transport;
  readonly frameSize: number;
  /** Frames per second; 0: as fast as possible. */
  readonly rate: number;
  readonly length: Length;
  /** How it waits for the other process at a buffer. */
  readonly wait: WaitMode;
  /** Frames per call: {@link batchSizeOf}. */
  readonly batchSize: number;
  /** The prefix of the buffers' names. */
  readonly buffer: string;
  /** Size of their rings. */
  readonly bufferSize: number;
  /** Whether relays share frames. */
  readonly sharing: boolean;
  /** Process id of bench: the process ends when bench is gone. */
  readonly parent: number;
  /** Descriptors of the pipes or the socket. */
  readonly input: number;
  readonly output: number;
}

/** The warm-up, as a part of the length: code is compiled, memory is touched, caches are filled. */
export const WARM_UP = 1 / 5;

/** The roles of the processes. Over pipes and sockets, the second one sends each frame back unchanged. */
export function rolesOf({
  work,
  transport,
}: Pick<Case, "work" | "transport">): readonly [Role, Role, ...Role[]] {
  return transport === "zerobuffer" || work === "throughput" ? ROLES[work] : ROLES.latency;
}

/** Whether the frames of a work come back. */
export function comesBack(work: Work): boolean {
  return work !== "throughput" && work !== "fanout";
}

/** Whether the frames of a work go through a relay. */
export function isRelayed(work: Work): boolean {
  return work === "relay" || work === "fanout";
}

/** The frames of each call: frames that are relayed or come back, or have their own times, are sent one by one. */
export function batchSizeOf({ work, rate }: Pick<Case, "work" | "rate">, batchSize: number): number {
  return work === "throughput" && rate === 0 ? batchSize : 1;
}

/** Frames handled between two readings of the clock, in whole calls: one reading takes longer than a small frame. */
export function framesPerLook({
  batchSize,
  frameSize,
  rate,
}: Pick<WorkerSettings, "batchSize" | "frameSize" | "rate">): number {
  const frames = rate > 0 ? 1 : Math.min(64, Math.max(1, Math.floor(65536 / frameSize)));
  return roundUp(frames, batchSize);
}

/** The least multiple of `unit` that is no less than `value`. */
export function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

/** Everything to measure, in the order in which it is shown. The cases of one group are measured in turns. */
export function casesOf(
  works: readonly Work[],
  sizes: readonly number[],
  rates: readonly number[],
  transports: readonly Transport[],
): Case[][] {
  return works.flatMap((work) =>
    rates.flatMap((rate) =>
      sizes.map((frameSize) =>
        transports
          // Pipes and sockets have one end.
          .filter((transport) => work !== "fanout" || transport === "zerobuffer")
          .map((transport) => ({ work, transport, frameSize, rate })),
      ),
    ),
  );
}
