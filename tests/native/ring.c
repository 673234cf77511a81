/* The ring as its own two ends use it: placing, reading, lending and releasing (docs/protocol.md, sections 2 and 3). */
#include "test.h"

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
  uint64_t credits[8] = {0}, ends[8] = {0}, sequence = 1, released = 0;
  while (sequence <= 6) {
    uint64_t size = sequence % 2 ? first : second;
    uint64_t free_before = model.free_bytes;
    if (write_as_modelled(ring, &model, size, sequence)) {
      credits[sequence] = free_before - model.free_bytes;
      ends[sequence] = model.write_pos == 0 ? model.size : model.write_pos;
      read_frame(ring, size, sequence);
      sequence++;
      if (sequence - 1 - released < 2) continue;
    }
    CHECK(released + 1 < sequence);
    OK(zb_reader_release(ring->reader, (uint32_t)released++, 1));
    model.free_bytes += credits[released];
    EQUAL(word(&ring->oieb->payload_read_pos), ends[released]);
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

TEST(a_frame_that_fills_the_ring_exactly_leaves_the_writer_at_0_and_the_reader_at_the_end) {
  struct ring ring;
  open_ring(&ring, 128);
  for (uint64_t sequence = 1; sequence <= 3; sequence++) {
    OK(write_frame(&ring, 128 - HEADER, sequence));
    EQUAL(word(&ring.oieb->payload_write_pos), 0);
    EQUAL(word(&ring.oieb->payload_free_bytes), 0);
    EQUAL(write_frame(&ring, 1, 9), ZB_AGAIN);
    read_frame(&ring, 128 - HEADER, sequence);
    OK(zb_reader_release(ring.reader, (uint32_t)sequence - 1, 1));
    EQUAL(word(&ring.oieb->payload_read_pos), 128);
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
  OK(zb_reader_release(ring.reader, 2, 1));
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
