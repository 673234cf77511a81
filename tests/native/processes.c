/* The ring between two processes: streams, kills, signals, and a peer that changes what is being read (docs/protocol.md,
 * sections 4 and 7). */
#include "posix.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#define HEADER sizeof(struct zb_frame_header)

TEST(frames_pass_between_two_processes_byte_for_byte) {
  struct ring ring;
  open_ring(&ring, 4096);
  struct stream stream = {.ring = &ring, .frames = long_run(STREAM_FRAMES / 10)};
  pid_t pid = start_child();
  if (pid == 0) {
    write_stream_from_outside(&stream);
    _exit(0);
  }
  read_stream(&ring, stream.frames, 0);
  int status;
  EQUAL(waitpid(pid, &status, 0), pid);
  EQUAL(status, 0);
  close_ring(&ring);
}

static void kill_child(void *argument) {
  pid_t *pid = argument;
  EQUAL(kill(*pid, SIGKILL), 0);
  EQUAL(waitpid(*pid, NULL, 0), *pid);
}

static void write_until_killed(void *argument) {
  write_stream_from_outside(argument);
  for (;;) pause();
}

TEST(a_writer_that_is_killed_at_any_moment_leaves_whole_frames_only) {
  for (int round = 0; round < 30; round++) {
    struct ring ring;
    open_ring(&ring, 1024);
    struct stream stream = {.ring = &ring, .frames = UINT64_MAX};
    pid_t pid = start_child();
    if (pid == 0) write_until_killed(&stream);
    read_until_killed(&ring, 200 + (uint64_t)round * 7, kill_child, &pid);
    close_ring(&ring);
  }
}

struct interruption {
  pthread_t target;
  atomic_bool done;
};

/* A single signal could come just before the target falls asleep. */
static void *interrupt_until_done(void *argument) {
  struct interruption *interruption = argument;
  while (!atomic_load(&interruption->done)) {
    EQUAL(pthread_kill(interruption->target, SIGUSR1), 0);
    usleep(1000);
  }
  return NULL;
}

TEST(a_signal_ends_a_sleep_and_the_waits_of_a_reader_and_of_a_writer) {
  struct ring ring;
  pthread_t thread;
  struct interruption interruption = {.target = pthread_self()};
  catch_signal();
  open_ring(&ring, 64);
  OK(write_frame(&ring, 48, 1));
  start_thread(&thread, interrupt_until_done, &interruption);
  wait_while_interrupted(&ring);
  atomic_store(&interruption.done, true);
  join_thread(thread);
  CHECK(waits(ring.written, 0) && waits(ring.released, 0));
  close_ring(&ring);
}

static void post_for_ever(void *argument) {
  struct ring *ring = argument;
  for (;;) {
    zb_semaphore_post(ring->released, 1);
  }
}

TEST(a_reader_that_posts_without_end_holds_no_writer_beyond_its_wait) {
  struct ring ring;
  open_ring(&ring, 64);
  OK(write_frame(&ring, 48, 1));
  pid_t pid = start_child();
  if (pid == 0) post_for_ever(&ring);
  UNTIL(zb_semaphore_value(ring.released) > 1000);
  int64_t start;
  int32_t code;
  do {
    start = zb_now_ns();
    zb_writer_peer(ring.writer, (uint64_t)getpid());
    code = zb_writer_acquire(ring.writer, 48, 50000);
  } while (code == ZB_PEER_CHECK); /* on a busy machine */
  EQUAL(code, ZB_AGAIN);
  CHECK(elapsed_ms(start) < 3000);
  kill_child(&pid);
  close_ring(&ring);
}

/* A frame's size that is right one moment and impossible the next. */
static void flip_size(void *argument) {
  struct ring *ring = argument;
  volatile uint64_t *size = (volatile uint64_t *)ring->payload;
  for (;;) {
    *size = 24;
    *size = UINT64_MAX - 15;
  }
}

TEST(a_header_that_changes_while_it_is_checked_is_used_as_it_was_checked) {
  struct ring ring;
  open_ring(&ring, 256);
  put_header(&ring, 0, 24, 1);
  pid_t pid = start_child();
  if (pid == 0) flip_size(&ring);
  uint32_t rounds = long_run(20000);
  long whole = 0, refused = 0;
  for (uint32_t round = 0; round < rounds || whole == 0 || refused == 0; round++) {
    zb_reader_close(ring.reader);
    set_word(&ring.oieb->payload_free_bytes, 256);
    set_word(&ring.oieb->payload_read_pos, 0);
    OK(zb_reader_open(ring.memory, ring.written, ring.released, 1, ZB_WAIT_ADAPTIVE, &ring.reader));
    ring.view = (const struct zb_reader_view *)ring.reader;
    publish(&ring, 40, 1);
    int32_t code = zb_reader_next(ring.reader, 0, 0);
    if (code == 1) {
      EQUAL(ring.view->frames[0].size, 24);
      whole++;
    } else {
      EQUAL(code, ZB_BAD_FRAME);
      EQUAL(ring.view->fault_found, (double)(UINT64_MAX - 15));
      refused++;
    }
  }
  kill_child(&pid);
  printf("%ld headers read, %ld refused\n", whole, refused);
  close_ring(&ring);
}
