// Processes as the system sees them, the calling thread, and the descriptors of this process.

import { Code } from "./codes.ts";
import { native } from "./library.ts";

/** errno (on Windows GetLastError) of the last call of this thread that returned {@link Code.SYSTEM}. */
export function systemError(): number {
  return native.zb_system_error();
}

/** Blocks the thread for up to `milliseconds`, at most 2^31 microseconds. False if a signal ends that. */
export function sleep(milliseconds: number): boolean {
  return native.zb_sleep(Math.ceil(milliseconds * 1000)) === Code.OK;
}

/** The system's clock: microseconds since 1970, a whole number. */
export function wallClockUs(): number {
  return native.zb_wall_clock_us();
}

/** When the process started, in a unit of the system; 0 if it lives and that cannot be read; -1 if it does not live. */
export function processStart(pid: number): number {
  return native.zb_process_start(pid);
}

/** Whether a descriptor is a pipe or a socket whose other end is closed. On Windows only a write tells: always false. */
export function isOtherEndClosed(descriptor: number): boolean {
  return native.zb_other_end_closed(descriptor) === 1;
}

/**
 * From now on, everything that this process starts, and everything that those processes start, ends with this process
 * at the latest, even if it is killed. UNSUPPORTED except on Windows.
 */
export function bindChildren(): Code {
  return native.zb_children_bind() as Code;
}

/** Ends all of them now, if {@link bindChildren} has been called before. */
export function endChildren(): void {
  native.zb_children_end();
}
