/* Two ends at work at the same time: waiting, waking, and streams of frames (docs/protocol.md, section 4). */
#include "test.h"

#include <sched.h>

#define HEADER sizeof(struct zb_frame_header)

/* ---- streams ------------------------------------------------------------------------------------------------- */

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
  OK(open_memory(ring.name, &other.memory));
  OK(zb_semaphore_open(ring.name, ZB_WRITER, &other.written));
  OK(zb_semaphore_open(ring.name, ZB_READER, &other.released));
  other.oieb = zb_memory_address(other.memory);
  CHECK(other.oieb != ring.oieb);
  OK(zb_oieb_claim(other.memory, ZB_WRITER, 0, (uint64_t)getpid()));
  OK(zb_writer_open(other.memory, other.written, other.released, (uint64_t)getpid(), 1, ZB_WAIT_ADAPTIVE,
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
  OK(zb_writer_open(ring.memory, elsewhere.written, ring.released, (uint64_t)getpid(), 1, ZB_WAIT_ADAPTIVE,
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

/* ---- one waits for the other --------------------------------------------------------------------------------- */

static void *write_when_awaited(void *argument) {
  struct ring *ring = argument;
  UNTIL(waits(ring->written, 1));
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
  CHECK(waits(ring.written, 0));
  close_ring(&ring);
}

static void *release_when_awaited(void *argument) {
  struct ring *ring = argument;
  for (uint32_t index = 0; index < 3; index++) {
    UNTIL(waits(ring->released, 1));
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
  CHECK(waits(ring.released, 0));
  close_ring(&ring);
}

TEST(a_reader_without_frames_waits_as_long_as_asked) {
  struct ring ring;
  open_ring(&ring, 256);
  int64_t start = zb_now_ns();
  EQUAL(zb_reader_next(ring.reader, 30000, 0), ZB_AGAIN);
  CHECK(elapsed_ms(start) >= 29 && elapsed_ms(start) < 5000);
  CHECK(waits(ring.written, 0));
  close_ring(&ring);
}

/* ---- the waiter of an event loop ----------------------------------------------------------------------------- */

WAITER_TEST(a_waiter_rings_when_a_token_comes_and_leaves_it) {
  struct ring ring;
  zb_waiter *waiter;
  int32_t bell;
  open_ring(&ring, 4096);
  OK(zb_waiter_open(ring.written, &bell, &waiter));
  for (uint64_t sequence = 1; sequence <= 100; sequence++) {
    zb_waiter_arm(waiter, 30000000);
    if (sequence % 2) UNTIL(waits(ring.written, 1));
    OK(write_frame(&ring, 24, sequence));
    CHECK(rings(bell, 15000));
    zb_waiter_heard(waiter);
    CHECK(waits(ring.written, 0));
    EQUAL(zb_semaphore_value(ring.written), 1);
    CHECK(!rings(bell, 0));
    read_frame(&ring, 24, sequence);
    OK(zb_reader_release(ring.reader, (uint32_t)sequence - 1, 1));
  }
  CHECK(waits(ring.written, 0));
  close_waited(&ring, waiter, bell);
}

WAITER_TEST(a_waiter_rings_at_once_when_there_is_a_token_already) {
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
  close_waited(&ring, waiter, bell);
}

WAITER_TEST(a_waiter_rings_once_when_its_time_is_up) {
  struct ring ring;
  zb_waiter *waiter;
  int32_t bell;
  open_waited(&ring, &waiter, &bell);
  int64_t start = zb_now_ns();
  zb_waiter_arm(waiter, 30000);
  CHECK(rings(bell, 15000));
  CHECK(elapsed_ms(start) >= 29);
  CHECK(!rings(bell, 50));
  close_waited(&ring, waiter, bell);
}

WAITER_TEST(a_waiter_closes_at_once_in_the_middle_of_a_wait_and_takes_its_end_along) {
  struct ring ring;
  open_ring(&ring, 256);
  for (int round = 0; round < 200; round++) {
    zb_waiter *waiter;
    int32_t bell;
    OK(zb_waiter_open(ring.written, &bell, &waiter));
    if (round > 0) zb_waiter_arm(waiter, 30000000);
    if (round % 3 == 1) UNTIL(waits(ring.written, 1));
    int64_t start = zb_now_ns();
    zb_waiter_close(waiter);
    CHECK(elapsed_ms(start) < 5000);
    close_bell(bell);
    CHECK(waits(ring.written, 0));
  }
  close_ring(&ring);
}

WAITER_TEST(a_waiter_that_nobody_listens_to_goes_on_when_its_bell_is_full) {
  struct ring ring;
  zb_waiter *waiter;
  int32_t bell;
  open_waited(&ring, &waiter, &bell);
  zb_semaphore_post(ring.written, 1);
  for (int i = 0; i < 1000; i++) zb_waiter_arm(waiter, 1000);
  CHECK(rings(bell, 15000));
  close_waited(&ring, waiter, bell);
}

static void *write_when_two_wait(void *argument) {
  struct ring *ring = argument;
  UNTIL(waits(ring->written, 2));
  OK(write_frame(ring, 24, 1));
  return NULL;
}

WAITER_TEST(a_waiter_does_not_swallow_the_wake_up_of_a_reader_that_blocks) {
  struct ring ring;
  zb_waiter *waiter;
  pthread_t thread;
  int32_t bell;
  open_waited(&ring, &waiter, &bell);
  zb_waiter_arm(waiter, 30000000);
  UNTIL(waits(ring.written, 1));
  int64_t start = zb_now_ns();
  start_thread(&thread, write_when_two_wait, &ring);
  EQUAL(zb_reader_next(ring.reader, 30000000, 0), 1);
  CHECK(elapsed_ms(start) < 15000);
  join_thread(thread);
  close_waited(&ring, waiter, bell);
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

WAITER_TEST(no_wake_up_is_lost_between_a_waiter_and_a_reader_that_blocks_however_quickly_posts_follow) {
  struct ring ring;
  pthread_t thread;
  zb_waiter *waiter;
  int32_t bell;
  open_waited(&ring, &waiter, &bell);
  zb_waiter_arm(waiter, 20000000);
  start_thread(&thread, take_every_token, &ring);
  for (int posted = 0; posted < POSTS; posted++) {
    /* Now and then both sleep when a post comes. */
    if (posted % 1000 == 0) UNTIL(zb_semaphore_value(ring.written) == 0);
    if (posted % 100 == 0) usleep(50);
    zb_semaphore_post(ring.written, 1);
    if (!rings(bell, 0)) continue;
    zb_waiter_heard(waiter);
    zb_waiter_arm(waiter, 20000000);
  }
  int64_t start = zb_now_ns();
  join_thread(thread);
  CHECK(elapsed_ms(start) < 15000);
  close_waited(&ring, waiter, bell);
}

/* ---- a call that must not wait ------------------------------------------------------------------------------- */

enum { PAGE = 4096, PAGES_BEFORE = (8 << 20) / PAGE, PAGES_MEASURED = 100 };

/* The time that this thread has run on a processor: what others do to a busy machine does not count. */
static int64_t used_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Writes frames for a reader that takes none, until the writer would like the ring to be emptied, and some more. Notes
 * how much of the processor's time each of these takes, in nanoseconds, if that is less than before. */
static void measure_writes_without_waiting(int64_t least_ns[PAGES_MEASURED]) {
  static const uint8_t bytes[PAGE - HEADER];
  struct ring ring;
  open_ring(&ring, 16 << 20);
  for (int i = -PAGES_BEFORE; i < PAGES_MEASURED; i++) {
    zb_writer_peer(ring.writer, (uint64_t)getpid());
    int64_t start = used_ns();
    OK(zb_writer_write(ring.writer, bytes, sizeof bytes, 0));
    int64_t took_ns = used_ns() - start;
    if (i >= 0 && took_ns < least_ns[i]) least_ns[i] = took_ns;
  }
  close_ring(&ring);
}

TEST(a_write_that_must_not_wait_does_not_wait_for_the_ring_to_be_empty) {
  int64_t least_ns[PAGES_MEASURED];
  for (int i = 0; i < PAGES_MEASURED; i++) least_ns[i] = INT64_MAX;
  /* An interrupt may make any call long, but hardly always the same one. */
  for (int round = 0; round < 20; round++) measure_writes_without_waiting(least_ns);
  for (int i = 0; i < PAGES_MEASURED; i++) CHECK(least_ns[i] < 1000000);
}
