// The metadata that a command sends before its first frame.

import { type Video, videoMetadata } from "../frames/video.ts";
import { refuseTogether } from "./arguments.ts";
import { CommandError } from "./failure.ts";
import { openInput } from "./open.ts";
import { path } from "./options.ts";
import type { Session } from "./session.ts";

/** More metadata than any reader reserves room for: an endless file is not read forever. */
const MAX_METADATA_SIZE = 256 * 1024 * 1024;

/** Where metadata may come from. */
interface MetadataOptions {
  readonly metadata: string | undefined;
  readonly metadataFile: string | undefined;
  readonly video: Video | undefined;
}

/** The hint for metadata on the command line that is no UTF-8. */
export const METADATA_BYTES = "Put these bytes in a file, and send it with --metadata-file.";

/** @param what it precedes: "frame". */
export function metadataFile(spec: { group: string; what: string }) {
  return path({ group: spec.group, description: `send a file as metadata before the first ${spec.what}` });
}

/** @throws CommandError USAGE if both options for metadata are given. */
export function refuseTwoMetadata({ metadata, metadataFile }: MetadataOptions): void {
  refuseTogether({ "--metadata": metadata, "--metadata-file": metadataFile });
}

/**
 * The metadata to send, if any: that of an option, or else that of --video.
 *
 * @throws CommandError USAGE if the file is empty; IO_ERROR.
 */
export async function loadMetadata(
  { metadata, metadataFile, video }: MetadataOptions,
  session: Session,
): Promise<Uint8Array | undefined> {
  const text =
    metadata ?? (metadataFile === undefined && video !== undefined ? videoMetadata(video) : undefined);
  if (text !== undefined) return new TextEncoder().encode(text);
  if (metadataFile === undefined) return undefined;
  const input = await openInput(metadataFile, session);
  const bytes = await input.readAll(MAX_METADATA_SIZE, session.signal);
  if (bytes.length > 0) return bytes;
  throw new CommandError(
    "USAGE",
    `The file of --metadata-file, ${metadataFile}, is empty.`,
    "Name a file with metadata, or leave the option out.",
  );
}
