/* Passing frames on as descriptors (docs/protocol.md, section 10). */
#include "passing.h"

#include <errno.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* A constant of the kernel that some C libraries lack. */
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

static void answer(struct passing *passing) {
  EQUAL(zb_reader_next(passing->target.reader, 0, 0), ZB_READ_ATTACHMENT);
  EQUAL(strcmp(passing->target.view->source_name, passing->source.name), 0);
  OK(zb_reader_open_source(passing->target.reader, &passing->mapped));
  OK(zb_memory_map(passing->mapped));
  OK(zb_reader_answer(passing->target.reader, passing->mapped, 128 + 64,
                      (double)passing->source.payload_size));
}

void open_passing(struct passing *passing, uint64_t source_size, uint64_t target_size) {
  memset(passing, 0, sizeof *passing);
  open_ring(&passing->source, source_size);
  open_ring(&passing->target, target_size);
  zb_reader_take_descriptors(passing->target.reader);
  OK(zb_target_open(passing->source.reader, passing->target.writer, &passing->passed));
  EQUAL(zb_target_answer(passing->passed), 0);
  OK(zb_target_attach(passing->passed, ID, passing->source.name));
  answer(passing);
  EQUAL(zb_target_answer(passing->passed), 1);
}

void close_passing(struct passing *passing) {
  if (passing->passed != NULL) {
    zb_target_leave(passing->passed);
    zb_target_close(passing->passed);
  }
  close_ring(&passing->target);
  close_ring(&passing->source);
  if (passing->mapped != NULL) zb_memory_close(passing->mapped);
}

int32_t pass_again(struct passing *passing, uint64_t sequence, int32_t wait_us) {
  const struct zb_frame_place *frame = &passing->source.view->frames[0];
  for (;;) { /* on a busy machine any two steps may be far apart */
    zb_writer_peer(passing->target.writer, word(&passing->target.oieb->reader_pid));
    int32_t code =
        zb_target_pass(passing->passed, (uint32_t)sequence - 1, frame->offset, frame->size, wait_us);
    if (code != ZB_PEER_CHECK) return code;
  }
}

int32_t pass(struct passing *passing, uint64_t size, uint64_t sequence) {
  OK(write_frame(&passing->source, size, sequence));
  read_frame(&passing->source, size, sequence);
  return pass_again(passing, sequence, 0);
}

double references(const struct passing *passing) {
  return ((const struct zb_target_view *)passing->passed)->references;
}

uint64_t used(struct passing *passing) {
  return passing->source.payload_size - word(&passing->source.oieb->payload_free_bytes);
}

/* Expects one shared frame, which the target's writer has numbered so, with the bytes of frame `sequence` of the source. */
static void read_shared_as(struct passing *passing, uint64_t size, uint64_t sequence, uint64_t number) {
  const struct zb_reader_view *view = passing->target.view;
  EQUAL(zb_reader_next(passing->target.reader, 0, 0), ZB_READ_SHARED + 1);
  EQUAL(view->frames[0].size, size);
  EQUAL(view->frames[0].sequence, number);
  const uint8_t *bytes = (const uint8_t *)zb_memory_address(passing->mapped) + (size_t)view->frames[0].offset;
  CHECK(is_filled(bytes, size, sequence));
}

void read_shared(struct passing *passing, uint64_t size, uint64_t sequence) {
  read_shared_as(passing, size, sequence, sequence);
}

TEST(a_frame_is_passed_on_without_a_copy_and_released_when_both_readers_have_done_so) {
  struct passing passing;
  open_passing(&passing, 65536, 16384);
  for (uint64_t sequence = 1; sequence <= 500; sequence++) {
    EQUAL(pass(&passing, SIZE, sequence), ZB_PASSED_SHARED);
    EQUAL(references(&passing), 1);
    OK(zb_reader_release(passing.source.reader, (uint32_t)sequence - 1, 1));
    EQUAL(used(&passing), SPACE);
    read_shared(&passing, SIZE, sequence);
    OK(zb_reader_release(passing.target.reader, (uint32_t)sequence - 1, 1));
    EQUAL(word(&passing.target.oieb->released_descriptors), sequence);
    OK(zb_reader_collect(passing.source.reader, 1));
    EQUAL(used(&passing), 0);
    EQUAL(references(&passing), 0);
  }
  close_passing(&passing);
}

TEST(many_frames_are_forwarded_with_one_call_shared_and_as_copies) {
  struct passing passing;
  open_passing(&passing, 65536, 65536);
  EQUAL(pass(&passing, SIZE, 1), ZB_PASSED_SHARED);
  OK(zb_reader_release(passing.source.reader, 0, 1));
  OK(write_frame(&passing.source, SIZE, 2));
  OK(write_frame(&passing.source, 100, 3));
  OK(write_frame(&passing.source, SIZE, 4));
  zb_writer_peer(passing.target.writer, word(&passing.target.oieb->reader_pid));
  EQUAL(zb_reader_forward(passing.source.reader, passing.target.writer, 0, 0, 3, 1e9, 0, 0), 3);
  EQUAL(passing.source.view->forwarded, 3);
  EQUAL(passing.source.view->forwarded_bytes, 2 * SIZE + 100);
  EQUAL(passing.source.view->forwarded_shared, 2);
  EQUAL(references(&passing), 3);
  EQUAL(used(&passing), 3 * SPACE + HEADER + 100);
  close_passing(&passing);
}

TEST(memory_is_shown_as_shared_as_long_as_it_is_mapped_by_a_reader_of_its_frames) {
  struct passing passing;
  open_passing(&passing, 65536, 16384);
  EQUAL(zb_memory_shared(passing.source.memory), 1);
  EQUAL(zb_memory_alone(passing.source.memory), ZB_UNSUPPORTED);
  zb_memory_lend(passing.mapped);
  EQUAL(zb_memory_close(passing.mapped), 1);
  EQUAL(zb_memory_shared(passing.source.memory), 1);
  zb_memory_return(NULL, passing.mapped);
  passing.mapped = NULL;
  EQUAL(zb_memory_shared(passing.source.memory), 0);
  close_passing(&passing);
}

TEST(a_frame_that_nobody_holds_is_not_passed_on) {
  struct passing passing;
  open_passing(&passing, 65536, 16384);
  zb_reader *source = passing.source.reader;
  EQUAL(pass(&passing, SIZE, 1), ZB_PASSED_SHARED);
  EQUAL(pass_again(&passing, 2, 0), ZB_ALREADY); /* not read yet */
  EQUAL(zb_reader_hold(source, 1), ZB_ALREADY);
  OK(write_frame(&passing.source, SIZE, 2));
  read_frame(&passing.source, SIZE, 2);
  /* Its space is not returned: an older frame is held. */
  OK(zb_reader_release(source, 1, 1));
  EQUAL(used(&passing), 2 * SPACE);
  EQUAL(pass_again(&passing, 2, 0), ZB_ALREADY);
  EQUAL(zb_reader_hold(source, 1), ZB_ALREADY);
  OK(zb_reader_release(source, 0, 1));
  read_shared(&passing, SIZE, 1);
  OK(zb_reader_release(passing.target.reader, 0, 1));
  OK(zb_reader_collect(source, 1));
  EQUAL(used(&passing), 0);
  EQUAL(pass_again(&passing, 1, 0), ZB_ALREADY);
  close_passing(&passing);
}

/* ---- the most frames that a target may hold -------------------------------------------------------------------- */

TEST(a_target_whose_reader_holds_as_many_frames_as_it_may_gets_nothing_until_it_releases_one) {
  struct passing passing;
  open_passing(&passing, 65536, 16384);
  struct ring *target = &passing.target;
  zb_target_limit(passing.passed, 2);
  EQUAL(pass(&passing, SIZE, 1), ZB_PASSED_SHARED);
  EQUAL(pass(&passing, SIZE, 2), ZB_PASSED_SHARED);
  EQUAL(target->writer_view->waits, 0);
  EQUAL(pass(&passing, SIZE, 3), ZB_AGAIN);
  EQUAL(target->writer_view->waits, 1);
  /* Not even what is copied, or an attachment. */
  EQUAL(write_frame(target, 24, 3), ZB_AGAIN);
  EQUAL(zb_target_attach(passing.passed, ID + 2, passing.source.name), ZB_AGAIN);
  EQUAL(references(&passing), 2);
  EQUAL(zb_reader_next(target->reader, 0, 0), ZB_READ_SHARED + 2);
  EQUAL(pass_again(&passing, 3, 0), ZB_AGAIN); /* read, and not released */
  OK(zb_reader_release(target->reader, 0, 1));
  EQUAL(pass_again(&passing, 3, 0), ZB_PASSED_SHARED);
  EQUAL(pass(&passing, SIZE, 4), ZB_AGAIN);
  /* A higher limit holds at once, and a lower one takes nothing back. */
  zb_target_limit(passing.passed, 1e300);
  EQUAL(pass_again(&passing, 4, 0), ZB_PASSED_SHARED);
  zb_target_limit(passing.passed, 1);
  EQUAL(references(&passing), 3);
  EQUAL(pass(&passing, 24, 5), ZB_AGAIN);
  EQUAL(zb_reader_next(target->reader, 0, 0), ZB_READ_SHARED + 2);
  for (uint32_t index = 1; index <= 3; index++) {
    OK(zb_reader_release(target->reader, index, 1));
    EQUAL(pass_again(&passing, 5, 0), index < 3 ? ZB_AGAIN : ZB_PASSED_COPIED);
  }
  /* Copies do not count. */
  EQUAL(pass_again(&passing, 5, 0), ZB_PASSED_COPIED);
  EQUAL(references(&passing), 0);
  close_passing(&passing);
}

static void *release_when_the_forwarder_waits(void *argument) {
  struct passing *passing = argument;
  UNTIL(waits(passing->target.released, 1));
  read_shared(passing, SIZE, 1);
  OK(zb_reader_release(passing->target.reader, 0, 1));
  return NULL;
}

TEST(a_forwarder_that_waits_at_the_limit_goes_on_when_its_target_releases) {
  struct passing passing;
  pthread_t thread;
  open_passing(&passing, 65536, 16384);
  zb_target_limit(passing.passed, 1);
  EQUAL(pass(&passing, SIZE, 1), ZB_PASSED_SHARED);
  EQUAL(pass(&passing, SIZE, 2), ZB_AGAIN);
  int64_t start = zb_now_ns();
  start_thread(&thread, release_when_the_forwarder_waits, &passing);
  EQUAL(pass_again(&passing, 2, 30000000), ZB_PASSED_SHARED);
  CHECK(elapsed_ms(start) < 15000);
  join_thread(thread);
  EQUAL(references(&passing), 1);
  close_passing(&passing);
}

/* ---- the next source of a writer -------------------------------------------------------------------------------- */

/* The target's writer goes on with another source. */
static void go_on_with(struct passing *passing, struct ring *source) {
  zb_target_leave(passing->passed);
  zb_target_close(passing->passed);
  OK(zb_target_open(source->reader, passing->target.writer, &passing->passed));
}

TEST(a_frame_of_the_next_source_is_kept_while_those_of_the_last_one_are_released) {
  struct passing passing;
  struct ring first;
  open_passing(&passing, 65536, 65536);
  for (uint64_t sequence = 1; sequence <= 2; sequence++) {
    EQUAL(pass(&passing, SIZE, sequence), ZB_PASSED_SHARED);
    read_shared(&passing, SIZE, sequence);
  }
  first = passing.source;
  open_ring(&passing.source, 65536);
  go_on_with(&passing, &passing.source);
  zb_memory *mapped_first = passing.mapped;
  OK(zb_target_attach(passing.passed, ID + 2, passing.source.name));
  answer(&passing);
  EQUAL(pass(&passing, SIZE, 1), ZB_PASSED_SHARED);
  OK(zb_reader_release(passing.source.reader, 0, 1));
  read_shared_as(&passing, SIZE, 1, 3);
  for (uint32_t index = 0; index < 3; index++) {
    EQUAL(references(&passing), 1);
    EQUAL(used(&passing), SPACE);
    OK(zb_reader_release(passing.target.reader, index, 1));
    OK(zb_reader_collect(passing.source.reader, 1));
  }
  EQUAL(references(&passing), 0);
  EQUAL(used(&passing), 0);
  zb_memory_close(mapped_first);
  close_ring(&first);
  close_passing(&passing);
}

TEST(the_next_source_of_a_writer_fails_if_more_is_counted_than_was_sent) {
  struct passing passing;
  struct ring first;
  open_passing(&passing, 65536, 16384);
  first = passing.source;
  open_ring(&passing.source, 65536);
  set_word(&passing.target.oieb->released_descriptors, 1);
  go_on_with(&passing, &passing.source);
  EQUAL(zb_target_attach(passing.passed, ID + 2, passing.source.name), ZB_BAD_CONTROL);
  close_ring(&first);
  close_passing(&passing);
}

/* ---- waiting --------------------------------------------------------------------------------------------------- */

static void *release_when_the_source_sleeps(void *argument) {
  struct passing *passing = argument;
  UNTIL(waits(passing->source.written, 1));
  read_shared(passing, SIZE, 1);
  OK(zb_reader_release(passing->target.reader, 0, 1));
  /* The writer of the source waits for that space. */
  UNTIL(word(&passing->source.oieb->payload_free_bytes) == passing->source.payload_size);
  OK(write_frame(&passing->source, 24, 2));
  return NULL;
}

static void *release_when_the_source_waits(void *argument) {
  struct passing *passing = argument;
  UNTIL(waits(passing->source.written, 1) && waits(passing->target.released, 1));
  return release_when_the_source_sleeps(passing);
}

/* The only frame of the source is passed on and released, and the source waits for the next one while `releases` lets the target
 * release. Closes both. */
static void wait_as_source(struct passing *passing, void *(*releases)(void *)) {
  pthread_t thread;
  EQUAL(pass(passing, SIZE, 1), ZB_PASSED_SHARED);
  OK(zb_reader_release(passing->source.reader, 0, 1));
  int64_t start = zb_now_ns();
  start_thread(&thread, releases, passing);
  EQUAL(zb_reader_next(passing->source.reader, 30000000, 0), 1);
  CHECK(elapsed_ms(start) < 15000);
  join_thread(thread);
  check_frame(&passing->source, 0, 24, 2);
  CHECK(waits(passing->source.written, 0) && waits(passing->target.released, 0));
  close_passing(passing);
}

TEST(a_source_that_waits_for_a_frame_is_woken_by_what_its_target_releases) {
  struct passing passing;
  open_passing(&passing, 16384, 16384);
  wait_as_source(&passing, release_when_the_source_waits);
}

/* The kernel answers the call that waits for several semaphores with this error. */
static void wait_without_that_call(void *error) {
  struct passing passing;
  if (!answer_call(SYS_futex_waitv, *(const int *)error)) _exit(2);
  open_passing(&passing, 16384, 16384);
  zb_semaphore *semaphores[] = {passing.source.written, passing.target.released};
  zb_semaphore_take(passing.target.released, UINT32_MAX);
  EQUAL(zb_semaphores_await(semaphores, 2, zb_now_ns() + 30000000000), ZB_UNSUPPORTED);
  wait_as_source(&passing, release_when_the_source_sleeps);
}

TEST(a_source_collects_what_its_target_releases_where_no_call_waits_for_several_semaphores) {
  int errors[] = {ENOSYS, EPERM};
  for (int i = 0; i < 2; i++) {
    int status = run_child(wait_without_that_call, &errors[i]);
    if (WEXITSTATUS(status) == 2) {
      printf("the kernel cannot be told what to answer\n");
      return;
    }
    EQUAL(status, 0);
  }
}

static void *post_when_awaited(void *argument) {
  zb_semaphore **semaphores = argument;
  UNTIL(waits(semaphores[0], 1) && waits(semaphores[63], 1));
  zb_semaphore_post(semaphores[63], 1);
  return NULL;
}

TEST(a_wait_for_several_semaphores_ends_with_a_token_of_any) {
  struct ring ring;
  pthread_t thread;
  open_ring(&ring, 4096);
  zb_semaphore *semaphores[200];
  for (int i = 0; i < 200; i++) semaphores[i] = i == 63 ? ring.released : ring.written;
  EQUAL(zb_semaphores_await(semaphores, 200, zb_now_ns()), ZB_UNSUPPORTED);
  int64_t start = zb_now_ns();
  EQUAL(zb_semaphores_await(semaphores, 2, start + 20000000), ZB_AGAIN);
  CHECK(elapsed_ms(start) >= 20);
  semaphores[1] = ring.released;
  start_thread(&thread, post_when_awaited, (zb_semaphore *[64]){[0] = ring.written, [63] = ring.released});
  OK(zb_semaphores_await(semaphores, 2, zb_now_ns() + 30000000000));
  join_thread(thread);
  EQUAL(zb_semaphore_value(ring.released), 1);
  OK(zb_semaphores_await(semaphores, 2, zb_now_ns()));
  CHECK(waits(ring.written, 0) && waits(ring.released, 0));
  close_ring(&ring);
}

/* ---- a target that has left ------------------------------------------------------------------------------------ */

/* The first frames of the source, which only the target holds afterwards. */
static void pass_and_release(struct passing *passing, uint64_t count) {
  for (uint64_t sequence = 1; sequence <= count; sequence++) {
    EQUAL(pass(passing, SIZE, sequence), ZB_PASSED_SHARED);
    OK(zb_reader_release(passing->source.reader, (uint32_t)sequence - 1, 1));
  }
}

TEST(references_of_a_writer_that_has_left_are_collected_whatever_the_next_one_sends) {
  struct passing passing;
  open_passing(&passing, 65536, 16384);
  pass_and_release(&passing, 3);
  zb_target_leave(passing.passed);
  EQUAL(zb_target_pass(passing.passed, 0, 0, SIZE, 0), ZB_ALREADY);
  set_word(&passing.target.oieb->released_descriptors, 2);
  OK(zb_reader_collect(passing.source.reader, 1));
  EQUAL(references(&passing), 1);
  EQUAL(used(&passing), SPACE);
  /* Its own tokens stay for the next writer. */
  EQUAL(zb_semaphore_value(passing.target.released), 1);
  set_word(&passing.target.oieb->released_descriptors, 1000);
  OK(zb_reader_collect(passing.source.reader, 1));
  EQUAL(references(&passing), 0);
  EQUAL(used(&passing), 0);
  close_passing(&passing);
}

TEST(what_a_dead_reader_of_the_target_has_counted_is_part_of_what_is_dropped) {
  struct passing passing;
  open_passing(&passing, 65536, 16384);
  pass_and_release(&passing, 2);
  set_word(&passing.target.oieb->released_descriptors, 1);
  OK(zb_target_drop(passing.passed));
  EQUAL(references(&passing), 0);
  EQUAL(used(&passing), 0);
  OK(write_frame(&passing.target, 24, 3));
  close_passing(&passing);
}

TEST(references_are_dropped_when_the_reader_of_the_target_has_left) {
  struct passing passing;
  open_passing(&passing, 65536, 16384);
  EQUAL(pass(&passing, SIZE, 1), ZB_PASSED_SHARED);
  OK(zb_reader_release(passing.source.reader, 0, 1));
  OK(zb_reader_collect(passing.source.reader, 1));
  EQUAL(used(&passing), SPACE);
  set_word(&passing.target.oieb->reader_pid, 0);
  OK(zb_reader_collect(passing.source.reader, 1));
  EQUAL(used(&passing), 0);
  close_passing(&passing);
}
