/* Every number that was chosen for speed, in one table. None of them decides what is correct.
 *
 * A build can replace values to measure what they are worth: -DZB_TUNING='.spin_ns = 0, .warm_bytes = 1 << 20,'.
 * The values were chosen on processors with 1 MiB of second-level cache each. What a mechanism is worth is its speed with it
 * to that without it: medians of five pairs of scripts/bench/limit.c on two processors, with a noise of 8 %. Of round trips
 * p50, p99 and processor time were compared as well; spinning and the two backoffs decide p99. */
#ifndef ZEROBUFFER_TUNING_H
#define ZEROBUFFER_TUNING_H

#include <stdint.h>

struct tuning {
  /* Publishing (writer.c). */

  /* One call publishes its frames in groups, so that both sides touch the shared words less often. A group ends at this
   * many frames, or at this many bytes: the reader starts before the writer ends. Worth 3.7 times the speed of batches
   * of 64 B. */
  int32_t group_frames;
  uint64_t group_bytes;
  /* Bounds tokens: a writer that finds room empties the other semaphore once in this many frames. A look costs both
   * sides. */
  uint32_t empty_every;
  /* Bounds liveness: a writer asks for a look at its reader after this long without a sign of life. */
  int64_t peer_look_ns;

  /* From this many bytes on a frame is copied in pieces, and the lines of the next piece are asked for before each. Worth 1.3
   * times at 16 KiB, 1.4 times at 64 KiB and 1.1 times at 1 MiB one way, 1.4 times through a relay, and 30 % of the copy of a
   * picture; costs 17 % where the thread that writes 64 KiB also reads them. */
  uint64_t prefetch_least;
  uint64_t prefetch_bytes;

  /* Spinning (wait.c). */

  /* A wait spins this long before it blocks. A blocked peer takes about twice as long to wake. Worth 100 times in round
   * trips of 64 B, 4 times in those of 64 KiB. */
  int64_t spin_ns;
  /* Bounds fairness: a spinning thread offers its processor to others once in this many looks. Worth nothing while each
   * process has a processor of its own. */
  int32_t spin_looks;
  /* An offer that took so long went to a process that does not wait for anybody: the next ones are left out, 1, then 2, 4, up to
   * this many. Beside two busy loops on two processors it makes a round trip of 64 B 1 us instead of 4 ms. With 20 us, which the
   * work of a peer can take, relayed frames of 64 KiB are a tenth slower. */
  int64_t yield_ns;
  uint32_t yield_backoff_most;
  /* After spinning without success, the next waits block at once: 1, then 2, 4, up to this many. Worth 12 % at 64 KiB one
   * way, and a fifth of the processor time of round trips of 64 B and 1 MiB. */
  uint32_t spin_backoff_most;

  /* Gathering (pacing.c). Worth 2.5 times at 64 B and 1 KiB one way, 1.2 times at 64 KiB. */

  /* A reader stops gathering after this long without a new frame, or after the time that writing one frame takes, which is
   * worth 5 % with pictures and through a relay. */
  int64_t gather_ns;
  /* It also stops at this many frames, or at this many bytes: what the writer's own cache holds. */
  int32_t gather_frames;
  uint64_t gather_bytes;
  /* After gathering without success, a reader does not gather for this many reads, twice as many each time up to the
   * second number. Worth 5 times in round trips of 64 B, 2.6 times in those of 64 KiB. */
  uint32_t gather_backoff_least;
  uint32_t gather_backoff_most;
  /* Below this size, one more frame is no success: two have to come. Worth 5 % at 64 B and 1 KiB one way. */
  uint64_t gather_small_frame;

  /* Keeping the ring warm (pacing.c). Worth 2.4 times at 1 MiB one way, 1.8 times at 3 MB, 2.1 times through a relay. */

  /* A writer tries to rewind after this many bytes, so that the same part of a large ring is used again and again. */
  uint64_t warm_bytes;
  /* Bounds the time of a call that must not wait: this long, or half as long as the copy of a large frame takes. */
  int64_t warm_call_ns;
  /* Bounds fairness: a reader that releases nothing for this long may need this processor, so the writer blocks instead of
   * spinning. */
  int64_t stall_ns;

  /* Gathering and keeping warm: slower streams gain nothing from a warm cache, so waits are no longer than their bytes
   * take at this speed. */
  uint64_t bytes_per_ns;

  /* Sharing (sharing.c). */

  /* A frame that is passed on is shared from this many bytes on; a smaller one is copied. A relay gains from 1 KiB on, and is 1.7
   * times as fast at 4 KiB. Requests that are answered in place lose up to 26 % below 8 KiB (docs/dev/performance.md). */
  uint64_t share_least;
  /* Bounds the time until references are dropped that no token tells of: of a target whose writer is closed, and on a system
   * that cannot wait for several semaphores. */
  int64_t linger_ns;
  int64_t single_wait_ns;

  /* Forwarding (sharing.c). */

  /* At the end of its slice a forwarder waits this long after a frame before its caller goes on: the reader that it has woken may
   * be waiting for this processor. */
  int64_t forward_last_wait_ns;
  /* Without a pause as long as this it goes on for as many bytes as its caller says, each frame counting for so many more. */
  int64_t forward_pause_ns;
  uint64_t forward_frame_bytes;

  /* Page tables (pacing.c). */

  /* Page tables are filled this many bytes ahead of their first use. One fault per page takes longer. Worth 20 % in the
   * first round of a large ring at 1 MiB, nothing afterwards. */
  uint64_t populate_bytes;
  /* The thread that does so in advance (linux_populating.c) fills so many at once, which others may have to wait for, and so
   * many in all. Worth a third of the round trips of 1080p pictures in the first lap. */
  uint64_t populate_slice;
  uint64_t populate_most;
};

/* clang-format off */
static const struct tuning tuning = {
    .group_frames = 64,
    .group_bytes = 64 << 10,
    .empty_every = 4096,
    .peer_look_ns = 250000000,

    .prefetch_least = 16 << 10,
    .prefetch_bytes = 4 << 10,

    .spin_ns = 20000,
    .spin_looks = 32,
    .yield_ns = 1000000,
    .yield_backoff_most = 4096,
    .spin_backoff_most = 64,

    .gather_ns = 400,
    .gather_frames = 48,
    .gather_bytes = 1 << 20,
    .gather_backoff_least = 16,
    .gather_backoff_most = 1024,
    .gather_small_frame = 4096,

    .warm_bytes = 8 << 20,
    .warm_call_ns = 30000,
    .stall_ns = 10000,

    .bytes_per_ns = 4,

    .share_least = 4096,
    .linger_ns = 20000000,
    .single_wait_ns = 5000000,

    .forward_last_wait_ns = 100000,
    .forward_pause_ns = 100000,
    .forward_frame_bytes = 1 << 10,

    .populate_bytes = 2 << 20,
    .populate_slice = 256 << 10,
    .populate_most = 1 << 30,
#ifdef ZB_TUNING
    ZB_TUNING
#endif
};
/* clang-format on */

#endif
