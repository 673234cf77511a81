// Opens the files that options name, for as long as the run lasts.
// The streams are imported only here: node:fs costs more than a millisecond at start, and not every run has a stream.

import type { Session } from "./session.ts";
import type { ByteInput, ByteOutput } from "./streams.ts";

/**
 * The file to read from, or stdin (`-`), if any.
 *
 * @throws CommandError IO_ERROR if it cannot be opened.
 */
export async function openInput(path: string, session: Session): Promise<ByteInput>;
export async function openInput(path: string | undefined, session: Session): Promise<ByteInput | undefined>;
export async function openInput(path: string | undefined, session: Session): Promise<ByteInput | undefined> {
  if (path === undefined) return undefined;
  const { ByteInput } = await import("./streams.ts");
  return session.own(await ByteInput.open(path, session.signal));
}

/**
 * The file to write to, or stdout (`-`), if any. Open it before a buffer is touched, so that a bad path harms nothing.
 *
 * @throws CommandError IO_ERROR if it cannot be opened, USAGE if stdout is a terminal.
 */
export async function openOutput(
  path: string | undefined,
  session: Session,
): Promise<ByteOutput | undefined> {
  if (path === undefined) return undefined;
  const { ByteOutput } = await import("./streams.ts");
  return session.own(await ByteOutput.open(path, session.signal));
}
