/* Our semaphore and that of glibc are one (docs/protocol.md, section 1). */
#include "semaphores.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <sys/wait.h>

static sem_t *open_with_libc(const char *name, char role, int flags) {
  char libc_name[80];
  snprintf(libc_name, sizeof libc_name, "/sem-%c-%s", role, name);
  sem_t *semaphore = sem_open(libc_name, flags, 0600, 0);
  CHECK(semaphore != SEM_FAILED);
  return semaphore;
}

static void check_both_ways(zb_semaphore *ours, sem_t *theirs) {
  int value;
  EQUAL(sem_trywait(theirs), -1);
  zb_semaphore_post(ours, 3);
  EQUAL(sem_getvalue(theirs, &value), 0);
  EQUAL(value, 3);
  EQUAL(sem_trywait(theirs), 0);
  EQUAL(sem_wait(theirs), 0);
  EQUAL(zb_semaphore_take(ours, 5), 1);
  EQUAL(sem_trywait(theirs), -1);
  EQUAL(sem_post(theirs), 0);
  EQUAL(sem_post(theirs), 0);
  EQUAL(zb_semaphore_value(ours), 2);
  EQUAL(zb_semaphore_take(ours, 5), 2);
}

TEST(libc_opens_our_semaphore_and_both_count_on_it) {
  struct ring ring;
  open_buffer(&ring, 64, 256);
  sem_t *theirs = open_with_libc(ring.name, 'r', 0);
  check_both_ways(ring.released, theirs);
  EQUAL(sem_close(theirs), 0);
  close_ring(&ring);
}

TEST(we_open_a_semaphore_of_libc_and_both_count_on_it) {
  zb_semaphore *ours;
  char name[64];
  snprintf(name, sizeof name, "%s", unique_name());
  sem_t *theirs = open_with_libc(name, 'w', O_CREAT | O_EXCL);
  OK(zb_semaphore_open(name, ZB_WRITER, &ours));
  check_both_ways(ours, theirs);
  OK(zb_semaphore_unlink(ours));
  zb_semaphore_close(ours);
  EQUAL(sem_close(theirs), 0);
}

static void *wait_with_libc(void *argument) {
  struct timespec deadline;
  clock_gettime(CLOCK_REALTIME, &deadline);
  deadline.tv_sec += 30;
  EQUAL(sem_timedwait(argument, &deadline), 0);
  return NULL;
}

TEST(our_post_wakes_waiters_that_block_in_libc) {
  struct ring ring;
  pthread_t threads[3];
  open_buffer(&ring, 64, 256);
  sem_t *theirs = open_with_libc(ring.name, 'w', 0);
  int64_t start = zb_now_ns();
  for (int i = 0; i < 3; i++) start_thread(&threads[i], wait_with_libc, theirs);
  UNTIL(waits(ring.written, 3));
  zb_semaphore_post(ring.written, 1);
  UNTIL(waits(ring.written, 2));
  zb_semaphore_post(ring.written, 2);
  for (int i = 0; i < 3; i++) join_thread(threads[i]);
  EQUAL(zb_semaphore_value(ring.written), 0);
  CHECK(elapsed_ms(start) < 15000);
  EQUAL(sem_close(theirs), 0);
  close_ring(&ring);
}

static void post_with_libc(struct ring *ring) {
  sem_t *semaphore = open_with_libc(ring->name, 'w', 0);
  UNTIL(waits(ring->written, 1));
  EQUAL(sem_post(semaphore), 0);
}

TEST(a_post_of_libc_in_another_process_wakes_us_and_leaves_the_token) {
  struct ring ring;
  int status;
  open_buffer(&ring, 64, 256);
  int64_t start = zb_now_ns();
  pid_t pid = start_child();
  if (pid == 0) {
    post_with_libc(&ring);
    _exit(0);
  }
  OK(zb_semaphore_await(ring.written, start + 30000000000, NULL));
  CHECK(elapsed_ms(start) < 15000);
  EQUAL(zb_semaphore_value(ring.written), 1);
  CHECK(waits(ring.written, 0));
  EQUAL(waitpid(pid, &status, 0), pid);
  EQUAL(status, 0);
  close_ring(&ring);
}

/* ---- in a crowd ---------------------------------------------------------------------------------------------- */

static void post_many_with_libc(void *libc, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) EQUAL(sem_post(libc), 0);
}

static void *take_tokens_as_libc(void *argument) {
  struct crowd *crowd = argument;
  while (!is_done(crowd)) {
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += PATIENCE_NS / 1000000000;
    while (sem_timedwait(crowd->libc, &deadline) != 0) EQUAL(errno, EINTR);
    if (atomic_fetch_add(&crowd->taken, 1) + 1 == crowd->total) zb_semaphore_post(crowd->semaphore, 1000);
  }
  return NULL;
}

TEST(nobody_in_a_crowd_of_ours_and_of_libc_sleeps_while_there_is_a_token) {
  struct ring ring;
  open_buffer(&ring, 0, 64);
  struct crowd crowd = {.semaphore = ring.written,
                        .libc = open_with_libc(ring.name, 'w', 0),
                        .post_with_libc = post_many_with_libc,
                        .total = long_run(20000)};
  void *(*const peers[])(void *) = {post_tokens, take_tokens_as_libc, take_tokens_as_libc};
  void *(*const all[])(void *) = {post_tokens,         post_tokens,       take_tokens,
                                  take_tokens_as_libc, listen_for_tokens, take_tokens_as_libc};
  run_crowd(&crowd, peers, 3);
  run_crowd(&crowd, all, 6);
  EQUAL(sem_close(crowd.libc), 0);
  close_ring(&ring);
}
