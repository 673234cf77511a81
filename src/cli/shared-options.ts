// Options that several commands share.

import {
  DEFAULT_METADATA_SIZE,
  DEFAULT_PAYLOAD_SIZE,
  FRAME_HEADER_SIZE,
  WAIT_MODES,
  type WaitMode,
} from "../core/index.ts";
import { FRAMINGS, type Framing } from "../frames/framing.ts";
import { choice, duration, flag, integer, type Option, permissions, size } from "./options.ts";
import { formatDuration } from "./values.ts";

/** How long a command waits for the other end, and then for each frame or for room, in milliseconds. */
interface Timeouts {
  readonly connectTimeoutMs: number;
  readonly timeoutMs: number;
}

const FOREVER: Timeouts = { connectTimeoutMs: Number.POSITIVE_INFINITY, timeoutMs: Number.POSITIVE_INFINITY };

/** What to do with a frame that does not fit now. */
export const FULL_POLICIES = ["wait", "drop", "fail"] as const;

/** How a command waits for the other end of a buffer. */
export function waitMode(): Option<WaitMode> {
  return choice(WAIT_MODES, {
    group: "Waiting",
    description: "choose how to wait",
    note: "--wait adaptive spins while that pays off, then blocks; spin never blocks; block never spins.",
    valueHint: "MODE",
    default: "adaptive",
  });
}

/** How the frames of a file are told apart. */
export function framing(spec: { group: string }): Option<Framing> {
  return choice(FRAMINGS, {
    ...spec,
    description: "set the framing",
    note:
      "--framing fixed: frames are end to end; lines: each ends with a newline; length-prefixed: each follows its " +
      "length (u32, little-endian).",
    valueHint: "FRAMING",
    default: "fixed",
  });
}

/** The size of a ring that a command creates. */
export function ringSize(spec: { group: string; description: string }): Option<number> {
  return size({ ...spec, default: DEFAULT_PAYLOAD_SIZE, min: FRAME_HEADER_SIZE + 1 });
}

/** The room for metadata in a buffer that a command creates. */
export function metadataRoom(spec: { group: string }): Option<number> {
  return size({
    ...spec,
    description: "reserve room for metadata and its 8-byte length",
    default: DEFAULT_METADATA_SIZE,
    min: 0,
  });
}

/** Who may connect to a buffer that a command creates. */
export function whoMayConnect(spec: { group: string }): Option<number | undefined> {
  return permissions({
    ...spec,
    description: "set who may connect",
    shown: "0666 minus the umask",
  });
}

/** What a reader's buffer is like. */
export function readersBuffer({ group }: { group: string }) {
  return {
    bufferSize: ringSize({ group, description: "set the ring size; each frame takes 16 extra bytes" }),
    metadataSize: metadataRoom({ group }),
    mode: whoMayConnect({ group }),
  };
}

/** Whether a reader takes frames that lie in another buffer. */
export function noSharing(spec: { group: string }): Option<boolean> {
  return flag({
    ...spec,
    description: "take copies of frames that are passed on",
    note:
      "Without --no-sharing, frames that a relay passes on are read in its input buffer, which the relay shares, instead of being " +
      "copied.",
  });
}

/** How a reader waits; `usual`: unless it follows. `writer`: what it waits for first. */
export function readersWaits(usual: Timeouts, writer: string) {
  return {
    connectTimeoutMs: duration({
      group: "Waiting",
      description: `wait this long for ${writer}, 0: forever`,
      default: undefined,
      shown: formatDuration(usual.connectTimeoutMs),
      zeroIsForever: true,
    }),
    timeoutMs: duration({
      group: "Waiting",
      description: "wait this long for each frame, 0: forever",
      default: undefined,
      shown: formatDuration(usual.timeoutMs),
      zeroIsForever: true,
    }),
    wait: waitMode(),
  };
}

/** How a writer waits, and what it does while it finds no room; `usual`: unless it follows. `buffer`: what it waits for first. */
export function writersWaits(usual: Timeouts, buffer: string) {
  return {
    connectTimeoutMs: duration({
      group: "Waiting",
      description: `wait this long for ${buffer}, 0: try once`,
      default: undefined,
      shown: formatDuration(usual.connectTimeoutMs),
    }),
    timeoutMs: duration({
      group: "Waiting",
      description: "wait this long for room, 0: forever",
      default: undefined,
      shown: formatDuration(usual.timeoutMs),
      zeroIsForever: true,
    }),
    onFull: choice(FULL_POLICIES, {
      group: "Waiting",
      description: "handle a full buffer",
      note: "--on-full drop drops frames that do not fit; --frames counts them too.",
      valueHint: "POLICY",
      default: "wait",
    }),
    wait: waitMode(),
  };
}

/** The timeouts that are given, or those of the command; with --follow a command waits forever unless they are given. */
export function timeoutsOf(
  given: {
    readonly follow: boolean;
    readonly connectTimeoutMs: number | undefined;
    readonly timeoutMs: number | undefined;
  },
  usual: Timeouts,
) {
  const { connectTimeoutMs, timeoutMs } = given.follow ? FOREVER : usual;
  return {
    connectTimeoutMs: given.connectTimeoutMs ?? connectTimeoutMs,
    timeoutMs: given.timeoutMs ?? timeoutMs,
  };
}

/** The key of an exclusive or. */
export function xorKey(spec: { group: string; description: string }): Option<number> {
  return integer({ ...spec, valueHint: "BYTE", default: 255, min: 0, max: 255 });
}
