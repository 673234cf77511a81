/* The idle strategy: a side that waits for the other one spins while that has succeeded lately, then blocks. */
#include "ring.h"
#include "tuning.h"

struct idle zb_idle_start(const uint64_t *peer_pid, int32_t mode) {
  return (struct idle){.mode = mode,
                       .peer = (const _Atomic(uint64_t) *)peer_pid,
                       .peer_on_other_cpu = zb_has_other_cpu(0),
                       .next_spin_backoff = 1,
                       .next_yield_backoff = 1};
}

/* Asks again if another peer has come: it may be bound to the processor of this thread. */
static void look_at_peer(struct idle *idle) {
  uint64_t peer = atomic_load_explicit(idle->peer, memory_order_relaxed);
  if (peer == idle->known_peer) return;
  idle->known_peer = peer;
  idle->peer_on_other_cpu = zb_has_other_cpu(peer);
}

static void reset_backoff(struct idle *idle) {
  idle->spin_backoff = 0;
  idle->next_spin_backoff = 1;
}

/* Whether a signal ends a wait until the deadline. A signal ends no wait that is shorter than a spin: asynchronous calls
 * begin with such a wait, and must leave the signal to a blocking call. */
static bool ended_by_signal(int64_t deadline_ns) {
  return zb_has_unsettled_signal() && deadline_ns - zb_now_ns() > tuning.spin_ns && zb_settle_signals();
}

static bool is_woken(const struct idle *idle, zb_semaphore *semaphore) {
  return semaphore_value(semaphore) > 0 || (idle->sharing != NULL && zb_sharing_woken(idle->sharing));
}

/* Offers the processor to others: the peer may be waiting for it. A process that has work of its own keeps it for a time slice, a
 * hundred times as long as a spin. So after such an offer there is none for a while, twice as long each time; some offers that
 * cost nothing between those that do are no reason to make more of them. */
static void yield(struct idle *idle) {
  if (idle->yield_backoff > 0) {
    idle->yield_backoff--;
    return;
  }
  const int64_t start = zb_now_ns();
  zb_yield();
  if (zb_now_ns() - start < tuning.yield_ns) {
    if (idle->next_yield_backoff > 1) idle->next_yield_backoff--;
  } else {
    idle->yield_backoff = idle->next_yield_backoff;
    if (idle->next_yield_backoff < tuning.yield_backoff_most) idle->next_yield_backoff *= 2;
  }
}

/* Spins until the semaphore has a token. ZB_AGAIN at the end of the time, or if spinning does not help any more.
 * ZB_INTERRUPTED if a signal ends the wait, which lasts until the deadline. */
static int32_t spin(struct idle *idle, zb_semaphore *semaphore, int64_t end_ns, int64_t deadline_ns) {
  do {
    for (int i = 0; i < tuning.spin_looks; i++) {
      zb_pause();
      if (is_woken(idle, semaphore)) return ZB_OK;
    }
    if (ended_by_signal(deadline_ns)) return ZB_INTERRUPTED;
    yield(idle);
    look_at_peer(idle);
  } while (zb_now_ns() < end_ns && may_spin(idle));
  return is_woken(idle, semaphore) ? ZB_OK : ZB_AGAIN;
}

bool zb_may_block(int32_t wait_us) { return wait_us > tuning.spin_ns / 1000; }

int32_t zb_idle_await(struct idle *idle, zb_semaphore *semaphore, int64_t deadline_ns, bool *slept) {
  /* First, so that a peer that posts for nothing does not keep the signal waiting. */
  if (ended_by_signal(deadline_ns)) return ZB_INTERRUPTED;
  if (semaphore_value(semaphore) > 0) return ZB_OK;
  const int64_t start = zb_now_ns();
  if (start >= deadline_ns) return ZB_AGAIN;
  if (!idle->peer_on_other_cpu) look_at_peer(idle);
  const bool spins_only = idle->mode == ZB_WAIT_SPIN || deadline_ns - start <= tuning.spin_ns;
  /* A wait that never blocks ignores the backoff: its caller has a slower way to wait and uses it next. */
  const bool spins = may_spin(idle) && (spins_only || idle->spin_backoff == 0);
  int32_t code = ZB_AGAIN;
  if (spins) code = spin(idle, semaphore, spins_only ? deadline_ns : start + tuning.spin_ns, deadline_ns);
  if (code == ZB_OK) reset_backoff(idle);
  if (code != ZB_AGAIN || spins_only) return code;
  if (idle->spin_backoff > 0) {
    idle->spin_backoff--;
  } else if (spins && idle->mode == ZB_WAIT_ADAPTIVE) {
    idle->spin_backoff = idle->next_spin_backoff;
    if (idle->next_spin_backoff < tuning.spin_backoff_most) idle->next_spin_backoff *= 2;
  }
  *slept = true;
  /* Not every signal ends a wait: the runtime uses some for itself. */
  do {
    code = idle->sharing != NULL ? zb_sharing_await(idle->sharing, semaphore, deadline_ns)
                                 : zb_semaphore_await(semaphore, deadline_ns, NULL);
  } while (code == ZB_INTERRUPTED && !zb_ended_by_interruption());
  /* Most of such a short wait was waking up: the next one may well end within a spin, unless the peer needs this processor, and
   * nothing offers it. */
  if (code == ZB_OK && idle->yield_backoff == 0 && zb_now_ns() - start < 3 * tuning.spin_ns) reset_backoff(idle);
  return code;
}

void zb_idle_until(struct idle *idle, int64_t end_ns) {
  yield(idle);
  do zb_pause();
  while (zb_now_ns() < end_ns);
}
