/* Files that are truncated under their mapping, and the SIGBUS of that. */
#include "linux.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

TEST(a_buffer_that_is_truncated_under_both_ends_is_reported_as_broken_and_kills_nobody) {
  struct ring ring;
  uint8_t bytes[64];
  open_ring(&ring, 65536);
  OK(write_frame(&ring, 40000, 1));
  read_frame(&ring, 40000, 1);
  EQUAL(truncate(shm_path("", ring.name), 0), 0);
  for (uint64_t i = 0; i < ring.payload_size; i += 1000) EQUAL(ring.payload[i], 0);
  EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_BROKEN);
  EQUAL(zb_reader_next(ring.reader, 1000, ZB_WITHOUT_TOKEN), ZB_BROKEN);
  EQUAL(write_frame(&ring, 24, 2), ZB_BROKEN);
  zb_reader_release(ring.reader, 0, 1);
  zb_reader_settle(ring.reader);
  EQUAL(zb_metadata_read(ring.memory, bytes, 64), ZB_BAD_CONTROL);
  close_ring(&ring);
}

TEST(a_buffer_that_is_truncated_between_two_calls_is_refused_within_two_of_them) {
  for (int end = 0; end < 2; end++) {
    struct ring ring;
    int32_t code = ZB_OK;
    open_ring(&ring, 65536);
    OK(write_frame(&ring, 100, 1));
    EQUAL(truncate(shm_path("", ring.name), 0), 0);
    for (int call = 0; call < 2; call++)
      code = end == 0 ? write_frame(&ring, 100, 2) : zb_reader_next(ring.reader, 0, ZB_WITHOUT_TOKEN);
    EQUAL(code, ZB_BROKEN);
    close_ring(&ring);
  }
}

TEST(a_buffer_whose_end_was_cut_off_keeps_its_start) {
  struct ring ring;
  open_ring(&ring, 65536);
  OK(write_frame(&ring, 100, 1));
  EQUAL(truncate(shm_path("", ring.name), 4096), 0);
  EQUAL(ring.payload[60000], 0);
  EQUAL(word(&ring.oieb->payload_written_count), 1);
  EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_BROKEN);
  close_ring(&ring);
}

TEST(a_semaphore_that_is_truncated_is_reported_as_broken_and_kills_nobody) {
  const char *prefixes[] = {"sem.sem-w-", "sem.sem-r-"};
  for (int role = 0; role < 2; role++) {
    struct ring ring;
    open_ring(&ring, 4096);
    EQUAL(truncate(shm_path(prefixes[role], ring.name), 0), 0);
    zb_semaphore_post(role == ZB_WRITER ? ring.written : ring.released, 1);
    EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_BROKEN);
    EQUAL(write_frame(&ring, 24, 1), ZB_BROKEN);
    close_ring(&ring);
  }
}

TEST(a_new_mapping_in_the_place_of_a_broken_one_is_whole) {
  struct ring ring;
  for (int round = 0; round < 20; round++) {
    open_ring(&ring, 65536);
    OK(write_frame(&ring, 24, 1));
    read_frame(&ring, 24, 1);
    EQUAL(truncate(shm_path("", ring.name), 0), 0);
    EQUAL(ring.payload[5000], 0);
    EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_BROKEN);
    close_ring(&ring);
  }
}

static void exit_42(int number) {
  (void)number;
  _exit(42);
}

static void touch_a_truncated_file(void *argument) {
  struct ring ring;
  struct sigaction action = {.sa_handler = exit_42};
  if (argument != NULL) EQUAL(sigaction(SIGBUS, &action, NULL), 0);
  open_ring(&ring, 4096); /* the guard is set up */
  close_ring(&ring);
  const char *path = temporary_path("file");
  make_file(path, 4096);
  int fd = open(path, O_RDWR);
  volatile uint8_t *bytes = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
  EQUAL(truncate(path, 0), 0);
  (void)bytes[0];
}

TEST(a_fault_in_somebody_elses_mapping_goes_to_the_handler_before_ours_or_ends_the_process) {
  temporary_path("file");
  int status = run_child(touch_a_truncated_file, "");
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
  EQUAL(unlink(temporary_path("file")), 0);
  status = run_child(touch_a_truncated_file, NULL);
  CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) != 0); /* a sanitizer exits with a code of its own */
}

static atomic_int calls;

static void count_call(int number) {
  (void)number;
  atomic_fetch_add(&calls, 1);
}

static void count_call_with_details(int number, siginfo_t *info, void *context) {
  (void)number;
  (void)context;
  EQUAL(info->si_code, SI_USER);
  EQUAL(info->si_pid, getpid());
  atomic_fetch_add(&calls, 1);
}

/* Opens a ring with this action for SIGBUS before it, sends the signal, and then truncates the ring's memory. */
static void send_sigbus_and_truncate(void *argument) {
  struct ring ring;
  const struct sigaction *before = argument;
  EQUAL(sigaction(SIGBUS, before, NULL), 0);
  open_ring(&ring, 65536);
  for (int i = 0; i < 3; i++) EQUAL(kill(getpid(), SIGBUS), 0);
  EQUAL(pthread_kill(pthread_self(), SIGBUS), 0);
  EQUAL(truncate(shm_path("", ring.name), 0), 0);
  EQUAL(ring.payload[60000], 0);
  EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_BROKEN);
  close_ring(&ring);
  _exit(40 + atomic_load(&calls));
}

TEST(a_sigbus_that_somebody_sends_is_ignored_where_it_was_and_takes_no_protection_away) {
  struct sigaction before = {.sa_handler = SIG_IGN};
  int status = run_child(send_sigbus_and_truncate, &before);
  CHECK(WIFEXITED(status));
  EQUAL(WEXITSTATUS(status), 40);
}

TEST(a_sigbus_that_somebody_sends_goes_to_the_handler_before_ours) {
  struct sigaction before = {.sa_handler = count_call};
  int status = run_child(send_sigbus_and_truncate, &before);
  CHECK(WIFEXITED(status));
  EQUAL(WEXITSTATUS(status), 44);
}

static void send_sigbus(void *argument) {
  struct ring ring;
  EQUAL(sigaction(SIGBUS, argument, NULL), 0);
  open_ring(&ring, 65536);
  EQUAL(kill(getpid(), SIGBUS), 0);
  close_ring(&ring);
  _exit(40 + atomic_load(&calls));
}

TEST(a_sigbus_that_somebody_sends_tells_the_handler_before_ours_who_did) {
  struct sigaction before = {.sa_sigaction = count_call_with_details, .sa_flags = SA_SIGINFO};
  int status = run_child(send_sigbus, &before);
  CHECK(WIFEXITED(status));
  EQUAL(WEXITSTATUS(status), 41);
}

TEST(a_sigbus_that_somebody_sends_ends_a_process_that_has_no_handler_for_it) {
  struct sigaction before = {.sa_handler = SIG_DFL};
  int status = run_child(send_sigbus, &before);
  CHECK(WIFSIGNALED(status));
  EQUAL(WTERMSIG(status), SIGBUS);
}
