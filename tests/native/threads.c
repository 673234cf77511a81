/* What a thread has open ends with it. */
#include "posix.h"

#include <errno.h>
#include <sys/mman.h>

#define PID 4242

static void run_in_thread(void *(*run)(void *), void *argument) {
  pthread_t thread;
  start_thread(&thread, run, argument);
  join_thread(thread);
}

static bool is_mapped(void *address) {
  unsigned char page;
  return mincore(address, 1, (void *)&page) == 0;
}

/* A thread that opens the memory of a buffer, and closes nothing. */
struct opener {
  const char *name;
  zb_memory *memory;
  int32_t role;
  bool lends;
};

static void *open_in_thread(void *argument) {
  struct opener *opener = argument;
  OK(open_memory(opener->name, &opener->memory));
  OK(zb_oieb_claim(opener->memory, opener->role, 0, PID));
  if (opener->lends) zb_memory_lend(opener->memory);
  return NULL;
}

TEST(a_role_is_given_up_at_the_end_of_its_thread_as_if_its_process_had_died) {
  for (int32_t role = ZB_WRITER; role <= ZB_READER; role++) {
    struct ring ring;
    open_buffer(&ring, 0, 4096);
    uint64_t *field = role == ZB_WRITER ? &ring.oieb->writer_pid : &ring.oieb->reader_pid;
    if (role == ZB_READER) OK(zb_oieb_claim(ring.memory, ZB_READER, word(field), 0));
    struct opener opener = {.name = ring.name, .role = role};
    run_in_thread(open_in_thread, &opener);
    EQUAL(word(field), ZB_PID_OF_NOBODY);
    EQUAL(zb_memory_held_here(ring.memory, role), 0);
    EQUAL(zb_process_start(ZB_PID_OF_NOBODY), -1);
    OK(zb_oieb_claim(ring.memory, role, ZB_PID_OF_NOBODY, PID));
    close_ring(&ring);
  }
}

TEST(a_role_that_somebody_else_has_taken_is_left_alone_at_the_end_of_a_thread) {
  struct ring ring;
  open_buffer(&ring, 0, 4096);
  struct opener opener = {.name = ring.name, .role = ZB_WRITER};
  pthread_t thread;
  start_thread(&thread, open_in_thread, &opener);
  UNTIL(word(&ring.oieb->writer_pid) != 0);
  set_word(&ring.oieb->writer_pid, PID + 1);
  join_thread(thread);
  /* Unless the thread had ended before. */
  CHECK(word(&ring.oieb->writer_pid) == PID + 1 || word(&ring.oieb->writer_pid) == ZB_PID_OF_NOBODY);
  close_ring(&ring);
}

TEST(memory_is_unmapped_at_the_end_of_its_thread) {
  struct ring ring;
  open_buffer(&ring, 0, 4096);
  struct opener opener = {.name = ring.name, .role = ZB_WRITER};
  void *address;
  run_in_thread(open_in_thread, &opener);
  /* Its object is recycled: the next one to be opened is where it was. */
  zb_memory *next;
  OK(open_memory(ring.name, &next));
  EQUAL(next == opener.memory, true);
  address = zb_memory_address(next);
  zb_memory_close(next);
  CHECK(!is_mapped(address));
  close_ring(&ring);
}

TEST(memory_stays_mapped_as_long_as_a_window_onto_it) {
  struct ring ring;
  open_buffer(&ring, 0, 4096);
  struct opener opener = {.name = ring.name, .role = ZB_WRITER, .lends = true};
  run_in_thread(open_in_thread, &opener);
  void *address = zb_memory_address(opener.memory);
  CHECK(is_mapped(address));
  zb_memory_return(address, opener.memory);
  CHECK(!is_mapped(address));
  close_ring(&ring);
}

static void *open_lock(void *path) {
  zb_lock *lock;
  OK(zb_lock_open(path, 1, &lock));
  return NULL;
}

TEST(a_lock_is_given_up_at_the_end_of_its_thread_and_its_file_stays) {
  char path[128];
  zb_lock *lock;
  snprintf(path, sizeof path, "%s", temporary_path("thread.lock"));
  run_in_thread(open_lock, path);
  EQUAL(zb_lock_held(path), 0);
  OK(zb_lock_open(path, 0, &lock));
  zb_lock_close(lock, 1);
}

static int32_t bell;

static void *open_waiter(void *name) {
  zb_semaphore *semaphore;
  zb_waiter *waiter;
  OK(zb_semaphore_open(name, ZB_WRITER, &semaphore));
  OK(zb_waiter_open(semaphore, &bell, &waiter));
  zb_waiter_arm(waiter, 60000000);
  return NULL;
}

WAITER_TEST(a_waiter_ends_at_the_end_of_its_thread_before_its_semaphore) {
  struct ring ring;
  open_buffer(&ring, 0, 4096);
  run_in_thread(open_waiter, ring.name);
  close_bell(bell);
  close_ring(&ring);
}

TEST(a_role_is_taken_by_one_mapping_of_a_process_only) {
  struct ring ring;
  zb_memory *second;
  open_buffer(&ring, 0, 4096);
  OK(open_memory(ring.name, &second));
  OK(zb_oieb_claim(ring.memory, ZB_WRITER, 0, PID));
  EQUAL(zb_oieb_claim(second, ZB_WRITER, PID, 0), ZB_EXISTS);
  EQUAL(zb_oieb_claim(second, ZB_WRITER, PID, PID), ZB_EXISTS);
  EQUAL(word(&ring.oieb->writer_pid), PID);
  OK(zb_oieb_claim(ring.memory, ZB_WRITER, PID, 0));
  OK(zb_oieb_claim(second, ZB_WRITER, 0, PID));
  zb_memory_close(second);
  close_ring(&ring);
}
