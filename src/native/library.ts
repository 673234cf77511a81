// Finds and loads the helper.

import helperPath from "../../dist/native/libzerobuffer.so" with { type: "file" };
import { files } from "../runtime/files.ts";
import { loadLibrary, type Native } from "./symbols.ts";

/** The ABI that this source is written for: ZB_ABI_VERSION in zerobuffer.h. */
export const ABI_VERSION = 4;

const MAX_PATH_LENGTH = 4096;

/** Why the helper could not be loaded; undefined if it was. Nothing of {@link native} may be called then. */
export let loadFault: Error | undefined;

/** The helper's functions. A constant, so that the compiler knows which function each call is of. */
export const native: Native = load();

function load(): Native {
  try {
    const functions = loadEmbedded();
    const version = functions.zb_abi_version();
    if (version === ABI_VERSION) return functions;
    loadFault = new Error(`it has ABI ${version}, and this program needs ${ABI_VERSION}`);
  } catch (error) {
    loadFault = error as Error;
  }
  return {} as Native;
}

/** An executable unpacks its helper to the temp directory, which may be missing, read-only or not executable. */
function loadEmbedded(): Native {
  try {
    const functions = loadLibrary(helperPath);
    removeSurplusCopy(pathOf(functions));
    return functions;
  } catch (error) {
    // What could not be loaded has been unpacked all the same.
    removeSurplusCopy(/^Failed to open library "(.+?)"/.exec((error as Error).message)?.[1]);
    const isWindows = process.platform === "win32";
    const { TEMP, LOCALAPPDATA, USERPROFILE, HOME } = process.env;
    const directories = isWindows
      ? [TEMP, LOCALAPPDATA, USERPROFILE]
      : ["/tmp", "/var/tmp", "/dev/shm", HOME ?? "/"];
    for (const directory of directories) {
      if (directory === undefined) continue;
      const copy = isWindows ? loadLastingCopyIn(directory) : loadCopyIn(directory);
      if (copy !== undefined) return copy;
    }
    throw error;
  }
}

/** The file that the helper was loaded from. */
function pathOf(functions: Native): string | undefined {
  const path = Buffer.alloc(MAX_PATH_LENGTH);
  return functions.zb_library_path(path, path.length) === 0
    ? path.toString("utf8", 0, path.indexOf(0))
    : undefined;
}

/**
 * Bun unpacks to a name that is the same at every start. Where another user has taken that name, it unpacks to a new one
 * each time, and those files would stay.
 */
function removeSurplusCopy(path = ""): void {
  if (!/[\\/]\.[0-9a-f]{1,16}-\d+\.so$/.test(path)) return;
  try {
    files().unlinkSync(path);
  } catch {
    // It was not unpacked.
  }
}

/** Loads a copy of the helper that has a name for an instant only. */
function loadCopyIn(directory: string): Native | undefined {
  const path = `${directory}/.zerobuffer-${crypto.randomUUID()}.so`;
  try {
    files().writeFileSync(path, files().readFileSync(helperPath), { flag: "wx", mode: 0o600 });
    return loadLibrary(path);
  } catch {
    return undefined;
  } finally {
    try {
      files().unlinkSync(path);
    } catch {
      // It could not be made, and so there is nothing to remove.
    }
  }
}

/** Windows keeps the file of a library that is loaded: all runs share one copy, named by what is in it. */
function loadLastingCopyIn(directory: string): Native | undefined {
  try {
    const helper = files().readFileSync(helperPath);
    const hash = new Bun.CryptoHasher("sha256").update(helper).digest("hex").slice(0, 16);
    const path = `${directory}/zerobuffer-${hash}.dll`;
    if (!holds(path, helper)) {
      const unfinished = `${directory}/zerobuffer-${crypto.randomUUID()}.tmp`;
      files().writeFileSync(unfinished, helper, { flag: "wx" });
      try {
        files().renameSync(unfinished, path);
      } catch {
        files().unlinkSync(unfinished); // another process was quicker
      }
    }
    return holds(path, helper) ? loadLibrary(path) : undefined;
  } catch {
    return undefined;
  }
}

/** Whether the file has just these bytes: what else lies there under its name is not loaded. */
function holds(path: string, bytes: Buffer): boolean {
  try {
    return files().readFileSync(path).equals(bytes);
  } catch {
    return false;
  }
}
