/* A thread that fills the page table of a large ring in advance, so that the first lap does not wait for it. */
#include "fault.h"
#include "ring.h"
#include "tuning.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the thread needs is a few calls deep. */
#define STACK_SIZE ((size_t)64 << 10)

struct populating {
  struct ring *ring;
  uint64_t end;
  atomic_bool stopped;
  pthread_t thread;
};

static void *run(void *argument) {
  struct populating *populating = argument;
  struct ring *ring = populating->ring;
  /* Whatever else wants a processor comes first. */
  (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 19);
  while (!atomic_load_explicit(&populating->stopped, memory_order_relaxed)) {
    uint64_t from = atomic_load_explicit(&ring->populated, memory_order_relaxed);
    if (from >= populating->end) break;
    uint64_t left = populating->end - from;
    /* As if to write, on the reading side too: nobody has touched these pages yet, and then that takes half as long. */
    if (left > tuning.populate_slice) left = tuning.populate_slice;
    if (!zb_populate(ring->payload + from, left, true)) break;
    zb_populated(ring, from + left);
  }
  return NULL;
}

void zb_populating_start(struct ring *ring) {
  if (ring->payload_size <= tuning.populate_bytes) return;
  struct populating *populating = ZB_CALL(populating_allocate, calloc(1, sizeof *populating), NULL);
  if (populating == NULL) return;
  populating->ring = ring;
  populating->end = ring->payload_size < tuning.populate_most ? ring->payload_size : tuning.populate_most;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, STACK_SIZE);
  /* Signals are for the program's threads. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error =
      ZB_CALL(populating_thread, pthread_create(&populating->thread, &attributes, run, populating), EAGAIN);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  if (error == 0)
    ring->populating = populating;
  else
    free(populating);
}

void zb_populating_stop(struct ring *ring) {
  struct populating *populating = ring->populating;
  if (populating == NULL) return;
  atomic_store_explicit(&populating->stopped, true, memory_order_relaxed);
  pthread_join(populating->thread, NULL);
  ring->populating = NULL;
  free(populating);
}
