/* Frames that are passed on as descriptors (docs/protocol.md, section 10). */
#include "test.h"

#define HEADER 16u
#define SPECIAL ((uint64_t)1 << 63)
#define ATTACHMENT ((uint64_t)1 << 62)

struct descriptor {
  uint64_t id, offset, length;
};

#define ID 4242u
#define SIZE 8192u
#define SPACE (HEADER + SIZE)

/* A source that is passed on to one target, in this process. */
struct passing {
  struct ring source, target;
  zb_memory *mapped; /* the source, as the target's reader has it */
  zb_target *passed;
};

static void answer(struct passing *passing) {
  EQUAL(zb_reader_next(passing->target.reader, 0, 0), ZB_READ_ATTACHMENT);
  EQUAL(strcmp(passing->target.view->source_name, passing->source.name), 0);
  OK(zb_reader_open_source(passing->target.reader, &passing->mapped));
  OK(zb_memory_map(passing->mapped));
  OK(zb_reader_answer(passing->target.reader, passing->mapped, 128 + 64,
                      (double)passing->source.payload_size));
}

static void open_passing(struct passing *passing, uint64_t source_size, uint64_t target_size) {
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

static void close_passing(struct passing *passing) {
  if (passing->passed != NULL) {
    zb_target_leave(passing->passed);
    zb_target_close(passing->passed);
  }
  close_ring(&passing->target);
  close_ring(&passing->source);
  if (passing->mapped != NULL) zb_memory_close(passing->mapped);
}

/* Writes frame `sequence` to the source, reads it there and passes it on. */
static int32_t pass(struct passing *passing, uint64_t size, uint64_t sequence) {
  struct ring *source = &passing->source;
  OK(write_frame(source, size, sequence));
  read_frame(source, size, sequence);
  const struct zb_frame_place *frame = &source->view->frames[0];
  return zb_target_pass(passing->passed, (uint32_t)sequence - 1, frame->offset, frame->size, 0);
}

static double references(const struct passing *passing) {
  return ((const struct zb_target_view *)passing->passed)->references;
}

static uint64_t used(struct passing *passing) {
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

static void read_shared(struct passing *passing, uint64_t size, uint64_t sequence) {
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

TEST(an_attachment_is_credited_with_the_frames_before_it_and_answered_before_that) {
  struct passing passing;
  open_passing(&passing, 65536, 16384);
  struct ring *target = &passing.target;
  EQUAL(word(&target->oieb->payload_free_bytes), 16384);
  EQUAL(zb_semaphore_value(target->released), 1);
  OK(write_frame(target, 24, 1));
  OK(zb_target_attach(passing.passed, ID + 2, passing.source.name));
  OK(write_frame(target, 24, 2));
  EQUAL(zb_reader_next(target->reader, 0, 0), 1);
  const uint64_t free_bytes = word(&target->oieb->payload_free_bytes);
  EQUAL(zb_target_answer(passing.passed), 0);
  EQUAL(zb_reader_next(target->reader, 0, 0), ZB_READ_ATTACHMENT);
  EQUAL(zb_reader_next(target->reader, 0, 0), ZB_READ_ATTACHMENT);
  OK(zb_reader_answer(target->reader, NULL, 0, 0));
  EQUAL(zb_target_answer(passing.passed), -1);
  EQUAL(word(&target->oieb->answer), ID + 3);
  EQUAL(word(&target->oieb->payload_free_bytes), free_bytes);
  read_frame(target, 24, 2);
  EQUAL(target->view->surplus_tokens, 0);
  OK(zb_reader_release(target->reader, 0, 1));
  EQUAL(word(&target->oieb->payload_free_bytes), 16384 - HEADER - 24);
  OK(zb_reader_release(target->reader, 1, 1));
  EQUAL(zb_semaphore_value(target->released), 4);
  /* Refused: from now on frames are copied. */
  EQUAL(pass(&passing, 2048, 1), ZB_PASSED_COPIED);
  OK(zb_target_attach(passing.passed, ID + 4, ""));
  EQUAL(zb_reader_next(target->reader, 0, 0), 1);
  EQUAL(zb_reader_next(target->reader, 0, 0), ZB_READ_ATTACHMENT);
  EQUAL(target->view->source_name[0], 0);
  OK(zb_reader_answer(target->reader, NULL, 0, 0));
  EQUAL(word(&target->oieb->answer), 0);
  close_passing(&passing);
}

/* ---- impossible special frames --------------------------------------------------------------------------------- */

/* A descriptor as a hostile writer puts it into the ring. */
static int32_t read_hostile(uint64_t header, uint64_t sequence, uint64_t id, uint64_t offset,
                            uint64_t length) {
  struct passing passing;
  open_passing(&passing, 65536, 16384);
  const struct descriptor descriptor = {id, offset, length};
  put_header(&passing.target, 0, header, sequence);
  memcpy(passing.target.payload + HEADER, &descriptor, sizeof descriptor);
  set_word(&passing.target.oieb->payload_read_pos, 0);
  publish(&passing.target, HEADER + sizeof descriptor, 1);
  int32_t code = zb_reader_next(passing.target.reader, 0, 0);
  if (code < 0) {
    EQUAL(passing.target.view->fault_position, 0);
    EQUAL(zb_reader_next(passing.target.reader, 0, 0), code);
  }
  close_passing(&passing);
  return code;
}

TEST(a_descriptor_is_refused_for_good_unless_it_lies_in_the_attached_payload) {
  const uint64_t is_descriptor = SPECIAL | 24;
  EQUAL(read_hostile(is_descriptor, 1, ID, 0, 1), ZB_READ_SHARED + 1);
  EQUAL(read_hostile(is_descriptor, 1, ID, 65535, 1), ZB_READ_SHARED + 1);
  EQUAL(read_hostile(is_descriptor, 1, ID, 0, 16384 - 16), ZB_READ_SHARED + 1);
  EQUAL(read_hostile(is_descriptor, 1, ID, 65536 - 8192, 8192), ZB_READ_SHARED + 1);
  EQUAL(read_hostile(is_descriptor, 2, ID, 0, 1), ZB_BAD_SEQUENCE);
  const struct {
    uint64_t header, id, offset, length;
  } wrong[] = {
      {is_descriptor, ID + 1, 0, 1},
      {is_descriptor, 0, 0, 1},
      {is_descriptor, ID, 0, 0},
      {is_descriptor, ID, 0, 16384 - 15},
      {is_descriptor, ID, 65536, 1},
      {is_descriptor, ID, 65535, 2},
      {is_descriptor, ID, UINT64_MAX, 1},
      {is_descriptor, ID, UINT64_MAX - 1, 2},
      {is_descriptor, ID, 0, UINT64_MAX},
      {is_descriptor, ID, (uint64_t)1 << 63, (uint64_t)1 << 63},
      {SPECIAL | 23, ID, 0, 1},
      {SPECIAL | 25, ID, 0, 1},
      {SPECIAL, ID, 0, 1},
      {SPECIAL | (uint64_t)1 << 61 | 24, ID, 0, 1},
      {SPECIAL | ATTACHMENT | 23, ID, 0, 1},
      {SPECIAL | ATTACHMENT | (24 + 246), ID, 0, 1},
      {SPECIAL | ATTACHMENT | 24, ID, 0, 1}, /* its sequence is not 0 */
  };
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    EQUAL(read_hostile(wrong[i].header, 1, wrong[i].id, wrong[i].offset, wrong[i].length), ZB_BAD_DESCRIPTOR);
  EQUAL(read_hostile(SPECIAL | ATTACHMENT | 24, 0, ID, 0, 0), ZB_READ_ATTACHMENT);
  EQUAL(read_hostile(SPECIAL | ATTACHMENT | 24, 0, ID + 1, 0, 0), ZB_BAD_DESCRIPTOR);
  EQUAL(read_hostile(SPECIAL | ATTACHMENT | 24, 0, 0, 0, 0), ZB_BAD_DESCRIPTOR);
  EQUAL(read_hostile(ATTACHMENT | 24, 1, ID, 0, 1), ZB_BAD_FRAME);
}

TEST(a_reader_that_takes_no_descriptors_refuses_special_frames) {
  struct ring ring;
  open_ring(&ring, 4096);
  put_header(&ring, 0, SPECIAL | 24, 1);
  publish(&ring, HEADER + 24, 1);
  EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_BAD_FRAME);
  close_ring(&ring);
}

TEST(only_the_memory_that_an_attachment_means_is_opened) {
  struct passing passing;
  open_passing(&passing, 65536, 16384);
  zb_memory *memory;
  EQUAL(zb_reader_open_source(passing.target.reader, &memory), ZB_NOT_FOUND);
  OK(zb_target_attach(passing.passed, ID + 2, "no-such-buffer"));
  EQUAL(zb_reader_next(passing.target.reader, 0, 0), ZB_READ_ATTACHMENT);
  EQUAL(zb_reader_open_source(passing.target.reader, &memory), ZB_NOT_FOUND);
  OK(zb_reader_answer(passing.target.reader, NULL, 0, 0));
  /* The name of other memory. */
  OK(zb_target_attach(passing.passed, ID + 4, passing.target.name));
  EQUAL(zb_reader_next(passing.target.reader, 0, 0), ZB_READ_ATTACHMENT);
  EQUAL(zb_reader_open_source(passing.target.reader, &memory), ZB_NOT_FOUND);
  OK(zb_reader_answer(passing.target.reader, NULL, 0, 0));
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

static void *release_when_the_source_waits(void *argument) {
  struct passing *passing = argument;
  UNTIL(waits(passing->source.written, 1) && waits(passing->target.released, 1));
  read_shared(passing, SIZE, 1);
  OK(zb_reader_release(passing->target.reader, 0, 1));
  /* The writer of the source waits for that space. */
  UNTIL(word(&passing->source.oieb->payload_free_bytes) == passing->source.payload_size);
  OK(write_frame(&passing->source, 24, 2));
  return NULL;
}

TEST(a_source_that_waits_for_a_frame_is_woken_by_what_its_target_releases) {
  struct passing passing;
  pthread_t thread;
  open_passing(&passing, 16384, 16384);
  EQUAL(pass(&passing, SIZE, 1), ZB_PASSED_SHARED);
  OK(zb_reader_release(passing.source.reader, 0, 1));
  int64_t start = zb_now_ns();
  start_thread(&thread, release_when_the_source_waits, &passing);
  EQUAL(zb_reader_next(passing.source.reader, 30000000, 0), 1);
  CHECK(elapsed_ms(start) < 15000);
  join_thread(thread);
  check_frame(&passing.source, 0, 24, 2);
  CHECK(waits(passing.source.written, 0) && waits(passing.target.released, 0));
  close_passing(&passing);
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

TEST(references_of_a_writer_that_has_left_are_collected_whatever_the_next_one_sends) {
  struct passing passing;
  open_passing(&passing, 65536, 16384);
  for (uint64_t sequence = 1; sequence <= 3; sequence++) {
    EQUAL(pass(&passing, SIZE, sequence), ZB_PASSED_SHARED);
    OK(zb_reader_release(passing.source.reader, (uint32_t)sequence - 1, 1));
  }
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
  for (uint64_t sequence = 1; sequence <= 2; sequence++) {
    EQUAL(pass(&passing, SIZE, sequence), ZB_PASSED_SHARED);
    OK(zb_reader_release(passing.source.reader, (uint32_t)sequence - 1, 1));
  }
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
