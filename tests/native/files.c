/* Objects and locks as files, processes from /proc: what only Linux has (docs/protocol.md, sections 1, 4
 * and 7). */
#include "linux.h"

#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

static mode_t mode_of(const char *path) {
  struct stat status;
  EQUAL(lstat(path, &status), 0);
  return status.st_mode & 07777;
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
  OK(open_memory(name, &peer));
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
  EQUAL(open_memory(name, &memory), ZB_NOT_FOUND);
  make_file(shm_path("", name), 0);
  EQUAL(open_memory(name, &memory), ZB_AGAIN);
  EQUAL(truncate(shm_path("", name), 127), 0);
  EQUAL(open_memory(name, &memory), ZB_AGAIN);
  EQUAL(truncate(shm_path("", name), 128), 0);
  OK(open_memory(name, &memory));
  OK(zb_memory_unlink(memory));
  zb_memory_close(memory);
}

TEST(memory_that_is_looked_at_is_not_mapped_and_reads_as_zeros_past_its_end) {
  zb_memory *memory;
  uint64_t words[16];
  uint8_t bytes[32];
  const char *name = unique_name();
  make_file(shm_path("", name), 0);
  EQUAL(truncate(shm_path("", name), 12), 0);
  OK(zb_memory_look(name, true, &memory));
  CHECK(zb_memory_address(memory) == NULL);
  EQUAL(zb_process_maps((uint32_t)getpid(), memory), 0);
  EQUAL(zb_memory_size(memory), 12);
  memset(words, 1, sizeof words);
  zb_oieb_load(memory, words);
  for (int i = 0; i < 16; i++) EQUAL(words[i], 0);
  memset(bytes, 1, sizeof bytes);
  zb_memory_copy(memory, 4, sizeof bytes, bytes);
  for (size_t i = 0; i < sizeof bytes; i++) EQUAL(bytes[i], 0);
  EQUAL(zb_memory_map(memory), ZB_AGAIN);
  OK(zb_memory_unlink(memory));
  CHECK(!exists(shm_path("", name)));
  zb_memory_close(memory);
}

TEST(what_is_no_plain_file_is_refused_as_memory_and_as_semaphore) {
  zb_memory *memory;
  zb_semaphore *semaphore;
  /* A terminal would become this process's, a watchdog would begin to count. */
  bool has_devices = mknod(shm_path("device-", name_prefix), S_IFCHR | 0600, makedev(1, 3)) == 0;
  if (has_devices) EQUAL(unlink(shm_path("device-", name_prefix)), 0);
  for (int kind = 0; kind < (has_devices ? 4 : 3); kind++) {
    const char *name = unique_name();
    const char *prefixes[] = {"", "sem.sem-w-"};
    for (int i = 0; i < 2; i++) {
      const char *path = shm_path(prefixes[i], name);
      if (kind == 0) EQUAL(symlink("/etc/hostname", path), 0);
      if (kind == 1) EQUAL(mkfifo(path, 0600), 0);
      if (kind == 2) EQUAL(mkdir(path, 0700), 0);
      if (kind == 3) EQUAL(mknod(path, S_IFCHR | 0600, makedev(1, 3)), 0);
    }
    for (int writable = 0; writable <= 1; writable++)
      EQUAL(zb_memory_look(name, writable, &memory), ZB_UNSAFE);
    EQUAL(zb_semaphore_open(name, ZB_WRITER, &semaphore), ZB_UNSAFE);
    EQUAL(zb_semaphore_view(name, ZB_WRITER, &semaphore), ZB_UNSAFE);
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
  if (open_memory(ring->name, &memory) != ZB_PERMISSION) return 2;
  if (zb_memory_look(ring->name, false, &memory) != ZB_OK) return 3;
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
  OK(zb_memory_look(ring.name, false, &view));
  OK(zb_memory_map(view));
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
  OK(zb_memory_look(replaced.ring.name, false, &replaced.view));
  OK(zb_memory_map(replaced.view));
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
