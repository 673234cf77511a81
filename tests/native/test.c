/* `test list` prints the names of all cases, `test NAME` runs one of them: exit code 0, or a message and 1. */
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define MOST_TESTS 200

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

/* ---- what has to go with the program ------------------------------------------------------------------------- */

static pid_t owner; /* a forked child cleans up nothing */
static char name_prefix[32];
static char directory[64];

static void clean_up(void) {
  char command[128];
  if (getpid() != owner) return;
  DIR *shm = opendir("/dev/shm");
  for (struct dirent *entry; shm != NULL && (entry = readdir(shm)) != NULL;) {
    char path[300];
    if (strstr(entry->d_name, name_prefix) == NULL) continue;
    snprintf(path, sizeof path, "/dev/shm/%s", entry->d_name);
    unlink(path);
  }
  if (shm != NULL) closedir(shm);
  if (directory[0] == '\0') return;
  snprintf(command, sizeof command, "rm -rf '%s'", directory);
  if (system(command) != 0) fprintf(stderr, "left behind: %s\n", directory);
}

const char *unique_name(void) {
  static char name[64];
  static int count;
  snprintf(name, sizeof name, "%s%d", name_prefix, ++count);
  return name;
}

const char *temporary_path(const char *file) {
  static char path[128];
  if (directory[0] == '\0') {
    const char *parent = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/%sXXXXXX", parent == NULL ? "/tmp" : parent, name_prefix);
    CHECK(mkdtemp(directory) != NULL);
  }
  snprintf(path, sizeof path, "%s/%s", directory, file);
  return path;
}

/* ---- threads and processes ----------------------------------------------------------------------------------- */

uint32_t waiters_of(zb_semaphore *semaphore) {
  struct zb_semaphore_layout *layout = zb_object_address(&semaphore->object);
  return (uint32_t)(atomic_load_explicit(&layout->data, memory_order_relaxed) >> 32);
}

uint32_t long_run(uint32_t count) {
  const char *factor = getenv("ZB_TEST_FACTOR");
  return factor == NULL ? count : count * (uint32_t)strtoul(factor, NULL, 10);
}

void start_thread(pthread_t *thread, void *(*run)(void *), void *argument) {
  EQUAL(pthread_create(thread, NULL, run, argument), 0);
}

void join_thread(pthread_t thread) { EQUAL(pthread_join(thread, NULL), 0); }

pid_t start_child(void) {
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != owner) _exit(1);
  }
  return pid;
}

int run_child(void (*work)(void *), void *argument) {
  int status;
  pid_t pid = start_child();
  if (pid == 0) {
    work(argument);
    _exit(0);
  }
  while (waitpid(pid, &status, 0) != pid) EQUAL(errno, EINTR);
  return status;
}

static void ignore_signal(int number) { (void)number; }

void catch_signal(void) {
  struct sigaction action = {.sa_handler = ignore_signal};
  EQUAL(sigaction(SIGUSR1, &action, NULL), 0);
}

/* ---- a ring -------------------------------------------------------------------------------------------------- */

uint64_t word(const uint64_t *field) {
  return atomic_load_explicit((const _Atomic(uint64_t) *)field, memory_order_acquire);
}

void set_word(uint64_t *field, uint64_t value) {
  atomic_store_explicit((_Atomic(uint64_t) *)field, value, memory_order_release);
}

void open_buffer(struct ring *ring, uint64_t metadata_size, uint64_t payload_size) {
  memset(ring, 0, sizeof *ring);
  snprintf(ring->name, sizeof ring->name, "%s", unique_name());
  OK(zb_semaphore_create(ring->name, ZB_WRITER, 0600, &ring->written));
  OK(zb_semaphore_create(ring->name, ZB_READER, 0600, &ring->released));
  OK(zb_memory_create(ring->name, sizeof(struct zb_oieb) + metadata_size + payload_size, 0600,
                      &ring->memory));
  zb_oieb_create(ring->memory, metadata_size, payload_size, (uint64_t)getpid(), 0);
  ring->oieb = zb_memory_address(ring->memory);
  ring->payload = (uint8_t *)(ring->oieb + 1) + metadata_size;
  ring->payload_size = payload_size;
}

static void open_ends(struct ring *ring) {
  OK(zb_reader_open(ring->memory, ring->written, ring->released, 1, ZB_WAIT_ADAPTIVE, &ring->reader));
  OK(zb_writer_open(ring->memory, ring->written, ring->released, (uint64_t)getpid(), ZB_WAIT_ADAPTIVE,
                    &ring->writer));
  ring->view = (const struct zb_reader_view *)ring->reader;
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

/* -------------------------------------------------------------------------------------------------------------- */

int main(int count, char **arguments) {
  owner = getpid();
  snprintf(name_prefix, sizeof name_prefix, "zb-ctest-%d-", (int)owner);
  atexit(clean_up);
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
