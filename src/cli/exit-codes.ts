// Every code of a failure, with its exit code. Help, manual page and JSON schemas are derived from this table.

import type { ErrorCode } from "../core/index.ts";

/** The codes that core does not have. */
type CommandCode = "USAGE" | "TIMEOUT" | "INCOMPLETE" | "VERIFICATION_FAILED" | "INTERRUPTED";

/** What `error.code` can be in a command's JSON. */
export type FailureCode = ErrorCode | CommandCode;

/** The exit code of a bug. */
export const BUG = 70;

/** The exit codes; that of an interruption is 128 plus the number of its signal. */
export const EXIT_CODES = {
  BUFFER_NOT_FOUND: 1,
  PEER_TIMEOUT: 1,
  WRITER_ALREADY_CONNECTED: 1,
  READER_ALREADY_CONNECTED: 1,
  RESOURCE_EXHAUSTED: 1,
  PERMISSION_DENIED: 1,
  TIMEOUT: 2,
  BUFFER_FULL: 2,
  READER_DEAD: 2,
  WRITER_DEAD: 2,
  INCOMPLETE: 2,
  IO_ERROR: 2,
  METADATA_ALREADY_WRITTEN: 2,
  USAGE: 3,
  FRAME_TOO_LARGE: 3,
  INVALID_FRAME_SIZE: 3,
  METADATA_TOO_LARGE: 3,
  INVALID_NAME: 3,
  VERIFICATION_FAILED: 4,
  SEQUENCE_ERROR: 4,
  CORRUPT_BUFFER: 4,
  INTERNAL: BUG,
  CLOSED: BUG,
  INTERRUPTED: 128,
} as const satisfies Record<FailureCode, number>;

/** The signals that stop a command, with their exit codes. */
export const SIGNAL_EXIT_CODES = { SIGHUP: 129, SIGINT: 130, SIGQUIT: 131, SIGTERM: 143 } as const;

/** What each exit code means. */
export const EXIT_CODE_MEANINGS: readonly (readonly [code: string, meaning: string])[] = [
  ["0", "done"],
  ["1", "could not connect"],
  ["2", "failed while running"],
  ["3", "bad arguments"],
  ["4", "wrong data"],
  [`${BUG}`, "a bug"],
  ...Object.entries(SIGNAL_EXIT_CODES).map(([signal, code]) => [`${code}`, `stopped by ${signal}`] as const),
];
