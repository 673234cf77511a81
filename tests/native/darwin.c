/* What the C tests need of macOS, and the cases that only macOS has. */
#include "posix.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <sys/mman.h>

void remove_names(void) {
  /* The system lists no names: those of a case that fails stay until it restarts. */
}

void die_with_parent(void) { /* There is no such thing. */
}

void make_waiters_use_threads(void) { /* They do. */
}

bool waits(zb_semaphore *semaphore, uint32_t count) {
  (void)semaphore;
  if (count > 0) usleep(2000);
  return true;
}

/* MD5 of "/abcdefghijklmnopqrstuvwxyz0123456789" and of "/sem-w-" and the same, as `md5` tells. */
#define LONG_NAME "abcdefghijklmnopqrstuvwxyz0123456789"

TEST(a_name_that_is_too_long_is_cut_and_told_apart_by_its_md5) {
  zb_memory *memory;
  zb_semaphore *semaphore;
  OK(zb_memory_create(LONG_NAME, 4096, 0600, &memory));
  OK(zb_semaphore_create(LONG_NAME, ZB_WRITER, 0600, &semaphore));
  int fd = shm_open("/abcdefghijklmnopqrstu23ce1c4f", O_RDWR, 0);
  CHECK(fd >= 0);
  close(fd);
  sem_t *opened = sem_open("/sem-w-abcdefghijklmno69fbf4ab", 0);
  CHECK(opened != SEM_FAILED);
  sem_close(opened);
  OK(zb_memory_unlink(memory));
  OK(zb_semaphore_unlink(semaphore));
  zb_memory_close(memory);
  zb_semaphore_close(semaphore);
  EQUAL(open_memory(LONG_NAME, &memory), ZB_NOT_FOUND);
}

TEST(libc_opens_our_semaphore_and_both_count_on_it) {
  struct ring ring;
  char name[80];
  open_buffer(&ring, 64, 256);
  snprintf(name, sizeof name, "/sem-w-%s", ring.name);
  sem_t *libc = sem_open(name, 0);
  CHECK(libc != SEM_FAILED);
  zb_semaphore_post(ring.written, 3);
  EQUAL(sem_trywait(libc), 0);
  EQUAL(zb_semaphore_take(ring.written, 5), 2);
  EQUAL(sem_trywait(libc), -1);
  EQUAL(errno, EAGAIN);
  EQUAL(sem_post(libc), 0);
  EQUAL(zb_semaphore_value(ring.written), 1);
  EQUAL(zb_semaphore_take(ring.written, 5), 1);
  sem_close(libc);
  close_ring(&ring);
}

TEST(a_view_of_a_semaphore_is_refused_because_it_would_take_tokens) {
  struct ring ring;
  zb_semaphore *view;
  open_buffer(&ring, 64, 256);
  CHECK(zb_semaphore_view(ring.name, ZB_WRITER, &view) < 0);
  close_ring(&ring);
}
