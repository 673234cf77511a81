// What bench measures: works, each done over several transports, with frames of several sizes and at several rates.

import type { WaitMode } from "../../core/index.ts";
import type { Transport, Work } from "../../schemas/words.ts";

/** What bench starts this program with as one of its processes. It is nobody's command, and has no help. */
export const BENCH_WORKER = "@bench-worker";

/** A picture of 1920 x 1080 pixels in YUV 4:2:0 and 16 bytes more, the classic frame of this protocol. */
export const PICTURE_SIZE = 3_110_416;

/** What a process does. The first of a work decides when it ends. */
export type Role = "source" | "sink" | "initiator" | "echo" | "relay" | "client" | "server";

/** The processes of each work over buffers. Only throughput goes one way. */
const ROLES: Readonly<Record<Work, readonly [Role, Role]>> = {
  throughput: ["source", "sink"],
  latency: ["initiator", "echo"],
  relay: ["initiator", "relay"],
  duplex: ["client", "server"],
};

/** One combination of all that is varied. */
export interface Case {
  readonly work: Work;
  readonly transport: Transport;
  readonly frameSize: number;
  /** Frames a second; 0: as fast as possible. */
  readonly rate: number;
}

/** How much is measured; the first fifth more is not counted. */
export interface Length {
  /** Frames that count; undefined: as many as the duration allows. */
  readonly frames: number | undefined;
  readonly durationMs: number;
}

/** What a process has to do. */
export interface WorkerSettings {
  readonly role: Role;
  readonly transport: Transport;
  readonly frameSize: number;
  /** Frames a second; 0: as fast as possible. */
  readonly rate: number;
  readonly length: Length;
  /** How it waits for the other one over buffers. */
  readonly wait: WaitMode;
  /** Frames of one call; one way only. */
  readonly batchSize: number;
  /** What the names of the buffers begin with. */
  readonly buffer: string;
  /** Size of their rings. */
  readonly bufferSize: number;
  /** Process id of bench, without whom this is of no use. */
  readonly parent: number;
  /** Descriptors of the pipes or the socket. */
  readonly input: number;
  readonly output: number;
}

/** Part of the length that comes before what counts: code is compiled, memory touched, caches are filled. */
export const WARM_UP = 1 / 5;

/** The processes that do a work: over pipes and sockets, whatever comes is sent on as it is. */
export function rolesOf({ work, transport }: Pick<Case, "work" | "transport">): readonly [Role, Role] {
  return transport === "zerobuffer" || work === "throughput" ? ROLES[work] : ROLES.latency;
}

/** Whether the frames of a work come back. */
export function comesBack(work: Work): boolean {
  return work !== "throughput";
}

/** Frames that are handled between two looks at the clock: unpaced small ones take less time than the look. */
export function framesPerLook({ frameSize, rate }: Pick<Case, "frameSize" | "rate">): number {
  return rate > 0 ? 1 : Math.min(64, Math.max(1, Math.floor(65536 / frameSize)));
}

/** Everything to measure, in the order in which it is shown. What stands together is done in turns. */
export function casesOf(
  works: readonly Work[],
  sizes: readonly number[],
  rates: readonly number[],
  transports: readonly Transport[],
): Case[][] {
  return works.flatMap((work) =>
    rates.flatMap((rate) =>
      sizes.map((frameSize) => transports.map((transport) => ({ work, transport, frameSize, rate }))),
    ),
  );
}
