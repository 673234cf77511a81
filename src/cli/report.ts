// Reports a run: one JSON object, or lines of text.

import type { Document } from "./command.ts";
import { eventLine } from "./events.ts";
import { CommandError, type Failure, systemCode, systemReason } from "./failure.ts";
import { Descriptor, plain, print, type Style, styleFor } from "./terminal.ts";

/** How and where to report. */
export interface Channel {
  readonly json: boolean;
  /** As the last event of --json-lines. */
  readonly isEvent?: boolean;
  /** stdout, unless frames may be written to it. */
  readonly descriptor: Descriptor;
  /** The program and its command: `zerobuffer writer`. */
  readonly program: string;
}

/**
 * Reports a run: its result, and then `failure` on stderr, if there is one.
 *
 * @throws CommandError IO_ERROR if the result cannot be printed, unless its reader has closed the output. Text for people on
 *   stderr is no data: it may be lost.
 */
export async function report(
  document: Document,
  summarize: (style: Style) => string[],
  failure: Failure | undefined,
  { json, isEvent, descriptor, program }: Channel,
): Promise<void> {
  const complete = completed(document, failure);
  const jsonLine = () => (isEvent ? eventLine("result", complete) : JSON.stringify(complete));
  const lines = json ? [jsonLine()] : summarize(await styleFor(descriptor));
  const printResult = async () => {
    try {
      if (lines.length > 0) await print(descriptor, `${lines.join("\n")}\n`);
    } catch (error) {
      const isData = json || descriptor === Descriptor.STDOUT;
      if (isData && systemCode(error) !== "EPIPE" && failure === undefined) throw resultLost(error);
    }
  };
  const isJsonAlone = json && descriptor === Descriptor.STDERR;
  const printFailure = async () => {
    if (failure !== undefined && !isJsonAlone) await reportFailure(failure, program, json);
  };
  if (json) {
    // A program reads the result and a person the failure: neither waits for the other.
    await Promise.all([printResult(), printFailure()]);
  } else {
    await printResult();
    await printFailure();
  }
}

/** Prints a failure and its hint to stderr: in one line for a usage error, in two otherwise. */
export async function reportFailure(failure: Failure, program: string, json: boolean): Promise<void> {
  const { code, message, hint, stack } = failure;
  const style = json ? plain : await styleFor(Descriptor.STDERR);
  const separator = code === "USAGE" ? " " : "\n  ";
  const lines = [`${program}: ${style.red(message)}${hint === null ? "" : `${separator}${hint}`}`];
  if (stack !== undefined) lines.unshift(stack);
  // If stderr is closed or full, there is nowhere left to report it.
  await print(Descriptor.STDERR, `${lines.join("\n")}\n`).catch(() => {});
}

/** The document as it is published, with the failure last. */
function completed({ errors, ...figures }: Document, failure: Failure | undefined): object {
  if (failure === undefined) return { ...figures, errors };
  const { code, message, hint } = failure;
  return { ...figures, errors: [...errors, message], error: { code, message, hint } };
}

/** The failure if the result cannot be printed. */
export function resultLost(error: unknown): CommandError {
  return new CommandError("IO_ERROR", `Cannot print the result: ${systemReason(error)}.`, undefined, error);
}
