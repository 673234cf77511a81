// Turns what the helper returns into errors that say what to do.

import { Code, codeDescriptions } from "../native/codes.ts";
import { loadFault } from "../native/library.ts";
import { systemError } from "../native/process.ts";
import { files } from "../runtime/files.ts";
import { SHARED_MEMORY } from "./buffer/objects.ts";
import {
  CorruptBufferError,
  PermissionDeniedError,
  ResourceExhaustedError,
  ZeroBufferError,
} from "./errors.ts";

/** What says where temporary files go. */
const TEMP_VARIABLE = process.platform === "win32" ? "TEMP" : "TMPDIR";

/** Throws what keeps the helper from being used, before anything else is tried. */
export function checkHelper(): void {
  if (loadFault === undefined) return;
  throw new PermissionDeniedError(`The native helper cannot be loaded: ${loadFault.message}.`, {
    hint: `Set ${TEMP_VARIABLE} to a directory that exists, is writable and lets programs be loaded from it.`,
    cause: loadFault,
  });
}

/**
 * The error for a code that is not an expected outcome of what was tried.
 *
 * @param what was tried, as the sentence's subject: "The shared memory of …".
 */
export function failure(code: Code, buffer: string, what: string): ZeroBufferError {
  switch (code) {
    case Code.PERMISSION:
      return new PermissionDeniedError(`${what} cannot be used: ${codeDescriptions[code]}.`, {
        buffer,
        hint: "Run as the user who made it, or have its reader give it wider permissions (`mode`).",
      });
    case Code.NO_SPACE:
    case Code.NO_MEMORY:
      return new ResourceExhaustedError(`${what} cannot be made: ${codeDescriptions[code]}.`, { buffer });
    case Code.NO_DESCRIPTORS:
      return new ResourceExhaustedError(`${what} cannot be opened: ${codeDescriptions[code]}.`, {
        buffer,
        hint: "Raise the limit of open files (ulimit -n), or open fewer buffers at a time.",
      });
    case Code.UNSAFE:
      return new CorruptBufferError(`${what} is refused: ${codeDescriptions[code]}.`, {
        buffer,
        hint: "Somebody put another kind of file in its place: remove that file.",
      });
    case Code.AGAIN:
      return new CorruptBufferError(`${what} is too small to be a buffer, and not ours to remove.`, {
        buffer,
        hint: "Use another name, or have its owner remove it.",
      });
    case Code.BAD_CONTROL:
    case Code.BROKEN:
      return new CorruptBufferError(`${what} is unusable: ${codeDescriptions[code]}.`, {
        buffer,
        hint: "Close both sides and start the reader again.",
      });
    default: {
      const number = code === Code.SYSTEM ? ` (system error ${systemError()})` : "";
      return new ZeroBufferError("INTERNAL", `${what} failed: ${codeDescriptions[code]}${number}.`, {
        buffer,
      });
    }
  }
}

/** The error for shared memory that cannot be allocated: how much is needed, how much is free, what to do. */
export function outOfSharedMemory(buffer: string, neededBytes: number): ResourceExhaustedError {
  if (SHARED_MEMORY === undefined) {
    return new ResourceExhaustedError(
      `Buffer "${buffer}" needs ${neededBytes} bytes of shared memory, which the system does not give.`,
      { buffer, hint: "Make the buffer smaller (`payloadSize`), or end what else needs memory." },
    );
  }
  const { bavail, bsize } = files().statfsSync(SHARED_MEMORY);
  return new ResourceExhaustedError(
    `Buffer "${buffer}" needs ${neededBytes} bytes of shared memory, and ${SHARED_MEMORY} has ${bavail * bsize} free.`,
    {
      buffer,
      hint:
        "Make the buffer smaller (`payloadSize`), or the shared memory larger: in a container with 'docker run --shm-size=…', " +
        `elsewhere with 'mount -o remount,size=… ${SHARED_MEMORY}'.`,
    },
  );
}
