// Looks at all buffers again and again, and tells from two looks what has happened in between. For every command that watches.

import {
  type BufferSnapshot,
  type InspectedBuffer,
  inspectBuffer,
  listBuffers,
  Places,
  type RecentFrames,
  type Waits,
} from "../core/inspection.ts";

/** A buffer at one look, and what has happened since the look before. */
export interface Sample {
  readonly snapshot: BufferSnapshot;
  /** When its memory was made, in milliseconds since 1970; null if the system does not tell. */
  readonly createdMs: number | null;
  /** Which of its living processes wait for each other; null if the system does not tell. */
  readonly waits: Waits;
  /** The mean size of the frames at the start of its ring, in bytes; null if there are none. */
  readonly frameSize: number | null;
  /** Null at the first look at this buffer. */
  readonly framesPerSecond: number | null;
  /** As many times {@link frameSize}; null if one of them is. */
  readonly bytesPerSecond: number | null;
  /** Bytes of the frames that came since the first look: a sum of estimates, as {@link bytesPerSecond}. */
  readonly bytesSeen: number;
  /** When the first look at it was, in milliseconds since 1970. */
  readonly firstSeenMs: number;
  /** How long ago the last new frame was noticed; without one since the first look, how long ago that was. In seconds. */
  readonly quietSeconds: number;
  /** Whether a new frame was noticed since the first look. */
  readonly hasMoved: boolean;
}

/** What is kept of a look. */
interface Look {
  readonly sample: Sample;
  readonly at: number;
  readonly movedAt: number;
  readonly frames: RecentFrames | undefined;
}

/** It is not known whether a side waits. */
const UNKNOWN: Waits = { writer: null, reader: null };

/** Looks at all buffers. Keeps what it needs of those that are there. */
export class Sampler {
  readonly #places = new Places();
  #looks = new Map<string, Look>();

  /**
   * Looks at all buffers, without disturbing anyone.
   *
   * @param now the time of `performance.now()`.
   * @returns the buffers, sorted by name.
   * @throws PermissionDeniedError, ResourceExhaustedError as `listBuffers`.
   */
  look(now = performance.now()): Sample[] {
    this.#places.beginLook();
    const looks = new Map<string, Look>();
    for (const name of listBuffers()) {
      const buffer = inspectBuffer(name, this.#places);
      if (buffer !== undefined) looks.set(name, lookAt(buffer, this.#looks.get(name), now));
    }
    this.#looks = looks;
    return [...looks.values()].map(({ sample }) => sample);
  }
}

function lookAt(buffer: InspectedBuffer, last: Look | undefined, now: number): Look {
  const snapshot = buffer.snapshot();
  const { createdMs } = buffer;
  const before = isSame(last, snapshot, createdMs) ? last : undefined;
  const counted = countOf(snapshot) - (before === undefined ? 0 : countOf(before.sample.snapshot));
  const frames = counted > 0 ? (buffer.recentFrames() ?? before?.frames) : before?.frames;
  const hasMoved = before !== undefined && (counted > 0 || before.sample.hasMoved);
  const movedAt = before !== undefined && counted === 0 ? before.movedAt : now;
  const frameSize = frames?.meanSize ?? null;
  const rest = {
    snapshot,
    createdMs,
    waits: waitsOf(buffer, snapshot),
    frameSize,
    quietSeconds: (now - movedAt) / 1000,
    hasMoved,
  };
  if (before === undefined) {
    const first = { framesPerSecond: null, bytesPerSecond: null, bytesSeen: 0, firstSeenMs: Date.now() };
    return { sample: { ...rest, ...first }, at: now, movedAt, frames };
  }
  const came = counted === 0 ? 0 : framesBetween(before, { snapshot, frames }, counted);
  const seconds = (now - before.at) / 1000;
  const perSecond = (amount: number) => (seconds > 0 ? Math.round((amount / seconds) * 1000) / 1000 : null);
  const bytes = came === 0 ? 0 : frameSize && came * frameSize;
  const { bytesSeen, firstSeenMs } = before.sample;
  const sample = {
    ...rest,
    framesPerSecond: perSecond(came),
    bytesPerSecond: bytes === null ? null : perSecond(bytes),
    bytesSeen: bytesSeen + Math.round(bytes ?? 0),
    firstSeenMs,
  };
  return { sample, at: now, movedAt, frames };
}

/** Whether the buffer is still the one of the last look, rather than another one of its name. */
function isSame(last: Look | undefined, snapshot: BufferSnapshot, createdMs: number | null): last is Look {
  if (last === undefined) return false;
  const { sample } = last;
  return sample.createdMs === createdMs && countOf(snapshot) >= countOf(sample.snapshot);
}

/** Frames that were written, wrap markers included. */
function countOf({ oieb }: BufferSnapshot): number {
  return oieb?.payloadWrittenCount ?? 0;
}

/** By the numbers that one writer has given to its newest frames, or by the count, which has the markers of wraps in it. */
function framesBetween(
  before: Look,
  now: { readonly snapshot: BufferSnapshot; readonly frames: RecentFrames | undefined },
  counted: number,
): number {
  const [from, to] = [before.frames?.newestSequence, now.frames?.newestSequence];
  const isOneWriter = before.sample.snapshot.oieb?.writerPid === now.snapshot.oieb?.writerPid;
  if (from == null || to == null || !isOneWriter) return counted;
  return to > from && to - from < counted ? to - from : counted;
}

/** A killed process stays counted in its semaphore: a side waits if it lives and has something to wait for. */
function waitsOf(buffer: InspectedBuffer, { oieb, writer, reader, state }: BufferSnapshot): Waits {
  if (oieb === null || state === "corrupt" || (!writer?.alive && !reader?.alive)) return UNKNOWN;
  const waits = buffer.waits();
  const isEmpty = oieb.payloadFreeBytes === oieb.payloadSize;
  const whether = (waiting: boolean | null, canWait: boolean) => waiting && canWait;
  return {
    writer: whether(waits.writer, writer?.alive === true && !isEmpty),
    reader: whether(waits.reader, reader?.alive === true),
  };
}
