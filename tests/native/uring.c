/* Waits in the kernel (linux_uring.c): what they need, what they leave, and what the memory of a semaphore does to them. */
#include "linux.h"

#include <dirent.h>
#include <errno.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static int count_files(const char *directory) {
  int count = 0;
  DIR *files = opendir(directory);
  CHECK(files != NULL);
  while (readdir(files) != NULL) count++;
  closedir(files);
  return count;
}

static int count_threads(void) { return count_files("/proc/self/task"); }

static int count_urings(void) {
  int count = 0;
  for (int descriptor = 0; descriptor < 256; descriptor++) {
    char path[32], target[32] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length > 0 && strcmp(target, "anon_inode:[io_uring]") == 0) count++;
  }
  return count;
}

/* Whether this kernel offers such waits, and nothing refuses them. */
static bool is_offered(zb_semaphore *semaphore) {
  struct zb_uring *uring = zb_uring_open(semaphore, -1);
  if (uring != NULL) zb_uring_close(uring);
  return uring != NULL;
}

TEST(the_kernel_waits_without_a_thread_if_it_can) {
  struct ring ring;
  zb_waiter *waiter;
  int32_t bell;
  open_ring(&ring, 256);
  int threads = count_threads();
  bool offered = is_offered(ring.written);
  OK(zb_waiter_open(ring.written, &bell, &waiter));
  EQUAL(count_urings(), offered);
  if (offered) EQUAL(count_threads(), threads);
  close_waited(&ring, waiter, bell);
}

WAITER_TEST(a_waiter_leaves_no_descriptor_thread_or_waiting_count) {
  struct ring ring;
  open_ring(&ring, 256);
  int descriptors = 0, threads = 0;
  for (int round = 0; round < 20; round++) {
    zb_waiter *waiter;
    int32_t bell;
    OK(zb_waiter_open(ring.written, &bell, &waiter));
    for (int i = 0; i < round % 4; i++) {
      zb_waiter_arm(waiter, 100);
      CHECK(rings(bell, 15000));
      zb_waiter_heard(waiter);
    }
    if (round % 2) zb_waiter_arm(waiter, 30000000);
    zb_waiter_close(waiter);
    close_bell(bell);
    CHECK(waits(ring.written, 0));
    if (round > 0) continue;
    /* With the first thread, a sanitizer starts one of its own. */
    descriptors = count_files("/proc/self/fd");
    threads = count_threads();
  }
  EQUAL(count_files("/proc/self/fd"), descriptors);
  UNTIL(count_threads() <= threads);
  close_ring(&ring);
}

WAITER_TEST(each_of_many_waits_rings_once_however_it_ends) {
  struct ring ring;
  zb_waiter *waiter;
  int32_t bell;
  open_waited(&ring, &waiter, &bell);
  for (int round = 0; round < 1000; round++) {
    /* In turn: a token that is there, one that comes, none, and one that comes about when the time is up. */
    if (round % 4 == 0) zb_semaphore_post(ring.written, 1);
    zb_waiter_arm(waiter, round % 2 ? 100 : 30000000);
    if (round % 4 == 2) zb_semaphore_post(ring.written, 1);
    if (round % 4 == 3) {
      usleep(100);
      zb_semaphore_post(ring.written, 1);
    }
    CHECK(rings(bell, 15000));
    zb_waiter_heard(waiter);
    CHECK(waits(ring.written, 0));
    CHECK(!rings(bell, 0));
    zb_semaphore_take(ring.written, UINT32_MAX);
  }
  CHECK(!rings(bell, 20));
  close_waited(&ring, waiter, bell);
}

TEST(a_wait_that_begins_before_the_last_one_has_ended_ends_that) {
  struct ring ring;
  zb_waiter *waiter;
  int32_t bell;
  open_ring(&ring, 256);
  if (is_offered(ring.written)) {
    OK(zb_waiter_open(ring.written, &bell, &waiter));
    zb_waiter_arm(waiter, 30000000);
    zb_waiter_arm(waiter, 30000000);
    CHECK(rings(bell, 15000));
    CHECK(!rings(bell, 20));
    CHECK(waits(ring.written, 1));
    zb_semaphore_post(ring.written, 1);
    CHECK(rings(bell, 15000));
    zb_waiter_close(waiter);
    close_bell(bell);
  }
  close_ring(&ring);
}

static void *await_token(void *argument) {
  struct ring *ring = argument;
  OK(zb_semaphore_await(ring->written, zb_now_ns() + 20000000000, NULL));
  return NULL;
}

WAITER_TEST(a_waiter_that_is_closed_leaves_the_next_wake_up_to_others) {
  struct ring ring;
  open_ring(&ring, 256);
  for (int round = 0; round < 50; round++) {
    pthread_t thread;
    zb_waiter *waiter;
    int32_t bell;
    OK(zb_waiter_open(ring.written, &bell, &waiter));
    zb_waiter_arm(waiter, 30000000);
    UNTIL(waits(ring.written, 1));
    start_thread(&thread, await_token, &ring);
    UNTIL(waits(ring.written, 2));
    usleep(500); /* asleep by now; if it is not, it sees the token */
    zb_waiter_close(waiter);
    int64_t start = zb_now_ns();
    zb_semaphore_post(ring.written, 1);
    join_thread(thread);
    CHECK(elapsed_ms(start) < 15000);
    close_bell(bell);
    EQUAL(zb_semaphore_take(ring.written, UINT32_MAX), 1);
  }
  close_ring(&ring);
}

/* ---- what the system refuses --------------------------------------------------------------------------------- */

/* Opens a waiter that has to use a thread, and uses it. */
static void use_thread(void) {
  struct ring ring;
  zb_waiter *waiter;
  int32_t bell;
  open_waited(&ring, &waiter, &bell);
  EQUAL(count_urings(), 0);
  zb_waiter_arm(waiter, 30000000);
  zb_semaphore_post(ring.written, 1);
  CHECK(rings(bell, 15000));
  close_waited(&ring, waiter, bell);
}

TEST(a_thread_waits_if_nobody_may_set_up_an_io_uring) {
  if (answer_call(SYS_io_uring_setup, EPERM)) use_thread();
}

TEST(a_thread_waits_if_the_kernel_knows_no_io_uring) {
  if (answer_call(SYS_io_uring_setup, ENOSYS)) use_thread();
}

TEST(a_thread_waits_if_an_io_uring_takes_no_requests) {
  if (answer_call(SYS_io_uring_enter, EPERM)) use_thread();
}

TEST(a_thread_waits_if_there_is_no_descriptor_for_an_io_uring) {
  struct ring ring;
  zb_waiter *waiter;
  int32_t bell;
  struct rlimit limit;
  open_ring(&ring, 256);
  int next = dup(0);
  close(next);
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = (rlim_t)next + 2; /* for the two sockets */
  EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
  OK(zb_waiter_open(ring.written, &bell, &waiter));
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  EQUAL(count_urings(), 0);
  close_waited(&ring, waiter, bell);
}

TEST(a_waiter_rings_at_once_and_closes_when_the_kernel_takes_no_more_requests) {
  struct ring ring;
  zb_waiter *waiter, *other;
  int32_t bell, bell_of_other;
  open_waited(&ring, &waiter, &bell);
  OK(zb_waiter_open(ring.released, &bell_of_other, &other));
  zb_waiter_arm(other, 30000000);
  if (answer_call(SYS_io_uring_enter, EAGAIN)) {
    for (int round = 0; round < 10; round++) {
      zb_waiter_arm(waiter, round % 2 ? 1000 : 100000);
      CHECK(rings(bell, 15000));
      zb_waiter_heard(waiter);
      CHECK(waits(ring.written, 0));
    }
    zb_waiter_arm(waiter, 1000);
  }
  int64_t start = zb_now_ns();
  zb_waiter_close(waiter);
  zb_waiter_close(other);
  CHECK(elapsed_ms(start) < 15000);
  close_bell(bell);
  close_bell(bell_of_other);
  CHECK(waits(ring.written, 0));
  CHECK(waits(ring.released, 0));
  close_ring(&ring);
}

/* ---- what the memory of the semaphore does ------------------------------------------------------------------- */

static atomic_bool is_over;

static void *scribble(void *argument) {
  struct ring *ring = argument;
  struct zb_semaphore_layout *layout = zb_object_address(&ring->written->object);
  for (uint64_t i = 1; !atomic_load(&is_over); i++) {
    atomic_store(&layout->data, i % 3 == 0 ? 0 : i * 0x9E3779B97F4A7C15);
    if (i % 64 == 0) usleep(10);
  }
  return NULL;
}

WAITER_TEST(a_wait_ends_whatever_a_peer_stores_in_the_semaphore) {
  struct ring ring;
  pthread_t thread;
  zb_waiter *waiter;
  int32_t bell;
  open_waited(&ring, &waiter, &bell);
  start_thread(&thread, scribble, &ring);
  for (int round = 0; round < 1000; round++) {
    zb_waiter_arm(waiter, 1000);
    CHECK(rings(bell, 15000));
    zb_waiter_heard(waiter);
    CHECK(!rings(bell, 0));
  }
  atomic_store(&is_over, true);
  join_thread(thread);
  close_waited(&ring, waiter, bell);
}

WAITER_TEST(waits_for_a_semaphore_that_is_truncated_end_and_the_next_look_reports_it) {
  for (int before = 0; before < 2; before++) {
    struct ring ring;
    zb_waiter *waiter;
    int32_t bell;
    open_waited(&ring, &waiter, &bell);
    int64_t start = zb_now_ns();
    if (before == 0) {
      zb_waiter_arm(waiter, 30000);
      UNTIL(waits(ring.written, 1));
    }
    EQUAL(truncate(shm_path("sem.sem-w-", ring.name), 0), 0);
    if (before == 1) zb_waiter_arm(waiter, 30000);
    CHECK(rings(bell, 15000));
    zb_waiter_heard(waiter);
    EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_BROKEN);
    /* Not again and again at once. */
    for (int round = 0; round < 3; round++) {
      zb_waiter_arm(waiter, 30000);
      CHECK(rings(bell, 15000));
      zb_waiter_heard(waiter);
    }
    CHECK(elapsed_ms(start) >= 89);
    zb_waiter_arm(waiter, 30000000);
    close_waited(&ring, waiter, bell);
  }
}

TEST(memory_is_created_while_waits_end) {
  struct ring ring;
  zb_waiter *waiter;
  int32_t bell;
  open_waited(&ring, &waiter, &bell);
  for (int round = 0; round < 50; round++) {
    zb_memory *memory;
    zb_waiter_arm(waiter, 100 * (round + 1));
    OK(make_memory(unique_name(), 32 << 20, -1, &memory));
    CHECK(rings(bell, 15000));
    zb_waiter_heard(waiter);
    OK(zb_memory_unlink(memory));
    zb_memory_close(memory);
  }
  close_waited(&ring, waiter, bell);
}
