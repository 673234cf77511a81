// How a command fails: its code, its message and hint, and its exit code.

import { ZeroBufferError } from "../core/index.ts";
import { BUG, EXIT_CODES, type FailureCode } from "./exit-codes.ts";
import { withFlags } from "./flags.ts";

/** A failure found by the command line itself. */
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

/** The output was closed by its reader: this ends a run, but is no failure. */
export class DownstreamClosed extends Error {}

/** Adds a failure that came after the one that ends the run. Signals are not added. */
export function addLaterFailure(errors: string[], error: unknown): void {
  if (error instanceof CommandError && error.code !== "INTERRUPTED") errors.push(error.message);
}

/** A failure as it is reported. */
export interface Failure {
  readonly code: FailureCode;
  readonly message: string;
  readonly hint: string | null;
  readonly exitCode: number;
  /** The stack of a bug. */
  readonly stack?: string | undefined;
}

const REPORT = "This is a bug in zerobuffer. Please report it with the command line and the output above.";

/** The failure to report for an error. An unexpected error is a bug. */
export function explain(error: unknown): Failure {
  if (error instanceof CommandError || error instanceof ZeroBufferError) {
    const { code } = error;
    const message = withFlags(error.message);
    const hint = error.hint === undefined ? null : withFlags(error.hint);
    const exitCode = error instanceof Interrupted ? error.exitCode : EXIT_CODES[code];
    return exitCode === BUG ? bug(code, error) : { code, message, hint, exitCode };
  }
  return bug("INTERNAL", error);
}

/** The system's message for a failed call, without the code before it and the call after it. */
export function systemReason(error: unknown): string {
  const message = error instanceof Error ? error.message : `${error}`;
  return message.replace(/^[A-Z0-9]+: /, "").replace(/, \w+( '.*')?$/, "");
}

/** The system's code for a failed call, such as ENOENT. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

function bug(code: FailureCode, error: unknown): Failure {
  const { message, stack } = error instanceof Error ? error : new Error(`${error}`);
  return { code, message, hint: REPORT, exitCode: BUG, stack };
}
