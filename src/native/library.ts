// Finds and loads the helper.

import helperPath from "../../dist/native/libzerobuffer.so" with { type: "file" };
import { files } from "../runtime/files.ts";
import { loadLibrary, type Native } from "./symbols.ts";

/** The ABI that this source calls: ZB_ABI_VERSION in zerobuffer.h. */
export const ABI_VERSION = 11;

const MAX_PATH_LENGTH = 4096;

/** Why the helper cannot be used. Undefined if it can; otherwise {@link native} has no functions. */
export let loadFault: Error | undefined;

/** The helper's functions. It is a constant, so that the compiler knows which function a call means. */
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

/** Bun unpacks the helper of an executable to the temp directory, which may be missing, read-only or mounted noexec. */
function loadEmbedded(): Native {
  try {
    const functions = loadLibrary(helperPath);
    removeSurplusCopy(pathOf(functions));
    return functions;
  } catch (error) {
    // Bun has unpacked the helper even if it could not load it.
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

/** The file that the helper was loaded from; undefined if the system does not tell. */
function pathOf(functions: Native): string | undefined {
  const path = Buffer.alloc(MAX_PATH_LENGTH);
  return functions.zb_library_path(path, path.length) === 0
    ? path.toString("utf8", 0, path.indexOf(0))
    : undefined;
}

/**
 * Removes a copy that no other start would use. Bun unpacks to the same name at every start. If another user's file
 * has that name, Bun unpacks to a new name each time, and leaves the file there.
 */
function removeSurplusCopy(path = ""): void {
  if (!/[\\/]\.[0-9a-f]{1,16}-\d+\.so$/.test(path)) return;
  try {
    files().unlinkSync(path);
  } catch {
    // There is no such file.
  }
}

/** Loads a copy of the helper, and removes its name at once. */
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
      // The copy could not be made.
    }
  }
}

/** Windows removes no file of a loaded library: all starts share one copy, whose name is the hash of its content. */
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
        files().unlinkSync(unfinished); // another process has made the copy meanwhile
      }
    }
    return holds(path, helper) ? loadLibrary(path) : undefined;
  } catch {
    return undefined;
  }
}

/** Whether the file has exactly these bytes. Any other file is not loaded. */
function holds(path: string, bytes: Buffer): boolean {
  try {
    return files().readFileSync(path).equals(bytes);
  } catch {
    return false;
  }
}
