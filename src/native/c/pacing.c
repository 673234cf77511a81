/* When a reader and a writer of a stream hold back for an instant, because both are faster for it. Nothing here decides
 * what is correct. */
#include "ring.h"
#include "tuning.h"

/* ---- gathering ----------------------------------------------------------------------------------------------- */

struct gathering zb_gathering(void) {
  return (struct gathering){.ungathered = tuning.gather_backoff_least,
                            .ungathered_next = tuning.gather_backoff_least};
}

/* Two processes that hand each other every single frame spend their time on moving a few cache lines to and fro; and
 * bytes that the writer's own cache still holds take longer to get than those that it had to give up. So a reader of a
 * stream stays a bit behind. It learns whether that pays: where nothing comes meanwhile, as when the peer waits for an
 * answer, it tries again much later. */
void zb_gather(struct gathering *gathering, struct ring *ring, uint64_t held, int32_t wait_us) {
  const uint64_t size = ring->payload_size;
  const uint64_t enough = tuning.gather_bytes < size / 2 ? tuning.gather_bytes : size / 2;
  /* relaxed: nothing is done with the bytes before another look */
  uint64_t unread = size - LOAD(ring->oieb->payload_free_bytes, relaxed) - held;
  int32_t tokens = zb_semaphore_value(ring->written);
  if (tokens <= 0 || tokens >= tuning.gather_frames || unread >= enough) return;
  const uint64_t frame = unread / (uint32_t)tokens;
  const int32_t least = frame < tuning.gather_small_frame ? 2 : 1;
  const int64_t writing_ns = (int64_t)(frame / tuning.bytes_per_ns);
  const int64_t patience_ns = writing_ns > tuning.gather_ns ? writing_ns : tuning.gather_ns;
  int64_t now = zb_now_ns(), give_up = now + patience_ns;
  const int64_t deadline_ns = now + (int64_t)wait_us * 1000;
  bool paid = false;
  while (now < give_up && now < deadline_ns) {
    zb_idle_until(now + tuning.gather_ns);
    now = zb_now_ns();
    int32_t more = zb_semaphore_value(ring->written);
    if (more < tokens + least) continue;
    paid = true;
    tokens = more;
    unread = size - LOAD(ring->oieb->payload_free_bytes, relaxed) - held;
    if (tokens >= tuning.gather_frames || unread >= enough) break;
    give_up = now + patience_ns;
  }
  if (paid) {
    gathering->ungathered_next = tuning.gather_backoff_least;
  } else {
    gathering->ungathered = gathering->ungathered_next;
    if (gathering->ungathered_next < tuning.gather_backoff_most) gathering->ungathered_next *= 2;
  }
}

/* ---- keeping the ring warm ----------------------------------------------------------------------------------- */

struct warmth zb_warmth(const struct ring *ring) {
  /* A ring that is not larger than this is always warm. */
  return (struct warmth){.lap_most = ring->payload_size > tuning.warm_bytes ? tuning.warm_bytes : UINT64_MAX};
}

static uint64_t unread_bytes(const struct ring *ring) {
  return ring->payload_size - LOAD(ring->oieb->payload_free_bytes, relaxed);
}

/* Once enough of the ring has been used since it was last rewound, waits for an instant until it is empty and can be
 * rewound: the same memory stays in the processor's caches, which is worth more than the wait where the reader keeps
 * up. Where it does not, the wait is short, and the next one comes after twice as many bytes. A call that ends before
 * that time is over leaves the rest of it to the next one. */
void zb_keep_warm(struct warmth *warmth, struct ring *ring, uint64_t size, int32_t wait_us) {
  uint64_t unread = unread_bytes(ring);
  if (unread > 0 && unread <= 2 * tuning.warm_bytes && may_spin(&ring->idle)) {
    const int64_t start = zb_now_ns();
    const int64_t half_copy_ns = (int64_t)(size / tuning.bytes_per_ns / 2);
    int64_t call_ns = (int64_t)wait_us * 1000;
    if (wait_us <= 0) call_ns = half_copy_ns > tuning.warm_call_ns ? half_copy_ns : tuning.warm_call_ns;
    if (warmth->left_ns <= 0) warmth->left_ns = tuning.gather_ns + (int64_t)(unread / tuning.bytes_per_ns);
    const int64_t end_ns = start + (warmth->left_ns < call_ns ? warmth->left_ns : call_ns);
    int64_t now = start, moved_ns = start;
    while (unread > 0 && now < end_ns) {
      if (wait_us <= 0 || now - moved_ns < tuning.stall_ns || ring->idle.mode == ZB_WAIT_SPIN) {
        zb_idle_until(now + tuning.gather_ns);
      } else {
        /* What the reader waits for may be this processor. Tokens first, as always before a sleep. */
        empty_semaphore(ring->released);
        if (unread_bytes(ring) == unread) zb_semaphore_await(ring->released, end_ns, NULL);
      }
      now = zb_now_ns();
      uint64_t left = unread_bytes(ring);
      if (left != unread) moved_ns = now;
      unread = left;
    }
    warmth->left_ns -= now - start;
    if (unread > 0 && warmth->left_ns > 0) return;
  }
  warmth->left_ns = 0;
  warmth->lap = 0;
  warmth->lap_most *= 2;
}

/* ---- page tables --------------------------------------------------------------------------------------------- */

void zb_populate_to(struct ring *ring, uint64_t end, bool write) {
  const uint64_t size = ring->payload_size;
  uint64_t until = size - end > tuning.populate_bytes ? end + tuning.populate_bytes : size;
  zb_populate(ring->payload + ring->populated, until - ring->populated, write);
  ring->populated = until;
}
