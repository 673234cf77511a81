// Processes as the system sees them, and the thread that asks.

import { Code } from "./codes.ts";
import { native } from "./library.ts";

/** errno of the last {@link Code.SYSTEM}. */
export function systemError(): number {
  return native.zb_system_error();
}

/** Blocks the thread for up to `milliseconds`. False if a signal ends that. */
export function sleep(milliseconds: number): boolean {
  return native.zb_sleep(Math.ceil(milliseconds * 1000)) === Code.OK;
}

/** Start time of a living process in a unit of the system's, 0 if unknown; -1 if it does not live. */
export function processStart(pid: number): number {
  return native.zb_process_start(pid);
}
