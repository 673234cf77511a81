// Opens the files that options name, for as long as the run lasts.
// The streams are imported only here: node:fs costs more than a millisecond at start, and not every run has a stream.

import { files, paths } from "../runtime/files.ts";
import { CommandError } from "./failure.ts";
import type { Session } from "./session.ts";
import type { ByteInput, ByteOutput } from "./streams.ts";
import { Descriptor } from "./terminal.ts";

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
 * @param flag the option that names it: `--output` unless it is given.
 * @throws CommandError IO_ERROR if it cannot be opened, USAGE if stdout is a terminal.
 */
export async function openOutput(
  path: string | undefined,
  session: Session,
  flag?: string,
): Promise<ByteOutput | undefined> {
  if (path === undefined) return undefined;
  const { ByteOutput } = await import("./streams.ts");
  return session.own(await ByteOutput.open(path, session.signal, undefined, flag));
}

/**
 * Refuses two options that name one file: one would overwrite what the other writes or reads.
 *
 * @param paths the paths by their options, as they are written; undefined means that the option is not given.
 * @throws CommandError USAGE
 */
export function refuseSameFile(given: Readonly<Record<string, string | undefined>>): void {
  const [first, second] = Object.entries(given);
  if (first?.[1] === undefined || second?.[1] === undefined) return;
  const identity = identityOf(first[1]);
  if (identity === undefined || identity !== identityOf(second[1])) return;
  throw new CommandError(
    "USAGE",
    `Options ${first[0]} and ${second[0]} name the same file.`,
    "Name two different files.",
  );
}

/** What two names of one file have in common; undefined for devices such as /dev/null, which may be used twice. */
function identityOf(path: string): string | undefined {
  const { fstatSync, realpathSync, statSync } = files();
  try {
    const status = path === "-" ? fstatSync(Descriptor.STDOUT) : statSync(path);
    return status.isCharacterDevice() ? undefined : `${status.dev}:${status.ino}`;
  } catch {
    // It does not exist yet, but its directory may.
  }
  const { basename, dirname, join, resolve } = paths();
  const full = resolve(path);
  try {
    return join(realpathSync(dirname(full)), basename(full));
  } catch {
    return full;
  }
}
