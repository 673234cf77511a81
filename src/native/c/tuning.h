/* Every number that was chosen for speed, in one table. None of them decides what is correct.
 *
 * A build may replace some of them, for measurements: -DZB_TUNING='.spin_ns = 0, .warm_bytes = 1 << 20,'. */
#ifndef ZEROBUFFER_TUNING_H
#define ZEROBUFFER_TUNING_H

#include <stdint.h>

struct tuning {
  /* Publishing (writer.c). Frames that one call writes are published together, */
  int32_t group_frames; /* so many at the most, */
  uint64_t group_bytes; /* or until they are so many bytes: the reader starts before the writer ends. */
  uint32_t empty_every; /* Frames between two times that a writer with room empties the other semaphore. */
  int64_t peer_look_ns; /* How long a writer goes on without a sign of its reader. */

  /* Spinning (wait.c). */
  int64_t spin_ns;    /* A blocked peer takes about twice as long to wake. */
  int32_t spin_looks; /* Looks between two times that a spinning thread offers its processor to others. */
  uint32_t spin_backoff_most; /* Waits that do not spin after others that spun without success. */

  /* Gathering (pacing.c): figures measured on processors with 1 MiB of second-level cache each. */
  int64_t gather_ns;             /* of silence that end it; longer if frames take longer to write */
  int32_t gather_frames;         /* that are enough */
  uint64_t gather_bytes;         /* that are enough: what a writer's own cache holds */
  uint32_t gather_backoff_least; /* reads after an attempt without success before the next one, */
  uint32_t gather_backoff_most;  /* doubled by each such attempt up to this */
  uint64_t gather_small_frame;   /* below it, a single frame is no sign that more follow at once */

  /* Keeping the ring warm (pacing.c). */
  uint64_t warm_bytes; /* of the ring that are used again and again while the reader keeps up */
  int64_t stall_ns;    /* a reader that gives nothing back for so long may lack a processor */

  /* Both. */
  uint64_t bytes_per_ns; /* slower streams gain nothing from a warm cache */

  /* Page tables (pacing.c). */
  uint64_t populate_bytes; /* page tables are filled in steps of this, ahead of their first use */
};

static const struct tuning tuning = {.group_frames = 64,
                                     .group_bytes = 64 << 10,
                                     .empty_every = 4096,
                                     .peer_look_ns = 250000000,

                                     .spin_ns = 20000,
                                     .spin_looks = 32,
                                     .spin_backoff_most = 64,

                                     .gather_ns = 400,
                                     .gather_frames = 48,
                                     .gather_bytes = 1 << 20,
                                     .gather_backoff_least = 16,
                                     .gather_backoff_most = 1024,
                                     .gather_small_frame = 4096,

                                     .warm_bytes = 8 << 20,
                                     .stall_ns = 10000,

                                     .bytes_per_ns = 4,

                                     .populate_bytes = 2 << 20,
#ifdef ZB_TUNING
                                     ZB_TUNING
#endif
};

#endif
