/* Short waits that make a stream faster: a reader lets frames gather, a writer keeps the ring in the caches. Nothing
 * here decides what is correct. */
#include "ring.h"
#include "tuning.h"

/* ---- gathering ----------------------------------------------------------------------------------------------- */

struct gather zb_gather_start(void) {
  return (struct gather){.backoff = tuning.gather_backoff_least, .next_backoff = tuning.gather_backoff_least};
}

/* A reader that takes every single frame at once makes both processes spend their time on moving a few cache lines to
 * and fro. It also reads bytes that are still in the writer's own cache, which takes longer than to read bytes that
 * this cache has already given up. So a reader of a stream stays a bit behind. If no frame comes meanwhile, as when
 * the writer waits for an answer, the reader tries again much later. */
void zb_gather(struct gather *gather, struct ring *ring, uint64_t held, int32_t wait_us) {
  const uint64_t size = ring->payload_size;
  const uint64_t enough = tuning.gather_bytes < size / 2 ? tuning.gather_bytes : size / 2;
  /* relaxed: no frame is touched before another load */
  uint64_t unread = size - LOAD(ring->oieb->payload_free_bytes, relaxed) - held;
  int32_t tokens = semaphore_value(ring->written);
  if (tokens <= 0 || tokens >= tuning.gather_frames || unread >= enough) return;
  const uint64_t frame = unread / (uint32_t)tokens;
  const int32_t least = frame < tuning.gather_small_frame ? 2 : 1;
  const int64_t writing_ns = (int64_t)(frame / tuning.bytes_per_ns);
  const int64_t patience_ns = writing_ns > tuning.gather_ns ? writing_ns : tuning.gather_ns;
  int64_t now = zb_now_ns(), give_up = now + patience_ns;
  const int64_t deadline_ns = now + (int64_t)wait_us * 1000;
  bool more_came = false;
  while (now < give_up && now < deadline_ns) {
    zb_idle_until(&ring->idle, now + tuning.gather_ns);
    now = zb_now_ns();
    int32_t more = semaphore_value(ring->written);
    if (more < tokens + least) continue;
    more_came = true;
    tokens = more;
    unread = size - LOAD(ring->oieb->payload_free_bytes, relaxed) - held;
    if (tokens >= tuning.gather_frames || unread >= enough) break;
    give_up = now + patience_ns;
  }
  if (more_came) {
    gather->next_backoff = tuning.gather_backoff_least;
  } else {
    gather->backoff = gather->next_backoff;
    if (gather->next_backoff < tuning.gather_backoff_most) gather->next_backoff *= 2;
  }
}

/* ---- keeping the ring warm ----------------------------------------------------------------------------------- */

struct keep_warm zb_keep_warm_start(const struct ring *ring) {
  /* A ring up to this size needs no rewind: all of it stays in the caches. */
  return (struct keep_warm){.rewind_after =
                                ring->payload_size > tuning.warm_bytes ? tuning.warm_bytes : UINT64_MAX};
}

static uint64_t unread_bytes(const struct ring *ring) {
  return ring->payload_size - LOAD(ring->oieb->payload_free_bytes, relaxed);
}

/* A ring that is used from its start again and again stays in the processor's caches. That is worth a short wait for an
 * empty ring while the reader keeps up. If it does not keep up, the wait ends early, and the next one comes after twice
 * as many bytes. A call that must not wait leaves the rest of the wait to the next call. */
void zb_keep_warm(struct keep_warm *keep_warm, struct ring *ring, uint64_t size, int32_t wait_us) {
  uint64_t unread = unread_bytes(ring);
  if (unread > 0 && unread <= 2 * tuning.warm_bytes && may_spin(&ring->idle)) {
    const int64_t start = zb_now_ns();
    const int64_t half_copy_ns = (int64_t)(size / tuning.bytes_per_ns / 2);
    int64_t call_ns = INT64_MAX;
    if (wait_us <= 0) call_ns = half_copy_ns > tuning.warm_call_ns ? half_copy_ns : tuning.warm_call_ns;
    if (keep_warm->left_ns <= 0)
      keep_warm->left_ns = tuning.gather_ns + (int64_t)(unread / tuning.bytes_per_ns);
    const int64_t end_ns = start + (keep_warm->left_ns < call_ns ? keep_warm->left_ns : call_ns);
    int64_t now = start, moved_ns = start;
    while (unread > 0 && now < end_ns) {
      if (wait_us <= 0 || now - moved_ns < tuning.stall_ns || ring->idle.mode == ZB_WAIT_SPIN) {
        zb_idle_until(&ring->idle, now + tuning.gather_ns);
      } else {
        /* The reader may be waiting for this processor. Empty the semaphore first: a token from here on means that
         * something was released. */
        empty_semaphore(ring->released);
        if (ring->idle.sharing != NULL) zb_sharing_collect(ring->idle.sharing, false);
        if (unread_bytes(ring) == unread) zb_semaphore_await(ring->released, end_ns, NULL);
      }
      now = zb_now_ns();
      uint64_t left = unread_bytes(ring);
      if (left != unread) moved_ns = now;
      unread = left;
    }
    keep_warm->left_ns -= now - start;
    if (unread > 0 && keep_warm->left_ns > 0) return;
  }
  keep_warm->left_ns = 0;
  keep_warm->since_rewind = 0;
  keep_warm->rewind_after *= 2;
}

/* ---- page tables --------------------------------------------------------------------------------------------- */

void zb_populate_beyond(struct ring *ring, uint64_t end, bool write) {
  const uint64_t size = ring->payload_size,
                 from = atomic_load_explicit(&ring->populated, memory_order_relaxed);
  const uint64_t until = size - end > tuning.populate_bytes ? end + tuning.populate_bytes : size;
  if (from < until) (void)zb_populate(ring->payload + from, until - from, write);
  zb_populated(ring, until);
}
