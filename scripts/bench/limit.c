/* The speed limit: the helper driven from C, and what else moves bytes between two processes.
 *
 * `limit MODE FRAME_SIZE COUNT RING_SIZE` runs one measurement between this process and a child and prints it as JSON.
 *   one-way     frames through the helper: one zb_writer_write each, one memcpy out and one release each
 *   relayed     one-way, through a third process, which writes each frame on from where it reads it
 *   one-thread  one-way, where one thread writes some frames and then reads them: no other has a part in it
 *   round-trip  frames there and back over two buffers
 *   round-trip-spin, round-trip-block  round-trip, waiting so
 *   memcpy      the same bytes into an area of the ring's size, in one process
 *   memcpy-both the same into it and out again
 *   pipe        one write(2) and one read(2) a frame over a pipe of RING_SIZE bytes
 *   pipe-of-programs  the same between two runs of PROGRAM SCRIPT, the first with role pipe-write, the other pipe-read
 *   socket      round trips over a pair of blocking Unix stream sockets
 *   pipes       round trips over two pipes
 * The first tenth of the frames warms up and is not counted. */
#include "zerobuffer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SLICE_US 100000
#define FRAMES_IN_A_ROW 32

static const char *mode;
static int32_t wait_mode;
static uint64_t frame_size, count, warm_up, ring_size;
static uint8_t *source, *scratch;

static void fail(const char *what, int code) {
  fprintf(stderr, "limit: %s: %d, errno %d\n", what, code, errno);
  exit(1);
}

static void require(bool holds, const char *what) {
  if (!holds) fail(what, 0);
}

static int64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* ---- one buffer ---------------------------------------------------------------------------------------------- */

struct buffer {
  zb_memory *memory;
  zb_semaphore *written, *released;
  zb_reader *reader;
  zb_writer *writer;
  uint32_t read;     /* frames so far */
  int32_t available; /* in the reader's view */
  int32_t taken;     /* of those */
};

static pid_t owner;

static void make_buffer(struct buffer *buffer, const char *direction) {
  char name[64];
  snprintf(name, sizeof name, "zb-limit-%d-%s", (int)owner, direction);
  int32_t code = zb_memory_create(name, sizeof(struct zb_oieb) + ring_size, 0600, &buffer->memory);
  if (code != ZB_OK) fail("memory", code);
  zb_oieb_fill(buffer->memory, 0, ring_size, ZB_READER, (uint64_t)owner, 0);
  code = zb_memory_link(buffer->memory);
  if (code != ZB_OK) fail("name", code);
  code = zb_semaphore_create(name, ZB_WRITER, 0600, &buffer->written);
  if (code != ZB_OK) fail("semaphore", code);
  code = zb_semaphore_create(name, ZB_READER, 0600, &buffer->released);
  if (code != ZB_OK) fail("semaphore", code);
  zb_oieb_publish(buffer->memory);
  /* Both processes inherit the mappings: the names are needed no more. */
  zb_memory_unlink(buffer->memory);
  zb_semaphore_unlink(buffer->written);
  zb_semaphore_unlink(buffer->released);
}

static void open_reader(struct buffer *buffer) {
  int32_t code =
      zb_reader_open(buffer->memory, buffer->written, buffer->released, 1, wait_mode, &buffer->reader);
  if (code != ZB_OK) fail("reader", code);
}

static void open_writer(struct buffer *buffer) {
  int32_t code = zb_writer_open(buffer->memory, buffer->written, buffer->released, (uint64_t)owner, 1, wait_mode,
                                &buffer->writer);
  if (code != ZB_OK) fail("writer", code);
}

static void write_frame(struct buffer *buffer, const uint8_t *bytes) {
  for (;;) {
    int32_t code = zb_writer_write(buffer->writer, bytes, (double)frame_size, SLICE_US);
    if (code == ZB_OK) return;
    if (code != ZB_AGAIN && code != ZB_PEER_CHECK) fail("write", code);
    zb_writer_peer(buffer->writer, (uint64_t)owner);
  }
}

/* The bytes of the next frame, lent until release_frame. */
static const uint8_t *read_frame(struct buffer *buffer) {
  while (buffer->taken == buffer->available) {
    int32_t found = zb_reader_next(buffer->reader, SLICE_US, 0);
    if (found == ZB_AGAIN) continue;
    if (found < 0) fail("read", found);
    buffer->available = found;
    buffer->taken = 0;
  }
  const struct zb_reader_view *view = (const struct zb_reader_view *)buffer->reader;
  require((uint64_t)view->frames[buffer->taken].size == frame_size, "a frame of another size");
  return (const uint8_t *)zb_memory_address(buffer->memory) + (uint64_t)view->frames[buffer->taken++].offset;
}

static void release_frame(struct buffer *buffer) {
  int32_t code = zb_reader_release(buffer->reader, buffer->read++, 1);
  if (code != ZB_OK) fail("release", code);
}

/* ---- results ------------------------------------------------------------------------------------------------- */

static void print_throughput(int64_t elapsed_ns) {
  double seconds = (double)elapsed_ns / 1e9, frames = (double)count;
  printf("{\"mode\":\"%s\",\"frameSize\":%llu,\"frames\":%llu,\"ringSize\":%llu,\"seconds\":%.6f,"
         "\"framesPerSecond\":%.0f,\"bytesPerSecond\":%.0f}\n",
         mode, (unsigned long long)frame_size, (unsigned long long)count, (unsigned long long)ring_size,
         seconds, frames / seconds, frames * (double)frame_size / seconds);
}

static int compare(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

static void print_latency(uint32_t *elapsed_ns) {
  qsort(elapsed_ns, count, sizeof *elapsed_ns, compare);
  printf("{\"mode\":\"%s\",\"frameSize\":%llu,\"frames\":%llu,\"ringSize\":%llu,\"p50Ns\":%u,\"p99Ns\":%u}\n",
         mode, (unsigned long long)frame_size, (unsigned long long)count, (unsigned long long)ring_size,
         elapsed_ns[count / 2], elapsed_ns[count - 1 - count / 100]);
}

/* ---- measurements: `write` and `serve` run in the child, the others in the parent ---------------------------- */

static void start_child(void (*work)(void *), void *argument) {
  pid_t pid = fork();
  require(pid >= 0, "fork");
  if (pid > 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != owner) _exit(1);
  work(argument);
  _exit(0);
}

static void write_frames(void *argument) {
  struct buffer *buffer = argument;
  open_writer(buffer);
  for (uint64_t i = 0; i < warm_up + count; i++) write_frame(buffer, source);
}

static void read_frames(struct buffer *buffer) {
  int64_t start = 0;
  for (uint64_t i = 0; i < warm_up + count; i++) {
    if (i == warm_up) start = now_ns();
    memcpy(scratch, read_frame(buffer), frame_size);
    release_frame(buffer);
  }
  print_throughput(now_ns() - start);
}

static void one_way(void) {
  struct buffer buffer = {0};
  make_buffer(&buffer, "one-way");
  open_reader(&buffer);
  start_child(write_frames, &buffer);
  read_frames(&buffer);
}

static void one_thread(void) {
  struct buffer buffer = {0};
  int64_t start = 0;
  make_buffer(&buffer, "one-thread");
  open_reader(&buffer);
  open_writer(&buffer);
  for (uint64_t i = 0; i < warm_up + count; i += FRAMES_IN_A_ROW) {
    if (i >= warm_up && start == 0) start = now_ns();
    for (int k = 0; k < FRAMES_IN_A_ROW; k++) write_frame(&buffer, source);
    for (int k = 0; k < FRAMES_IN_A_ROW; k++) {
      memcpy(scratch, read_frame(&buffer), frame_size);
      release_frame(&buffer);
    }
  }
  print_throughput(now_ns() - start);
}

static void serve_frames(void *argument) {
  struct buffer *requests = argument, *responses = requests + 1;
  open_reader(requests);
  open_writer(responses);
  for (uint64_t i = 0; i < warm_up + count; i++) {
    write_frame(responses, read_frame(requests));
    release_frame(requests);
  }
}

static void relayed(void) {
  struct buffer buffers[2] = {0};
  make_buffer(&buffers[0], "in");
  make_buffer(&buffers[1], "out");
  open_reader(&buffers[1]);
  start_child(serve_frames, buffers);
  start_child(write_frames, &buffers[0]);
  read_frames(&buffers[1]);
}

static void round_trip(void) {
  struct buffer buffers[2] = {0};
  uint32_t *elapsed_ns = malloc((warm_up + count) * sizeof *elapsed_ns);
  require(elapsed_ns != NULL, "memory");
  make_buffer(&buffers[0], "requests");
  make_buffer(&buffers[1], "responses");
  open_writer(&buffers[0]);
  open_reader(&buffers[1]);
  start_child(serve_frames, buffers);
  for (uint64_t i = 0; i < warm_up + count; i++) {
    int64_t start = now_ns();
    write_frame(&buffers[0], source);
    memcpy(scratch, read_frame(&buffers[1]), frame_size);
    release_frame(&buffers[1]);
    elapsed_ns[i] = (uint32_t)(now_ns() - start);
  }
  print_latency(elapsed_ns + warm_up);
}

static void copy_memory(bool out_again) {
  uint8_t *area = malloc(ring_size);
  uint64_t position = 0;
  int64_t start = 0;
  require(area != NULL, "memory");
  memset(area, 1, ring_size);
  for (uint64_t i = 0; i < warm_up + count; i++) {
    if (i == warm_up) start = now_ns();
    if (position + frame_size > ring_size) position = 0;
    memcpy(area + position, source, frame_size);
    if (out_again) memcpy(scratch, area + position, frame_size);
    __asm__ volatile("" ::"r"(scratch), "r"(area) : "memory"); /* nothing of it may be left out */
    position += sizeof(struct zb_frame_header) + frame_size;
  }
  print_throughput(now_ns() - start);
}

static void copy_in(void) { copy_memory(false); }

static void copy_in_and_out(void) { copy_memory(true); }

static void write_all(int descriptor, const uint8_t *bytes) {
  for (uint64_t done = 0; done < frame_size;) {
    ssize_t written = write(descriptor, bytes + done, frame_size - done);
    require(written > 0, "write");
    done += (uint64_t)written;
  }
}

static void read_all(int descriptor) {
  for (uint64_t done = 0; done < frame_size;) {
    ssize_t got = read(descriptor, scratch + done, frame_size - done);
    require(got > 0, "read");
    done += (uint64_t)got;
  }
}

static void write_to_pipe(void *argument) {
  for (uint64_t i = 0; i < warm_up + count; i++) write_all(*(int *)argument, source);
}

static void through_pipe(void) {
  int ends[2];
  int64_t start = 0;
  require(pipe(ends) == 0, "pipe");
  require(fcntl(ends[1], F_SETPIPE_SZ, (int)ring_size) >= (int)ring_size, "F_SETPIPE_SZ");
  start_child(write_to_pipe, &ends[1]);
  for (uint64_t i = 0; i < warm_up + count; i++) {
    if (i == warm_up) start = now_ns();
    read_all(ends[0]);
  }
  print_throughput(now_ns() - start);
}

static char **command_line;

/* Becomes `PROGRAM SCRIPT role -`, with the numbers of this command line. */
static void become(const char *role) {
  char **given = command_line;
  execl(given[5], given[5], given[6], role, "-", given[2], given[3], given[4], (char *)NULL);
  require(false, "exec");
}

static void write_as_program(void *argument) {
  require(dup2(*(int *)argument, STDOUT_FILENO) == STDOUT_FILENO, "dup2");
  become("pipe-write");
}

static void through_pipe_of_programs(void) {
  int ends[2];
  require(pipe2(ends, O_CLOEXEC) == 0, "pipe");
  require(fcntl(ends[1], F_SETPIPE_SZ, (int)ring_size) >= (int)ring_size, "F_SETPIPE_SZ");
  start_child(write_as_program, &ends[1]);
  require(dup2(ends[0], STDIN_FILENO) == STDIN_FILENO, "dup2");
  become("pipe-read");
}

/* Where one side of a round trip reads and writes bytes. */
struct ends {
  int in, out;
};

static void serve_bytes(void *argument) {
  const struct ends *ends = argument;
  for (uint64_t i = 0; i < warm_up + count; i++) {
    read_all(ends->in);
    write_all(ends->out, scratch);
  }
}

static void round_trip_of_bytes(struct ends own, struct ends servers) {
  uint32_t *elapsed_ns = malloc((warm_up + count) * sizeof *elapsed_ns);
  require(elapsed_ns != NULL, "memory");
  start_child(serve_bytes, &servers);
  for (uint64_t i = 0; i < warm_up + count; i++) {
    int64_t start = now_ns();
    write_all(own.out, source);
    read_all(own.in);
    elapsed_ns[i] = (uint32_t)(now_ns() - start);
  }
  print_latency(elapsed_ns + warm_up);
}

static void through_socket(void) {
  int ends[2];
  require(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "socketpair");
  round_trip_of_bytes((struct ends){ends[0], ends[0]}, (struct ends){ends[1], ends[1]});
}

static void through_pipes(void) {
  int there[2], back[2];
  require(pipe(there) == 0 && pipe(back) == 0, "pipe");
  round_trip_of_bytes((struct ends){back[0], there[1]}, (struct ends){there[0], back[1]});
}

int main(int argument_count, char **arguments) {
  static const struct {
    const char *mode;
    void (*measure)(void);
    int32_t wait;
  } modes[] = {{"one-way", one_way, ZB_WAIT_ADAPTIVE},
               {"relayed", relayed, ZB_WAIT_ADAPTIVE},
               {"one-thread", one_thread, ZB_WAIT_ADAPTIVE},
               {"round-trip", round_trip, ZB_WAIT_ADAPTIVE},
               {"round-trip-spin", round_trip, ZB_WAIT_SPIN},
               {"round-trip-block", round_trip, ZB_WAIT_BLOCK},
               {"memcpy", copy_in, ZB_WAIT_ADAPTIVE},
               {"memcpy-both", copy_in_and_out, ZB_WAIT_ADAPTIVE},
               {"pipe", through_pipe, ZB_WAIT_ADAPTIVE},
               {"pipe-of-programs", through_pipe_of_programs, ZB_WAIT_ADAPTIVE},
               {"socket", through_socket, ZB_WAIT_ADAPTIVE},
               {"pipes", through_pipes, ZB_WAIT_ADAPTIVE}};
  owner = getpid();
  command_line = arguments;
  if (argument_count == 5 || argument_count == 7) {
    mode = arguments[1];
    frame_size = strtoull(arguments[2], NULL, 10);
    count = strtoull(arguments[3], NULL, 10);
    ring_size = strtoull(arguments[4], NULL, 10);
  }
  if (frame_size == 0 || count == 0 || ring_size < frame_size + sizeof(struct zb_frame_header)) {
    fprintf(stderr, "usage: limit MODE FRAME_SIZE COUNT RING_SIZE [PROGRAM SCRIPT]\n");
    return 2;
  }
  warm_up = count / 10;
  source = malloc(frame_size);
  scratch = malloc(frame_size);
  require(source != NULL && scratch != NULL, "memory");
  for (uint64_t i = 0; i < frame_size; i++) source[i] = (uint8_t)i;
  memset(scratch, 0, frame_size);
  for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
    if (strcmp(mode, modes[i].mode) != 0) continue;
    wait_mode = modes[i].wait;
    modes[i].measure();
    while (wait(NULL) > 0) continue;
    return 0;
  }
  fprintf(stderr, "limit: no mode %s\n", mode);
  return 2;
}
