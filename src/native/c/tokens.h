/* What both sides of a ring do to its semaphores for each frame. On Linux that is a few instructions, which a call would
 * double. */
#ifndef ZEROBUFFER_TOKENS_H
#define ZEROBUFFER_TOKENS_H

#include "fault.h"
#include "internal.h"

#ifdef __linux__

#include <limits.h>

static const uint64_t one_waiter = (uint64_t)1 << 32;

static inline _Atomic(uint64_t) *data_of(zb_semaphore *semaphore) {
  return &((struct zb_semaphore_layout *)zb_object_address(&semaphore->object))->data;
}

/* linux.c: wakes up to `count` threads that wait. */
void zb_semaphore_wake_waiters(zb_semaphore *semaphore, uint32_t count);

static inline int32_t semaphore_value(zb_semaphore *semaphore) {
  uint32_t value = (uint32_t)atomic_load_explicit(data_of(semaphore), memory_order_relaxed);
  return value > INT_MAX ? INT_MAX : (int32_t)value;
}

static inline void semaphore_post(zb_semaphore *semaphore, int32_t count) {
  _Atomic(uint64_t) *data = data_of(semaphore);
  /* If a peer never takes its tokens, the semaphore becomes full and stays so, as in libc. */
  if ((uint32_t)atomic_load_explicit(data, memory_order_relaxed) > (uint32_t)(INT_MAX - count)) return;
  ZB_POINT(post_token);
  /* release: pairs with the acquire of the thread that takes the token, here or in libc's sem_wait */
  uint64_t before = atomic_fetch_add_explicit(data, (uint64_t)count, memory_order_release);
  /* Each earlier token has woken a waiter already. Until that waiter runs, more wake-ups only cost time. */
  if ((uint32_t)before >= before >> 32) return;
  ZB_POINT(post_wake);
  zb_semaphore_wake_waiters(semaphore, (uint32_t)count);
}

static inline uint32_t semaphore_take(zb_semaphore *semaphore, uint32_t most) {
  _Atomic(uint64_t) *data = data_of(semaphore);
  uint64_t seen = atomic_load_explicit(data, memory_order_relaxed);
  for (;;) {
    uint32_t value = (uint32_t)seen;
    uint32_t taken = value < most ? value : most;
    if (taken == 0) return 0;
    /* acquire: pairs with the release of the posts */
    if (!atomic_compare_exchange_weak_explicit(data, &seen, seen - taken, memory_order_acquire,
                                               memory_order_relaxed))
      continue;
    /* Wake waiters for the tokens that are left. A post that came between this caller's wait and its take may have
     * woken nobody, because it still found a token for each waiter. */
    if (taken < value && seen >> 32 > 0) zb_semaphore_wake_waiters(semaphore, value - taken);
    return taken;
  }
}

#else

static inline int32_t semaphore_value(zb_semaphore *semaphore) { return zb_semaphore_value(semaphore); }

static inline void semaphore_post(zb_semaphore *semaphore, int32_t count) {
  zb_semaphore_post(semaphore, count);
}

static inline uint32_t semaphore_take(zb_semaphore *semaphore, uint32_t most) {
  return zb_semaphore_take(semaphore, most);
}

#endif

#endif
