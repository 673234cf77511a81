// Options that several commands share.

import {
  DEFAULT_METADATA_SIZE,
  DEFAULT_PAYLOAD_SIZE,
  FRAME_HEADER_SIZE,
  WAIT_MODES,
  type WaitMode,
} from "../core/index.ts";
import { FRAMINGS, type Framing } from "../frames/framing.ts";
import { choice, integer, type Option, permissions, size } from "./options.ts";

const FOREVER = { connectTimeoutMs: Number.POSITIVE_INFINITY, timeoutMs: Number.POSITIVE_INFINITY } as const;

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

/** The timeouts that are given, or those of the command; with --follow a command waits forever unless they are given. */
export function timeoutsOf(
  given: {
    readonly follow: boolean;
    readonly connectTimeoutMs: number | undefined;
    readonly timeoutMs: number | undefined;
  },
  usual: { readonly connectTimeoutMs: number; readonly timeoutMs: number },
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
