/* A thread that waits for a semaphore, so that an event loop does not have to. */
#include "fault.h"
#include "internal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

struct zb_waiter {
  zb_semaphore *semaphore;
  int bell; /* the end of a pair of sockets that the thread writes to; the other one is the caller's */
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  int64_t deadline_ns; /* of the wait that is asked for; 0: none */
  atomic_bool stopped;
  atomic_bool ended;
};

static void *run(void *argument) {
  zb_waiter *waiter = argument;
  pthread_mutex_lock(&waiter->mutex);
  while (!atomic_load_explicit(&waiter->stopped, memory_order_relaxed)) {
    int64_t deadline_ns = waiter->deadline_ns;
    if (deadline_ns == 0) {
      pthread_cond_wait(&waiter->changed, &waiter->mutex);
      continue;
    }
    waiter->deadline_ns = 0;
    pthread_mutex_unlock(&waiter->mutex);
    /* The token stays, so the wake-up has to be passed on: whoever else sleeps here may be the one to take it. */
    if (zb_semaphore_await(waiter->semaphore, deadline_ns, &waiter->stopped) == ZB_OK)
      zb_semaphore_wake(waiter->semaphore);
    ZB_POINT(waiter_ring);
    /* A full socket rings already, and one that is closed has nobody listening. */
    ssize_t rung = write(waiter->bell, "", 1);
    (void)rung;
    pthread_mutex_lock(&waiter->mutex);
  }
  pthread_mutex_unlock(&waiter->mutex);
  atomic_store_explicit(&waiter->ended, true, memory_order_release);
  return NULL;
}

int32_t zb_waiter_open(zb_semaphore *semaphore, int32_t *descriptor, zb_waiter **result) {
  int ends[2];
  zb_waiter *waiter = ZB_CALL(waiter_allocate, calloc(1, sizeof *waiter), NULL);
  if (waiter == NULL) return ZB_NO_MEMORY;
  if (ZB_CALL(waiter_sockets, zb_socket_pair(ends), -1) != 0) {
    free(waiter);
    return zb_code_of(errno);
  }
  waiter->semaphore = semaphore;
  waiter->bell = ends[1];
  pthread_mutex_init(&waiter->mutex, NULL);
  pthread_cond_init(&waiter->changed, NULL);

  /* Signals are for the threads that handle them, but a fault belongs to the thread that meets it: where it is
   * blocked, the system ends the process instead of calling the guard of the mappings. */
  sigset_t all, before;
  sigfillset(&all);
  sigdelset(&all, SIGBUS);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = ZB_CALL(waiter_thread, pthread_create(&waiter->thread, NULL, run, waiter), errno);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error != 0) {
    close(ends[0]);
    close(ends[1]);
    pthread_cond_destroy(&waiter->changed);
    pthread_mutex_destroy(&waiter->mutex);
    free(waiter);
    return error == EAGAIN ? ZB_NO_MEMORY : zb_code_of(error);
  }
  *descriptor = ends[0];
  *result = waiter;
  return ZB_OK;
}

void zb_waiter_arm(zb_waiter *waiter, int32_t wait_us) {
  pthread_mutex_lock(&waiter->mutex);
  waiter->deadline_ns = zb_now_ns() + (int64_t)wait_us * 1000;
  pthread_mutex_unlock(&waiter->mutex);
  /* The thread would wake only to sleep again if this still held the mutex. */
  pthread_cond_signal(&waiter->changed);
}

void zb_waiter_close(zb_waiter *waiter) {
  pthread_mutex_lock(&waiter->mutex);
  atomic_store_explicit(&waiter->stopped, true, memory_order_relaxed);
  pthread_cond_signal(&waiter->changed);
  pthread_mutex_unlock(&waiter->mutex);
  /* The thread may be between its look at `stopped` and its sleep, where a wake-up is missed: wake until it ends. */
  while (!atomic_load_explicit(&waiter->ended, memory_order_acquire)) {
    zb_semaphore_wake(waiter->semaphore);
    zb_sleep(50);
  }
  pthread_join(waiter->thread, NULL);
  pthread_cond_destroy(&waiter->changed);
  pthread_mutex_destroy(&waiter->mutex);
  close(waiter->bell);
  free(waiter);
}
