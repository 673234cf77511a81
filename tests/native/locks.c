/* Lock files on Linux, beside other processes. */
#include "linux.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void hold_lock_and_die(void *argument) {
  zb_lock *lock;
  OK(zb_lock_open(argument, 1, &lock));
  kill(getpid(), SIGKILL);
}

TEST(a_lock_ends_with_its_process) {
  zb_lock *lock;
  char path[128];
  snprintf(path, sizeof path, "%s", temporary_path("a.lock"));
  CHECK(WIFSIGNALED(run_child(hold_lock_and_die, path)));
  EQUAL(zb_lock_held(path), 0);
  OK(zb_lock_open(path, 0, &lock));
  zb_lock_close(lock, 1);
}

TEST(a_lock_path_that_is_a_link_a_fifo_a_directory_or_has_two_names_is_refused) {
  zb_lock *lock;
  char target[128], path[128];
  snprintf(target, sizeof target, "%s", temporary_path("target"));
  snprintf(path, sizeof path, "%s", temporary_path("a.lock"));
  for (int kind = 0; kind < 5; kind++) {
    if (kind == 0 || kind == 2) make_file(target, 5);
    if (kind == 0) EQUAL(symlink(target, path), 0);
    if (kind == 1) EQUAL(symlink("nowhere", path), 0);
    if (kind == 2) EQUAL(link(target, path), 0);
    if (kind == 3) EQUAL(mkfifo(path, 0600), 0);
    if (kind == 4) EQUAL(mkdir(path, 0700), 0);
    EQUAL(zb_lock_open(path, 0, &lock), ZB_UNSAFE);
    EQUAL(zb_lock_open(path, 1, &lock), ZB_UNSAFE);
    EQUAL(zb_lock_held(path), ZB_UNSAFE);
    EQUAL(remove(path), 0);
    unlink(target);
  }
}

TEST(a_lock_whose_file_was_removed_protects_nothing_and_removes_nothing) {
  zb_lock *old, *new;
  const char *path = temporary_path("a.lock");
  OK(zb_lock_open(path, 1, &old));
  EQUAL(unlink(path), 0);
  OK(zb_lock_open(path, 1, &new));
  zb_lock_close(old, 1);
  EQUAL(zb_lock_held(path), 1);
  zb_lock_close(new, 1);
  CHECK(!exists(path));
}

static struct {
  char path[128];
  atomic_int inside;
} contention;

static void *contend(void *argument) {
  int *held = argument;
  while (*held < 500) {
    zb_lock *lock;
    int32_t code = zb_lock_open(contention.path, 1, &lock);
    if (code == ZB_LOCKED) continue;
    OK(code);
    EQUAL(atomic_fetch_add(&contention.inside, 1), 0);
    (*held)++;
    usleep(20);
    EQUAL(atomic_fetch_sub(&contention.inside, 1), 1);
    zb_lock_close(lock, 1);
  }
  return NULL;
}

TEST(one_at_a_time_holds_a_lock_that_is_made_and_removed_each_time) {
  pthread_t threads[4];
  int held[4] = {0};
  snprintf(contention.path, sizeof contention.path, "%s", temporary_path("a.lock"));
  for (int i = 0; i < 4; i++) start_thread(&threads[i], contend, &held[i]);
  for (int i = 0; i < 4; i++) join_thread(threads[i]);
  CHECK(!exists(contention.path));
}
