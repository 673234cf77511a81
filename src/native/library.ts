// Finds and loads the helper.

import { join } from "node:path";
import helperPath from "../../dist/native/libzerobuffer.so" with { type: "file" };
import { files } from "../files.ts";
import { loadLibrary, type Native } from "./symbols.ts";

/** The ABI that this source is written for: ZB_ABI_VERSION in zerobuffer.h. */
const ABI_VERSION = 2;

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
    return loadLibrary(helperPath);
  } catch (error) {
    for (const directory of ["/tmp", "/var/tmp", "/dev/shm", process.env.HOME ?? "/"]) {
      const copy = loadCopyIn(directory);
      if (copy !== undefined) return copy;
    }
    throw error;
  }
}

/** Loads a copy of the helper that has a name for an instant only. */
function loadCopyIn(directory: string): Native | undefined {
  const path = join(directory, `.zerobuffer-${crypto.randomUUID()}.so`);
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
