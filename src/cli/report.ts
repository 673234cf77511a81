// How a run is reported: one JSON object, or lines for a person.

import type { Document } from "./command.ts";
import { CommandError, type Failure, systemCode, systemReason } from "./failure.ts";
import { Descriptor, plain, print, type Style, styleFor } from "./terminal.ts";

/** How to report, and where. */
export interface Channel {
  readonly json: boolean;
  /** stdout, unless the frames own it. */
  readonly descriptor: Descriptor;
  /** What ran: `zerobuffer writer`. */
  readonly program: string;
}

/**
 * Reports a run that succeeded, or failed with `failure`: its result, and then on stderr what went wrong.
 *
 * @throws CommandError IO_ERROR if the result cannot be printed, unless nobody is there to read it.
 */
export async function report(
  document: Document,
  summarize: (style: Style) => string[],
  failure: Failure | undefined,
  { json, descriptor, program }: Channel,
): Promise<void> {
  const lines = json ? [JSON.stringify(complete(document, failure))] : summarize(await styleFor(descriptor));
  const printResult = async () => {
    try {
      if (lines.length > 0) await print(descriptor, `${lines.join("\n")}\n`);
    } catch (error) {
      if (systemCode(error) !== "EPIPE" && failure === undefined) throw resultLost(error);
    }
  };
  const isJsonAlone = json && descriptor === Descriptor.STDERR;
  const tellFailure = async () => {
    if (failure !== undefined && !isJsonAlone) await reportFailure(failure, program, json);
  };
  if (json) {
    // A program reads the one and a person the other: neither waits for its turn.
    await Promise.all([printResult(), tellFailure()]);
  } else {
    await printResult();
    await tellFailure();
  }
}

/** Tells a person what happened and what to do next: in one line for a usage error, in two otherwise. */
export async function reportFailure(failure: Failure, program: string, json: boolean): Promise<void> {
  const { code, message, hint, stack } = failure;
  const style = json ? plain : await styleFor(Descriptor.STDERR);
  const separator = code === "USAGE" ? " " : "\n  ";
  const lines = [`${program}: ${style.red(message)}${hint === null ? "" : `${separator}${hint}`}`];
  if (stack !== undefined) lines.unshift(stack);
  // Nowhere is left to say that stderr is closed or full.
  await print(Descriptor.STDERR, `${lines.join("\n")}\n`).catch(() => {});
}

/** The document as it is published: the failure comes last. */
function complete({ errors, ...figures }: Document, failure: Failure | undefined): object {
  if (failure === undefined) return { ...figures, errors };
  const { code, message, hint } = failure;
  return { ...figures, errors: [...errors, message], error: { code, message, hint } };
}

/** The failure of a result that cannot be printed. */
export function resultLost(error: unknown): CommandError {
  return new CommandError("IO_ERROR", `Cannot print the result: ${systemReason(error)}.`, undefined, error);
}
