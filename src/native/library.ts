// Finds and loads the helper, once, when it is first needed.

import helperPath from "../../dist/native/libzerobuffer.so" with { type: "file" };
import { loadLibrary, type Native } from "./symbols.ts";

/** The ABI that this source is written for: ZB_ABI_VERSION in zerobuffer.h. */
const ABI_VERSION = 1;

let loaded: Native | undefined;

/** The helper's functions. Throws an Error that says what to do when the helper cannot be loaded. */
export function library(): Native {
  loaded ??= load();
  return loaded;
}

function load(): Native {
  let native: Native;
  try {
    native = loadLibrary(helperPath);
  } catch (cause) {
    throw new Error(
      `The native helper cannot be loaded: ${(cause as Error).message}. ` +
        "The executable unpacks it to the temp directory: set TMPDIR to a directory that is writable and not mounted noexec.",
      { cause },
    );
  }
  const version = native.zb_abi_version();
  if (version !== ABI_VERSION) {
    throw new Error(
      `The native helper has ABI ${version}, this program needs ${ABI_VERSION}: build both anew.`,
    );
  }
  return native;
}
