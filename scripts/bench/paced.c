/* Frames there and back at a camera's pace, through a relay: what the implementations of version 1 measure of themselves.
 *
 *   paced initiator THERE BACK RING FRAME_SIZE RATE COUNT   sends and times them; prints the round trips in nanoseconds
 *   paced relay THERE BACK RING                             a relay as those of version 1
 *   paced relay-of-helper THERE BACK RING                   a relay on our helper
 *
 * The initiator and the first relay are peers of version 1 (v1-buffer.h): they write through the whole ring, lap after lap, and
 * wait by sem_timedwait. That relay zeroes the buffer that it makes before anybody uses it. */
#include "../../tests/process/fixtures/v1-buffer.h"
#include "zerobuffer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SLICE_US 100000

static int64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void sleep_until(int64_t at_ns) {
  const struct timespec at = {.tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) != 0) continue;
}

/* Waits until a reader has made the buffer. */
static void await_buffer(const char *name) {
  char path[300];
  snprintf(path, sizeof path, "/dev/shm/sem.sem-r-%s", name);
  while (access(path, F_OK) != 0) usleep(1000);
  usleep(20000);
}

static void initiate(const char *there, const char *back, uint64_t ring_size, uint64_t frame_size, double rate,
                     uint64_t count) {
  struct buffer request = {0}, response = {0};
  uint8_t *picture = malloc(frame_size);
  int64_t *times = malloc(count * sizeof *times);
  if (picture == NULL || times == NULL) fail("malloc");
  memset(picture, 7, frame_size);
  memset(times, 0, count * sizeof *times);
  create_buffer(&response, back, ring_size);
  await_buffer(there);
  if (!join_buffer(&request, there)) fail("join");
  while (response.oieb->writer_pid == 0) usleep(1000);
  usleep(50000);
  int64_t due = now_ns();
  for (uint64_t i = 0; i < count; i++) {
    if (rate > 0) sleep_until(due += (int64_t)(1e9 / rate));
    const struct header header = {.size = frame_size, .sequence = i + 1};
    struct header answer;
    const uint8_t *bytes;
    const int64_t start = now_ns();
    if (publish(&request, header, picture) != DONE) fail("publish");
    post(request.written);
    if (take_frame(&response, &answer, &bytes) != DONE) fail("take_frame");
    times[i] = now_ns() - start;
    if (answer.sequence != header.sequence || answer.size != frame_size || bytes[frame_size - 1] != 7)
      fail("answer");
    release_frame(&response, answer);
  }
  printf("{\"ns\":[");
  for (uint64_t i = 0; i < count; i++) printf("%s%" PRId64, i == 0 ? "" : ",", times[i]);
  printf("]}\n");
  fflush(stdout);
  /* By then the relay waits: a token that it found without a wait would stand for a frame. */
  usleep(100000);
  request.oieb->writer_pid = 0;
  post(request.written);
  remove_buffer(&response);
}

static void relay(const char *there, const char *back, uint64_t ring_size) {
  struct buffer input = {0}, output = {0};
  create_buffer(&input, there, ring_size);
  memset(input.payload, 0, ring_size);
  await_buffer(back);
  if (!join_buffer(&output, back)) fail("join");
  for (;;) {
    struct header header;
    const uint8_t *bytes;
    if (take_frame(&input, &header, &bytes) != DONE) break;
    if (publish(&output, header, bytes) != DONE) break;
    post(output.written);
    release_frame(&input, header);
  }
  remove_buffer(&input);
}

static void require(int32_t code, const char *what) {
  if (code == ZB_OK) return;
  fprintf(stderr, "paced: %s: %d\n", what, (int)code);
  exit(1);
}

static void relay_of_helper(const char *there, const char *back, uint64_t ring_size) {
  const uint64_t pid = (uint64_t)getpid();
  zb_memory *input, *output;
  zb_semaphore *written, *released, *output_written, *output_released;
  zb_reader *reader;
  zb_writer *writer;
  require(zb_memory_create(there, sizeof(struct zb_oieb) + ring_size, 0600, &input), "create");
  zb_oieb_fill(input, 0, ring_size, ZB_READER, pid, 0);
  require(zb_memory_link(input), "link");
  require(zb_semaphore_create(there, ZB_WRITER, 0600, &written), "semaphore");
  require(zb_semaphore_create(there, ZB_READER, 0600, &released), "semaphore");
  zb_oieb_publish(input);
  require(zb_reader_open(input, written, released, 1, ZB_WAIT_ADAPTIVE, &reader), "reader");
  await_buffer(back);
  require(zb_memory_look(back, 1, &output), "look");
  require(zb_memory_map(output), "map");
  require(zb_semaphore_open(back, ZB_WRITER, &output_written), "semaphore");
  require(zb_semaphore_open(back, ZB_READER, &output_released), "semaphore");
  struct zb_oieb oieb;
  zb_oieb_load(output, (uint64_t *)&oieb);
  require(zb_oieb_claim(output, ZB_WRITER, 0, pid), "claim");
  require(zb_writer_open(output, output_written, output_released, oieb.reader_pid, 1, ZB_WAIT_ADAPTIVE, &writer),
          "writer");
  uint32_t taken = 0;
  uint8_t *base = NULL;
  for (;;) {
    int32_t found = zb_reader_next(reader, SLICE_US, 0);
    const struct zb_reader_view *view = (const struct zb_reader_view *)reader;
    if (found == ZB_AGAIN) {
      zb_oieb_load(input, (uint64_t *)&oieb);
      if (taken > 0 && oieb.writer_pid == 0) break;
      continue;
    }
    if (found < 0) require(found, "next");
    if (base == NULL) base = zb_memory_address(input);
    for (int32_t i = 0; i < found; i++) {
      const uint8_t *bytes = base + (size_t)view->frames[i].offset;
      int32_t code = zb_writer_write(writer, bytes, view->frames[i].size, SLICE_US);
      if (code != ZB_OK) require(code, "write");
      zb_reader_release(reader, taken++, 1);
    }
  }
  zb_memory_unlink(input);
  zb_semaphore_unlink(written);
  zb_semaphore_unlink(released);
}

int main(int count, char **words) {
  manners.at_once = true;
  /* The last token is that of the end, without a frame. */
  manners.ends_at_surplus = true;
  if (count == 8 && strcmp(words[1], "initiator") == 0)
    initiate(words[2], words[3], strtoull(words[4], NULL, 10), strtoull(words[5], NULL, 10),
             strtod(words[6], NULL), strtoull(words[7], NULL, 10));
  else if (count == 5 && strcmp(words[1], "relay") == 0)
    relay(words[2], words[3], strtoull(words[4], NULL, 10));
  else if (count == 5 && strcmp(words[1], "relay-of-helper") == 0)
    relay_of_helper(words[2], words[3], strtoull(words[4], NULL, 10));
  else
    return 2;
  return 0;
}
