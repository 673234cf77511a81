// Buffers and duplex channels that are taken for each other: a name is there, but as the other kind.

import { BufferNotFoundError, buffersOf } from "../core/index.ts";
import { inspectBuffer } from "../core/inspection.ts";
import { CommandError } from "./failure.ts";

/** The failure of a command that writes to a one-way buffer: says so if the missing buffer is a duplex channel. */
export function rewordForWriter(error: unknown): unknown {
  if (!(error instanceof BufferNotFoundError) || error.buffer === undefined) return error;
  const { buffer } = error;
  if (!isInUse(() => buffersOf(buffer).requests)) return error;
  return new CommandError(
    error.code,
    `There is no buffer "${buffer}", but a duplex channel of that name.`,
    `Run zerobuffer duplex request ${buffer} to send it requests.`,
    error,
  );
}

/** What to say to a client of a missing channel, if a one-way buffer has its name. */
export function wordingOfBuffer(channel: string): { message: string; hint: string } | undefined {
  if (!isInUse(() => channel)) return undefined;
  return {
    message: `There is no duplex channel "${channel}", but a one-way buffer of that name.`,
    hint: `Run zerobuffer writer ${channel} to write frames to it.`,
  };
}

/** Whether a buffer of that name is there with a live process, as far as can be seen. */
function isInUse(nameOf: () => string): boolean {
  try {
    const view = inspectBuffer(nameOf());
    return view !== undefined && view.state() !== "stale";
  } catch {
    // A name that is too long for a channel; or nothing can be seen.
    return false;
  }
}
