/* `test list` prints the names of all cases, `test NAME` runs one of them: exit code 0, or a message and 1.
 *
 * `test read NAME FRAMES` makes a buffer and reads a stream from it, and `test write NAME FRAMES` writes one: two
 * programs that were built for different systems do so to each other. */
#include "test.h"

#include <sched.h>
#include <stdlib.h>

#define MOST_TESTS 300

static struct {
  const char *name;
  void (*run)(void);
} tests[MOST_TESTS];
static int test_count;

void register_test(const char *name, void (*run)(void)) {
  if (test_count == MOST_TESTS) abort();
  tests[test_count].name = name;
  tests[test_count++].run = run;
}

/* ---- checks -------------------------------------------------------------------------------------------------- */

void check_true(bool holds, const char *text, const char *file, int line) {
  if (holds) return;
  fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, text);
  exit(1);
}

void check_equal(double actual, double expected, const char *text, const char *file, int line) {
  if (actual == expected) return;
  fprintf(stderr, "%s:%d: %s is %.17g, not %.17g\n", file, line, text, actual, expected);
  exit(1);
}

int64_t elapsed_ms(int64_t start_ns) { return (zb_now_ns() - start_ns) / 1000000; }

/* ---- names --------------------------------------------------------------------------------------------------- */

char name_prefix[32];

const char *unique_name(void) {
  static char name[64];
  static int count;
  snprintf(name, sizeof name, "%s%d", name_prefix, ++count);
  return name;
}

/* ---- threads ------------------------------------------------------------------------------------------------- */

uint32_t long_run(uint32_t count) {
  const char *factor = getenv("ZB_TEST_FACTOR");
  return factor == NULL ? count : count * (uint32_t)strtoul(factor, NULL, 10);
}

void start_thread(pthread_t *thread, void *(*run)(void *), void *argument) {
  EQUAL(pthread_create(thread, NULL, run, argument), 0);
}

void join_thread(pthread_t thread) { EQUAL(pthread_join(thread, NULL), 0); }

/* ---- a ring -------------------------------------------------------------------------------------------------- */

uint64_t word(const uint64_t *field) {
  return atomic_load_explicit((const _Atomic(uint64_t) *)field, memory_order_acquire);
}

void set_word(uint64_t *field, uint64_t value) {
  atomic_store_explicit((_Atomic(uint64_t) *)field, value, memory_order_release);
}

int32_t open_memory(const char *name, zb_memory **memory) {
  int32_t code = zb_memory_look(name, true, memory);
  if (code != ZB_OK) return code;
  code = zb_memory_map(*memory);
  if (code != ZB_OK) zb_memory_close(*memory);
  return code;
}

int32_t make_memory(const char *name, uint64_t size, int32_t mode, zb_memory **memory) {
  int32_t code = zb_memory_create(name, size, mode, memory);
  if (code != ZB_OK) return code;
  code = zb_memory_link(*memory);
  if (code != ZB_OK) zb_memory_close(*memory);
  return code;
}

static void open_named_buffer(struct ring *ring, const char *name, uint64_t metadata_size,
                              uint64_t payload_size) {
  memset(ring, 0, sizeof *ring);
  snprintf(ring->name, sizeof ring->name, "%s", name);
  OK(zb_memory_create(ring->name, sizeof(struct zb_oieb) + metadata_size + payload_size, 0600,
                      &ring->memory));
  zb_oieb_fill(ring->memory, metadata_size, payload_size, ZB_READER, (uint64_t)getpid(), 0);
  OK(zb_memory_link(ring->memory));
  OK(zb_semaphore_create(ring->name, ZB_WRITER, 0600, &ring->written));
  OK(zb_semaphore_create(ring->name, ZB_READER, 0600, &ring->released));
  zb_oieb_publish(ring->memory);
  ring->oieb = zb_memory_address(ring->memory);
  ring->payload = (uint8_t *)(ring->oieb + 1) + metadata_size;
  ring->payload_size = payload_size;
}

void open_buffer(struct ring *ring, uint64_t metadata_size, uint64_t payload_size) {
  open_named_buffer(ring, unique_name(), metadata_size, payload_size);
}

static void open_reader(struct ring *ring) {
  OK(zb_reader_open(ring->memory, ring->written, ring->released, 1, ZB_WAIT_ADAPTIVE, &ring->reader));
  ring->view = (const struct zb_reader_view *)ring->reader;
}

static void open_ends(struct ring *ring) {
  open_reader(ring);
  OK(zb_writer_open(ring->memory, ring->written, ring->released, (uint64_t)getpid(), 1, ZB_WAIT_ADAPTIVE,
                    &ring->writer));
  ring->writer_view = (const struct zb_writer_view *)ring->writer;
}

static void close_ends(struct ring *ring) {
  if (ring->reader != NULL) zb_reader_close(ring->reader);
  if (ring->writer != NULL) zb_writer_close(ring->writer);
}

void open_ring(struct ring *ring, uint64_t payload_size) {
  open_buffer(ring, 64, payload_size);
  open_ends(ring);
}

void close_ring(struct ring *ring) {
  close_ends(ring);
  OK(zb_memory_unlink(ring->memory));
  OK(zb_semaphore_unlink(ring->written));
  OK(zb_semaphore_unlink(ring->released));
  zb_memory_close(ring->memory);
  zb_semaphore_close(ring->written);
  zb_semaphore_close(ring->released);
}

void open_waited(struct ring *ring, zb_waiter **waiter, int32_t *bell) {
  open_ring(ring, 256);
  OK(zb_waiter_open(ring->written, bell, waiter));
}

void close_waited(struct ring *ring, zb_waiter *waiter, int32_t bell) {
  zb_waiter_close(waiter);
  close_bell(bell);
  close_ring(ring);
}

void reset_ring(struct ring *ring) {
  close_ends(ring);
  while (zb_semaphore_take(ring->written, UINT32_MAX) > 0) continue;
  while (zb_semaphore_take(ring->released, UINT32_MAX) > 0) continue;
  set_word(&ring->oieb->payload_free_bytes, ring->payload_size);
  set_word(&ring->oieb->payload_write_pos, 0);
  set_word(&ring->oieb->payload_read_pos, 0);
  set_word(&ring->oieb->payload_written_count, 0);
  set_word(&ring->oieb->payload_read_count, 0);
  memset(ring->payload, 0xEE, ring->payload_size);
  open_ends(ring);
}

static uint8_t pattern_at(uint64_t offset, uint64_t sequence) {
  return (uint8_t)(sequence * 131 + offset * 7 + (offset >> 8));
}

void fill(uint8_t *bytes, uint64_t size, uint64_t sequence) {
  for (uint64_t i = 0; i < size; i++) bytes[i] = pattern_at(i, sequence);
}

bool is_filled(const uint8_t *bytes, uint64_t size, uint64_t sequence) {
  for (uint64_t i = 0; i < size; i++)
    if (bytes[i] != pattern_at(i, sequence)) return false;
  return true;
}

int32_t write_frame(struct ring *ring, uint64_t size, uint64_t sequence) {
  static uint8_t bytes[1 << 16];
  CHECK(size <= sizeof bytes);
  fill(bytes, size, sequence);
  for (;;) { /* on a busy machine any two steps may be far apart */
    zb_writer_peer(ring->writer, word(&ring->oieb->reader_pid));
    int32_t code = zb_writer_write(ring->writer, bytes, (double)size, 0);
    if (code != ZB_PEER_CHECK) return code;
  }
}

void check_frame(struct ring *ring, int i, uint64_t size, uint64_t sequence) {
  EQUAL(ring->view->frames[i].sequence, sequence);
  EQUAL(ring->view->frames[i].size, size);
  CHECK(is_filled((uint8_t *)ring->oieb + (uint64_t)ring->view->frames[i].offset, size, sequence));
}

void read_frame(struct ring *ring, uint64_t size, uint64_t sequence) {
  EQUAL(zb_reader_next(ring->reader, 0, 0), 1);
  check_frame(ring, 0, size, sequence);
}

void put_header(struct ring *ring, uint64_t position, uint64_t size, uint64_t sequence) {
  const struct zb_frame_header header = {.size = size, .sequence = sequence};
  memcpy(ring->payload + position, &header, sizeof header);
}

void put_frame(struct ring *ring, uint64_t position, uint64_t size, uint64_t sequence) {
  put_header(ring, position, size, sequence);
  fill(ring->payload + position + sizeof(struct zb_frame_header), size, sequence);
}

void publish(struct ring *ring, uint64_t bytes, int32_t posts) {
  set_word(&ring->oieb->payload_free_bytes, word(&ring->oieb->payload_free_bytes) - bytes);
  if (posts > 0) zb_semaphore_post(ring->written, posts);
}

void leave_64_bytes_ahead(struct ring *ring) {
  OK(write_frame(ring, 128 - sizeof(struct zb_frame_header), 1));
  OK(write_frame(ring, 64 - sizeof(struct zb_frame_header), 2));
  EQUAL(zb_reader_next(ring->reader, 0, 0), 2);
  OK(zb_reader_release(ring->reader, 0, 1));
  EQUAL(word(&ring->oieb->payload_write_pos), 192);
}

/* ---- a stream ------------------------------------------------------------------------------------------------ */

/* Sizes that wrap a small ring every few frames, and now and then take nearly all of it. */
uint64_t size_of(uint64_t sequence, uint64_t payload_size) {
  uint64_t mixed = sequence * 0x9E3779B97F4A7C15u >> 40;
  uint64_t most = mixed % 50 == 0 ? payload_size - 16 : payload_size / 4;
  return 1 + (mixed >> 6) % most;
}

void *write_stream(void *argument) {
  struct stream *stream = argument;
  struct ring *ring = stream->ring;
  for (uint64_t sequence = 1; sequence <= stream->frames; sequence++) {
    uint64_t size = size_of(sequence, ring->payload_size);
    for (;;) {
      int32_t code = zb_writer_acquire(ring->writer, (double)size, 100000);
      if (code == ZB_OK) break;
      CHECK(code == ZB_AGAIN || code == ZB_PEER_CHECK);
      zb_writer_peer(ring->writer, word(&ring->oieb->reader_pid));
    }
    fill((uint8_t *)ring->oieb + (uint64_t)ring->writer_view->offset, size, sequence);
    OK(zb_writer_commit(ring->writer));
  }
  return NULL;
}

/* Reads all frames of a stream. The last one of each look is held for a while beyond it, so that the ring wraps instead
 * of being rewound; but the writer may need an empty ring. */
void read_frames_of(struct ring *ring, uint64_t frames, int32_t flags) {
  uint64_t read = 0, released = 0;
  int looks = 0, yields = 100;
  while (released < frames) {
    bool holding = released < read;
    int32_t count = zb_reader_next(ring->reader, holding || flags != 0 ? 0 : 100000, flags);
    CHECK(count > 0 || count == ZB_AGAIN);
    if (count == ZB_AGAIN && holding && looks++ < 10) {
      /* On a busy machine the writer gets a processor only this way, and it takes long. */
      if (yields-- > 0) sched_yield();
      continue;
    }
    looks = 0;
    for (int i = 0; i < count; i++)
      check_frame(ring, i, size_of(read + (uint64_t)i + 1, ring->payload_size), read + (uint64_t)i + 1);
    if (holding) OK(zb_reader_release(ring->reader, (uint32_t)released++, 1));
    if (count <= 0) continue;
    read += (uint64_t)count;
    for (uint64_t i = read - 1; i-- > released;) OK(zb_reader_release(ring->reader, (uint32_t)i, 1));
    released = read - 1;
  }
}

/* The same, with nothing left over. */
void read_stream(struct ring *ring, uint64_t frames, int32_t flags) {
  read_frames_of(ring, frames, flags);
  EQUAL(zb_reader_next(ring->reader, 0, ZB_WITHOUT_TOKEN), ZB_AGAIN);
  EQUAL(ring->view->surplus_tokens, 0);
  EQUAL(word(&ring->oieb->payload_free_bytes), ring->payload_size);
}

void read_until_killed(struct ring *ring, uint64_t frames, void (*kill_writer)(void *), void *writer) {
  uint64_t read = 0;
  for (bool killed = false;;) {
    int32_t count =
        killed ? zb_reader_next(ring->reader, 0, ZB_WITHOUT_TOKEN) : zb_reader_next(ring->reader, 20000, 0);
    if (count == ZB_AGAIN && killed) break;
    if (count == ZB_AGAIN) continue;
    CHECK(count > 0);
    for (int i = 0; i < count; i++) {
      check_frame(ring, i, size_of(read + 1, ring->payload_size), read + 1);
      OK(zb_reader_release(ring->reader, (uint32_t)read++, 1));
    }
    if (read > frames && !killed) {
      kill_writer(writer);
      killed = true;
    }
  }
  zb_reader_settle(ring->reader);
  EQUAL(word(&ring->oieb->payload_free_bytes), ring->payload_size);
}

void wait_while_interrupted(struct ring *ring) {
  int64_t start = zb_now_ns();
  EQUAL(zb_sleep(30000000), ZB_INTERRUPTED);
  EQUAL(zb_writer_acquire(ring->writer, 48, 30000000), ZB_INTERRUPTED);
  read_frame(ring, 48, 1);
  EQUAL(zb_reader_next(ring->reader, 30000000, 0), ZB_INTERRUPTED);
  CHECK(elapsed_ms(start) < 15000);
}

void write_stream_from_outside(void *argument) {
  struct stream *stream = argument;
  struct ring ring = {.oieb = NULL};
  OK(open_memory(stream->ring->name, &ring.memory));
  OK(zb_semaphore_open(stream->ring->name, ZB_WRITER, &ring.written));
  OK(zb_semaphore_open(stream->ring->name, ZB_READER, &ring.released));
  ring.oieb = zb_memory_address(ring.memory);
  ring.payload_size = word(&ring.oieb->payload_size);
  OK(zb_writer_open(ring.memory, ring.written, ring.released, word(&ring.oieb->reader_pid), 1,
                    ZB_WAIT_ADAPTIVE, &ring.writer));
  ring.writer_view = (const struct zb_writer_view *)ring.writer;
  write_stream(&(struct stream){.ring = &ring, .frames = stream->frames});
}

/* -------------------------------------------------------------------------------------------------------------- */

static int take_part(const char *role, const char *name, const char *frames) {
  struct ring ring;
  struct stream stream = {.ring = &ring, .frames = strtoul(frames, NULL, 10)};
  if (strcmp(role, "read") == 0) {
    snprintf(name_prefix, sizeof name_prefix, "%s", name);
    open_named_buffer(&ring, name, 64, 4096);
    open_reader(&ring); /* no writer: it would take the tokens of the other program's */
    read_stream(&ring, stream.frames, 0);
    close_ring(&ring);
  } else {
    zb_memory *memory;
    uint64_t words[16];
    snprintf(ring.name, sizeof ring.name, "%s", name);
    /* An emulator may take a while to start. */
    for (int64_t give_up_ns = zb_now_ns() + 60000000000;; usleep(1000)) {
      CHECK(zb_now_ns() < give_up_ns);
      if (zb_memory_look(ring.name, false, &memory) != ZB_OK) continue;
      zb_oieb_load(memory, words);
      zb_memory_close(memory);
      if ((uint32_t)words[0] != 0) break; /* oieb_size; the version beside it comes earlier */
    }
    write_stream_from_outside(&stream);
  }
  return 0;
}

int main(int count, char **arguments) {
  snprintf(name_prefix, sizeof name_prefix, "zb-ctest-%d-", (int)getpid());
  prepare_system();
  if (count == 4) return take_part(arguments[1], arguments[2], arguments[3]);
  for (int i = 0; count == 2 && i < test_count; i++) {
    if (strcmp(arguments[1], "list") == 0) {
      puts(tests[i].name);
    } else if (strcmp(arguments[1], tests[i].name) == 0) {
      tests[i].run();
      return 0;
    }
  }
  return count == 2 && strcmp(arguments[1], "list") == 0 ? 0 : 2;
}
