/* Waits for a semaphore, so that the event loop does not block: in the kernel (linux_uring.c), or else in a thread. */
#include "fault.h"
#include "internal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct zb_waiter {
  struct zb_resource resource;
  zb_semaphore *semaphore;
  int bell;               /* the socket that gets the bytes; the caller has the other end */
  struct zb_uring *uring; /* NULL: a thread waits, and the rest is for it */
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  int64_t deadline_ns; /* of the wait that the caller has started; 0: none */
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
    /* The token stays, so pass the wake-up on: another sleeping thread may be the one that takes the token. */
    if (zb_semaphore_await(waiter->semaphore, deadline_ns, &waiter->stopped) == ZB_OK)
      zb_semaphore_wake(waiter->semaphore);
    ZB_POINT(waiter_ring);
    /* A failed write does not matter: a full socket is readable already, and a closed one has no listener. */
    ssize_t rung = write(waiter->bell, "", 1);
    (void)rung;
    pthread_mutex_lock(&waiter->mutex);
  }
  pthread_mutex_unlock(&waiter->mutex);
  atomic_store_explicit(&waiter->ended, true, memory_order_release);
  return NULL;
}

static void close_resource(struct zb_resource *resource) {
  zb_waiter_close(ZB_RESOURCE_OF(zb_waiter, resource));
}

static int start_thread(zb_waiter *waiter) {
  pthread_mutex_init(&waiter->mutex, NULL);
  pthread_cond_init(&waiter->changed, NULL);
  /* Block all signals: other threads handle them. Only SIGBUS stays: a fault is delivered to the thread that causes it,
   * and the system ends the process if that thread blocks it. */
  sigset_t all, before;
  sigfillset(&all);
  sigdelset(&all, SIGBUS);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = ZB_CALL(waiter_thread, pthread_create(&waiter->thread, NULL, run, waiter), errno);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error == 0) return 0;
  pthread_cond_destroy(&waiter->changed);
  pthread_mutex_destroy(&waiter->mutex);
  return error;
}

static void end_thread(zb_waiter *waiter) {
  pthread_mutex_lock(&waiter->mutex);
  atomic_store_explicit(&waiter->stopped, true, memory_order_relaxed);
  pthread_cond_signal(&waiter->changed);
  pthread_mutex_unlock(&waiter->mutex);
  /* A wake-up is lost if the thread has looked at `stopped` and does not sleep yet. So wake it until it ends. */
  while (!atomic_load_explicit(&waiter->ended, memory_order_acquire)) {
    zb_semaphore_wake(waiter->semaphore);
    nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
  }
  pthread_join(waiter->thread, NULL);
  pthread_cond_destroy(&waiter->changed);
  pthread_mutex_destroy(&waiter->mutex);
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
  waiter->uring = zb_uring_open(semaphore, ends[1]);
  int error = waiter->uring == NULL ? start_thread(waiter) : 0;
  if (error != 0) {
    close(ends[0]);
    close(ends[1]);
    free(waiter);
    return error == EAGAIN ? ZB_NO_MEMORY : zb_code_of(error);
  }
  zb_resource_add(&waiter->resource, close_resource);
  *descriptor = ends[0];
  *result = waiter;
  return ZB_OK;
}

void zb_waiter_arm(zb_waiter *waiter, int32_t wait_us) {
  if (waiter->uring != NULL) {
    zb_uring_arm(waiter->uring, wait_us);
    return;
  }
  pthread_mutex_lock(&waiter->mutex);
  waiter->deadline_ns = zb_now_ns() + (int64_t)wait_us * 1000;
  pthread_mutex_unlock(&waiter->mutex);
  /* Signal after unlocking: otherwise the thread wakes and has to sleep again for the mutex. */
  pthread_cond_signal(&waiter->changed);
}

/* The thread has left the count before it rings. */
void zb_waiter_heard(zb_waiter *waiter) {
  if (waiter->uring != NULL) zb_uring_heard(waiter->uring);
}

void zb_waiter_close(zb_waiter *waiter) {
  zb_resource_remove(&waiter->resource);
  if (waiter->uring != NULL)
    zb_uring_close(waiter->uring);
  else
    end_thread(waiter);
  close(waiter->bell);
  free(waiter);
}
