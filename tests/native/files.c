/* Objects and locks as files, processes from /proc: what only Linux has (docs/protocol.md, sections 1, 4
 * and 7). */
#include "posix.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

static const char *shm_path(const char *prefix, const char *name) {
  static char path[128];
  snprintf(path, sizeof path, "/dev/shm/%s%s", prefix, name);
  return path;
}

static mode_t mode_of(const char *path) {
  struct stat status;
  EQUAL(lstat(path, &status), 0);
  return status.st_mode & 07777;
}

static bool exists(const char *path) { return access(path, F_OK) == 0; }

static void make_file(const char *path, off_t size) {
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
  CHECK(fd >= 0);
  EQUAL(ftruncate(fd, size), 0);
  close(fd);
}

/* ---- shared memory ------------------------------------------------------------------------------------------- */

TEST(memory_is_a_file_that_is_allocated_whole_and_goes_with_its_name) {
  zb_memory *memory, *second;
  char name[64];
  struct stat status;
  snprintf(name, sizeof name, "%s", unique_name());
  OK(make_memory(name, 100032, -1, &memory));
  EQUAL(make_memory(name, 4096, -1, &second), ZB_EXISTS);
  EQUAL(stat(shm_path("", name), &status), 0);
  EQUAL(status.st_size, 100032);
  CHECK(status.st_blocks * 512 >= 100032);
  EQUAL(zb_memory_size(memory), 100032);
  const uint8_t *bytes = zb_memory_address(memory);
  for (int i = 0; i < 100032; i++) CHECK(bytes[i] == 0);
  EQUAL(zb_memory_owned(memory), 1);
  OK(zb_memory_unlink(memory));
  CHECK(!exists(shm_path("", name)));
  zb_memory_close(memory);
}

TEST(objects_are_made_with_just_the_mode_that_is_given_or_with_0666_less_the_umask) {
  zb_memory *memory;
  zb_semaphore *semaphore;
  char name[64];
  mode_t before = umask(027);
  for (int given = 0; given <= 1; given++) {
    int32_t mode = given ? 0646 : -1;
    mode_t expected = given ? 0646 : 0640;
    snprintf(name, sizeof name, "%s", unique_name());
    OK(make_memory(name, 4096, mode, &memory));
    OK(zb_semaphore_create(name, ZB_WRITER, mode, &semaphore));
    EQUAL(mode_of(shm_path("", name)), expected);
    EQUAL(mode_of(shm_path("sem.sem-w-", name)), expected);
    OK(zb_memory_unlink(memory));
    OK(zb_semaphore_unlink(semaphore));
    zb_memory_close(memory);
    zb_semaphore_close(semaphore);
  }
  umask(before);
}

TEST(memory_is_allocated_and_filled_before_it_has_its_name_and_takes_no_other_files_name) {
  zb_memory *memory, *peer;
  char name[64];
  struct stat status;
  snprintf(name, sizeof name, "%s", unique_name());
  OK(zb_memory_create(name, 100032, 0600, &memory));
  zb_oieb_fill(memory, 64, 256, ZB_READER, (uint64_t)getpid(), 0);
  CHECK(!exists(shm_path("", name)));
  EQUAL(zb_memory_named(memory), ZB_NOT_FOUND);
  make_file(shm_path("", name), 0);
  EQUAL(zb_memory_link(memory), ZB_EXISTS);
  EQUAL(zb_memory_unlink(memory), ZB_EXISTS);
  EQUAL(unlink(shm_path("", name)), 0);
  OK(zb_memory_link(memory));
  OK(zb_memory_link(memory)); /* once is enough */
  OK(zb_memory_named(memory));
  EQUAL(stat(shm_path("", name), &status), 0);
  CHECK(status.st_blocks * 512 >= 100032);
  OK(zb_memory_open(name, &peer));
  EQUAL(((struct zb_oieb *)zb_memory_address(peer))->payload_size, 256);
  zb_memory_close(peer);
  OK(zb_memory_unlink(memory));
  zb_memory_close(memory);
}

TEST(memory_that_never_got_its_name_goes_when_it_is_closed) {
  zb_memory *memory;
  int lowest = dup(0);
  close(lowest);
  OK(zb_memory_create(unique_name(), 4096, 0600, &memory));
  zb_memory_close(memory);
  EQUAL(dup(0), lowest); /* its descriptor is closed */
  close(lowest);
}

TEST(memory_that_there_is_no_space_for_is_refused_and_leaves_nothing_behind) {
  zb_memory *memory;
  const char *name = unique_name();
  EQUAL(zb_memory_create(name, (uint64_t)1 << 60, -1, &memory), ZB_NO_SPACE);
  EQUAL(zb_memory_create(name, UINT64_MAX, -1, &memory), ZB_NO_SPACE);
  CHECK(!exists(shm_path("", name)));
  OK(make_memory(name, 4096, -1, &memory));
  OK(zb_memory_unlink(memory));
  zb_memory_close(memory);
}

TEST(memory_that_is_still_too_small_for_an_oieb_is_not_there_yet) {
  zb_memory *memory;
  const char *name = unique_name();
  EQUAL(zb_memory_open(name, &memory), ZB_NOT_FOUND);
  make_file(shm_path("", name), 0);
  EQUAL(zb_memory_open(name, &memory), ZB_AGAIN);
  EQUAL(truncate(shm_path("", name), 127), 0);
  EQUAL(zb_memory_open(name, &memory), ZB_AGAIN);
  EQUAL(truncate(shm_path("", name), 128), 0);
  OK(zb_memory_open(name, &memory));
  OK(zb_memory_unlink(memory));
  zb_memory_close(memory);
}

TEST(only_an_empty_file_is_discarded_as_the_rest_of_a_creation_that_was_killed) {
  char path[128];
  const char *name = unique_name();
  snprintf(path, sizeof path, "%s", shm_path("", name));
  EQUAL(zb_memory_discard(name), ZB_NOT_FOUND);
  for (off_t size = 1; size <= 128; size += 127) {
    make_file(path, size);
    EQUAL(zb_memory_discard(name), ZB_EXISTS);
    EQUAL(unlink(path), 0);
  }
  make_file(path, 0);
  EQUAL(zb_memory_discard(name), ZB_OK);
  CHECK(!exists(path));
  EQUAL(symlink("/etc/hostname", path), 0);
  EQUAL(zb_memory_discard(name), ZB_EXISTS);
  EQUAL(unlink(path), 0);
}

TEST(what_is_no_plain_file_is_refused_as_memory_and_as_semaphore) {
  zb_memory *memory;
  zb_semaphore *semaphore;
  for (int kind = 0; kind < 3; kind++) {
    const char *name = unique_name();
    const char *prefixes[] = {"", "sem.sem-w-"};
    for (int i = 0; i < 2; i++) {
      const char *path = shm_path(prefixes[i], name);
      if (kind == 0) EQUAL(symlink("/etc/hostname", path), 0);
      if (kind == 1) EQUAL(mkfifo(path, 0600), 0);
      if (kind == 2) EQUAL(mkdir(path, 0700), 0);
    }
    EQUAL(zb_memory_open(name, &memory), ZB_UNSAFE);
    EQUAL(zb_semaphore_open(name, ZB_WRITER, &semaphore), ZB_UNSAFE);
    EQUAL(make_memory(name, 4096, -1, &memory), ZB_EXISTS);
    for (int i = 0; i < 2; i++) EQUAL(remove(shm_path(prefixes[i], name)), 0);
  }
}

TEST(a_name_is_removed_only_while_it_means_the_same_memory) {
  zb_memory *first, *second;
  zb_semaphore *semaphore, *other;
  char name[64];
  snprintf(name, sizeof name, "%s", unique_name());
  OK(make_memory(name, 4096, -1, &first));
  OK(zb_semaphore_create(name, ZB_READER, -1, &semaphore));
  OK(zb_memory_named(first));
  EQUAL(unlink(shm_path("", name)), 0);
  EQUAL(unlink(shm_path("sem.sem-r-", name)), 0);
  EQUAL(zb_memory_named(first), ZB_NOT_FOUND);
  EQUAL(zb_memory_unlink(first), ZB_NOT_FOUND);
  OK(make_memory(name, 4096, -1, &second));
  OK(zb_semaphore_create(name, ZB_READER, -1, &other));
  EQUAL(zb_memory_named(first), ZB_EXISTS);
  EQUAL(zb_memory_unlink(first), ZB_EXISTS);
  EQUAL(zb_semaphore_unlink(semaphore), ZB_EXISTS);
  CHECK(exists(shm_path("", name)) && exists(shm_path("sem.sem-r-", name)));
  OK(zb_memory_unlink(second));
  OK(zb_semaphore_unlink(other));
  zb_memory_close(first);
  zb_memory_close(second);
  zb_semaphore_close(semaphore);
  zb_semaphore_close(other);
}

/* What a process of another user, if there can be one, finds of a buffer that it may only read. */
static int look_without_permission_to_write(const struct ring *ring) {
  zb_memory *memory;
  zb_semaphore *semaphore;
  uint64_t words[16];
  if (geteuid() == 0 && setuid(65534) != 0) return 1;
  if (zb_memory_open(ring->name, &memory) != ZB_PERMISSION) return 2;
  if (zb_memory_view(ring->name, &memory) != ZB_OK) return 3;
  zb_oieb_load(memory, words);
  if (words[4] != 256 || words[11] != (uint64_t)getppid()) return 4;
  if (zb_semaphore_open(ring->name, ZB_WRITER, &semaphore) != ZB_PERMISSION) return 5;
  if (zb_semaphore_view(ring->name, ZB_WRITER, &semaphore) != ZB_OK) return 6;
  if (zb_semaphore_value(semaphore) != 3) return 7;
  if (truncate(shm_path("", ring->name), 0) == 0) return 8;
  return 0;
}

TEST(a_view_needs_no_permission_to_write) {
  struct ring ring;
  int status;
  open_buffer(&ring, 64, 256);
  zb_semaphore_post(ring.written, 3);
  EQUAL(chmod(shm_path("", ring.name), 0444), 0);
  EQUAL(chmod(shm_path("sem.sem-w-", ring.name), 0444), 0);
  pid_t child = fork();
  if (child == 0) _exit(look_without_permission_to_write(&ring));
  EQUAL(waitpid(child, &status, 0), child);
  EQUAL(status, 0);
  close_ring(&ring);
}

TEST(a_view_survives_the_truncation_of_its_file_and_cannot_be_written) {
  struct ring ring;
  zb_memory *view;
  uint64_t words[16];
  open_buffer(&ring, 64, 256);
  OK(zb_memory_view(ring.name, &view));
  pid_t child = fork();
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL);
    ((volatile uint8_t *)zb_memory_address(view))[0] = 1;
    _exit(0);
  }
  int status;
  EQUAL(waitpid(child, &status, 0), child);
  CHECK(status != 0);
  EQUAL(truncate(shm_path("", ring.name), 0), 0);
  zb_oieb_load(view, words);
  EQUAL(words[0], 0);
  zb_memory_close(view);
  close_ring(&ring);
}

/* ---- semaphores ---------------------------------------------------------------------------------------------- */

TEST(a_semaphore_is_a_file_as_large_as_that_of_libc_and_tells_its_value) {
  zb_semaphore *semaphore;
  char name[64];
  struct stat status;
  snprintf(name, sizeof name, "%s", unique_name());
  OK(zb_semaphore_create(name, ZB_WRITER, -1, &semaphore));
  EQUAL(stat(shm_path("sem.sem-w-", name), &status), 0);
  EQUAL(status.st_size, sizeof(sem_t));
  EQUAL(zb_semaphore_value(semaphore), 0);
  zb_semaphore_post(semaphore, 5);
  EQUAL(zb_semaphore_value(semaphore), 5);
  OK(zb_semaphore_remove(name, ZB_WRITER));
  EQUAL(zb_semaphore_remove(name, ZB_WRITER), ZB_NOT_FOUND);
  zb_semaphore_close(semaphore);
}

TEST(a_semaphore_that_is_still_being_made_is_not_there_yet) {
  zb_semaphore *semaphore;
  const char *name = unique_name();
  make_file(shm_path("sem.sem-r-", name), 0);
  EQUAL(zb_semaphore_open(name, ZB_READER, &semaphore), ZB_AGAIN);
  OK(zb_semaphore_remove(name, ZB_READER));
}

TEST(a_semaphore_that_is_full_stays_full) {
  struct ring ring;
  open_buffer(&ring, 64, 256);
  zb_semaphore_post(ring.written, INT32_MAX - 1);
  zb_semaphore_post(ring.written, 1);
  EQUAL(zb_semaphore_value(ring.written), INT32_MAX);
  zb_semaphore_post(ring.written, 1);
  zb_semaphore_post(ring.written, 1000);
  EQUAL(zb_semaphore_value(ring.written), INT32_MAX);
  CHECK(waits(ring.written, 0));
  EQUAL(zb_semaphore_take(ring.written, UINT32_MAX), INT32_MAX);
  zb_semaphore_post(ring.written, 1);
  EQUAL(zb_semaphore_value(ring.written), 1);
  close_ring(&ring);
}

/* ---- lock files ---------------------------------------------------------------------------------------------- */

static void hold_lock_and_die(void *argument) {
  zb_lock *lock;
  OK(zb_lock_open(argument, 1, &lock));
  kill(getpid(), SIGKILL);
}

TEST(a_lock_ends_with_its_process) {
  zb_lock *lock;
  char path[128];
  snprintf(path, sizeof path, "%s", temporary_path("a.lock"));
  CHECK(WIFSIGNALED(run_child(hold_lock_and_die, path)));
  EQUAL(zb_lock_held(path), 0);
  OK(zb_lock_open(path, 0, &lock));
  zb_lock_close(lock, 1);
}

TEST(a_lock_path_that_is_a_link_a_fifo_a_directory_or_has_two_names_is_refused) {
  zb_lock *lock;
  char target[128], path[128];
  snprintf(target, sizeof target, "%s", temporary_path("target"));
  snprintf(path, sizeof path, "%s", temporary_path("a.lock"));
  for (int kind = 0; kind < 5; kind++) {
    if (kind == 0 || kind == 2) make_file(target, 5);
    if (kind == 0) EQUAL(symlink(target, path), 0);
    if (kind == 1) EQUAL(symlink("nowhere", path), 0);
    if (kind == 2) EQUAL(link(target, path), 0);
    if (kind == 3) EQUAL(mkfifo(path, 0600), 0);
    if (kind == 4) EQUAL(mkdir(path, 0700), 0);
    EQUAL(zb_lock_open(path, 0, &lock), ZB_UNSAFE);
    EQUAL(zb_lock_open(path, 1, &lock), ZB_UNSAFE);
    EQUAL(zb_lock_held(path), ZB_UNSAFE);
    EQUAL(remove(path), 0);
    unlink(target);
  }
}

TEST(a_lock_whose_file_was_removed_protects_nothing_and_removes_nothing) {
  zb_lock *old, *new;
  const char *path = temporary_path("a.lock");
  OK(zb_lock_open(path, 1, &old));
  EQUAL(unlink(path), 0);
  OK(zb_lock_open(path, 1, &new));
  zb_lock_close(old, 1);
  EQUAL(zb_lock_held(path), 1);
  zb_lock_close(new, 1);
  CHECK(!exists(path));
}

static struct {
  char path[128];
  atomic_int inside;
} contention;

static void *contend(void *argument) {
  int *held = argument;
  while (*held < 500) {
    zb_lock *lock;
    int32_t code = zb_lock_open(contention.path, 1, &lock);
    if (code == ZB_LOCKED) continue;
    OK(code);
    EQUAL(atomic_fetch_add(&contention.inside, 1), 0);
    (*held)++;
    usleep(20);
    EQUAL(atomic_fetch_sub(&contention.inside, 1), 1);
    zb_lock_close(lock, 1);
  }
  return NULL;
}

TEST(one_at_a_time_holds_a_lock_that_is_made_and_removed_each_time) {
  pthread_t threads[4];
  int held[4] = {0};
  snprintf(contention.path, sizeof contention.path, "%s", temporary_path("a.lock"));
  for (int i = 0; i < 4; i++) start_thread(&threads[i], contend, &held[i]);
  for (int i = 0; i < 4; i++) join_thread(threads[i]);
  CHECK(!exists(contention.path));
}

/* ---- processes ----------------------------------------------------------------------------------------------- */

TEST(a_process_has_the_start_time_that_the_system_tells) {
  char text[1024] = "";
  FILE *file = fopen("/proc/self/stat", "r");
  CHECK(file != NULL && fgets(text, sizeof text, file) != NULL);
  fclose(file);
  double start;
  EQUAL(sscanf(strrchr(text, ')'),
               ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %lf", &start),
        1);
  EQUAL(zb_process_start((uint32_t)getpid()), start);
  CHECK(start > 0);
  EQUAL(prctl(PR_SET_NAME, ") Z 1 (2) 3"), 0); /* a name that looks like the fields behind it */
  EQUAL(zb_process_start((uint32_t)getpid()), start);
}

TEST(a_process_that_has_ended_does_not_live_even_as_a_zombie) {
  siginfo_t info;
  pid_t pid = start_child();
  if (pid == 0) _exit(0);
  EQUAL(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
  EQUAL(kill(pid, 0), 0);
  EQUAL(zb_process_start((uint32_t)pid), -1);
  EQUAL(waitpid(pid, NULL, 0), pid);
  EQUAL(zb_process_start((uint32_t)pid), -1);
}

TEST(a_number_beyond_the_largest_pid_does_not_live) { EQUAL(zb_process_start(1u << 22 | 1), -1); }

static void *tell_id(void *argument) {
  atomic_int *id = argument;
  atomic_store(id, (int)syscall(SYS_gettid));
  UNTIL(atomic_load(id) == 0);
  return NULL;
}

TEST(the_id_of_a_thread_is_no_process) {
  pthread_t thread;
  atomic_int id = 0;
  start_thread(&thread, tell_id, &id);
  UNTIL(atomic_load(&id) != 0);
  EQUAL(kill(atomic_load(&id), 0), 0); /* the system takes it for one */
  EQUAL(zb_process_start((uint32_t)atomic_load(&id)), -1);
  CHECK(zb_process_start((uint32_t)getpid()) > 0);
  atomic_store(&id, 0);
  join_thread(thread);
}

static void unmap_and_wait(void *argument) {
  struct ring *ring = argument;
  zb_memory_close(ring->memory);
  zb_semaphore_post(ring->written, 1);
  while (zb_semaphore_take(ring->released, 1) == 0) usleep(100);
}

TEST(a_process_maps_a_buffer_as_long_as_it_has_it_open) {
  struct ring ring, stranger;
  open_buffer(&ring, 64, 256);
  open_buffer(&stranger, 64, 256);
  zb_memory *more[2];
  EQUAL(zb_process_maps((uint32_t)getpid(), ring.memory), 1);
  for (int i = 0; i < 2; i++) {
    OK(zb_memory_open(ring.name, &more[i]));
    EQUAL(zb_process_maps((uint32_t)getpid(), ring.memory), 2);
  }
  for (int i = 0; i < 2; i++) zb_memory_close(more[i]);
  EQUAL(zb_process_maps((uint32_t)getpid(), ring.memory), 1);
  pid_t pid = start_child();
  if (pid == 0) {
    unmap_and_wait(&ring);
    _exit(0);
  }
  UNTIL(zb_semaphore_value(ring.written) == 1);
  EQUAL(zb_process_maps((uint32_t)pid, ring.memory), 0);
  EQUAL(zb_process_maps((uint32_t)pid, stranger.memory), 1);
  zb_semaphore_post(ring.released, 1);
  EQUAL(waitpid(pid, NULL, 0), pid);
  EQUAL(zb_process_maps((uint32_t)pid, ring.memory), ZB_PERMISSION);
  close_ring(&ring);
  close_ring(&stranger);
}

/* ---- metadata that is replaced in the middle of a read ---------------------------------------------------------- */

enum { METADATA_PAGES = 4 };

static struct {
  struct ring ring;
  zb_memory *view; /* the reader's: a page of it cannot be read at first */
  uint8_t *page;
  size_t page_size;
  uint8_t bytes[METADATA_PAGES * 65536];
  double size;
} replaced;

/* The next writer sends as many bytes, between two bytes that the reader copies. */
static void replace_metadata(int number) {
  (void)number;
  EQUAL(mprotect(replaced.page, replaced.page_size, PROT_READ), 0);
  memset(replaced.bytes, 'B', sizeof replaced.bytes);
  zb_metadata_clear(replaced.ring.memory);
  OK(zb_metadata_write(replaced.ring.memory, replaced.bytes, replaced.size));
}

TEST(metadata_that_is_replaced_by_as_many_bytes_while_it_is_copied_is_not_taken) {
  static uint8_t copy[sizeof replaced.bytes];
  struct sigaction action = {.sa_handler = replace_metadata};
  const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
  EQUAL(sigaction(SIGSEGV, &action, NULL), 0);
  open_buffer(&replaced.ring, METADATA_PAGES * page, 256);
  OK(zb_memory_view(replaced.ring.name, &replaced.view));
  replaced.page_size = page;
  replaced.size = (double)(METADATA_PAGES * page - sizeof(uint64_t));
  memset(replaced.bytes, 'A', sizeof replaced.bytes);
  OK(zb_metadata_write(replaced.ring.memory, replaced.bytes, replaced.size));
  for (uint64_t i = 1; i < METADATA_PAGES; i++) {
    replaced.page = (uint8_t *)zb_memory_address(replaced.view) + i * page;
    EQUAL(mprotect(replaced.page, page, PROT_NONE), 0);
    double length = zb_metadata_read(replaced.view, copy, sizeof copy);
    /* Some copies begin with that page, and are whole. */
    if (length == ZB_AGAIN) length = zb_metadata_read(replaced.view, copy, sizeof copy);
    EQUAL(length, replaced.size);
    for (int byte = 0; byte < replaced.size; byte++) EQUAL(copy[byte], 'B');
    memset(replaced.bytes, 'A', sizeof replaced.bytes);
    OK(zb_metadata_write(replaced.ring.memory, replaced.bytes, replaced.size));
  }
  zb_memory_close(replaced.view);
  close_ring(&replaced.ring);
}

/* ---- a file that is truncated under its mapping ---------------------------------------------------------------- */

TEST(a_buffer_that_is_truncated_under_both_ends_is_reported_as_broken_and_kills_nobody) {
  struct ring ring;
  uint8_t bytes[64];
  open_ring(&ring, 65536);
  OK(write_frame(&ring, 40000, 1));
  read_frame(&ring, 40000, 1);
  EQUAL(truncate(shm_path("", ring.name), 0), 0);
  for (uint64_t i = 0; i < ring.payload_size; i += 1000) EQUAL(ring.payload[i], 0);
  EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_BROKEN);
  EQUAL(zb_reader_next(ring.reader, 1000, ZB_WITHOUT_TOKEN), ZB_BROKEN);
  EQUAL(write_frame(&ring, 24, 2), ZB_BROKEN);
  zb_reader_release(ring.reader, 0, 1);
  zb_reader_settle(ring.reader);
  EQUAL(zb_metadata_read(ring.memory, bytes, 64), ZB_BAD_CONTROL);
  close_ring(&ring);
}

TEST(a_buffer_that_is_truncated_between_two_calls_is_refused_within_two_of_them) {
  for (int end = 0; end < 2; end++) {
    struct ring ring;
    int32_t code = ZB_OK;
    open_ring(&ring, 65536);
    OK(write_frame(&ring, 100, 1));
    EQUAL(truncate(shm_path("", ring.name), 0), 0);
    for (int call = 0; call < 2; call++)
      code = end == 0 ? write_frame(&ring, 100, 2) : zb_reader_next(ring.reader, 0, ZB_WITHOUT_TOKEN);
    EQUAL(code, ZB_BROKEN);
    close_ring(&ring);
  }
}

TEST(a_buffer_whose_end_was_cut_off_keeps_its_start) {
  struct ring ring;
  open_ring(&ring, 65536);
  OK(write_frame(&ring, 100, 1));
  EQUAL(truncate(shm_path("", ring.name), 4096), 0);
  EQUAL(ring.payload[60000], 0);
  EQUAL(word(&ring.oieb->payload_written_count), 1);
  EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_BROKEN);
  close_ring(&ring);
}

TEST(a_semaphore_that_is_truncated_is_reported_as_broken_and_kills_nobody) {
  const char *prefixes[] = {"sem.sem-w-", "sem.sem-r-"};
  for (int role = 0; role < 2; role++) {
    struct ring ring;
    open_ring(&ring, 4096);
    EQUAL(truncate(shm_path(prefixes[role], ring.name), 0), 0);
    zb_semaphore_post(role == ZB_WRITER ? ring.written : ring.released, 1);
    EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_BROKEN);
    EQUAL(write_frame(&ring, 24, 1), ZB_BROKEN);
    close_ring(&ring);
  }
}

TEST(a_new_mapping_in_the_place_of_a_broken_one_is_whole) {
  struct ring ring;
  for (int round = 0; round < 20; round++) {
    open_ring(&ring, 65536);
    OK(write_frame(&ring, 24, 1));
    read_frame(&ring, 24, 1);
    EQUAL(truncate(shm_path("", ring.name), 0), 0);
    EQUAL(ring.payload[5000], 0);
    EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_BROKEN);
    close_ring(&ring);
  }
}

static void exit_42(int number) {
  (void)number;
  _exit(42);
}

static void touch_a_truncated_file(void *argument) {
  struct ring ring;
  struct sigaction action = {.sa_handler = exit_42};
  if (argument != NULL) EQUAL(sigaction(SIGBUS, &action, NULL), 0);
  open_ring(&ring, 4096); /* the guard is set up */
  close_ring(&ring);
  const char *path = temporary_path("file");
  make_file(path, 4096);
  int fd = open(path, O_RDWR);
  volatile uint8_t *bytes = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
  EQUAL(truncate(path, 0), 0);
  (void)bytes[0];
}

TEST(a_fault_in_somebody_elses_mapping_goes_to_the_handler_before_ours_or_ends_the_process) {
  temporary_path("file");
  int status = run_child(touch_a_truncated_file, "");
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
  EQUAL(unlink(temporary_path("file")), 0);
  status = run_child(touch_a_truncated_file, NULL);
  CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) != 0); /* a sanitizer exits with a code of its own */
}

static atomic_int calls;

static void count_call(int number) {
  (void)number;
  atomic_fetch_add(&calls, 1);
}

static void count_call_with_details(int number, siginfo_t *info, void *context) {
  (void)number;
  (void)context;
  EQUAL(info->si_code, SI_USER);
  EQUAL(info->si_pid, getpid());
  atomic_fetch_add(&calls, 1);
}

/* Opens a ring with this action for SIGBUS before it, sends the signal, and then truncates the ring's memory. */
static void send_sigbus_and_truncate(void *argument) {
  struct ring ring;
  const struct sigaction *before = argument;
  EQUAL(sigaction(SIGBUS, before, NULL), 0);
  open_ring(&ring, 65536);
  for (int i = 0; i < 3; i++) EQUAL(kill(getpid(), SIGBUS), 0);
  EQUAL(pthread_kill(pthread_self(), SIGBUS), 0);
  EQUAL(truncate(shm_path("", ring.name), 0), 0);
  EQUAL(ring.payload[60000], 0);
  EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_BROKEN);
  close_ring(&ring);
  _exit(40 + atomic_load(&calls));
}

TEST(a_sigbus_that_somebody_sends_is_ignored_where_it_was_and_takes_no_protection_away) {
  struct sigaction before = {.sa_handler = SIG_IGN};
  int status = run_child(send_sigbus_and_truncate, &before);
  CHECK(WIFEXITED(status));
  EQUAL(WEXITSTATUS(status), 40);
}

TEST(a_sigbus_that_somebody_sends_goes_to_the_handler_before_ours) {
  struct sigaction before = {.sa_handler = count_call};
  int status = run_child(send_sigbus_and_truncate, &before);
  CHECK(WIFEXITED(status));
  EQUAL(WEXITSTATUS(status), 44);
}

static void send_sigbus(void *argument) {
  struct ring ring;
  EQUAL(sigaction(SIGBUS, argument, NULL), 0);
  open_ring(&ring, 65536);
  EQUAL(kill(getpid(), SIGBUS), 0);
  close_ring(&ring);
  _exit(40 + atomic_load(&calls));
}

TEST(a_sigbus_that_somebody_sends_tells_the_handler_before_ours_who_did) {
  struct sigaction before = {.sa_sigaction = count_call_with_details, .sa_flags = SA_SIGINFO};
  int status = run_child(send_sigbus, &before);
  CHECK(WIFEXITED(status));
  EQUAL(WEXITSTATUS(status), 41);
}

TEST(a_sigbus_that_somebody_sends_ends_a_process_that_has_no_handler_for_it) {
  struct sigaction before = {.sa_handler = SIG_DFL};
  int status = run_child(send_sigbus, &before);
  CHECK(WIFSIGNALED(status));
  EQUAL(WTERMSIG(status), SIGBUS);
}
