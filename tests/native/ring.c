/* The ring as its own two ends use it: placing, reading, lending and releasing (docs/protocol.md, sections 2 and 3). */
#include "test.h"

#include <stdlib.h>

#define HEADER sizeof(struct zb_frame_header)

/* ---- placing ------------------------------------------------------------------------------------------------- */

/* Where the protocol puts the next frame, reckoned apart from the helper. */
struct model {
  uint64_t size, write_pos, free_bytes;
};

/* False if the frame has to wait; otherwise `position` is where its header goes and `waste` what a wrap costs. */
static bool place_in_model(struct model *model, uint64_t total, uint64_t *position, uint64_t *waste) {
  if (model->free_bytes == model->size) model->write_pos = 0;
  uint64_t to_end = model->size - model->write_pos;
  bool fits_here = total == to_end || total + HEADER <= to_end;
  bool wraps = !fits_here && to_end >= HEADER && to_end + total <= model->size;
  bool only_when_empty = !fits_here && !wraps;
  *position = wraps ? 0 : model->write_pos;
  *waste = wraps ? to_end : 0;
  if (only_when_empty) return model->free_bytes == model->size;
  return *waste + total <= model->free_bytes;
}

/* Writes a frame if the model has room for it, and checks all that the protocol says about it. */
static bool write_as_modelled(struct ring *ring, struct model *model, uint64_t size, uint64_t sequence) {
  uint64_t position, waste, total = HEADER + size;
  bool fits = place_in_model(model, total, &position, &waste);
  EQUAL(write_frame(ring, size, sequence), fits ? ZB_OK : ZB_AGAIN);
  if (!fits) return false;
  EQUAL(ring->writer_view->offset, (double)(ring->payload - (uint8_t *)ring->oieb) + position + HEADER);
  model->write_pos = position + total == model->size ? 0 : position + total;
  model->free_bytes -= waste + total;
  EQUAL(word(&ring->oieb->payload_write_pos), model->write_pos);
  EQUAL(word(&ring->oieb->payload_free_bytes), model->free_bytes);
  return true;
}

/* Moves frames of the two sizes in turn, with one always held so that the ring is not rewound as long as both fit. */
static void move_pair(struct ring *ring, uint64_t first, uint64_t second) {
  reset_ring(ring);
  struct model model = {.size = ring->payload_size, .free_bytes = ring->payload_size};
  uint64_t credits[8] = {0}, sequence = 1, released = 0;
  while (sequence <= 6) {
    uint64_t size = sequence % 2 ? first : second;
    uint64_t free_before = model.free_bytes;
    if (write_as_modelled(ring, &model, size, sequence)) {
      credits[sequence] = free_before - model.free_bytes;
      read_frame(ring, size, sequence);
      EQUAL(word(&ring->oieb->payload_read_pos), model.write_pos);
      sequence++;
      if (sequence - 1 - released < 2) continue;
    }
    CHECK(released + 1 < sequence);
    OK(zb_reader_release(ring->reader, (uint32_t)released++, 1));
    model.free_bytes += credits[released];
    EQUAL(word(&ring->oieb->payload_free_bytes), model.free_bytes);
  }
  EQUAL(word(&ring->oieb->payload_written_count), word(&ring->oieb->payload_read_count));
}

TEST(every_pair_of_frame_sizes_passes_through_a_small_ring_byte_for_byte) {
  struct ring ring;
  open_ring(&ring, 128);
  for (uint64_t first = 1; first <= ring.payload_size - HEADER; first++)
    for (uint64_t second = 1; second <= ring.payload_size - HEADER; second++) move_pair(&ring, first, second);
  close_ring(&ring);
}

/* Leaves the ring with its first half free, 64 bytes held in the middle, and the last 64 bytes ahead. */
static void leave_64_bytes_ahead(struct ring *ring) {
  OK(write_frame(ring, 128 - HEADER, 1));
  OK(write_frame(ring, 64 - HEADER, 2));
  EQUAL(zb_reader_next(ring->reader, 0, 0), 2);
  OK(zb_reader_release(ring->reader, 0, 1));
  EQUAL(word(&ring->oieb->payload_write_pos), 192);
}

TEST(every_tail_of_0_to_17_bytes_is_filled_wrapped_over_or_left_for_the_next_frame) {
  struct ring ring;
  open_ring(&ring, 256);
  for (uint64_t tail = 0; tail <= 17; tail++) {
    reset_ring(&ring);
    leave_64_bytes_ahead(&ring);
    uint64_t size = 64 - tail - HEADER;
    bool here = tail == 0 || tail >= HEADER;
    OK(write_frame(&ring, size, 3));
    EQUAL(ring.writer_view->offset, 128 + 64 + (here ? 192 : 0) + HEADER);
    EQUAL(word(&ring.oieb->payload_write_pos), tail == 0 ? 0 : here ? 256 - tail : 64 - tail);
    EQUAL(word(&ring.oieb->payload_written_count), here ? 3 : 4);
    EQUAL(word(&ring.oieb->payload_free_bytes), here ? 128 + tail : 64 + tail);
    EQUAL(zb_semaphore_value(ring.written), 1);
    read_frame(&ring, size, 3);
    EQUAL(word(&ring.oieb->payload_read_count), here ? 3 : 4);
    OK(zb_reader_release(ring.reader, 1, 1));
    OK(zb_reader_release(ring.reader, 2, 1));
    EQUAL(word(&ring.oieb->payload_free_bytes), 256);
  }
  close_ring(&ring);
}

TEST(a_frame_that_fills_the_ring_exactly_leaves_the_write_position_at_0) {
  struct ring ring;
  open_ring(&ring, 128);
  for (uint64_t sequence = 1; sequence <= 3; sequence++) {
    OK(write_frame(&ring, 128 - HEADER, sequence));
    EQUAL(word(&ring.oieb->payload_write_pos), 0);
    EQUAL(word(&ring.oieb->payload_free_bytes), 0);
    EQUAL(write_frame(&ring, 1, 9), ZB_AGAIN);
    read_frame(&ring, 128 - HEADER, sequence);
    EQUAL(word(&ring.oieb->payload_read_pos), 0);
    OK(zb_reader_release(ring.reader, (uint32_t)sequence - 1, 1));
  }
  close_ring(&ring);
}

TEST(a_wrap_is_marked_by_a_header_of_zeros_that_gets_no_post) {
  struct ring ring;
  open_ring(&ring, 256);
  leave_64_bytes_ahead(&ring);
  OK(write_frame(&ring, 60, 3));
  const uint8_t zeros[HEADER] = {0};
  EQUAL(memcmp(ring.payload + 192, zeros, sizeof zeros), 0);
  EQUAL(word(&ring.oieb->payload_written_count), 4);
  EQUAL(zb_semaphore_value(ring.written), 1);
  read_frame(&ring, 60, 3);
  EQUAL(word(&ring.oieb->payload_read_count), 4);
  close_ring(&ring);
}

TEST(the_waste_of_a_wrap_is_given_back_with_the_frame_that_follows_it) {
  struct ring ring;
  open_ring(&ring, 256);
  leave_64_bytes_ahead(&ring);
  OK(write_frame(&ring, 60, 3));
  read_frame(&ring, 60, 3);
  EQUAL(word(&ring.oieb->payload_free_bytes), 256 - 64 - 64 - 76);
  OK(zb_reader_release(ring.reader, 1, 1));
  EQUAL(word(&ring.oieb->payload_free_bytes), 256 - 64 - 76);
  OK(zb_reader_release(ring.reader, 2, 1));
  EQUAL(word(&ring.oieb->payload_free_bytes), 256);
  close_ring(&ring);
}

TEST(a_frame_that_fits_only_an_empty_ring_waits_for_that_and_goes_to_its_start) {
  struct ring ring;
  open_ring(&ring, 256);
  OK(write_frame(&ring, 84, 1));
  OK(write_frame(&ring, 84, 2));
  EQUAL(write_frame(&ring, 200, 3), ZB_AGAIN);
  EQUAL(zb_reader_next(ring.reader, 0, 0), 2);
  OK(zb_reader_release(ring.reader, 0, 1));
  EQUAL(write_frame(&ring, 200, 3), ZB_AGAIN);
  OK(zb_reader_release(ring.reader, 1, 1));
  OK(write_frame(&ring, 200, 3));
  EQUAL(ring.writer_view->offset, 128 + 64 + HEADER);
  EQUAL(word(&ring.oieb->payload_free_bytes), 256 - 216);
  read_frame(&ring, 200, 3);
  close_ring(&ring);
}

TEST(an_empty_ring_takes_every_legal_size_from_every_position) {
  struct ring ring;
  open_ring(&ring, 128);
  for (uint64_t before = 1; before <= 112; before++) {
    for (uint64_t size = 1; size <= 112; size++) {
      reset_ring(&ring);
      OK(write_frame(&ring, before, 1));
      read_frame(&ring, before, 1);
      OK(zb_reader_release(ring.reader, 0, 1));
      OK(write_frame(&ring, size, 2));
      EQUAL(ring.writer_view->offset, 128 + 64 + HEADER);
      read_frame(&ring, size, 2);
    }
  }
  close_ring(&ring);
}

TEST(the_largest_frame_is_16_bytes_smaller_than_the_ring_and_a_larger_one_is_refused_at_once) {
  struct ring ring;
  open_ring(&ring, 4096);
  OK(write_frame(&ring, 4080, 1));
  read_frame(&ring, 4080, 1);
  OK(zb_reader_release(ring.reader, 0, 1));
  int64_t start = zb_now_ns();
  const double sizes[] = {4081, 4096, 1e9, 1.8446744073709552e19, 0, -1};
  for (int i = 0; i < 6; i++) EQUAL(zb_writer_acquire(ring.writer, sizes[i], 10000000), ZB_TOO_LARGE);
  CHECK(elapsed_ms(start) < 5000);
  EQUAL(zb_semaphore_value(ring.written), 0);
  OK(write_frame(&ring, 1, 2));
  read_frame(&ring, 1, 2);
  close_ring(&ring);
}

TEST(an_empty_ring_is_rewound_and_one_that_holds_a_frame_is_not) {
  struct ring ring;
  open_ring(&ring, 256);
  OK(write_frame(&ring, 20, 1));
  read_frame(&ring, 20, 1);
  OK(write_frame(&ring, 20, 2));
  EQUAL(ring.writer_view->offset, 128 + 64 + 36 + HEADER);
  read_frame(&ring, 20, 2);
  OK(zb_reader_release(ring.reader, 0, 1));
  OK(zb_reader_release(ring.reader, 1, 1));
  EQUAL(word(&ring.oieb->payload_read_pos), 72);
  OK(write_frame(&ring, 20, 3));
  EQUAL(word(&ring.oieb->payload_read_pos), 0);
  EQUAL(ring.writer_view->offset, 128 + 64 + HEADER);
  read_frame(&ring, 20, 3);
  EQUAL(word(&ring.oieb->payload_read_pos), 36);
  close_ring(&ring);
}

TEST(a_full_ring_says_so_at_once_without_a_wait_and_after_it_with_one) {
  struct ring ring;
  open_ring(&ring, 128);
  OK(write_frame(&ring, 100, 1));
  EQUAL(write_frame(&ring, 100, 2), ZB_AGAIN);
  int64_t start = zb_now_ns();
  EQUAL(zb_writer_acquire(ring.writer, 100, 30000), ZB_AGAIN);
  CHECK(elapsed_ms(start) >= 29 && elapsed_ms(start) < 5000);
  EQUAL(word(&ring.oieb->payload_free_bytes), 12);
  EQUAL(zb_semaphore_value(ring.written), 1);
  close_ring(&ring);
}

TEST(a_frame_that_finds_the_ring_full_counts_as_one_wait_however_often_it_is_tried) {
  struct ring ring;
  open_ring(&ring, 128);
  OK(write_frame(&ring, 100, 1));
  EQUAL(ring.writer_view->waits, 0);
  for (int i = 0; i < 3; i++) EQUAL(write_frame(&ring, 100, 2), ZB_AGAIN);
  EQUAL(ring.writer_view->waits, 1);
  read_frame(&ring, 100, 1);
  OK(zb_reader_release(ring.reader, 0, 1));
  OK(write_frame(&ring, 100, 2));
  EQUAL(ring.writer_view->waits, 1);
  EQUAL(write_frame(&ring, 100, 3), ZB_AGAIN);
  EQUAL(ring.writer_view->waits, 2);
  close_ring(&ring);
}

/* ---- acquiring ----------------------------------------------------------------------------------------------- */

TEST(an_acquired_region_is_where_the_reader_finds_the_frame) {
  struct ring ring;
  open_ring(&ring, 256);
  for (uint64_t sequence = 1; sequence <= 20; sequence++) {
    OK(zb_writer_acquire(ring.writer, 60, 0));
    fill((uint8_t *)ring.oieb + (uint64_t)ring.writer_view->offset, 60, sequence);
    EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_AGAIN);
    OK(zb_writer_commit(ring.writer));
    read_frame(&ring, 60, sequence);
    if (sequence > 1) OK(zb_reader_release(ring.reader, (uint32_t)sequence - 2, 1));
  }
  close_ring(&ring);
}

TEST(a_cancelled_frame_leaves_the_ring_as_it_was) {
  struct ring ring;
  uint64_t before[16], after[16];
  open_ring(&ring, 256);
  leave_64_bytes_ahead(&ring);
  zb_oieb_load(ring.memory, before);
  const double sizes[] = {1, 32, 48, 60, 112}; /* here, here, exactly, and two that wrap */
  for (int i = 0; i < 5; i++) {
    OK(zb_writer_acquire(ring.writer, sizes[i], 0));
    zb_writer_cancel(ring.writer);
    zb_oieb_load(ring.memory, after);
    EQUAL(memcmp(before, after, sizeof before), 0);
    EQUAL(zb_semaphore_value(ring.written), 0);
    EQUAL(zb_reader_next(ring.reader, 0, ZB_WITHOUT_TOKEN), ZB_AGAIN);
  }
  OK(write_frame(&ring, 20, 3));
  EQUAL(ring.writer_view->offset, 128 + 64 + 192 + HEADER);
  read_frame(&ring, 20, 3);
  close_ring(&ring);
}

TEST(a_commit_without_an_acquired_frame_is_refused) {
  struct ring ring;
  open_ring(&ring, 256);
  EQUAL(zb_writer_commit(ring.writer), ZB_ALREADY);
  OK(zb_writer_acquire(ring.writer, 10, 0));
  zb_writer_cancel(ring.writer);
  EQUAL(zb_writer_commit(ring.writer), ZB_ALREADY);
  OK(write_frame(&ring, 10, 1));
  EQUAL(zb_writer_commit(ring.writer), ZB_ALREADY);
  EQUAL(zb_semaphore_value(ring.written), 1);
  close_ring(&ring);
}

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

TEST(random_writes_reads_and_releases_agree_with_the_model) {
  struct ring ring;
  enum { STEPS = 200000, MOST_HELD = 64 };
  struct {
    uint64_t sequence, size, credit, offset;
    bool released;
  } frames[MOST_HELD] = {0};
  uint64_t written = 0, read = 0, released = 0, random = 88172645463325252u;
  open_ring(&ring, 448);
  struct model model = {.size = 448, .free_bytes = 448};
  for (int step = 0; step < STEPS; step++) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    if (random % 3 == 0 && written - released < MOST_HELD) {
      uint64_t size = 1 + (random >> 8) % (random >> 40 & 1 ? 432 : 50), free_before = model.free_bytes;
      if (!write_as_modelled(&ring, &model, size, written + 1)) continue;
      written++;
      frames[written % MOST_HELD].sequence = written;
      frames[written % MOST_HELD].size = size;
      frames[written % MOST_HELD].credit = free_before - model.free_bytes;
      frames[written % MOST_HELD].released = false;
    } else if (random % 3 == 1) {
      int32_t count = zb_reader_next(ring.reader, 0, 0);
      EQUAL(count, written == read ? ZB_AGAIN : (int32_t)(written - read));
      for (int32_t i = 0; i < count; i++) {
        read++;
        check_frame(&ring, i, frames[read % MOST_HELD].size, read);
        frames[read % MOST_HELD].offset = (uint64_t)ring.view->frames[i].offset;
      }
    } else if (read > released) {
      uint64_t chosen = released + 1 + (random >> 8) % (read - released);
      bool before = frames[chosen % MOST_HELD].released;
      if (!before)
        CHECK(is_filled((uint8_t *)ring.oieb + frames[chosen % MOST_HELD].offset,
                        frames[chosen % MOST_HELD].size, chosen));
      EQUAL(zb_reader_release(ring.reader, (uint32_t)(chosen - 1), 1), before ? ZB_ALREADY : ZB_OK);
      frames[chosen % MOST_HELD].released = true;
      while (released < read && frames[(released + 1) % MOST_HELD].released)
        model.free_bytes += frames[++released % MOST_HELD].credit;
      EQUAL(word(&ring.oieb->payload_free_bytes), model.free_bytes);
    }
  }
  CHECK(written > STEPS / 100);
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

/* ---- connecting ---------------------------------------------------------------------------------------------- */

TEST(a_writer_that_comes_to_an_empty_ring_takes_old_tokens_away_and_rewinds_it) {
  struct ring ring;
  open_ring(&ring, 256);
  OK(write_frame(&ring, 24, 1));
  read_frame(&ring, 24, 1);
  OK(zb_reader_release(ring.reader, 0, 1));
  zb_semaphore_post(ring.written, 100);
  zb_writer_close(ring.writer);
  OK(zb_writer_open(ring.memory, ring.written, ring.released, (uint64_t)getpid(), ZB_WAIT_ADAPTIVE,
                    &ring.writer));
  ring.writer_view = (const struct zb_writer_view *)ring.writer;
  EQUAL(zb_semaphore_value(ring.written), 0);
  EQUAL(word(&ring.oieb->payload_write_pos), 0);
  EQUAL(word(&ring.oieb->payload_read_pos), 0);
  OK(write_frame(&ring, 24, 1));
  read_frame(&ring, 24, 1);
  close_ring(&ring);
}

TEST(a_writer_that_comes_to_a_ring_with_frames_goes_on_behind_them_from_number_1) {
  struct ring ring;
  open_ring(&ring, 256);
  OK(write_frame(&ring, 24, 1));
  OK(write_frame(&ring, 24, 2));
  zb_writer_close(ring.writer);
  OK(zb_writer_open(ring.memory, ring.written, ring.released, (uint64_t)getpid(), ZB_WAIT_ADAPTIVE,
                    &ring.writer));
  EQUAL(zb_semaphore_value(ring.written), 2);
  OK(write_frame(&ring, 30, 1));
  EQUAL(zb_reader_next(ring.reader, 0, 0), 3);
  check_frame(&ring, 0, 24, 1);
  check_frame(&ring, 1, 24, 2);
  check_frame(&ring, 2, 30, 1);
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

TEST(a_writer_asks_for_a_look_at_the_reader_when_its_pid_changes) {
  struct ring ring;
  open_ring(&ring, 256);
  const uint64_t pids[] = {0, 7};
  for (int i = 0; i < 2; i++) {
    set_word(&ring.oieb->reader_pid, pids[i]);
    EQUAL(zb_writer_write(ring.writer, "x", 1, 0), ZB_PEER_CHECK);
    EQUAL(zb_writer_acquire(ring.writer, 1, 10000000), ZB_PEER_CHECK);
    EQUAL(word(&ring.oieb->payload_free_bytes), 256);
    EQUAL(zb_semaphore_value(ring.written), 0);
  }
  zb_writer_peer(ring.writer, 7);
  OK(zb_writer_write(ring.writer, "x", 1, 0));
  EQUAL(zb_reader_next(ring.reader, 0, 0), 1);
  close_ring(&ring);
}

TEST(a_writer_asks_for_a_look_at_a_reader_that_has_released_nothing_for_a_quarter_second) {
  struct ring ring;
  open_ring(&ring, 4096);
  OK(write_frame(&ring, 24, 1));
  OK(zb_sleep(280000));
  EQUAL(zb_writer_write(ring.writer, "x", 1, 0), ZB_PEER_CHECK);
  read_frame(&ring, 24, 1);
  OK(zb_reader_release(ring.reader, 0, 1));
  OK(zb_writer_write(ring.writer, "x", 1, 0)); /* a release is a sign of life */
  EQUAL(zb_writer_write(ring.writer, "x", 1, 0), ZB_PEER_CHECK);
  zb_writer_peer(ring.writer, (uint64_t)getpid());
  OK(zb_writer_write(ring.writer, "x", 1, 0));
  close_ring(&ring);
}

TEST(frames_written_together_are_published_at_once_and_posted_one_by_one) {
  struct ring ring;
  uint8_t bytes[250];
  open_ring(&ring, 1024);
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)i;
  EQUAL(zb_writer_write_frames(ring.writer, bytes, 0, 250, 100, 0), 3);
  EQUAL(word(&ring.oieb->payload_free_bytes), 1024 - 250 - 3 * HEADER);
  EQUAL(word(&ring.oieb->payload_written_count), 3);
  EQUAL(zb_semaphore_value(ring.written), 3);
  EQUAL(zb_reader_next(ring.reader, 0, 0), 3);
  for (int i = 0; i < 3; i++) {
    EQUAL(ring.view->frames[i].size, i < 2 ? 100 : 50);
    EQUAL(ring.view->frames[i].sequence, i + 1);
    const uint8_t *frame = (const uint8_t *)ring.oieb + (uint64_t)ring.view->frames[i].offset;
    EQUAL(memcmp(frame, bytes + 100 * i, (size_t)ring.view->frames[i].size), 0);
  }
  uint8_t copy[250];
  zb_memory_copy_frames(ring.memory, ring.view->frames, 3, copy);
  EQUAL(memcmp(copy, bytes, 250), 0);
  OK(zb_reader_release(ring.reader, 0, 3));
  EQUAL(word(&ring.oieb->payload_free_bytes), 1024);
  EQUAL(zb_semaphore_value(ring.released), 3);
  close_ring(&ring);
}

TEST(frames_written_together_start_at_an_offset_and_end_where_there_is_no_room) {
  struct ring ring;
  uint8_t bytes[1000] = {0};
  open_ring(&ring, 256);
  bytes[500] = 7;
  EQUAL(zb_writer_write_frames(ring.writer, bytes, 500, 500, 48, 0), 4);
  EQUAL(zb_writer_write_frames(ring.writer, bytes, 692, 308, 48, 0), ZB_AGAIN);
  EQUAL(zb_writer_write_frames(ring.writer, bytes, 0, 0, 48, 0), ZB_TOO_LARGE);
  EQUAL(zb_writer_write_frames(ring.writer, bytes, 0, 1000, 0, 0), ZB_TOO_LARGE);
  EQUAL(zb_writer_write_frames(ring.writer, bytes, 0, 1000, 241, 0), ZB_TOO_LARGE);
  EQUAL(zb_reader_next(ring.reader, 0, 0), 4);
  EQUAL(*((const uint8_t *)ring.oieb + (uint64_t)ring.view->frames[0].offset), 7);
  close_ring(&ring);
}

TEST(so_many_frames_are_written_together_and_no_more) {
  struct ring ring;
  static uint8_t bytes[200 * 1024];
  open_ring(&ring, 512 * 1024);
  EQUAL(zb_writer_write_frames(ring.writer, bytes, 0, 100, 1, 0), 64);
  EQUAL(zb_writer_write_frames(ring.writer, bytes, 0, sizeof bytes, 20000, 0), 4);
  close_ring(&ring);
}

TEST(frames_written_together_wrap_wherever_the_end_of_the_ring_is) {
  uint8_t bytes[300];
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 7);
  for (uint64_t before = 1; before <= 256 - HEADER; before++) {
    for (uint64_t size = 1; size <= 60; size += 7) {
      struct ring ring;
      open_ring(&ring, 256);
      OK(write_frame(&ring, before, 1));
      read_frame(&ring, before, 1);
      uint64_t written = 0, read = 0, sequence = 1;
      for (int round = 0; written < sizeof bytes && round < 1000; round++) {
        int32_t count = zb_writer_write_frames(ring.writer, bytes, (double)written,
                                               (double)(sizeof bytes - written), (double)size, 0);
        CHECK(count > 0 || count == ZB_AGAIN);
        for (int32_t i = 0; i < count; i++)
          written += size < sizeof bytes - written ? size : sizeof bytes - written;
        /* The frame before is held until the others wait for its place. */
        if (count == ZB_AGAIN) OK(zb_reader_release(ring.reader, (uint32_t)sequence - 1, 1));
        int32_t found = zb_reader_next(ring.reader, 0, 0);
        for (int32_t i = 0; i < found; i++) {
          uint64_t length = (uint64_t)ring.view->frames[i].size;
          EQUAL(ring.view->frames[i].sequence, sequence + 1 + (uint64_t)i);
          EQUAL(memcmp((const uint8_t *)ring.oieb + (uint64_t)ring.view->frames[i].offset, bytes + read,
                       length),
                0);
          read += length;
        }
        if (found > 0) {
          if (count != ZB_AGAIN) (void)zb_reader_release(ring.reader, (uint32_t)sequence - 1, 1);
          (void)zb_reader_release(ring.reader, (uint32_t)sequence, (uint32_t)found - 1);
          sequence += (uint64_t)found;
        }
      }
      EQUAL(written, sizeof bytes);
      EQUAL(read, sizeof bytes);
      (void)zb_reader_release(ring.reader, (uint32_t)sequence - 1, 1);
      EQUAL(word(&ring.oieb->payload_free_bytes), 256);
      close_ring(&ring);
    }
  }
}
