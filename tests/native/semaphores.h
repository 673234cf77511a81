/* A crowd that waits for one semaphore. */
#ifndef TEST_SEMAPHORES_H
#define TEST_SEMAPHORES_H

#include "posix.h"

/* A wait that gets no token in this time, while there is one, has missed its wake-up. */
#define PATIENCE_NS 20000000000

struct crowd {
  zb_semaphore *semaphore;
  void *libc; /* the same one, as libc sees it; may be NULL */
  void (*post_with_libc)(void *libc, uint32_t count);
  _Atomic(uint32_t) budget; /* tokens that are still to be posted */
  _Atomic(uint32_t) taken;
  uint32_t total;
};

bool is_done(struct crowd *crowd);
/* The tokens that end the others' waits, when all that count are taken. */
void *post_tokens(void *crowd);
/* As a reader: waits, and then takes at most a few, so that tokens are left beside others that sleep. */
void *take_tokens(void *crowd);
/* As an event loop: asks the waiter again and again, and leaves every token to the others. */
void *listen_for_tokens(void *crowd);
/* Runs them all, each in a thread, until the tokens are taken. */
void run_crowd(struct crowd *crowd, void *(*const roles[])(void *), int count);

#endif
