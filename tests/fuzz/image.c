/* A fuzz target: the input is the memory image of a buffer and then what its two ends do. Whatever it is, the helper
 * answers with a code: it touches nothing outside the mapping and comes to an end (docs/protocol.md, section 7).
 *
 * The first byte says how many operations follow it, each two bytes: what is done, and with what. The rest is the
 * image, as a peer may have left it. */
#include "internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST_IMAGE 8192

static struct {
  char name[64];
  int file;
  zb_semaphore *written, *released;
  zb_memory *memory;
  uint8_t *bytes;
  size_t size;
} buffer;

static void must(bool holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "image: does not hold: %s\n", what);
  abort();
}

static void remove_names(void) {
  char path[128];
  zb_semaphore_remove(buffer.name, ZB_WRITER);
  zb_semaphore_remove(buffer.name, ZB_READER);
  snprintf(path, sizeof path, "/dev/shm/%s", buffer.name);
  unlink(path);
}

int LLVMFuzzerInitialize(int *count, char ***arguments) {
  char path[128];
  (void)count, (void)arguments;
  snprintf(buffer.name, sizeof buffer.name, "zb-fuzz-%d", (int)getpid());
  snprintf(path, sizeof path, "/dev/shm/%s", buffer.name);
  atexit(remove_names);
  buffer.file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  must(buffer.file >= 0, "the memory is made");
  must(zb_semaphore_create(buffer.name, ZB_WRITER, 0600, &buffer.written) == ZB_OK, "semaphore W is made");
  must(zb_semaphore_create(buffer.name, ZB_READER, 0600, &buffer.released) == ZB_OK, "semaphore R is made");
  return 0;
}

static int32_t open_memory(const char *name, zb_memory **memory) {
  int32_t code = zb_memory_look(name, true, memory);
  if (code != ZB_OK) return code;
  code = zb_memory_map(*memory);
  if (code != ZB_OK) zb_memory_close(*memory);
  return code;
}

/* Opens the image as shared memory. Then a block of its own takes the mapping's place, so that AddressSanitizer sees
 * each access outside the image and not only beyond its last page. */
static bool open_image(const uint8_t *image, size_t size) {
  must(ftruncate(buffer.file, (off_t)size) == 0, "the file takes the size");
  must(pwrite(buffer.file, image, size, 0) == (ssize_t)size, "the file takes the image");
  int32_t code = open_memory(buffer.name, &buffer.memory);
  must(code == (size < sizeof(struct zb_oieb) ? ZB_AGAIN : ZB_OK), "whatever has room for an OIEB is mapped");
  if (code != ZB_OK) return false;
  must(zb_memory_size(buffer.memory) == (double)size, "the mapping is as large as the file");
  munmap(zb_memory_address(buffer.memory), size);
  buffer.size = size;
  buffer.bytes = malloc(size);
  must(buffer.bytes != NULL, "memory for the image");
  memcpy(buffer.bytes, image, size);
  atomic_store(&buffer.memory->object.start, (uintptr_t)buffer.bytes);
  return true;
}

static void close_image(void) {
  atomic_store(&buffer.memory->object.start, 0); /* the block is no mapping */
  free(buffer.bytes);
  zb_memory_close(buffer.memory);
}

/* Reads every byte, for AddressSanitizer to see. */
static void touch(const uint8_t *bytes, size_t size) {
  static volatile uint8_t sink;
  for (size_t i = 0; i < size; i++) sink = (uint8_t)(sink + bytes[i]);
}

/* The frames that a look has brought lie in the payload, each for itself, and can be read. */
static void check_frames(const struct zb_reader_view *view, int32_t count) {
  for (int32_t i = 0; i < count; i++) {
    double offset = view->frames[i].offset, size = view->frames[i].size;
    must(size >= 1 && offset >= 128 + 16 && offset + size <= (double)buffer.size,
         "a frame lies in the memory");
    touch(buffer.bytes + (size_t)offset, (size_t)size);
  }
}

struct ends {
  zb_reader *reader;
  zb_writer *writer;
  uint32_t read; /* frames so far */
  bool acquired;
};

static void read_some(struct ends *ends, int32_t flags) {
  int32_t count = zb_reader_next(ends->reader, 0, flags);
  must(count <= ZB_READER_LOOKAHEAD, "a look brings 64 frames at the most");
  if (count <= 0) return;
  check_frames((const struct zb_reader_view *)ends->reader, count);
  ends->read += (uint32_t)count;
}

static void acquire(struct ends *ends, double size) {
  const struct zb_writer_view *view = (const struct zb_writer_view *)ends->writer;
  ends->acquired = zb_writer_acquire(ends->writer, size, 0) == ZB_OK;
  if (!ends->acquired) return;
  must(view->offset >= 128 + 16 && view->offset + size <= (double)buffer.size, "a place lies in the memory");
  memset(buffer.bytes + (size_t)view->offset, 0x5A, (size_t)size);
}

/* What a peer does to the memory meanwhile. */
static void poke(uint8_t where, uint8_t what) {
  static const uint64_t values[] = {0,  1,   15,  16,        17,         63,
                                    64, 127, 128, INT64_MAX, UINT64_MAX, UINT64_MAX - 15};
  uint64_t value = values[what % (sizeof values / sizeof values[0])];
  if (what >= 128) value = (uint64_t)what * 8;
  memcpy(buffer.bytes + (size_t)(where % 16) * 8, &value, sizeof value);
}

static void do_operation(struct ends *ends, uint8_t what, uint8_t with) {
  uint8_t data[MOST_IMAGE] = {0};
  switch (what % 12) {
  case 0:
    if (ends->reader != NULL) read_some(ends, 0);
    break;
  case 1:
    if (ends->reader != NULL) read_some(ends, ZB_WITHOUT_TOKEN);
    break;
  case 2:
    if (ends->reader != NULL) read_some(ends, ZB_WITHOUT_TOKEN | ZB_NEW_WRITER);
    break;
  case 3:
    if (ends->reader != NULL && ends->read > 0)
      zb_reader_release(ends->reader, ends->read - 1 - with % ends->read, 1);
    break;
  case 4:
    if (ends->reader != NULL) zb_reader_settle(ends->reader);
    break;
  case 5:
    if (ends->writer != NULL && !ends->acquired) zb_writer_write(ends->writer, data, with, 0);
    break;
  case 6:
    if (ends->writer != NULL && !ends->acquired) acquire(ends, with * 16.0);
    break;
  case 7:
    if (ends->acquired) zb_writer_commit(ends->writer);
    ends->acquired = false;
    break;
  case 8:
    if (ends->writer != NULL) zb_writer_peer(ends->writer, ((struct zb_oieb *)buffer.bytes)->reader_pid);
    break;
  case 9:
    zb_semaphore_post(with % 2 ? buffer.written : buffer.released, 1 + with / 16);
    break;
  case 10:
    poke(with, (uint8_t)(what / 12 * 16 + with / 16));
    break;
  default:
    zb_metadata_write(buffer.memory, data, with);
    zb_metadata_read(buffer.memory, data, sizeof data);
    if (with % 4 == 0) zb_metadata_clear(buffer.memory);
  }
}

/* The number with which a writer begins: that which the headers lead to, or 1. */
static double first_sequence(void) {
  struct zb_walk walk = {0};
  int32_t code = zb_ring_follow(buffer.memory, &walk, 0);
  must(code == ZB_OK || code == ZB_BAD_SEQUENCE || code == ZB_BAD_CONTROL,
       "so few headers are followed at once");
  if (code != ZB_OK) return 1;
  must(walk.sequence >= 1 && walk.sequence <= 9007199254740992.0, "a number is exact");
  return walk.sequence;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length) {
  uint64_t words[16];
  uint8_t metadata[MOST_IMAGE];
  if (length < 1) return 0;
  size_t operations = input[0];
  if (length < 1 + 2 * operations) return -1;
  size_t size = length - 1 - 2 * operations;
  if (size > MOST_IMAGE || !open_image(input + 1 + 2 * operations, size)) return 0;
  while (zb_semaphore_take(buffer.written, UINT32_MAX) > 0) continue;
  while (zb_semaphore_take(buffer.released, UINT32_MAX) > 0) continue;
  zb_semaphore_post(buffer.written, 3);

  struct ends ends = {.reader = NULL};
  zb_oieb_load(buffer.memory, words);
  zb_metadata_read(buffer.memory, metadata, sizeof metadata);
  if (zb_reader_open(buffer.memory, buffer.written, buffer.released, 1, ZB_WAIT_ADAPTIVE, &ends.reader) !=
      ZB_OK)
    ends.reader = NULL;
  uint64_t reader_pid = words[11];
  if (zb_writer_open(buffer.memory, buffer.written, buffer.released, reader_pid, first_sequence(),
                     ZB_WAIT_ADAPTIVE, &ends.writer) != ZB_OK)
    ends.writer = NULL;
  for (size_t i = 0; i < operations; i++) do_operation(&ends, input[1 + 2 * i], input[2 + 2 * i]);
  if (ends.reader != NULL) zb_reader_close(ends.reader);
  if (ends.writer != NULL) zb_writer_leave(ends.writer);
  if (ends.writer != NULL) zb_writer_close(ends.writer);

  close_image();
  return 0;
}
