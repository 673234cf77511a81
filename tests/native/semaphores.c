/* The semaphore between many: no wake-up is lost, whoever waits beside whom (linux.c). */
#include "semaphores.h"

#include <poll.h>
#include <sys/wait.h>

bool is_done(struct crowd *crowd) { return atomic_load(&crowd->taken) >= crowd->total; }

/* The tokens that end the others' waits, when all that count are taken. */
void *post_tokens(void *argument) {
  struct crowd *crowd = argument;
  for (uint32_t number = 0;; number++) {
    uint32_t count = 1 + number % 3, left = atomic_load(&crowd->budget);
    while (left > 0 &&
           !atomic_compare_exchange_weak(&crowd->budget, &left, left - (left < count ? left : count)))
      continue;
    if (left == 0) return NULL;
    if (left < count) count = left;
    if (number % 5 == 4 && crowd->libc != NULL) {
      crowd->post_with_libc(crowd->libc, count);
    } else {
      zb_semaphore_post(crowd->semaphore, (int32_t)count);
    }
    /* Now in quick succession, now when everybody has gone to sleep. */
    if (number % 64 == 0) usleep(50);
  }
}

/* As a reader: waits, and then takes at most a few, so that tokens are left beside others that sleep. */
void *take_tokens(void *argument) {
  struct crowd *crowd = argument;
  while (!is_done(crowd)) {
    EQUAL(zb_semaphore_await(crowd->semaphore, zb_now_ns() + PATIENCE_NS, NULL), ZB_OK);
    uint32_t taken = zb_semaphore_take(crowd->semaphore, 2);
    if (atomic_fetch_add(&crowd->taken, taken) + taken == crowd->total)
      zb_semaphore_post(crowd->semaphore, 1000); /* for the others to see the end */
  }
  return NULL;
}

/* As an event loop: asks the waiter again and again, and leaves every token to the others. */
void *listen_for_tokens(void *argument) {
  struct crowd *crowd = argument;
  zb_waiter *waiter;
  int32_t bell;
  OK(zb_waiter_open(crowd->semaphore, &bell, &waiter));
  while (!is_done(crowd)) {
    char byte;
    struct pollfd poll_one = {.fd = bell, .events = POLLIN};
    zb_waiter_arm(waiter, (int32_t)(PATIENCE_NS / 1000));
    EQUAL(poll(&poll_one, 1, (int)(PATIENCE_NS / 2000000)), 1);
    EQUAL(read(bell, &byte, 1), 1);
    zb_waiter_heard(waiter);
  }
  zb_waiter_close(waiter);
  close_bell(bell);
  return NULL;
}

void run_crowd(struct crowd *crowd, void *(*const roles[])(void *), int count) {
  pthread_t threads[16];
  atomic_store(&crowd->budget, crowd->total);
  atomic_store(&crowd->taken, 0);
  for (int i = 0; i < count; i++) start_thread(&threads[i], roles[i], crowd);
  for (int i = 0; i < count; i++) join_thread(threads[i]);
  while (zb_semaphore_take(crowd->semaphore, UINT32_MAX) > 0) continue;
  CHECK(waits(crowd->semaphore, 0));
}

WAITER_TEST(nobody_in_a_crowd_of_waiters_sleeps_while_there_is_a_token) {
  struct ring ring;
  open_buffer(&ring, 0, 64);
  struct crowd crowd = {.semaphore = ring.written, .total = long_run(20000)};
  void *(*const readers[])(void *) = {post_tokens, post_tokens, take_tokens, take_tokens, take_tokens};
  void *(*const listeners[])(void *) = {post_tokens, take_tokens, listen_for_tokens, listen_for_tokens};
  run_crowd(&crowd, readers, 5);
  run_crowd(&crowd, listeners, 4);
  close_ring(&ring);
}

static void *await_one(void *argument) {
  struct ring *ring = argument;
  OK(zb_semaphore_await(ring->written, zb_now_ns() + PATIENCE_NS, NULL));
  return NULL;
}

TEST(whoever_takes_a_part_of_the_tokens_wakes_who_sleeps_beside_the_rest) {
  struct ring ring;
  pthread_t thread;
  open_buffer(&ring, 0, 64);
  start_thread(&thread, await_one, &ring);
  UNTIL(waits(ring.written, 1));
  usleep(20000); /* asleep by now; if it is not, it sees the tokens */
  /* Posts whose wake-ups went to this thread, which waited as well and has left the count of waiters. */
  struct zb_semaphore_layout *layout = zb_object_address(&ring.written->object);
  atomic_fetch_add(&layout->data, 70);
  int64_t start = zb_now_ns();
  EQUAL(zb_semaphore_take(ring.written, 64), 64);
  join_thread(thread);
  CHECK(elapsed_ms(start) < 15000);
  close_ring(&ring);
}

/* Two processes hand a token to and fro: each wait sleeps or is about to, when its post comes. */
static void answer(void *argument) {
  struct ring *ring = argument;
  for (uint32_t i = 0; i < long_run(20000); i++) {
    while (zb_semaphore_take(ring->written, 1) == 0)
      OK(zb_semaphore_await(ring->written, zb_now_ns() + PATIENCE_NS, NULL));
    zb_semaphore_post(ring->released, 1);
  }
}

TEST(two_processes_wake_each_other_without_end) {
  struct ring ring;
  open_buffer(&ring, 0, 64);
  pid_t pid = start_child();
  if (pid == 0) {
    answer(&ring);
    _exit(0);
  }
  for (uint32_t i = 0; i < long_run(20000); i++) {
    zb_semaphore_post(ring.written, 1);
    while (zb_semaphore_take(ring.released, 1) == 0)
      OK(zb_semaphore_await(ring.released, zb_now_ns() + PATIENCE_NS, NULL));
  }
  int status;
  EQUAL(waitpid(pid, &status, 0), pid);
  EQUAL(status, 0);
  close_ring(&ring);
}
