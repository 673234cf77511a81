// How a command fails: its code, what to tell the user, and the exit code that scripts go by.

import { type ErrorCode, ZeroBufferError } from "../core/errors.ts";

/** The codes that only the command line knows. */
type CommandCode = "USAGE" | "TIMEOUT" | "INCOMPLETE" | "VERIFICATION_FAILED" | "INTERRUPTED";

/** What `error.code` can be in a command's JSON. */
export type FailureCode = ErrorCode | CommandCode;

/** A failure that the command line itself found. */
export class CommandError extends Error {
  readonly code: FailureCode;
  readonly hint: string | undefined;

  constructor(code: FailureCode, message: string, hint?: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = hint;
  }
}

/** A signal asked the command to stop. */
export class Interrupted extends CommandError {
  readonly exitCode: number;

  /** @param exitCode 128 and the signal's number. */
  constructor(signal: string, exitCode: number) {
    super("INTERRUPTED", `Stopped by ${signal}.`);
    this.exitCode = exitCode;
  }
}

/** Nobody reads the output any more: the end of a run, and not a failure of it. */
export class DownstreamClosed extends Error {}

/** A failure as it is reported. */
export interface Failure {
  readonly code: FailureCode;
  readonly message: string;
  readonly hint: string | null;
  readonly exitCode: number;
  /** Where a bug of ours happened. */
  readonly stack?: string | undefined;
}

/** The exit code of everything that can fail; an interruption brings its own. */
const EXIT_CODES: Readonly<Record<Exclude<FailureCode, "INTERRUPTED">, number>> = {
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
  INTERNAL: 70,
  CLOSED: 70,
};

const REPORT = "This is a bug in zerobuffer: please report it with the command line and what stands above.";

/** The exit code of a bug of ours. */
const BUG = 70;

/** Turns whatever was thrown into what is reported. Anything unexpected is a bug of ours. */
export function explain(error: unknown): Failure {
  if (error instanceof CommandError || error instanceof ZeroBufferError) {
    const { code, message, hint = null } = error;
    const exitCode =
      error instanceof Interrupted ? error.exitCode : EXIT_CODES[code as keyof typeof EXIT_CODES];
    return exitCode === BUG ? bug(code, error) : { code, message, hint, exitCode };
  }
  return bug("INTERNAL", error);
}

/** What the system says about a failed call, without the code before it and the call behind it. */
export function systemReason(error: unknown): string {
  const message = error instanceof Error ? error.message : `${error}`;
  return message.replace(/^[A-Z0-9]+: /, "").replace(/, \w+( '.*')?$/, "");
}

/** The system's code of a failed call, such as ENOENT. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

function bug(code: FailureCode, error: unknown): Failure {
  const { message, stack } = error instanceof Error ? error : new Error(`${error}`);
  return { code, message, hint: REPORT, exitCode: BUG, stack };
}
