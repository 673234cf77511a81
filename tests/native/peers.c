/* The ring with a peer of another implementation at the other end, or a broken one (docs/protocol.md, sections 4, 7, 8). */
#include "test.h"

#include <stdlib.h>

#define HEADER sizeof(struct zb_frame_header)

/* ---- v1 peers ------------------------------------------------------------------------------------------------ */

/* Holds the first frame, so that nothing is rewound, and stands at `position`. */
static void read_up_to(struct ring *ring, uint64_t position) {
  put_frame(ring, 0, position - HEADER, 1);
  publish(ring, position, 1);
  read_frame(ring, position - HEADER, 1);
}

TEST(a_tail_of_1_to_15_bytes_that_a_v1_writer_skips_without_a_marker_is_skipped) {
  struct ring ring;
  open_ring(&ring, 256);
  for (uint64_t tail = 1; tail <= 15; tail++) {
    reset_ring(&ring);
    put_frame(&ring, 0, 100 - HEADER, 1);
    put_frame(&ring, 100, 156 - tail - HEADER, 2);
    publish(&ring, 256 - tail, 2);
    EQUAL(zb_reader_next(ring.reader, 0, 0), 2);
    OK(zb_reader_release(ring.reader, 0, 1));
    put_frame(&ring, 0, 20, 3);
    publish(&ring, tail + HEADER + 20, 1);
    read_frame(&ring, 20, 3);
    EQUAL(word(&ring.oieb->payload_read_count), 3); /* the tail is not counted */
    OK(zb_reader_release(ring.reader, 1, 1));
    OK(zb_reader_release(ring.reader, 2, 1));
    EQUAL(word(&ring.oieb->payload_read_pos), 36);
    EQUAL(word(&ring.oieb->payload_free_bytes), 256);
  }
  close_ring(&ring);
}

TEST(a_write_position_at_the_end_means_the_start) {
  struct ring ring;
  open_ring(&ring, 256);
  put_frame(&ring, 0, 100 - HEADER, 1);
  put_frame(&ring, 100, 156 - HEADER, 2);
  publish(&ring, 256, 2);
  EQUAL(zb_reader_next(ring.reader, 0, 0), 2);
  OK(zb_reader_release(ring.reader, 0, 1));
  EQUAL(word(&ring.oieb->payload_read_pos), 100);
  set_word(&ring.oieb->payload_write_pos, 256);
  zb_writer_close(ring.writer);
  OK(zb_writer_open(ring.memory, ring.written, ring.released, (uint64_t)getpid(), 1, ZB_WAIT_ADAPTIVE,
                    &ring.writer));
  ring.writer_view = (const struct zb_writer_view *)ring.writer;
  OK(write_frame(&ring, 30, 1));
  EQUAL(ring.writer_view->offset, 128 + 64 + HEADER);
  read_frame(&ring, 30, 1);
  close_ring(&ring);
}

TEST(a_read_position_at_the_end_means_the_start) {
  struct ring ring;
  open_ring(&ring, 256);
  set_word(&ring.oieb->payload_read_pos, 256);
  put_frame(&ring, 0, 24, 1);
  publish(&ring, 40, 1);
  read_frame(&ring, 24, 1);
  OK(zb_reader_release(ring.reader, 0, 1));
  EQUAL(word(&ring.oieb->payload_read_pos), 40);
  close_ring(&ring);
}

TEST(a_writer_that_finds_less_than_a_header_ahead_waits_for_the_empty_ring) {
  struct ring ring;
  open_ring(&ring, 256);
  for (uint64_t tail = 1; tail <= 15; tail++) {
    reset_ring(&ring);
    put_frame(&ring, 0, 256 - tail - HEADER, 1);
    publish(&ring, 256 - tail, 1);
    set_word(&ring.oieb->payload_write_pos, 256 - tail);
    zb_writer_close(ring.writer);
    OK(zb_writer_open(ring.memory, ring.written, ring.released, (uint64_t)getpid(), 1, ZB_WAIT_ADAPTIVE,
                      &ring.writer));
    EQUAL(write_frame(&ring, 1, 1), ZB_AGAIN);
    read_frame(&ring, 256 - tail - HEADER, 1);
    EQUAL(write_frame(&ring, 1, 1), ZB_AGAIN);
    OK(zb_reader_release(ring.reader, 0, 1));
    OK(write_frame(&ring, 1, 1));
    read_frame(&ring, 1, 1);
  }
  close_ring(&ring);
}

TEST(the_half_done_wrap_of_a_v1_writer_is_no_frame_and_is_settled_when_it_is_gone) {
  struct ring ring;
  open_ring(&ring, 256);
  for (uint64_t tail = 1; tail <= 100; tail++) {
    reset_ring(&ring);
    uint64_t position = 256 - tail;
    read_up_to(&ring, position);
    if (tail >= HEADER) put_header(&ring, position, 0, 0);
    publish(&ring, tail, 1);
    EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_AGAIN);
    EQUAL(ring.view->surplus_tokens, 1);
    EQUAL(zb_reader_next(ring.reader, 0, ZB_WITHOUT_TOKEN | ZB_NEW_WRITER), ZB_AGAIN);
    EQUAL(zb_reader_settle(ring.reader), ZB_AGAIN);
    EQUAL(word(&ring.oieb->payload_free_bytes), 0); /* a frame is held */
    EQUAL(zb_reader_release(ring.reader, 0, 1), ZB_SETTLE_DUE);
    EQUAL(word(&ring.oieb->payload_free_bytes), position);
    OK(zb_reader_settle(ring.reader));
    EQUAL(word(&ring.oieb->payload_free_bytes), 256);
    EQUAL(word(&ring.oieb->payload_write_pos), position);

    zb_writer_close(ring.writer);
    OK(zb_writer_open(ring.memory, ring.written, ring.released, (uint64_t)getpid(), 1, ZB_WAIT_ADAPTIVE,
                      &ring.writer));
    OK(write_frame(&ring, 24, 1));
    read_frame(&ring, 24, 1);
  }
  close_ring(&ring);
}

TEST(a_settlement_that_held_frames_put_off_is_due_once_when_none_is_held_any_more) {
  struct ring ring;
  open_ring(&ring, 256);
  for (uint64_t sequence = 1; sequence <= 3; sequence++) OK(write_frame(&ring, 24, sequence));
  EQUAL(zb_reader_next(ring.reader, 0, 0), 3);
  EQUAL(zb_reader_settle(ring.reader), ZB_AGAIN);
  OK(zb_reader_release(ring.reader, 2, 1));
  OK(zb_reader_release(ring.reader, 0, 1));
  EQUAL(zb_reader_release(ring.reader, 1, 1), ZB_SETTLE_DUE);
  EQUAL(zb_reader_release(ring.reader, 1, 1), ZB_ALREADY);
  /* A writer has come meanwhile: the caller does not settle, and is not asked again. */
  OK(write_frame(&ring, 24, 4));
  read_frame(&ring, 24, 4);
  OK(zb_reader_release(ring.reader, 3, 1));
  OK(zb_reader_settle(ring.reader));
  close_ring(&ring);
}

TEST(the_position_of_a_frame_that_a_v1_writer_did_not_publish_is_settled_when_it_is_gone) {
  struct ring ring;
  open_ring(&ring, 256);
  OK(write_frame(&ring, 24, 1));
  read_frame(&ring, 24, 1);
  OK(zb_reader_release(ring.reader, 0, 1));
  put_frame(&ring, 40, 60, 2);
  set_word(&ring.oieb->payload_write_pos, 116); /* and killed before the publication */
  EQUAL(zb_reader_next(ring.reader, 0, ZB_WITHOUT_TOKEN | ZB_NEW_WRITER), ZB_AGAIN);
  zb_reader_settle(ring.reader);
  EQUAL(word(&ring.oieb->payload_free_bytes), 256);
  EQUAL(word(&ring.oieb->payload_write_pos), 40);
  put_frame(&ring, word(&ring.oieb->payload_write_pos), 30,
            1); /* a v1 writer goes on there, without a rewind */
  publish(&ring, 46, 1);
  read_frame(&ring, 30, 1);
  close_ring(&ring);
}

TEST(a_frame_that_is_unread_is_never_settled_away) {
  struct ring ring;
  open_ring(&ring, 256);
  OK(write_frame(&ring, 24, 1));
  zb_reader_settle(ring.reader);
  EQUAL(word(&ring.oieb->payload_free_bytes), 216);
  read_frame(&ring, 24, 1);
  OK(zb_reader_release(ring.reader, 0, 1));
  zb_reader_settle(ring.reader);
  EQUAL(word(&ring.oieb->payload_free_bytes), 256);
  close_ring(&ring);
}

TEST(a_frame_with_number_1_starts_the_frames_of_a_new_writer) {
  struct ring ring;
  open_ring(&ring, 1024);
  const uint64_t sequences[] = {1, 2, 3, 1, 2, 1, 1, 2};
  for (int i = 0; i < 8; i++) {
    put_frame(&ring, (uint64_t)i * 40, 24, sequences[i]);
    publish(&ring, 40, 1);
  }
  EQUAL(zb_reader_next(ring.reader, 0, 0), 8);
  for (int i = 0; i < 8; i++) check_frame(&ring, i, 24, sequences[i]);
  close_ring(&ring);
}

/* ---- a look without a token ---------------------------------------------------------------------------------- */

TEST(a_look_without_token_finds_nothing_where_nothing_is_complete) {
  struct ring ring;
  open_ring(&ring, 256);
  EQUAL(zb_reader_next(ring.reader, 0, ZB_WITHOUT_TOKEN), ZB_AGAIN);
  put_frame(&ring, 0, 24, 1); /* not published */
  EQUAL(zb_reader_next(ring.reader, 0, ZB_WITHOUT_TOKEN), ZB_AGAIN);
  publish(&ring, 39, 0); /* one byte less than the frame has */
  EQUAL(zb_reader_next(ring.reader, 0, ZB_WITHOUT_TOKEN), ZB_AGAIN);
  publish(&ring, 1, 0);
  EQUAL(zb_reader_next(ring.reader, 0, ZB_WITHOUT_TOKEN), 1);
  check_frame(&ring, 0, 24, 1);
  const uint64_t sizes[] = {0, 241, 256, UINT64_MAX, 200}; /* 200 would end behind the ring */
  for (int i = 0; i < 5; i++) {
    set_word(&ring.oieb->payload_free_bytes, 256 - 40 - 16);
    put_header(&ring, 40, sizes[i], 2);
    EQUAL(zb_reader_next(ring.reader, 0, ZB_WITHOUT_TOKEN), ZB_AGAIN);
  }
  put_frame(&ring, 40, 24, 2); /* and it is not failed by any of that */
  set_word(&ring.oieb->payload_free_bytes, 256 - 80);
  EQUAL(zb_reader_next(ring.reader, 0, ZB_WITHOUT_TOKEN), 1);
  check_frame(&ring, 0, 24, 2);
  close_ring(&ring);
}

TEST(a_look_without_token_takes_number_1_only_of_a_new_writer) {
  struct ring ring;
  open_ring(&ring, 256);
  put_frame(&ring, 0, 24, 1);
  put_frame(&ring, 40, 24, 2);
  put_frame(&ring, 80, 24, 1);
  publish(&ring, 120, 0);
  EQUAL(zb_reader_next(ring.reader, 0, ZB_WITHOUT_TOKEN), 2);
  EQUAL(zb_reader_next(ring.reader, 0, ZB_WITHOUT_TOKEN), ZB_AGAIN);
  EQUAL(zb_reader_next(ring.reader, 0, ZB_WITHOUT_TOKEN | ZB_NEW_WRITER), 1);
  check_frame(&ring, 0, 24, 1);
  close_ring(&ring);
}

TEST(a_look_without_token_takes_no_frame_with_another_number) {
  struct ring ring;
  open_ring(&ring, 256);
  put_frame(&ring, 0, 24, 5);
  publish(&ring, 40, 0);
  EQUAL(zb_reader_next(ring.reader, 0, ZB_WITHOUT_TOKEN | ZB_NEW_WRITER), ZB_AGAIN);
  put_frame(&ring, 0, 24, 1);
  EQUAL(zb_reader_next(ring.reader, 0, ZB_WITHOUT_TOKEN), 1);
  close_ring(&ring);
}

/* ---- frames that cannot be right ----------------------------------------------------------------------------- */

/* Expects the refusal now and at every further look, and that it tells the position and what was found. */
static void expect_refusal(struct ring *ring, int32_t code, double position, double found) {
  for (int look = 0; look < 3; look++) EQUAL(zb_reader_next(ring->reader, 0, look & ZB_WITHOUT_TOKEN), code);
  EQUAL(ring->view->fault_position, position);
  EQUAL(ring->view->fault_found, found);
}

TEST(a_frame_of_an_impossible_size_is_refused_for_good) {
  struct ring ring;
  open_ring(&ring, 256);
  const uint64_t sizes[] = {0, 201, 241, 256, 1u << 31, (uint64_t)1 << 63, UINT64_MAX - 15, UINT64_MAX};
  for (int i = 0; i < 8; i++) {
    reset_ring(&ring);
    put_frame(&ring, 0, 24, 1);
    put_header(&ring, 40, sizes[i], 2);
    publish(&ring, 80, 2);
    read_frame(&ring, 24, 1); /* the frame before it is delivered */
    expect_refusal(&ring, ZB_BAD_FRAME, 40, (double)sizes[i]);
    set_word(&ring.oieb->payload_free_bytes, 256);
    put_frame(&ring, 40, 24, 2);
    publish(&ring, 80, 1);
    EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_BAD_FRAME);
  }
  close_ring(&ring);
}

TEST(a_frame_that_ends_with_the_ring_is_read_and_one_that_ends_a_byte_later_is_refused) {
  struct ring ring;
  open_ring(&ring, 256);
  for (uint64_t surplus = 0; surplus <= 1; surplus++) {
    reset_ring(&ring);
    read_up_to(&ring, 100);
    put_header(&ring, 100, 140 + surplus, 2);
    publish(&ring, 156, 1);
    if (surplus > 0) {
      expect_refusal(&ring, ZB_BAD_FRAME, 100, 141);
    } else {
      EQUAL(zb_reader_next(ring.reader, 0, 0), 1);
      EQUAL(ring.view->frames[0].size, 140);
    }
  }
  close_ring(&ring);
}

TEST(a_number_that_repeats_skips_or_runs_backwards_is_refused_for_good) {
  struct ring ring;
  open_ring(&ring, 256);
  const uint64_t sequences[] = {3, 5, 2, 0, UINT64_MAX};
  for (int i = 0; i < 5; i++) {
    reset_ring(&ring);
    for (uint64_t sequence = 1; sequence <= 3; sequence++)
      put_frame(&ring, (sequence - 1) * 40, 24, sequence);
    put_frame(&ring, 120, 24, sequences[i]);
    publish(&ring, 160, 4);
    EQUAL(zb_reader_next(ring.reader, 0, 0), 3);
    expect_refusal(&ring, ZB_BAD_SEQUENCE, 120, (double)sequences[i]);
    EQUAL(ring.view->fault_expected, 4);
  }
  close_ring(&ring);
}

TEST(a_first_frame_must_carry_number_1) {
  struct ring ring;
  open_ring(&ring, 256);
  put_frame(&ring, 0, 24, 2);
  publish(&ring, 40, 1);
  expect_refusal(&ring, ZB_BAD_SEQUENCE, 0, 2);
  EQUAL(ring.view->fault_expected, 1);
  close_ring(&ring);
}

TEST(frames_before_a_refused_one_are_delivered_and_can_be_released) {
  struct ring ring;
  open_ring(&ring, 256);
  OK(write_frame(&ring, 24, 1));
  OK(write_frame(&ring, 24, 2));
  OK(write_frame(&ring, 24, 3));
  put_header(&ring, 80, 0, 3);
  EQUAL(zb_reader_next(ring.reader, 0, 0), 2);
  check_frame(&ring, 0, 24, 1);
  check_frame(&ring, 1, 24, 2);
  expect_refusal(&ring, ZB_BAD_FRAME, 80, 0);
  OK(zb_reader_release(ring.reader, 1, 1));
  OK(zb_reader_release(ring.reader, 0, 1));
  EQUAL(word(&ring.oieb->payload_free_bytes), 216);
  EQUAL(zb_semaphore_value(ring.released), 2);
  zb_reader_settle(ring.reader);
  EQUAL(word(&ring.oieb->payload_free_bytes), 216);
  close_ring(&ring);
}

TEST(two_wrap_markers_in_a_row_are_refused) {
  struct ring ring;
  open_ring(&ring, 256);
  read_up_to(&ring, 200);
  OK(zb_reader_release(ring.reader, 0, 1));
  put_header(&ring, 200, 0, 0);
  put_header(&ring, 0, 0, 0);
  publish(&ring, 56 + 40, 1);
  expect_refusal(&ring, ZB_BAD_FRAME, 0, 0);
  close_ring(&ring);
}

TEST(a_wrap_marker_at_the_start_of_the_ring_is_no_endless_loop) {
  struct ring ring;
  open_ring(&ring, 256);
  put_header(&ring, 0, 0, 0);
  publish(&ring, 256, 64);
  EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_AGAIN); /* all of it is the waste of a wrap */
  EQUAL(zb_reader_next(ring.reader, 0, ZB_WITHOUT_TOKEN), ZB_AGAIN);
  close_ring(&ring);
}

TEST(a_size_that_the_free_bytes_contradict_leads_to_no_access_outside_the_ring) {
  struct ring ring;
  open_ring(&ring, 256);
  put_header(&ring, 0, 240, 1);
  publish(&ring, 17, 1);
  EQUAL(zb_reader_next(ring.reader, 0, 0), 1);
  EQUAL(ring.view->frames[0].offset + ring.view->frames[0].size, zb_memory_size(ring.memory));
  zb_semaphore_post(ring.written, 1);
  EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_AGAIN);
  OK(zb_reader_release(ring.reader, 0, 1));
  zb_semaphore_post(ring.written, 1);
  expect_refusal(&ring, ZB_BAD_CONTROL, 0, 256 - 17 + 256);
  EQUAL(write_frame(&ring, 1, 1), ZB_BAD_CONTROL);
  close_ring(&ring);
}

TEST(a_read_position_that_changes_while_a_frame_is_held_is_not_followed) {
  struct ring ring;
  open_ring(&ring, 256);
  OK(write_frame(&ring, 24, 1));
  read_frame(&ring, 24, 1);
  set_word(&ring.oieb->payload_read_pos, 0);
  OK(write_frame(&ring, 24, 2));
  read_frame(&ring, 24, 2);
  close_ring(&ring);
}

/* ---- an OIEB that cannot be right ---------------------------------------------------------------------------- */

TEST(more_free_bytes_than_the_ring_has_are_refused_by_both_ends) {
  struct ring ring;
  open_ring(&ring, 256);
  const uint64_t values[] = {257, 512, (uint64_t)1 << 63, UINT64_MAX};
  for (int i = 0; i < 4; i++) {
    reset_ring(&ring);
    set_word(&ring.oieb->payload_free_bytes, values[i]);
    EQUAL(write_frame(&ring, 24, 1), ZB_BAD_CONTROL);
    EQUAL(word(&ring.oieb->payload_free_bytes), (double)values[i]);
    zb_semaphore_post(ring.written, 1);
    expect_refusal(&ring, ZB_BAD_CONTROL, 0, (double)values[i]);
  }
  close_ring(&ring);
}

TEST(positions_behind_the_end_are_refused) {
  struct ring ring;
  open_ring(&ring, 256);
  const uint64_t values[] = {257, (uint64_t)1 << 63, UINT64_MAX};
  for (int i = 0; i < 3; i++) {
    reset_ring(&ring);
    put_frame(&ring, 0, 24, 1);
    publish(&ring, 40, 1);
    set_word(&ring.oieb->payload_read_pos, values[i]);
    zb_reader_settle(ring.reader);
    EQUAL(word(&ring.oieb->payload_free_bytes), 216);
    expect_refusal(&ring, ZB_BAD_CONTROL, (double)values[i], (double)values[i]);
    zb_writer *writer;
    set_word(&ring.oieb->payload_write_pos, values[i]);
    EQUAL(zb_writer_open(ring.memory, ring.written, ring.released, 1, 1, ZB_WAIT_ADAPTIVE, &writer),
          ZB_BAD_CONTROL);
  }
  close_ring(&ring);
}

TEST(sizes_in_the_oieb_that_do_not_fit_the_memory_are_refused_by_everything) {
  struct ring ring;
  uint8_t bytes[64];
  zb_reader *reader;
  zb_writer *writer;
  open_buffer(&ring, 64, 256);
  const uint64_t sizes[][2] = {
      {64, 257},       {65, 256}, {321, 0}, {64, UINT64_MAX}, {UINT64_MAX, 256},      {UINT64_MAX, 321},
      {UINT64_MAX, 0}, {64, 0},   {64, 16}, {0, 321},         {UINT64_MAX - 127, 256}};
  for (int i = 0; i < 11; i++) {
    set_word(&ring.oieb->metadata_size, sizes[i][0]);
    set_word(&ring.oieb->payload_size, sizes[i][1]);
    EQUAL(zb_reader_open(ring.memory, ring.written, ring.released, 1, ZB_WAIT_ADAPTIVE, &reader),
          ZB_BAD_CONTROL);
    EQUAL(zb_writer_open(ring.memory, ring.written, ring.released, 1, 1, ZB_WAIT_ADAPTIVE, &writer),
          ZB_BAD_CONTROL);
    EQUAL(zb_metadata_write(ring.memory, bytes, 8), ZB_BAD_CONTROL);
    EQUAL(zb_metadata_read(ring.memory, bytes, 64), ZB_BAD_CONTROL);
    zb_metadata_clear(ring.memory);
    EQUAL(word(&ring.oieb->metadata_free_bytes), 64);
  }
  close_ring(&ring);
}

TEST(sizes_that_change_under_an_open_ring_are_not_looked_at_again) {
  struct ring ring;
  open_ring(&ring, 256);
  set_word(&ring.oieb->payload_size, (uint64_t)1 << 40);
  set_word(&ring.oieb->metadata_size, (uint64_t)1 << 40);
  for (uint64_t sequence = 1; sequence <= 20; sequence++) {
    OK(write_frame(&ring, 100, sequence));
    read_frame(&ring, 100, sequence);
    OK(zb_reader_release(ring.reader, (uint32_t)sequence - 1, 1));
  }
  EQUAL(write_frame(&ring, 241, 21), ZB_TOO_LARGE);
  close_ring(&ring);
}

TEST(random_bytes_in_the_whole_memory_never_lead_outside_of_it) {
  struct ring ring;
  uint64_t random = 88172645463325252u;
  open_ring(&ring, 256);
  uint64_t *words = (uint64_t *)ring.oieb;
  for (int round = 0; round < 20000; round++) {
    reset_ring(&ring);
    for (int change = 0; change < 12; change++) {
      random ^= random << 13;
      random ^= random >> 7;
      random ^= random << 17;
      /* Mostly small numbers, mostly in the OIEB's moving fields and the first headers. */
      uint64_t value = random >> 60 ? random % 300 : random;
      int at = random >> 32 & 1 ? 5 + (int)(random >> 33) % 5 : 24 + (int)(random >> 33) % 12;
      set_word(&words[at], value);
      if (change % 4 == 3) zb_semaphore_post(ring.written, 3);
      if (change % 3 == 2) write_frame(&ring, 1 + random % 100, 1);
      int32_t count = zb_reader_next(ring.reader, 0, change % 4);
      for (int32_t i = 0; i < count; i++) {
        double offset = ring.view->frames[i].offset, size = ring.view->frames[i].size;
        CHECK(offset >= 128 + 64 + HEADER && size >= 1 && offset + size <= 128 + 64 + 256);
        if (random >> 50 & 1) zb_reader_release(ring.reader, (uint32_t)i, 1);
      }
      zb_reader_settle(ring.reader);
    }
  }
  close_ring(&ring);
}
