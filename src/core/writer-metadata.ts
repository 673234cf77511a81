// Metadata on its way into a buffer.

import { Code } from "../native/codes.ts";
import { areRolesLocked } from "./buffer/presence.ts";
import type { SharedBuffer } from "./buffer/shared-buffer.ts";
import { failure } from "./failures.ts";
import { metadataAlreadyWritten, metadataOfAnother, sizeOf, wrongMetadataSize } from "./writer-errors.ts";

/**
 * Sends a writer's metadata.
 *
 * @param sent what this writer has sent before, if anything.
 * @throws MetadataTooLargeError, MetadataAlreadyWrittenError, CorruptBufferError.
 */
export function sendMetadata(buffer: SharedBuffer, data: Uint8Array, sent: Uint8Array | undefined): void {
  const { name } = buffer;
  const wrongSize = wrongMetadataSize(name, sizeOf(data), buffer.sizes);
  if (wrongSize !== undefined) throw wrongSize;
  if (sent !== undefined) throw metadataAlreadyWritten(name);
  const written = store(buffer, data);
  if (written === Code.ALREADY) throw metadataOfAnother(name);
  // It fitted when this writer came: somebody has changed the size since.
  const code = written === Code.TOO_LARGE ? Code.BAD_CONTROL : written;
  if (code !== Code.OK) throw failure(code, name, `The metadata of buffer "${name}"`);
}

/** A v1 reader may still want the metadata of an earlier writer: that stays, and only the same is accepted. */
function store(buffer: SharedBuffer, data: Uint8Array): Code {
  const { memory, sizes } = buffer;
  const oieb = buffer.loadOieb();
  if (areRolesLocked(oieb) || oieb.metadataWrittenBytes === 0) return memory.writeMetadata(data);
  const before = new Uint8Array(sizes.metadataSize);
  const length = memory.readMetadata(before);
  const isSame = length >= 0 && Buffer.compare(before.subarray(0, length), data) === 0;
  return isSame ? Code.OK : Code.ALREADY;
}
