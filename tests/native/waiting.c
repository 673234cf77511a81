/* Two ends at work at the same time: waiting, waking, signals, and streams of frames (PROTOCOL.md, section 4). */
#include "test.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* ---- streams ------------------------------------------------------------------------------------------------- */

/* Sizes that wrap a small ring every few frames, and now and then take nearly all of it. */
static uint64_t size_of(uint64_t sequence, uint64_t payload_size) {
  uint64_t mixed = sequence * 0x9E3779B97F4A7C15u >> 40;
  uint64_t most = mixed % 50 == 0 ? payload_size - 16 : payload_size / 4;
  return 1 + (mixed >> 6) % most;
}

struct stream {
  struct ring *ring;
  uint64_t frames;
};

static void *write_stream(void *argument) {
  struct stream *stream = argument;
  struct ring *ring = stream->ring;
  for (uint64_t sequence = 1; sequence <= stream->frames; sequence++) {
    uint64_t size = size_of(sequence, ring->payload_size);
    for (;;) {
      int32_t code = zb_writer_acquire(ring->writer, (double)size, 100000);
      if (code == ZB_OK) break;
      CHECK(code == ZB_AGAIN || code == ZB_PEER_CHECK);
      zb_writer_peer(ring->writer, word(&ring->oieb->reader_pid));
    }
    fill((uint8_t *)ring->oieb + (uint64_t)ring->writer_view->offset, size, sequence);
    OK(zb_writer_commit(ring->writer));
  }
  return NULL;
}

/* Reads all frames of a stream. The last one of each look is held for a while beyond it, so that the ring wraps instead
 * of being rewound; but the writer may need an empty ring. */
static void read_frames_of(struct ring *ring, uint64_t frames, int32_t flags) {
  uint64_t read = 0, released = 0;
  int looks = 0, yields = 100;
  while (released < frames) {
    bool holding = released < read;
    int32_t count = zb_reader_next(ring->reader, holding || flags != 0 ? 0 : 100000, flags);
    CHECK(count > 0 || count == ZB_AGAIN);
    if (count == ZB_AGAIN && holding && looks++ < 10) {
      /* On a busy machine the writer gets a processor only this way, and it takes long. */
      if (yields-- > 0) sched_yield();
      continue;
    }
    looks = 0;
    for (int i = 0; i < count; i++)
      check_frame(ring, i, size_of(read + (uint64_t)i + 1, ring->payload_size), read + (uint64_t)i + 1);
    if (holding) OK(zb_reader_release(ring->reader, (uint32_t)released++, 1));
    if (count <= 0) continue;
    read += (uint64_t)count;
    for (uint64_t i = read - 1; i-- > released;) OK(zb_reader_release(ring->reader, (uint32_t)i, 1));
    released = read - 1;
  }
}

/* The same, with nothing left over. */
static void read_stream(struct ring *ring, uint64_t frames, int32_t flags) {
  read_frames_of(ring, frames, flags);
  EQUAL(zb_reader_next(ring->reader, 0, ZB_WITHOUT_TOKEN), ZB_AGAIN);
  EQUAL(ring->view->surplus_tokens, 0);
  EQUAL(word(&ring->oieb->payload_free_bytes), ring->payload_size);
}

#ifdef THREAD_SANITIZER
#define STREAM_FRAMES 100000
#else
#define STREAM_FRAMES 300000
#endif

TEST(hundreds_of_thousands_of_frames_pass_between_two_threads_byte_for_byte) {
  struct ring ring;
  pthread_t thread;
  open_ring(&ring, 1024);
  struct stream stream = {.ring = &ring, .frames = long_run(STREAM_FRAMES)};
  start_thread(&thread, write_stream, &stream);
  read_stream(&ring, stream.frames, 0);
  join_thread(thread);
  CHECK(word(&ring.oieb->payload_written_count) > stream.frames); /* wraps are counted, too */
  close_ring(&ring);
}

/* The writer on a mapping of its own, as in another process: nothing but shared memory is common to the two. */
static void *write_stream_through_another_mapping(void *argument) {
  struct stream *stream = argument;
  struct ring *end = stream->ring;
  write_stream(stream);
  zb_oieb_claim(end->memory, ZB_WRITER, word(&end->oieb->writer_pid), 0);
  zb_semaphore_post(end->written, 1); /* as on close */
  return NULL;
}

TEST(frames_pass_between_two_threads_on_two_mappings_until_the_writer_closes) {
  struct ring ring, other = {.payload_size = 2048};
  pthread_t thread;
  open_ring(&ring, other.payload_size);
  OK(zb_memory_open(ring.name, &other.memory));
  OK(zb_semaphore_open(ring.name, ZB_WRITER, &other.written));
  OK(zb_semaphore_open(ring.name, ZB_READER, &other.released));
  other.oieb = zb_memory_address(other.memory);
  CHECK(other.oieb != ring.oieb);
  OK(zb_oieb_claim(other.memory, ZB_WRITER, 0, (uint64_t)getpid()));
  OK(zb_writer_open(other.memory, other.written, other.released, (uint64_t)getpid(), ZB_WAIT_ADAPTIVE,
                    &other.writer));
  other.writer_view = (const struct zb_writer_view *)other.writer;
  struct stream stream = {.ring = &other, .frames = long_run(STREAM_FRAMES / 3)};
  start_thread(&thread, write_stream_through_another_mapping, &stream);
  read_frames_of(&ring, stream.frames, 0);
  join_thread(thread);
  EQUAL(word(&ring.oieb->writer_pid), 0);
  EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_AGAIN); /* the wake-up of the close */
  EQUAL(ring.view->surplus_tokens, 1);
  EQUAL(word(&ring.oieb->payload_free_bytes), ring.payload_size);
  zb_writer_close(other.writer);
  zb_memory_close(other.memory);
  zb_semaphore_close(other.written);
  zb_semaphore_close(other.released);
  close_ring(&ring);
}

TEST(frames_that_each_need_an_empty_ring_pass_between_two_threads) {
  struct ring ring;
  pthread_t thread;
  open_ring(&ring, 64);
  struct stream stream = {.ring = &ring, .frames = long_run(STREAM_FRAMES / 10)};
  start_thread(&thread, write_stream, &stream);
  read_stream(&ring, stream.frames, 0);
  join_thread(thread);
  close_ring(&ring);
}

TEST(frames_whose_posts_are_all_lost_pass_between_two_threads) {
  struct ring ring, elsewhere;
  pthread_t thread;
  open_ring(&ring, 1024);
  open_buffer(&elsewhere, 0, 64);
  zb_writer_close(ring.writer);
  OK(zb_writer_open(ring.memory, elsewhere.written, ring.released, (uint64_t)getpid(), ZB_WAIT_ADAPTIVE,
                    &ring.writer));
  ring.writer_view = (const struct zb_writer_view *)ring.writer;
  struct stream stream = {.ring = &ring, .frames = long_run(STREAM_FRAMES / 10)};
  start_thread(&thread, write_stream, &stream);
  read_stream(&ring, stream.frames, ZB_WITHOUT_TOKEN);
  join_thread(thread);
  EQUAL(zb_semaphore_value(elsewhere.written), stream.frames);
  close_ring(&ring);
  close_ring(&elsewhere);
}

static void write_stream_from_outside(void *argument) {
  struct stream *stream = argument;
  struct ring ring = {.payload_size = stream->ring->payload_size};
  OK(zb_memory_open(stream->ring->name, &ring.memory));
  OK(zb_semaphore_open(stream->ring->name, ZB_WRITER, &ring.written));
  OK(zb_semaphore_open(stream->ring->name, ZB_READER, &ring.released));
  ring.oieb = zb_memory_address(ring.memory);
  OK(zb_writer_open(ring.memory, ring.written, ring.released, word(&ring.oieb->reader_pid), ZB_WAIT_ADAPTIVE,
                    &ring.writer));
  ring.writer_view = (const struct zb_writer_view *)ring.writer;
  write_stream(&(struct stream){.ring = &ring, .frames = stream->frames});
}

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
    uint64_t read = 0;
    bool killed = false;
    for (;;) {
      int32_t count =
          killed ? zb_reader_next(ring.reader, 0, ZB_WITHOUT_TOKEN) : zb_reader_next(ring.reader, 20000, 0);
      if (count == ZB_AGAIN && killed) break;
      if (count == ZB_AGAIN) continue;
      CHECK(count > 0);
      for (int i = 0; i < count; i++) {
        check_frame(&ring, i, size_of(read + 1, 1024), read + 1);
        OK(zb_reader_release(ring.reader, (uint32_t)read++, 1));
      }
      if (read > 200 + (uint64_t)round * 7 && !killed) {
        kill(pid, SIGKILL);
        EQUAL(waitpid(pid, NULL, 0), pid);
        killed = true;
      }
    }
    zb_reader_settle(ring.reader);
    EQUAL(word(&ring.oieb->payload_free_bytes), 1024);
    close_ring(&ring);
  }
}

/* ---- one waits for the other --------------------------------------------------------------------------------- */

static void *write_when_awaited(void *argument) {
  struct ring *ring = argument;
  UNTIL(waiters_of(ring->written) == 1);
  OK(write_frame(ring, 24, 1));
  return NULL;
}

TEST(a_reader_that_waits_is_woken_by_the_frame) {
  struct ring ring;
  pthread_t thread;
  open_ring(&ring, 256);
  int64_t start = zb_now_ns();
  start_thread(&thread, write_when_awaited, &ring);
  EQUAL(zb_reader_next(ring.reader, 30000000, 0), 1);
  CHECK(elapsed_ms(start) < 15000);
  check_frame(&ring, 0, 24, 1);
  join_thread(thread);
  EQUAL(waiters_of(ring.written), 0);
  close_ring(&ring);
}

static void *release_when_awaited(void *argument) {
  struct ring *ring = argument;
  for (uint32_t index = 0; index < 3; index++) {
    UNTIL(waiters_of(ring->released) == 1);
    OK(zb_reader_release(ring->reader, index, 1));
  }
  return NULL;
}

TEST(a_writer_that_waits_is_woken_until_there_is_room_enough) {
  struct ring ring;
  pthread_t thread;
  open_ring(&ring, 256);
  for (uint64_t sequence = 1; sequence <= 3; sequence++) OK(write_frame(&ring, 60, sequence));
  EQUAL(zb_reader_next(ring.reader, 0, 0), 3);
  int64_t start = zb_now_ns();
  start_thread(&thread, release_when_awaited, &ring);
  OK(zb_writer_acquire(ring.writer, 240, 30000000));
  CHECK(elapsed_ms(start) < 15000);
  OK(zb_writer_commit(ring.writer));
  join_thread(thread);
  EQUAL(waiters_of(ring.released), 0);
  close_ring(&ring);
}

TEST(a_reader_without_frames_waits_as_long_as_asked) {
  struct ring ring;
  open_ring(&ring, 256);
  int64_t start = zb_now_ns();
  EQUAL(zb_reader_next(ring.reader, 30000, 0), ZB_AGAIN);
  CHECK(elapsed_ms(start) >= 29 && elapsed_ms(start) < 5000);
  EQUAL(waiters_of(ring.written), 0);
  close_ring(&ring);
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
  int64_t start = zb_now_ns();
  start_thread(&thread, interrupt_until_done, &interruption);
  EQUAL(zb_sleep(30000000), ZB_INTERRUPTED);
  EQUAL(zb_writer_acquire(ring.writer, 48, 30000000), ZB_INTERRUPTED);
  read_frame(&ring, 48, 1);
  EQUAL(zb_reader_next(ring.reader, 30000000, 0), ZB_INTERRUPTED);
  CHECK(elapsed_ms(start) < 15000);
  atomic_store(&interruption.done, true);
  join_thread(thread);
  EQUAL(waiters_of(ring.written) + waiters_of(ring.released), 0);
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
  int64_t start = zb_now_ns();
  EQUAL(zb_writer_acquire(ring.writer, 48, 50000), ZB_AGAIN);
  CHECK(elapsed_ms(start) < 3000);
  kill(pid, SIGKILL);
  EQUAL(waitpid(pid, NULL, 0), pid);
  close_ring(&ring);
}

/* ---- the waiter of an event loop ----------------------------------------------------------------------------- */

/* Whether the bell rings within the time; takes the byte. */
static bool rings(int bell, int wait_ms) {
  struct pollfd poll_one = {.fd = bell, .events = POLLIN};
  char byte;
  if (poll(&poll_one, 1, wait_ms) != 1) return false;
  EQUAL(read(bell, &byte, 1), 1);
  return true;
}

TEST(a_waiter_rings_when_a_token_comes_and_leaves_it) {
  struct ring ring;
  zb_waiter *waiter;
  int32_t bell;
  open_ring(&ring, 4096);
  OK(zb_waiter_open(ring.written, &bell, &waiter));
  for (uint64_t sequence = 1; sequence <= 100; sequence++) {
    zb_waiter_arm(waiter, 30000000);
    if (sequence % 2) UNTIL(waiters_of(ring.written) == 1);
    OK(write_frame(&ring, 24, sequence));
    CHECK(rings(bell, 15000));
    EQUAL(zb_semaphore_value(ring.written), 1);
    CHECK(!rings(bell, 0));
    read_frame(&ring, 24, sequence);
    OK(zb_reader_release(ring.reader, (uint32_t)sequence - 1, 1));
  }
  EQUAL(waiters_of(ring.written), 0);
  zb_waiter_close(waiter);
  close_ring(&ring);
}

TEST(a_waiter_rings_at_once_when_there_is_a_token_already) {
  struct ring ring;
  zb_waiter *waiter;
  int32_t bell;
  open_ring(&ring, 256);
  OK(write_frame(&ring, 24, 1));
  OK(zb_waiter_open(ring.written, &bell, &waiter));
  CHECK(!rings(bell, 20)); /* nobody has asked */
  zb_waiter_arm(waiter, 30000000);
  CHECK(rings(bell, 15000));
  EQUAL(zb_semaphore_value(ring.written), 1);
  zb_waiter_close(waiter);
  close_ring(&ring);
}

TEST(a_waiter_rings_once_when_its_time_is_up) {
  struct ring ring;
  zb_waiter *waiter;
  int32_t bell;
  open_ring(&ring, 256);
  OK(zb_waiter_open(ring.written, &bell, &waiter));
  int64_t start = zb_now_ns();
  zb_waiter_arm(waiter, 30000);
  CHECK(rings(bell, 15000));
  CHECK(elapsed_ms(start) >= 29);
  CHECK(!rings(bell, 50));
  zb_waiter_close(waiter);
  close_ring(&ring);
}

TEST(a_waiter_closes_at_once_in_the_middle_of_a_wait_and_takes_its_pipe_along) {
  struct ring ring;
  open_ring(&ring, 256);
  for (int round = 0; round < 200; round++) {
    zb_waiter *waiter;
    int32_t bell;
    OK(zb_waiter_open(ring.written, &bell, &waiter));
    if (round > 0) zb_waiter_arm(waiter, 30000000);
    if (round % 3 == 1) UNTIL(waiters_of(ring.written) == 1);
    int64_t start = zb_now_ns();
    zb_waiter_close(waiter);
    CHECK(elapsed_ms(start) < 5000);
    EQUAL(fcntl(bell, F_GETFD), -1);
    EQUAL(waiters_of(ring.written), 0);
  }
  close_ring(&ring);
}

TEST(a_waiter_that_nobody_listens_to_goes_on_when_its_bell_is_full) {
  struct ring ring;
  zb_waiter *waiter;
  int32_t bell;
  open_ring(&ring, 256);
  OK(zb_waiter_open(ring.written, &bell, &waiter));
  zb_semaphore_post(ring.written, 1);
  for (int i = 0; i < 1000; i++) zb_waiter_arm(waiter, 1000);
  CHECK(rings(bell, 15000));
  zb_waiter_close(waiter);
  close_ring(&ring);
}

static void *write_when_two_wait(void *argument) {
  struct ring *ring = argument;
  UNTIL(waiters_of(ring->written) == 2);
  OK(write_frame(ring, 24, 1));
  return NULL;
}

TEST(a_waiter_does_not_swallow_the_wake_up_of_a_reader_that_blocks) {
  struct ring ring;
  zb_waiter *waiter;
  pthread_t thread;
  int32_t bell;
  open_ring(&ring, 256);
  OK(zb_waiter_open(ring.written, &bell, &waiter));
  zb_waiter_arm(waiter, 30000000);
  UNTIL(waiters_of(ring.written) == 1);
  int64_t start = zb_now_ns();
  start_thread(&thread, write_when_two_wait, &ring);
  EQUAL(zb_reader_next(ring.reader, 30000000, 0), 1);
  CHECK(elapsed_ms(start) < 15000);
  join_thread(thread);
  zb_waiter_close(waiter);
  close_ring(&ring);
}

/* ---- a waiter and a reader on one semaphore ------------------------------------------------------------------ */

#define POSTS 30000

static void *take_every_token(void *argument) {
  struct ring *ring = argument;
  for (uint32_t taken = 0; taken < POSTS;) {
    OK(zb_semaphore_await(ring->written, zb_now_ns() + 20000000000, NULL));
    taken += zb_semaphore_take(ring->written, 1);
  }
  return NULL;
}

TEST(no_wake_up_is_lost_between_a_waiter_and_a_reader_that_blocks_however_quickly_posts_follow) {
  struct ring ring;
  pthread_t thread;
  zb_waiter *waiter;
  int descriptor;
  char byte;
  open_ring(&ring, 256);
  OK(zb_waiter_open(ring.written, &descriptor, &waiter));
  zb_waiter_arm(waiter, 20000000);
  start_thread(&thread, take_every_token, &ring);
  for (int posted = 0; posted < POSTS; posted++) {
    /* Now and then both sleep when a post comes. */
    if (posted % 1000 == 0) UNTIL(zb_semaphore_value(ring.written) == 0);
    if (posted % 100 == 0) usleep(50);
    zb_semaphore_post(ring.written, 1);
    if (read(descriptor, &byte, 1) == 1) zb_waiter_arm(waiter, 20000000);
  }
  int64_t start = zb_now_ns();
  join_thread(thread);
  CHECK(elapsed_ms(start) < 15000);
  zb_waiter_close(waiter);
  close_ring(&ring);
}
