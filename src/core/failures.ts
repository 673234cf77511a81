// Turns codes of the helper into errors that say what to do.

import { Code, codeDescriptions } from "../native/codes.ts";
import { loadFault } from "../native/library.ts";
import { systemError } from "../native/process.ts";
import { files } from "../runtime/files.ts";
import { SHARED_MEMORY } from "./buffer/objects.ts";
import {
  CorruptBufferError,
  type ErrorDetails,
  PermissionDeniedError,
  ResourceExhaustedError,
  ZeroBufferError,
} from "./errors.ts";
import {
  advice,
  adviceToRaise,
  ENOUGH_DESCRIPTORS,
  faultOfHelper,
  faultOfSharedMemory,
  limitOf,
  type MachineFault,
  opening,
} from "./machine.ts";

/** The environment variable that names the directory of temporary files. */
const TEMP_VARIABLE = process.platform === "win32" ? "TEMP" : "TMPDIR";

const SMALLER = "Make the buffer smaller (`payloadSize`), or";
const END_OTHERS = "end other programs that use much memory.";

/** What to do where a file system is full. */
export const ROOM_FOR_FILES = "Remove files from that file system.";

/** Throws if the helper cannot be used. Comes before anything else is tried. */
export function checkHelper(): void {
  if (loadFault === undefined) return;
  const what = "The native helper cannot be loaded";
  const fault = faultOfHelper(loadFault.message);
  if (fault?.code === "RESOURCE_EXHAUSTED") throw machineError(what, fault, { cause: loadFault });
  const hint = `Set ${TEMP_VARIABLE} to a directory that exists, that you can write to, and that allows programs to be run from it.`;
  throw new PermissionDeniedError(`${what}: ${fault?.reason ?? loadFault.message}.`, {
    hint: fault === undefined ? hint : `${hint} Or: ${advice(fault.remedy)}`,
    cause: loadFault,
  });
}

/** Throws if there is no shared memory on this system. Comes before it is looked at or locks are taken. */
export function checkSharedMemory(buffer?: string): void {
  if (SHARED_MEMORY === undefined || files().existsSync(SHARED_MEMORY)) return;
  const fault = faultOfSharedMemory();
  if (fault !== undefined) throw machineError("There is no shared memory", fault, { buffer });
}

/** The error for a system call that has refused to list shared memory. */
export function notListed(cause: NodeJS.ErrnoException): ZeroBufferError {
  const what = `${SHARED_MEMORY} cannot be listed`;
  if (cause.code !== "EACCES") return new ResourceExhaustedError(`${what}: ${cause.message}.`, { cause });
  return new PermissionDeniedError(`${what}: ${codeDescriptions[Code.PERMISSION]}.`, {
    hint: advice(opening(`${SHARED_MEMORY}`)),
    cause,
  });
}

/** The error for a fault of the machine. `what` has failed, as a sentence without its full stop. */
function machineError(what: string, fault: MachineFault, details: ErrorDetails): ZeroBufferError {
  const Failure = fault.code === "RESOURCE_EXHAUSTED" ? ResourceExhaustedError : PermissionDeniedError;
  return new Failure(`${what}: ${fault.reason}.`, { ...details, hint: advice(fault.remedy) });
}

/**
 * The error for a code of the helper that is a failure.
 *
 * @param what the object that failed, as the subject of the sentence: "The shared memory of …".
 */
export function failure(code: Code, buffer: string, what: string): ZeroBufferError {
  switch (code) {
    case Code.PERMISSION: {
      const fault = faultOfSharedMemory();
      if (fault?.code === "PERMISSION_DENIED")
        return machineError(`${what} cannot be used`, fault, { buffer });
      return new PermissionDeniedError(`${what} cannot be used: ${codeDescriptions[code]}.`, {
        buffer,
        hint: "Run as the user who created it, or have its reader give it wider permissions (`mode`).",
      });
    }
    case Code.NO_SPACE:
      return new ResourceExhaustedError(`${what} cannot be created: its file system is full.`, {
        buffer,
        hint: ROOM_FOR_FILES,
      });
    case Code.NO_MEMORY: {
      const limit = limitOf("addressSpace");
      const reason =
        limit && `the address space of this process is limited to ${limit.value} bytes (${limit.name})`;
      return new ResourceExhaustedError(`${what} cannot be created: ${reason ?? codeDescriptions[code]}.`, {
        buffer,
        hint: `${SMALLER} ${limit ? adviceToRaise(limit) : END_OTHERS}`,
      });
    }
    case Code.NO_DESCRIPTORS: {
      const limit = limitOf("openFiles");
      return new ResourceExhaustedError(`${what} cannot be opened: ${codeDescriptions[code]}.`, {
        buffer,
        hint:
          limit === undefined || limit.value >= ENOUGH_DESCRIPTORS
            ? "Open fewer buffers at a time, or start it from a shell with a higher limit (ulimit -n)."
            : `Open fewer buffers at a time, or ${adviceToRaise(limit, ENOUGH_DESCRIPTORS)}`,
      });
    }
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

/** The error for a buffer without a reader whose name cannot be taken over: somebody else has created it. */
export function leftByAnother(name: string): ZeroBufferError {
  const fault = faultOfSharedMemory();
  if (fault?.code === "PERMISSION_DENIED")
    return machineError(`Buffer "${name}" cannot be replaced`, fault, { buffer: name });
  return new PermissionDeniedError(`Buffer "${name}" exists and belongs to another user.`, {
    buffer: name,
    hint: `Use another name, or have its owner remove it: \`cleanBuffer("${name}")\`.`,
  });
}

/** The error for shared memory that cannot be allocated: how much is needed, how much is free, what to do. */
export function outOfSharedMemory(buffer: string, neededBytes: number): ZeroBufferError {
  const needs = `Buffer "${buffer}" needs ${neededBytes} bytes of shared memory`;
  if (SHARED_MEMORY === undefined) {
    return new ResourceExhaustedError(`${needs}, and the system has less.`, {
      buffer,
      hint: `${SMALLER} ${END_OTHERS}`,
    });
  }
  const limit = limitOf("fileSize");
  if (limit !== undefined && limit.value < neededBytes) {
    const reason = `and the files of this process are limited to ${limit.value} bytes (${limit.name})`;
    return new ResourceExhaustedError(`${needs}, ${reason}.`, {
      buffer,
      hint: `${SMALLER} ${adviceToRaise(limit)}`,
    });
  }
  const fault = faultOfSharedMemory();
  if (fault !== undefined) return machineError(`Buffer "${buffer}" cannot be created`, fault, { buffer });
  const { bavail, bsize } = files().statfsSync(SHARED_MEMORY);
  return new ResourceExhaustedError(`${needs}, and ${SHARED_MEMORY} has ${bavail * bsize} free.`, {
    buffer,
    hint:
      `${SMALLER} the shared memory larger: in a container with 'docker run --shm-size=…', ` +
      `elsewhere with 'mount -o remount,size=… ${SHARED_MEMORY}'.`,
  });
}
