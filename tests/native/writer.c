/* What a writer does with its ring: acquiring, connecting, and writing frames together (docs/protocol.md, sections 2 and 3). */
#include "test.h"

#define HEADER sizeof(struct zb_frame_header)

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

/* ---- connecting ---------------------------------------------------------------------------------------------- */

TEST(a_writer_that_comes_to_an_empty_ring_takes_old_tokens_away_and_rewinds_it) {
  struct ring ring;
  open_ring(&ring, 256);
  OK(write_frame(&ring, 24, 1));
  read_frame(&ring, 24, 1);
  OK(zb_reader_release(ring.reader, 0, 1));
  zb_semaphore_post(ring.written, 100);
  zb_writer_close(ring.writer);
  OK(zb_writer_open(ring.memory, ring.written, ring.released, (uint64_t)getpid(), 1, ZB_WAIT_ADAPTIVE,
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
  OK(zb_writer_open(ring.memory, ring.written, ring.released, (uint64_t)getpid(), 1, ZB_WAIT_ADAPTIVE,
                    &ring.writer));
  EQUAL(zb_semaphore_value(ring.written), 2);
  OK(write_frame(&ring, 30, 1));
  EQUAL(zb_reader_next(ring.reader, 0, 0), 3);
  check_frame(&ring, 0, 24, 1);
  check_frame(&ring, 1, 24, 2);
  check_frame(&ring, 2, 30, 1);
  close_ring(&ring);
}

TEST(a_writer_asks_for_a_look_when_somebody_has_overwritten_its_own_pid_while_frames_flow) {
  struct ring ring;
  open_ring(&ring, 256);
  const uint64_t own = word(&ring.oieb->writer_pid);
  for (uint64_t sequence = 1; sequence <= 3; sequence++) {
    OK(write_frame(&ring, 24, sequence));
    read_frame(&ring, 24, sequence);
    OK(zb_reader_release(ring.reader, (uint32_t)sequence - 1, 1));
  }
  set_word(&ring.oieb->writer_pid, own + 1);
  /* It is found when the next frame is published. */
  OK(write_frame(&ring, 24, 4));
  read_frame(&ring, 24, 4);
  OK(zb_reader_release(ring.reader, 3, 1));
  EQUAL(zb_writer_write(ring.writer, "x", 1, 0), ZB_PEER_CHECK);
  set_word(&ring.oieb->writer_pid, own);
  zb_writer_peer(ring.writer, (uint64_t)getpid());
  OK(write_frame(&ring, 24, 5));
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

/* ---- writing together ------------------------------------------------------------------------------------------------ */

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
