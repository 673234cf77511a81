/* Passing many frames on with one call (zb_reader_forward). */
#include "test.h"

#define HEADER sizeof(struct zb_frame_header)

/* Frames of one ring that go to another one. */
struct pair {
  struct ring from, to;
};

static void open_pair(struct pair *pair, uint64_t from_size, uint64_t to_size) {
  open_ring(&pair->from, from_size);
  open_ring(&pair->to, to_size);
}

static void close_pair(struct pair *pair) {
  close_ring(&pair->to);
  close_ring(&pair->from);
}

/* Frames `first` to `last`, each of `size` bytes. */
static void write_frames(struct ring *ring, uint64_t size, uint64_t first, uint64_t last) {
  for (uint64_t sequence = first; sequence <= last; sequence++) OK(write_frame(ring, size, sequence));
}

/* A slice that ends on no machine, however slow, before the frames that are there have been passed on. */
#define LONG_SLICE_US 60000000

static int32_t forward_in(struct pair *pair, int32_t most, double most_bytes, int32_t wait_us, int32_t slice_us) {
  const struct zb_reader_view *view = pair->from.view;
  zb_writer_peer(pair->to.writer, word(&pair->to.oieb->reader_pid));
  return zb_reader_forward(pair->from.reader, pair->to.writer, (int32_t)view->left_first, (int32_t)view->left_end,
                           most, most_bytes, wait_us, slice_us);
}

static int32_t forward_up_to(struct pair *pair, int32_t most, double most_bytes) {
  return forward_in(pair, most, most_bytes, 0, LONG_SLICE_US);
}

/* All that is there, in at most two looks. */
static int32_t forward(struct pair *pair) { return forward_in(pair, 1000, 1e9, 0, 1000); }

/* What the caller does with the frame that is left first: here it is written and released. */
static void take_first(struct pair *pair) {
  struct zb_reader_view *view = (struct zb_reader_view *)pair->from.view;
  const struct zb_frame_place *frame = &view->frames[(int32_t)view->left_first];
  const uint8_t *bytes = (const uint8_t *)zb_memory_address(pair->from.memory) + (size_t)frame->offset;
  OK(zb_writer_write(pair->to.writer, bytes, frame->size, 0));
  OK(zb_reader_release(pair->from.reader, (uint32_t)frame->sequence - 1, 1));
  view->left_first++;
}

/* A pair whose first frame has been passed on, and been read. */
static void open_begun(struct pair *pair, uint64_t from_size, uint64_t to_size) {
  open_pair(pair, from_size, to_size);
  OK(write_frame(&pair->from, 10, 1));
  EQUAL(forward(pair), 1);
  take_first(pair);
  read_frame(&pair->to, 10, 1);
  OK(zb_reader_release(pair->to.reader, 0, 1));
}

static void expect_forwarded(const struct pair *pair, int frames, uint64_t bytes, int left) {
  const struct zb_reader_view *view = pair->from.view;
  EQUAL(view->forwarded, frames);
  EQUAL(view->forwarded_bytes, bytes);
  EQUAL(view->forwarded_shared, 0);
  EQUAL(view->left_end - view->left_first, left);
}

static uint64_t used(struct ring *ring) { return ring->payload_size - word(&ring->oieb->payload_free_bytes); }

TEST(frames_are_forwarded_with_their_bytes_and_released_but_for_the_first_one_of_a_writer) {
  struct pair pair;
  open_pair(&pair, 65536, 65536);
  EQUAL(forward(&pair), ZB_AGAIN);
  expect_forwarded(&pair, 0, 0, 0);
  write_frames(&pair.from, 100, 1, 150);
  EQUAL(forward(&pair), 64);
  expect_forwarded(&pair, 0, 0, 64);
  take_first(&pair);
  EQUAL(forward_up_to(&pair, 149, 1e9), 150 - 2 * 64);
  expect_forwarded(&pair, 149, 14900, 0);
  EQUAL(forward(&pair), ZB_AGAIN);
  EQUAL(used(&pair.from), 0);
  uint64_t sequence = 1;
  for (int32_t count; (count = zb_reader_next(pair.to.reader, 0, 0)) > 0;)
    for (int i = 0; i < count; i++, sequence++) check_frame(&pair.to, i, 100, sequence);
  EQUAL(sequence, 151);
  close_pair(&pair);
}

TEST(a_forwarder_stops_after_so_many_frames_and_goes_on_with_those_that_are_left) {
  struct pair pair;
  open_begun(&pair, 65536, 65536);
  write_frames(&pair.from, 100, 2, 11);
  EQUAL(forward_up_to(&pair, 3, 1e9), 10);
  expect_forwarded(&pair, 3, 300, 7);
  EQUAL(used(&pair.from), 7 * (HEADER + 100));
  EQUAL(forward_up_to(&pair, 7, 1e9), 10);
  expect_forwarded(&pair, 7, 700, 0);
  EQUAL(forward(&pair), ZB_AGAIN);
  expect_forwarded(&pair, 0, 0, 0);
  close_pair(&pair);
}

TEST(a_forwarder_leaves_what_is_more_than_so_many_bytes) {
  struct pair pair;
  open_begun(&pair, 1 << 20, 1 << 20);
  write_frames(&pair.from, 10000, 2, 5);
  OK(write_frame(&pair.from, 30000, 6));
  EQUAL(forward_up_to(&pair, 1000, 24000), 5);
  expect_forwarded(&pair, 2, 20000, 3);
  EQUAL(forward_up_to(&pair, 1000, 24000), 5);
  expect_forwarded(&pair, 2, 20000, 1);
  EQUAL(forward_up_to(&pair, 1000, 24000), 5);
  expect_forwarded(&pair, 0, 0, 1);
  take_first(&pair);
  EQUAL(forward(&pair), ZB_AGAIN);
  close_pair(&pair);
}

TEST(what_finds_no_room_is_left_and_not_released) {
  struct pair pair;
  open_begun(&pair, 65536, 1024);
  write_frames(&pair.from, 500 - HEADER, 2, 5);
  EQUAL(forward(&pair), 4);
  expect_forwarded(&pair, 2, 2 * (500 - HEADER), 2);
  EQUAL(used(&pair.from), 2 * 500);
  EQUAL(forward(&pair), 4);
  expect_forwarded(&pair, 0, 0, 2);
  EQUAL(zb_reader_next(pair.to.reader, 0, 0), 2);
  OK(zb_reader_release(pair.to.reader, 1, 2));
  EQUAL(forward(&pair), ZB_AGAIN);
  expect_forwarded(&pair, 2, 2 * (500 - HEADER), 0);
  close_pair(&pair);
}

TEST(a_frame_that_fits_no_target_is_left) {
  struct pair pair;
  open_begun(&pair, 65536, 1024);
  OK(write_frame(&pair.from, 2000, 2));
  EQUAL(forward(&pair), 1);
  expect_forwarded(&pair, 0, 0, 1);
  close_pair(&pair);
}

TEST(a_forwarder_stops_before_the_first_frame_of_the_next_writer) {
  struct pair pair;
  open_begun(&pair, 65536, 65536);
  write_frames(&pair.from, 100, 2, 4);
  zb_writer_close(pair.from.writer);
  OK(zb_writer_open(pair.from.memory, pair.from.written, pair.from.released, word(&pair.from.oieb->reader_pid), 1,
                    ZB_WAIT_ADAPTIVE, &pair.from.writer));
  /* As after a look that finds the last writer gone. */
  EQUAL(zb_reader_next(pair.from.reader, 0, 0), 3);
  struct zb_reader_view *view = (struct zb_reader_view *)pair.from.view;
  view->left_first = 0;
  view->left_end = 3;
  OK(write_frame(&pair.from, 100, 1));
  EQUAL(forward(&pair), 1);
  expect_forwarded(&pair, 3, 300, 1);
  EQUAL(view->frames[0].sequence, 1);
  close_pair(&pair);
}

static void *write_on_demand(void *argument) {
  struct pair *pair = argument;
  for (uint64_t sequence = 2; sequence <= 100; sequence++) {
    UNTIL(used(&pair->from) == 0);
    OK(write_frame(&pair->from, 100, sequence));
  }
  return NULL;
}

TEST(a_forwarder_waits_for_frames_that_come_one_by_one_and_leaves_none) {
  struct pair pair;
  pthread_t writer;
  open_begun(&pair, 65536, 65536);
  start_thread(&writer, write_on_demand, &pair);
  for (double forwarded = 0; forwarded < 99; forwarded += pair.from.view->forwarded) {
    const int32_t code = forward_in(&pair, 1000, 1e9, 100000, 1000);
    CHECK(code == 1 || code == ZB_AGAIN);
    EQUAL(pair.from.view->left_first, pair.from.view->left_end);
  }
  join_thread(writer);
  EQUAL(forward(&pair), ZB_AGAIN);
  expect_forwarded(&pair, 0, 0, 0);
  close_pair(&pair);
}
