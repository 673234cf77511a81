// Signals that end blocking calls, so that the program's listeners can run.

import { native } from "./library.ts";

/**
 * The helper has the runtime queue this signal before each one that it counts. Nobody sends it; a program that listens to
 * it itself goes without our listener.
 */
const MARK = "SIGURG";

/** The listeners of the next signal in the queue run right after this. */
function onMark(): void {
  native.zb_signals_handled();
}

/** Listens for an instant, because the runtime installs its handler of a signal only for a listener. */
function installHandler(): void {}

let isOpen = false;

/** Several copies of this module in one program hear of each other's {@link installHandler}. */
let isPlacing = false;

/** Called before the listener is added. The runtime installs its handler of a signal with the first one only. */
function onNewListener(event: string | symbol, listener: unknown): void {
  if (typeof event !== "string" || !event.startsWith("SIG")) return;
  if (listener === onMark || isPlacing) return;
  if (event === MARK) process.off(MARK, onMark);
  if (process.listenerCount(event) > 0) return;
  const signal = event as NodeJS.Signals;
  isPlacing = true;
  process.on(signal, installHandler);
  isPlacing = false;
  native.zb_signals_watch();
  queueMicrotask(() => process.off(signal, installHandler));
}

/**
 * Lets signals that the program listens to, now or later, end the blocking calls of the main thread, where the listeners
 * run. A signal that came before this, and is still to be handled, ends none.
 */
export function watchSignals(): void {
  if (!Bun.isMainThread) return;
  // What the program does to all listeners concerns ours, too.
  if (!process.listeners("newListener").includes(onNewListener)) process.on("newListener", onNewListener);
  const isMarkFree = process.listenerCount(MARK) === 0;
  if (isMarkFree || !isOpen) native.zb_signals_open();
  if (isMarkFree) process.on(MARK, onMark);
  isOpen = true;
  native.zb_signals_watch();
}

/** How many blocking calls of this thread signals have ended: one more after a call that a signal has ended. */
export function waitsEndedBySignals(): number {
  return native.zb_signals_ended_waits();
}
