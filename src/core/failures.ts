// Turns codes of the helper into errors that say what to do.

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

/** The environment variable that names the directory of temporary files. */
const TEMP_VARIABLE = process.platform === "win32" ? "TEMP" : "TMPDIR";

/** Throws PermissionDeniedError if the helper cannot be used. Comes before anything else is tried. */
export function checkHelper(): void {
  if (loadFault === undefined) return;
  throw new PermissionDeniedError(`The native helper cannot be loaded: ${loadFault.message}.`, {
    hint: `Set ${TEMP_VARIABLE} to a directory that exists, that you can write to, and that allows programs to be run from it.`,
    cause: loadFault,
  });
}

/**
 * The error for a code of the helper that is a failure.
 *
 * @param what the object that failed, as the subject of the sentence: "The shared memory of …".
 */
export function failure(code: Code, buffer: string, what: string): ZeroBufferError {
  switch (code) {
    case Code.PERMISSION:
      return new PermissionDeniedError(`${what} cannot be used: ${codeDescriptions[code]}.`, {
        buffer,
        hint: "Run as the user who created it, or have its reader give it wider permissions (`mode`).",
      });
    case Code.NO_SPACE:
    case Code.NO_MEMORY:
      return new ResourceExhaustedError(`${what} cannot be created: ${codeDescriptions[code]}.`, {
        buffer,
        hint: "Make the buffer smaller (`payloadSize`), or end other programs that use much memory.",
      });
    case Code.NO_DESCRIPTORS:
      return new ResourceExhaustedError(`${what} cannot be opened: ${codeDescriptions[code]}.`, {
        buffer,
        hint: "Raise the limit of open files (ulimit -n), or open fewer buffers at a time.",
      });
    case Code.UNSAFE:
      return new CorruptBufferError(`${what} is refused: it is not a plain file.`, {
        buffer,
        hint: "Something else has its name: remove that, or use another name.",
      });
    case Code.AGAIN:
      return new CorruptBufferError(
        `${what} is too small for a buffer, and this process may not remove it.`,
        {
          buffer,
          hint: "Use another name, or have its owner remove it.",
        },
      );
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
      `Buffer "${buffer}" needs ${neededBytes} bytes of shared memory, and the system has less.`,
      {
        buffer,
        hint: "Make the buffer smaller (`payloadSize`), or end other programs that use much memory.",
      },
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
