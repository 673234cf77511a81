/* How a writer leaves the ring to the next one, and finds out from what the last one left how to go on (docs/protocol.md,
 * section 5). */
#include "test.h"

#include <stdlib.h>

#define HEADER sizeof(struct zb_frame_header)

static void reopen_writer(struct ring *ring, double sequence) {
  zb_writer_close(ring->writer);
  OK(zb_writer_open(ring->memory, ring->written, ring->released, (uint64_t)getpid(), sequence,
                    ZB_WAIT_ADAPTIVE, &ring->writer));
  ring->writer_view = (const struct zb_writer_view *)ring->writer;
}

/* Writes a frame, which is read and released. */
static void move_frame(struct ring *ring, uint64_t size, uint64_t sequence) {
  OK(write_frame(ring, size, sequence));
  read_frame(ring, size, sequence);
  OK(zb_reader_release(ring->reader, (uint32_t)sequence - 1, 1));
}

static void expect_positions(struct ring *ring, uint64_t write_pos, uint64_t read_pos) {
  EQUAL(word(&ring->oieb->payload_write_pos), write_pos);
  EQUAL(word(&ring->oieb->payload_read_pos), read_pos);
}

/* ---- the number of the next frame ---------------------------------------------------------------------------- */

/* Follows the headers in one go. */
static int32_t follow(struct ring *ring, struct zb_walk *walk) {
  *walk = (struct zb_walk){0};
  return zb_ring_follow(ring->memory, walk, 60000000);
}

static void expect_next(struct ring *ring, uint64_t sequence) {
  struct zb_walk walk;
  OK(follow(ring, &walk));
  EQUAL(walk.sequence, sequence);
}

static void expect_refusal(struct ring *ring, int32_t code) {
  struct zb_walk walk;
  EQUAL(follow(ring, &walk), code);
}

/* As a v1 writer leaves the ring, whose frames are all read, up to `position`. */
static void leave_as_v1(struct ring *ring, uint64_t written, uint64_t position) {
  set_word(&ring->oieb->payload_written_count, written);
  set_word(&ring->oieb->payload_read_count, written);
  set_word(&ring->oieb->payload_write_pos, position);
  set_word(&ring->oieb->payload_read_pos, position);
}

TEST(the_first_frame_of_a_ring_in_which_nothing_was_written_has_number_1_whatever_is_in_it) {
  struct ring ring;
  open_buffer(&ring, 64, 256);
  expect_next(&ring, 1);
  put_header(&ring, 0, 24, 9);
  leave_as_v1(&ring, 0, 40);
  expect_next(&ring, 1);
  set_word(&ring.oieb->payload_read_pos, 257);
  expect_next(&ring, 1);
  close_ring(&ring);
}

TEST(the_next_number_is_that_after_the_last_frame_before_the_read_position) {
  struct ring ring;
  struct zb_walk walk;
  open_buffer(&ring, 64, 256);
  for (uint64_t first = 1; first <= 1000; first += 333) {
    put_header(&ring, 0, 24, first);
    put_header(&ring, 40, 1, first + 1);
    put_header(&ring, 57, 100, first + 2);
    /* what older laps have left behind it */
    put_header(&ring, 173, 24, first > 1 ? first - 1 : 77);
    leave_as_v1(&ring, first + 2, 173);
    OK(follow(&ring, &walk));
    EQUAL(walk.position, 173);
    EQUAL(walk.sequence, first + 3);
  }
  close_ring(&ring);
}

TEST(after_an_exact_fit_the_number_follows_whether_the_read_position_is_at_the_start_or_at_the_end) {
  struct ring ring;
  open_buffer(&ring, 64, 256);
  put_header(&ring, 0, 100, 7);
  put_header(&ring, 116, 256 - 116 - HEADER, 8);
  const uint64_t positions[] = {0, 256};
  for (int i = 0; i < 2; i++) {
    leave_as_v1(&ring, 8, positions[i]);
    expect_next(&ring, 9);
  }
  close_ring(&ring);
}

TEST(our_own_writer_and_reader_leave_a_ring_whose_headers_lead_to_the_next_number) {
  struct ring ring;
  open_ring(&ring, 128);
  uint64_t sequence = 0;
  for (uint64_t size = 1; size <= 128 - HEADER; size++) {
    /* One frame is always held, so that the ring is not rewound and wraps. */
    for (int i = 0; i < 5; i++) {
      if (write_frame(&ring, size, sequence + 1) == ZB_OK) {
        read_frame(&ring, size, ++sequence);
        if (i == 0) continue;
      }
      (void)zb_reader_release(ring.reader, (uint32_t)sequence - 2, 1);
    }
    (void)zb_reader_release(ring.reader, (uint32_t)sequence - 2, 1);
    (void)zb_reader_release(ring.reader, (uint32_t)sequence - 1, 1);
    EQUAL(word(&ring.oieb->payload_free_bytes), 128);
    expect_next(&ring, sequence + 1);
  }
  CHECK(sequence > 128 && word(&ring.oieb->payload_written_count) > sequence); /* some wraps */
  close_ring(&ring);
}

TEST(headers_that_do_not_lead_to_the_read_position_are_refused) {
  struct ring ring;
  open_buffer(&ring, 64, 256);
  put_header(&ring, 0, 24, 5);
  put_header(&ring, 40, 24, 6);
  leave_as_v1(&ring, 6, 80);
  expect_next(&ring, 7);
  const struct zb_frame_header wrong[] = {
      {0, 0}, /* a marker */
      {24, 3},
      {24, 5}, /* of an older lap */
      {24, 7}, /* one is missing */
      {24, 0}, /* no number */
      {0, 6},
      {25, 6}, /* beyond the position */
      {23, 6},
      {8, 6}, /* less than a header before it */
      {7, 6}, /* what follows is no header */
      {240, 6},
      {256, 6},
      {INT64_MAX, 6},
      {UINT64_MAX - 14, 6}, /* with its header, the frame is 0 to 56 bytes long */
      {UINT64_MAX - 15, 6},
      {UINT64_MAX, 6},
      {UINT64_MAX - 40 - 15, 6},
      {UINT64_MAX - 40 + 25, 6},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    put_header(&ring, 40, wrong[i].size, wrong[i].sequence);
    expect_refusal(&ring, ZB_BAD_SEQUENCE);
  }
  put_header(&ring, 0, 24, 0);
  put_header(&ring, 40, 24, 1);
  expect_refusal(&ring, ZB_BAD_SEQUENCE);
  for (uint64_t position = 1; position <= HEADER; position++) {
    put_header(&ring, 0, 24, 5);
    leave_as_v1(&ring, 6, position);
    expect_refusal(&ring, ZB_BAD_SEQUENCE);
  }
  close_ring(&ring);
}

TEST(numbers_that_doubles_do_not_tell_apart_are_refused) {
  struct ring ring;
  open_buffer(&ring, 64, 256);
  const uint64_t most = ((uint64_t)1 << 53) - 1;
  put_header(&ring, 0, 24, most);
  leave_as_v1(&ring, 1, 40);
  expect_next(&ring, most + 1);
  const uint64_t wrong[] = {most + 1, most + 2, INT64_MAX, UINT64_MAX};
  for (int i = 0; i < 4; i++) {
    put_header(&ring, 0, 24, wrong[i]);
    expect_refusal(&ring, ZB_BAD_SEQUENCE);
  }
  close_ring(&ring);
}

TEST(a_control_block_that_is_impossible_is_no_ring_to_follow) {
  struct ring ring;
  open_buffer(&ring, 64, 256);
  put_header(&ring, 0, 24, 1);
  leave_as_v1(&ring, 1, 40);
  const uint64_t positions[] = {257, INT64_MAX, UINT64_MAX};
  for (int i = 0; i < 3; i++) {
    set_word(&ring.oieb->payload_read_pos, positions[i]);
    expect_refusal(&ring, ZB_BAD_CONTROL);
  }
  set_word(&ring.oieb->payload_read_pos, 40);
  set_word(&ring.oieb->payload_size, UINT64_MAX);
  expect_refusal(&ring, ZB_BAD_CONTROL);
  set_word(&ring.oieb->payload_size, 256);
  expect_next(&ring, 2);
  close_ring(&ring);
}

TEST(many_headers_are_followed_in_slices) {
  enum { FRAMES = 5000, SIZE = 17 };
  struct ring ring;
  struct zb_walk walk = {0};
  open_buffer(&ring, 64, FRAMES * SIZE + 1000);
  for (uint64_t i = 0; i < FRAMES; i++) put_header(&ring, i * SIZE, 1, i + 1);
  leave_as_v1(&ring, FRAMES, FRAMES * SIZE);
  int slices = 1;
  for (double before = -1; zb_ring_follow(ring.memory, &walk, 0) == ZB_AGAIN; slices++) {
    CHECK(walk.position > before && walk.position < FRAMES * SIZE);
    EQUAL(walk.sequence * SIZE, walk.position);
    before = walk.position;
  }
  CHECK(slices > 1);
  EQUAL(walk.position, FRAMES * SIZE);
  EQUAL(walk.sequence, FRAMES + 1);
  expect_next(&ring, FRAMES + 1);

  /* The peer takes the ring back meanwhile. */
  walk = (struct zb_walk){0};
  EQUAL(zb_ring_follow(ring.memory, &walk, 0), ZB_AGAIN);
  set_word(&ring.oieb->payload_read_pos, SIZE);
  EQUAL(zb_ring_follow(ring.memory, &walk, 0), ZB_BAD_SEQUENCE);
  close_ring(&ring);
}

TEST(a_writer_begins_with_the_number_that_it_is_given) {
  struct ring ring;
  open_ring(&ring, 256);
  move_frame(&ring, 24, 1);
  reopen_writer(&ring, 2);
  move_frame(&ring, 24, 2);
  reopen_writer(&ring, 7);
  EQUAL(ring.writer_view->sequence, 7);
  OK(zb_writer_write(ring.writer, "x", 1, 0));
  EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_BAD_SEQUENCE);
  EQUAL(ring.view->fault_found, 7);
  close_ring(&ring);
}

/* ---- leaving ------------------------------------------------------------------------------------------------- */

TEST(a_writer_that_has_rewound_the_ring_and_written_nothing_puts_the_positions_back_when_it_leaves) {
  struct ring ring;
  open_ring(&ring, 256);
  move_frame(&ring, 24, 1);
  move_frame(&ring, 60, 2); /* rewinds */
  for (int i = 0; i < 3; i++) {
    expect_positions(&ring, 76, 76);
    expect_next(&ring, 3);
    reopen_writer(&ring, 1);
    expect_positions(&ring, 0, 0);
    zb_writer_leave(ring.writer);
    zb_writer_leave(ring.writer);
  }
  expect_positions(&ring, 76, 76);
  reopen_writer(&ring, 3);
  move_frame(&ring, 24, 3);
  expect_next(&ring, 4);
  close_ring(&ring);
}

TEST(a_writer_that_has_not_rewound_the_ring_leaves_the_positions_alone) {
  struct ring ring;
  open_ring(&ring, 256);
  move_frame(&ring, 24, 1);
  OK(write_frame(&ring, 24, 2));
  reopen_writer(&ring, 3);
  expect_positions(&ring, 40, 0);
  zb_writer_leave(ring.writer);
  expect_positions(&ring, 40, 0);
  read_frame(&ring, 24, 2);
  OK(zb_reader_release(ring.reader, 1, 1));
  zb_writer_leave(ring.writer);
  expect_positions(&ring, 40, 40);
  close_ring(&ring);
}

TEST(a_writer_that_has_written_since_it_rewound_the_ring_leaves_the_positions_alone) {
  struct ring ring;
  open_ring(&ring, 256);
  move_frame(&ring, 60, 1);
  reopen_writer(&ring, 2);
  OK(write_frame(&ring, 24, 2));
  zb_writer_leave(ring.writer);
  expect_positions(&ring, 40, 0);
  read_frame(&ring, 24, 2);
  OK(zb_reader_release(ring.reader, 1, 1));
  zb_writer_leave(ring.writer);
  expect_positions(&ring, 40, 40);
  expect_next(&ring, 3);
  close_ring(&ring);
}

TEST(a_rewind_for_a_frame_that_is_given_up_is_taken_back_when_the_writer_leaves) {
  struct ring ring;
  open_ring(&ring, 256);
  move_frame(&ring, 60, 1);
  OK(zb_writer_acquire(ring.writer, 24, 0));
  expect_positions(&ring, 0, 0);
  zb_writer_leave(ring.writer); /* with the frame acquired: nothing of it is published */
  expect_positions(&ring, 76, 76);
  zb_writer_cancel(ring.writer);
  EQUAL(word(&ring.oieb->payload_free_bytes), 256);
  expect_next(&ring, 2);
  close_ring(&ring);
}

TEST(positions_at_the_end_are_put_back_as_they_were) {
  struct ring ring;
  open_ring(&ring, 256);
  move_frame(&ring, 256 - HEADER, 1);
  expect_positions(&ring, 0, 256);
  set_word(&ring.oieb->payload_write_pos, 256); /* as a v1 writer has it */
  reopen_writer(&ring, 1);
  expect_positions(&ring, 0, 0);
  zb_writer_leave(ring.writer);
  expect_positions(&ring, 256, 256);
  expect_next(&ring, 2);
  close_ring(&ring);
}

TEST(a_ring_that_is_not_empty_any_more_keeps_its_positions_when_the_writer_leaves) {
  struct ring ring;
  open_ring(&ring, 256);
  move_frame(&ring, 60, 1);
  reopen_writer(&ring, 2);
  put_frame(&ring, 0, 24, 2); /* somebody else's */
  publish(&ring, 40, 1);
  zb_writer_leave(ring.writer);
  expect_positions(&ring, 0, 0);
  read_frame(&ring, 24, 2);
  close_ring(&ring);
}
