/* What a reader does with frames and tokens: reading, releasing, and starting (docs/protocol.md, sections 2 and 3). */
#include "test.h"

#define HEADER sizeof(struct zb_frame_header)

/* ---- reading and releasing ----------------------------------------------------------------------------------- */

TEST(one_look_brings_64_frames_at_the_most) {
  struct ring ring;
  open_ring(&ring, 65536);
  for (uint64_t sequence = 1; sequence <= 150; sequence++) OK(write_frame(&ring, sequence, sequence));
  uint64_t sequence = 1;
  const int counts[] = {64, 64, 22};
  for (int look = 0; look < 3; look++) {
    EQUAL(zb_reader_next(ring.reader, 0, 0), counts[look]);
    for (int i = 0; i < counts[look]; i++, sequence++) check_frame(&ring, i, sequence, sequence);
  }
  EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_AGAIN);
  close_ring(&ring);
}

/* Writes until the ring is full, sizes 1 to `most`; returns the number of the next frame. */
static uint64_t fill_up(struct ring *ring, uint64_t sequence, uint64_t most) {
  while (write_frame(ring, 1 + sequence % most, sequence) == ZB_OK) sequence++;
  return sequence;
}

/* The `number`th order of the numbers below `count` (0 is ascending). */
static void order_of(int number, int count, int order[]) {
  for (int i = 0; i < count; i++) order[i] = i;
  for (int left = count; left > 1; left--) {
    int swap = order[left - 1], with = number % left;
    number /= left;
    order[left - 1] = order[with];
    order[with] = swap;
  }
}

/* Five frames around the end of the ring are held and released in an order; whatever fits is written after each. */
static void release_in_order(struct ring *ring, const int order[5]) {
  reset_ring(ring);
  OK(write_frame(ring, 100, 1));
  OK(write_frame(ring, 60, 2));
  EQUAL(zb_reader_next(ring->reader, 0, 0), 2);
  OK(zb_reader_release(ring->reader, 0, 1));
  const uint64_t sizes[5] = {60, 10, 14, 20, 10}; /* the second and third stand at 0 */
  double offsets[5];
  bool held[5] = {true, true, true, true, true};
  offsets[0] = ring->view->frames[1].offset;
  for (int i = 1; i < 5; i++) {
    OK(write_frame(ring, sizes[i], 2 + (uint64_t)i));
    read_frame(ring, sizes[i], 2 + (uint64_t)i);
    offsets[i] = ring->view->frames[0].offset;
  }
  CHECK(offsets[4] < offsets[0]);
  uint64_t sequence = 7;
  for (int step = 0; step < 5; step++) {
    held[order[step]] = false;
    OK(zb_reader_release(ring->reader, 1 + (uint32_t)order[step], 1));
    sequence = fill_up(ring, sequence, 30);
    for (int i = 0; i < 5; i++)
      CHECK(!held[i] || is_filled((uint8_t *)ring->oieb + (uint64_t)offsets[i], sizes[i], 2 + (uint64_t)i));
  }
  uint64_t expected = 7;
  for (int32_t count; (count = zb_reader_next(ring->reader, 0, 0)) > 0;) {
    for (int i = 0; i < count; i++, expected++) check_frame(ring, i, 1 + expected % 30, expected);
  }
  EQUAL(expected, sequence);
}

TEST(frames_held_across_a_wrap_are_released_in_every_order_and_never_overwritten) {
  struct ring ring;
  int order[5];
  open_ring(&ring, 256);
  for (int number = 0; number < 120; number++) {
    order_of(number, 5, order);
    release_in_order(&ring, order);
  }
  close_ring(&ring);
}

TEST(space_is_given_back_in_the_order_of_reading_with_one_post_for_each_frame) {
  struct ring ring;
  open_ring(&ring, 256);
  for (uint64_t sequence = 1; sequence <= 4; sequence++) OK(write_frame(&ring, 24, sequence));
  EQUAL(zb_reader_next(ring.reader, 0, 0), 4);
  OK(zb_reader_release(ring.reader, 2, 1));
  OK(zb_reader_release(ring.reader, 1, 1));
  EQUAL(word(&ring.oieb->payload_free_bytes), 256 - 160);
  EQUAL(zb_semaphore_value(ring.released), 0);
  OK(zb_reader_release(ring.reader, 0, 1));
  EQUAL(word(&ring.oieb->payload_free_bytes), 256 - 40);
  EQUAL(zb_semaphore_value(ring.released), 3);
  OK(zb_reader_release(ring.reader, 3, 1));
  EQUAL(word(&ring.oieb->payload_free_bytes), 256);
  EQUAL(zb_semaphore_value(ring.released), 4);
  close_ring(&ring);
}

TEST(the_read_position_moves_with_the_space_that_is_given_back_and_not_before) {
  struct ring ring;
  open_ring(&ring, 256);
  for (uint64_t sequence = 1; sequence <= 3; sequence++) {
    OK(write_frame(&ring, 64 - HEADER, sequence));
    read_frame(&ring, 64 - HEADER, sequence);
  }
  EQUAL(word(&ring.oieb->payload_read_count), 3);
  EQUAL(word(&ring.oieb->payload_read_pos), 0);
  OK(zb_reader_release(ring.reader, 1, 1));
  EQUAL(word(&ring.oieb->payload_read_pos), 0);
  OK(zb_reader_release(ring.reader, 0, 1));
  EQUAL(word(&ring.oieb->payload_read_pos), 128);
  OK(write_frame(&ring, 64 - HEADER, 4));
  read_frame(&ring, 64 - HEADER, 4);
  OK(zb_reader_release(ring.reader, 3, 1));
  OK(zb_reader_release(ring.reader, 2, 1));
  EQUAL(word(&ring.oieb->payload_read_pos), 256); /* and not 0 */
  EQUAL(word(&ring.oieb->payload_free_bytes), 256);
  close_ring(&ring);
}

TEST(a_thousand_frames_can_be_held_at_once_and_released_backwards) {
  struct ring ring;
  enum { FRAMES = 1000 };
  double offsets[FRAMES];
  open_ring(&ring, 65536);
  for (int round = 0; round < 3; round++) {
    const uint64_t first = (uint64_t)round * FRAMES;
    for (uint64_t i = 0; i < FRAMES; i++) OK(write_frame(&ring, 1 + i % 40, first + i + 1));
    int taken = 0;
    for (int32_t count; (count = zb_reader_next(ring.reader, 0, 0)) > 0;)
      for (int i = 0; i < count; i++) offsets[taken++] = ring.view->frames[i].offset;
    EQUAL(taken, FRAMES);
    for (uint64_t i = FRAMES; i-- > 0;) {
      CHECK(is_filled((uint8_t *)ring.oieb + (uint64_t)offsets[i], 1 + i % 40, first + i + 1));
      OK(zb_reader_release(ring.reader, (uint32_t)(first + i), 1));
    }
    EQUAL(word(&ring.oieb->payload_free_bytes), 65536);
  }
  close_ring(&ring);
}

TEST(a_frame_is_released_once_and_only_after_it_was_read) {
  struct ring ring;
  open_ring(&ring, 256);
  EQUAL(zb_reader_release(ring.reader, 0, 1), ZB_ALREADY);
  EQUAL(zb_reader_release(ring.reader, UINT32_MAX, 1), ZB_ALREADY);
  OK(write_frame(&ring, 24, 1));
  OK(write_frame(&ring, 24, 2));
  EQUAL(zb_reader_next(ring.reader, 0, 0), 2);
  OK(zb_reader_release(ring.reader, 1, 1));
  EQUAL(zb_reader_release(ring.reader, 1, 1), ZB_ALREADY);
  EQUAL(zb_reader_release(ring.reader, 2, 1), ZB_ALREADY);
  OK(zb_reader_release(ring.reader, 0, 1));
  EQUAL(zb_reader_release(ring.reader, 0, 1), ZB_ALREADY);
  EQUAL(zb_reader_release(ring.reader, 1, 1), ZB_ALREADY);
  EQUAL(word(&ring.oieb->payload_free_bytes), 256);
  EQUAL(zb_semaphore_value(ring.released), 2);
  close_ring(&ring);
}

/* ---- tokens -------------------------------------------------------------------------------------------------- */

TEST(a_surplus_token_is_dropped) {
  struct ring ring;
  open_ring(&ring, 256);
  zb_semaphore_post(ring.written, 3);
  EQUAL(zb_reader_next(ring.reader, 1000000, 0), ZB_AGAIN);
  EQUAL(ring.view->surplus_tokens, 3);
  OK(write_frame(&ring, 24, 1));
  zb_semaphore_post(ring.written, 2);
  read_frame(&ring, 24, 1);
  EQUAL(ring.view->surplus_tokens, 5);
  zb_semaphore_post(ring.written, 1);
  EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_AGAIN);
  EQUAL(ring.view->surplus_tokens, 6);
  OK(write_frame(&ring, 24, 2));
  read_frame(&ring, 24, 2);
  close_ring(&ring);
}

TEST(a_surplus_token_that_the_caller_has_not_dealt_with_ends_a_wait_that_it_is_to_end) {
  struct ring ring;
  open_ring(&ring, 256);
  zb_semaphore_post(ring.written, 1);
  EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_AGAIN);
  EQUAL(zb_reader_next(ring.reader, INT32_MAX, ZB_UNLESS_SURPLUS),
        ZB_AGAIN); /* at once, not in half an hour */
  int64_t start_ns = zb_now_ns();
  EQUAL(zb_reader_next(ring.reader, 2000, 0), ZB_AGAIN);
  CHECK(zb_now_ns() - start_ns >= 2000000);
  ((struct zb_reader_view *)ring.reader)->surplus_seen = 1;
  start_ns = zb_now_ns();
  EQUAL(zb_reader_next(ring.reader, 2000, ZB_UNLESS_SURPLUS), ZB_AGAIN);
  CHECK(zb_now_ns() - start_ns >= 2000000);
  close_ring(&ring);
}

TEST(surplus_tokens_beyond_one_look_hide_no_frame) {
  struct ring ring;
  open_ring(&ring, 256);
  zb_semaphore_post(ring.written, 200);
  OK(write_frame(&ring, 24, 1));
  read_frame(&ring, 24, 1);
  EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_AGAIN);
  OK(write_frame(&ring, 24, 2));
  read_frame(&ring, 24, 2);
  close_ring(&ring);
}

TEST(a_frame_whose_post_was_lost_is_found_without_a_token) {
  struct ring ring;
  open_ring(&ring, 256);
  OK(write_frame(&ring, 24, 1));
  OK(write_frame(&ring, 30, 2));
  EQUAL(zb_semaphore_take(ring.written, UINT32_MAX), 2);
  EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_AGAIN);
  EQUAL(zb_reader_next(ring.reader, 0, ZB_WITHOUT_TOKEN), 2);
  check_frame(&ring, 0, 24, 1);
  check_frame(&ring, 1, 30, 2);
  EQUAL(zb_reader_next(ring.reader, 0, ZB_WITHOUT_TOKEN), ZB_AGAIN);
  zb_semaphore_post(ring.written, 2); /* they come after all */
  EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_AGAIN);
  EQUAL(ring.view->surplus_tokens, 2);
  OK(write_frame(&ring, 24, 3));
  read_frame(&ring, 24, 3);
  close_ring(&ring);
}

TEST(a_surplus_token_does_not_keep_a_look_without_token_from_a_frame_behind_a_wrap) {
  struct ring ring;
  open_ring(&ring, 256);
  leave_64_bytes_ahead(&ring);
  OK(write_frame(&ring, 60, 3));
  EQUAL(zb_semaphore_take(ring.written, UINT32_MAX), 1);
  EQUAL(zb_reader_next(ring.reader, 0, ZB_WITHOUT_TOKEN), 1);
  check_frame(&ring, 0, 60, 3);
  EQUAL(word(&ring.oieb->payload_read_count), 4);
  close_ring(&ring);
}

TEST(the_tokens_of_released_frames_do_not_pile_up_while_the_writer_always_has_room) {
  struct ring ring;
  open_ring(&ring, 256);
  int32_t most = 0;
  for (uint64_t sequence = 1; sequence <= 20000; sequence++) {
    OK(write_frame(&ring, 24, sequence));
    read_frame(&ring, 24, sequence);
    OK(zb_reader_release(ring.reader, (uint32_t)sequence - 1, 1));
    int32_t value = zb_semaphore_value(ring.released);
    most = value > most ? value : most;
  }
  CHECK(most <= 10000);
  close_ring(&ring);
}

TEST(a_reader_that_starts_at_a_later_number_takes_that_number_first) {
  struct ring ring;
  open_ring(&ring, 256);
  zb_reader_close(ring.reader);
  OK(zb_reader_open(ring.memory, ring.written, ring.released, 1000, ZB_WAIT_ADAPTIVE, &ring.reader));
  ring.view = (const struct zb_reader_view *)ring.reader;
  put_frame(&ring, 0, 24, 1000);
  publish(&ring, 40, 1);
  read_frame(&ring, 24, 1000);
  put_frame(&ring, 40, 24, 1002);
  publish(&ring, 40, 1);
  EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_BAD_SEQUENCE);
  EQUAL(ring.view->fault_expected, 1001);
  EQUAL(ring.view->fault_found, 1002);
  close_ring(&ring);
}
