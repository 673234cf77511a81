/* How one side waits for the other: it spins while that has paid lately, then blocks. */
#include "ring.h"
#include "tuning.h"

struct idle zb_idle_for(const uint64_t *peer_pid, int32_t mode) {
  return (struct idle){
      .mode = mode, .peer = (const _Atomic(uint64_t) *)peer_pid, .apart = zb_runs_apart(0), .unspun_next = 1};
}

/* The peer may have come since, and have only the processor that this thread runs on. */
static void look_at_peer(struct idle *idle) {
  uint64_t peer = atomic_load_explicit(idle->peer, memory_order_relaxed);
  if (peer == idle->known_peer) return;
  idle->known_peer = peer;
  idle->apart = zb_runs_apart(peer);
}

/* Spins until the semaphore has a token or the time has come; false then. */
static bool spin(struct idle *idle, zb_semaphore *semaphore, int64_t end_ns) {
  do {
    for (int i = 0; i < tuning.spin_looks; i++) {
      zb_pause();
      if (zb_semaphore_value(semaphore) > 0) return true;
    }
    /* The peer may be waiting for this very processor. */
    zb_yield();
    look_at_peer(idle);
  } while (zb_now_ns() < end_ns && may_spin(idle));
  return false;
}

int32_t zb_idle_await(struct idle *idle, zb_semaphore *semaphore, int64_t deadline_ns, bool *slept) {
  if (zb_semaphore_value(semaphore) > 0) return ZB_OK;
  const int64_t start = zb_now_ns();
  if (start >= deadline_ns) return ZB_AGAIN;
  if (!idle->apart) look_at_peer(idle);
  const bool spins_only = idle->mode == ZB_WAIT_SPIN || deadline_ns - start <= tuning.spin_ns;
  /* What never blocks spins each time: whoever asks for it has a slower way to wait after it. */
  const bool spins = may_spin(idle) && (spins_only || idle->unspun == 0);
  if (spins && spin(idle, semaphore, spins_only ? deadline_ns : start + tuning.spin_ns)) {
    idle->unspun = 0;
    idle->unspun_next = 1;
    return ZB_OK;
  }
  if (spins_only) return zb_semaphore_value(semaphore) > 0 ? ZB_OK : ZB_AGAIN;
  if (idle->unspun > 0) {
    idle->unspun--;
  } else if (spins && idle->mode == ZB_WAIT_ADAPTIVE) {
    idle->unspun = idle->unspun_next;
    if (idle->unspun_next < tuning.spin_backoff_most) idle->unspun_next *= 2;
  }
  *slept = true;
  int32_t code = zb_semaphore_await(semaphore, deadline_ns, NULL);
  if (code == ZB_OK && zb_now_ns() - start < 3 * tuning.spin_ns) {
    /* Waking took most of that: the next wait may well end while spinning. */
    idle->unspun = 0;
    idle->unspun_next = 1;
  }
  return code;
}

void zb_idle_until(int64_t end_ns) {
  zb_yield();
  do zb_pause();
  while (zb_now_ns() < end_ns);
}
