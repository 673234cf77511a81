/* Which signals end waits, on every system.
 *
 * The program's listeners run on one thread, between two calls of this library. A signal therefore has to end what that
 * thread waits in; one that came just before the wait counts as well. It ends one wait at the most, and none once its
 * listeners have begun to run. */
#include "internal.h"

struct zb_signals zb_signals;

/* Only the thread of the listeners uses these. */
static uint32_t handled;     /* of zb_signals.arrived, those whose listeners have begun to run */
static uint32_t ended_waits; /* modulo 2^32 */

/* All orders are relaxed: a handler that interrupts this thread changes `arrived`, and nothing else depends on it. */
bool zb_settle_signals(void) {
  if (atomic_load_explicit(&zb_signals.listener, memory_order_relaxed) != zb_this_thread()) return false;
  uint32_t arrived = atomic_load_explicit(&zb_signals.arrived, memory_order_relaxed);
  atomic_store_explicit(&zb_signals.settled, arrived, memory_order_relaxed);
  ended_waits++;
  return true;
}

uint32_t zb_signals_ended_waits(void) {
  return atomic_load_explicit(&zb_signals.listener, memory_order_relaxed) == zb_this_thread() ? ended_waits
                                                                                              : 0;
}

void zb_signals_handled(void) {
  if (handled != atomic_load_explicit(&zb_signals.arrived, memory_order_relaxed)) handled++;
  /* Signals that have ended a wait are settled before their listeners run. */
  uint32_t settled = atomic_load_explicit(&zb_signals.settled, memory_order_relaxed);
  if ((int32_t)(handled - settled) > 0)
    atomic_store_explicit(&zb_signals.settled, handled, memory_order_relaxed);
}
