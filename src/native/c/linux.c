/* Linux: named objects as files of /dev/shm, semaphores on futexes in glibc's layout, processes from /proc.
 *
 * The semaphores are our own and not libc's, for three reasons: a thread can wait without taking the token, which the
 * reader takes; many posts are one atomic addition; and glibc and musl builds use one layout. They work together with
 * glibc's sem_open, sem_post and sem_wait on the same file (docs/protocol.md, section 1). */
#include "fault.h"
#include "internal.h"
#include "tokens.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define SHM "/dev/shm"
#define SEMAPHORE_FILE_SIZE 32 /* sizeof(sem_t) */
#define FUTEX_SHARED 128       /* glibc's value in `private` of a semaphore that processes share */

_Static_assert(sizeof(struct zb_semaphore_layout) == 16, "semaphore layout");
_Static_assert(offsetof(struct zb_semaphore_layout, futex_private) == 8, "semaphore layout");

/* ---- this library -------------------------------------------------------------------------------------------- */

struct path_query {
  char *path;
  size_t capacity;
};

/* Older versions of glibc have dladdr in a separate library. */
static int note_path(struct dl_phdr_info *object, size_t size, void *argument) {
  (void)size;
  struct path_query *query = argument;
  uintptr_t offset = (uintptr_t)&zb_library_path - object->dlpi_addr;
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
    if (segment->p_type != PT_LOAD || offset - segment->p_vaddr >= segment->p_memsz) continue;
    size_t length = strlen(object->dlpi_name);
    if (length == 0 || length >= query->capacity) return ZB_NOT_FOUND;
    memcpy(query->path, object->dlpi_name, length + 1);
    return 1;
  }
  return 0;
}

int32_t zb_library_path(char *path, uint32_t capacity) {
  struct path_query query = {path, capacity};
  return dl_iterate_phdr(note_path, &query) == 1 ? ZB_OK : ZB_NOT_FOUND;
}

/* ---- time ---------------------------------------------------------------------------------------------------- */

static int64_t clock_ns(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int64_t zb_now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

int64_t zb_now_coarse_ns(void) { return clock_ns(CLOCK_MONOTONIC_COARSE); }

bool zb_has_other_cpu(uint64_t pid) {
  cpu_set_t own, other;
  if (sched_getaffinity(0, sizeof own, &own) != 0) return sysconf(_SC_NPROCESSORS_ONLN) > 1;
  if (pid != 0 && pid <= INT_MAX && sched_getaffinity((pid_t)pid, sizeof other, &other) == 0)
    CPU_OR(&own, &own, &other);
  return CPU_COUNT(&own) > 1;
}

void zb_yield(void) { sched_yield(); }

int zb_socket_pair(int ends[2]) {
  return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends);
}

/* ---- files of /dev/shm --------------------------------------------------------------------------------------- */

/* A full file system is an error now, instead of a SIGBUS at the first access. Signals have to wait: some versions of Linux
 * undo the whole allocation for one, and a process that gets many would never complete it. The end of a waiter's wait
 * (linux_uring.c) interrupts it as well, but no new wait begins meanwhile. */
static int allocate(int fd, uint64_t size) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error;
  do error = ZB_CALL(create_allocate, posix_fallocate(fd, 0, (off_t)size), errno);
  while (error == EINTR);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return error;
}

#define PROC_PATH_MAX 64

static void path_of_descriptor(char path[PROC_PATH_MAX], int descriptor) {
  snprintf(path, PROC_PATH_MAX, "/proc/self/fd/%d", descriptor);
}

/* Makes a file of zeros, allocates and maps it, and fills its first bytes. link_file gives it a name later, so a
 * process that is killed in between leaves nothing. */
static int32_t make_file(const char *path, uint64_t size, int32_t mode, const void *head, size_t head_size,
                         struct zb_object **object) {
  if (size > (uint64_t)INT64_MAX) return ZB_NO_SPACE;
  int32_t code = ZB_OK;
  bool named = false;
  mode_t permissions = mode < 0 ? 0666 : (mode_t)mode;
  int fd = ZB_CALL(create_unnamed, open(SHM, O_TMPFILE | O_RDWR | O_CLOEXEC, permissions), -1);
  if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
    /* This file system has no unnamed files: peers wait while `oieb_size` is 0. */
    fd = ZB_CALL(create_named, open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, permissions),
                 -1);
    named = fd >= 0;
  }
  if (fd < 0) return zb_code_of(errno);

  int error = allocate(fd, size);
  if (error != 0) code = zb_code_of(error);
  if (code == ZB_OK && mode >= 0 && ZB_CALL(create_mode, fchmod(fd, permissions), -1) != 0)
    code = zb_code_of(errno);
  if (code == ZB_OK && head_size > 0 &&
      ZB_CALL(create_head, pwrite(fd, head, head_size, 0), -1) != (ssize_t)head_size)
    code = zb_code_of(errno);
  if (code != ZB_OK)
    close(fd);
  else
    code = zb_object_add(fd, (size_t)size, path, object);
  if (code == ZB_OK) {
    (*object)->named = named;
    code = zb_object_map(*object);
    if (code != ZB_OK) zb_object_close(*object);
  }
  if (code != ZB_OK && named) unlink(path);
  return code;
}

/* Gives a file of make_file its name. ZB_EXISTS if something else has that name. */
static int32_t link_file(struct zb_object *object) {
  if (object->named) return ZB_OK;
  char unnamed[PROC_PATH_MAX];
  path_of_descriptor(unnamed, object->descriptor);
  if (ZB_CALL(create_link, linkat(AT_FDCWD, unnamed, AT_FDCWD, object->path, AT_SYMLINK_FOLLOW), -1) != 0)
    return zb_code_of(errno);
  object->named = true;
  return ZB_OK;
}

/* Opens the file that a descriptor of O_PATH means. A process that asks whether it is alone with the file
 * (zb_memory_alone) makes this wait for some microseconds; with O_NONBLOCK it would fail. */
static int open_again(int handle, const char *path, int access) {
  const int64_t give_up = zb_now_ns() + 1000000000;
  char again[PROC_PATH_MAX];
  path_of_descriptor(again, handle);
  for (;;) {
    int fd = ZB_CALL(open_existing, open(again, access | O_CLOEXEC), -1);
    /* Without /proc the name has to do. It meant a plain file a moment ago. */
    if (fd < 0 && errno == ENOENT) fd = open(path, access | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 || (errno != EINTR && errno != EWOULDBLOCK) || zb_now_ns() >= give_up) return fd;
  }
}

/* Opens an existing file of at least `least` bytes, but does not map it. `access` is O_RDWR or O_RDONLY. `length`: of what
 * is to be mapped; 0 means all of it. */
static int32_t open_file(const char *path, int access, size_t least, size_t length,
                         struct zb_object **object) {
  /* O_PATH opens nothing: no FIFO blocks it, and no device notices. */
  int handle = ZB_CALL(open_handle, open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC), -1);
  if (handle < 0) return zb_code_of(errno);
  struct stat status;
  int32_t code = ZB_CALL(open_status, fstat(handle, &status), -1) == 0 ? ZB_OK : zb_code_of(errno);
  if (code == ZB_OK && !S_ISREG(status.st_mode)) code = ZB_UNSAFE;
  if (code == ZB_OK && (uint64_t)status.st_size < least) code = ZB_AGAIN;
  int fd = code == ZB_OK ? open_again(handle, path, access) : -1;
  if (code == ZB_OK && fd < 0) code = zb_code_of(errno);
  close(handle);
  if (code != ZB_OK) return code;
  return zb_object_add(fd, length > 0 ? length : (size_t)status.st_size, path, object);
}

int32_t zb_object_named(const struct zb_object *object) {
  struct stat status;
  if (ZB_CALL(named_status, lstat(object->path, &status), -1) != 0) return zb_code_of(errno);
  return status.st_dev == object->device && status.st_ino == object->inode ? ZB_OK : ZB_EXISTS;
}

int32_t zb_object_unlink(const struct zb_object *object) {
  int32_t code = zb_object_named(object);
  if (code != ZB_OK) return code;
  return ZB_CALL(unlink_object, unlink(object->path), -1) == 0 ? ZB_OK : zb_code_of(errno);
}

/* Constants of the kernel that some C libraries lack. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

bool zb_populate(void *start, size_t length, bool write) {
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  const uintptr_t first = (uintptr_t)start & ~(page - 1), end = (uintptr_t)start + length;
  /* If this fails, each page faults at its first use. */
  return ZB_CALL(populate,
                 madvise((void *)first, end - first, write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ),
                 -1) == 0;
}

static void memory_path(char path[ZB_OBJECT_PATH_MAX], const char *name) {
  snprintf(path, ZB_OBJECT_PATH_MAX, SHM "/%s", name);
}

int32_t zb_memory_create(const char *name, uint64_t size, int32_t mode, zb_memory **memory) {
  char path[ZB_OBJECT_PATH_MAX];
  memory_path(path, name);
  return make_file(path, size, mode, NULL, 0, (struct zb_object **)memory);
}

int32_t zb_memory_link(zb_memory *memory) { return link_file(&memory->object); }

int32_t zb_memory_look(const char *name, int32_t writable, zb_memory **memory) {
  char path[ZB_OBJECT_PATH_MAX];
  memory_path(path, name);
  return open_file(path, writable ? O_RDWR : O_RDONLY, 0, 0, (struct zb_object **)memory);
}

/* ---- semaphores ---------------------------------------------------------------------------------------------- */

static void semaphore_path(char path[ZB_OBJECT_PATH_MAX], const char *name, int32_t role) {
  snprintf(path, ZB_OBJECT_PATH_MAX, SHM "/sem.sem-%c-%s", role == ZB_WRITER ? 'w' : 'r', name);
}

int32_t zb_semaphore_create(const char *name, int32_t role, int32_t mode, zb_semaphore **semaphore) {
  char path[ZB_OBJECT_PATH_MAX];
  semaphore_path(path, name, role);
  const struct zb_semaphore_layout initial = {.futex_private = FUTEX_SHARED};
  struct zb_object **object = (struct zb_object **)semaphore;
  int32_t code = make_file(path, SEMAPHORE_FILE_SIZE, mode, &initial, sizeof initial, object);
  if (code != ZB_OK) return code;
  code = link_file(*object);
  if (code == ZB_OK)
    zb_object_close_handle(*object);
  else
    zb_object_close(*object);
  return code;
}

static int32_t open_semaphore(const char *name, int32_t role, int access, struct zb_object **object) {
  char path[ZB_OBJECT_PATH_MAX];
  semaphore_path(path, name, role);
  int32_t code = open_file(path, access, SEMAPHORE_FILE_SIZE, SEMAPHORE_FILE_SIZE, object);
  if (code != ZB_OK) return code;
  code = zb_object_map(*object);
  if (code == ZB_OK)
    zb_object_close_handle(*object);
  else
    zb_object_close(*object);
  return code;
}

int32_t zb_semaphore_open(const char *name, int32_t role, zb_semaphore **semaphore) {
  return open_semaphore(name, role, O_RDWR, (struct zb_object **)semaphore);
}

int32_t zb_semaphore_view(const char *name, int32_t role, zb_semaphore **semaphore) {
  return open_semaphore(name, role, O_RDONLY, (struct zb_object **)semaphore);
}

void zb_semaphore_close(zb_semaphore *semaphore) { zb_object_close(&semaphore->object); }

int32_t zb_semaphore_unlink(zb_semaphore *semaphore) { return zb_object_unlink(&semaphore->object); }

int32_t zb_semaphore_remove(const char *name, int32_t role) {
  char path[ZB_OBJECT_PATH_MAX];
  semaphore_path(path, name, role);
  return ZB_CALL(semaphore_remove, unlink(path), -1) == 0 ? ZB_OK : zb_code_of(errno);
}

static long futex(_Atomic(uint64_t) *data, int operation, uint32_t value, const struct timespec *deadline) {
  /* little-endian: the low half of the word, which is the value, has the address of the word */
  return syscall(SYS_futex, (uint32_t *)data, operation, value, deadline, NULL, FUTEX_BITSET_MATCH_ANY);
}

const bool zb_semaphore_counts = true;

int32_t zb_semaphore_value(zb_semaphore *semaphore) { return semaphore_value(semaphore); }

int32_t zb_semaphore_waiters(zb_semaphore *semaphore) {
  uint64_t waiters = atomic_load_explicit(data_of(semaphore), memory_order_relaxed) >> 32;
  return waiters > INT_MAX ? INT_MAX : (int32_t)waiters;
}

void zb_semaphore_post(zb_semaphore *semaphore, int32_t count) { semaphore_post(semaphore, count); }

uint32_t zb_semaphore_take(zb_semaphore *semaphore, uint32_t most) { return semaphore_take(semaphore, most); }

void zb_semaphore_wake_waiters(zb_semaphore *semaphore, uint32_t count) {
  futex(data_of(semaphore), FUTEX_WAKE, count, NULL);
}

int32_t zb_semaphore_await(zb_semaphore *semaphore, int64_t deadline_ns, const atomic_bool *cancelled) {
  _Atomic(uint64_t) *data = data_of(semaphore);
  const struct timespec deadline = {.tv_sec = deadline_ns / 1000000000, .tv_nsec = deadline_ns % 1000000000};
  int32_t code = ZB_OK;
  ZB_POINT(await_count);
  /* One atomic step counts this waiter and loads the value. So a post either sees the waiter and wakes it, or the
   * waiter sees the post. */
  uint64_t seen = atomic_fetch_add_explicit(data, one_waiter, memory_order_relaxed);
  while (code == ZB_OK && (uint32_t)seen == 0) {
    /* EAGAIN: there is a token. EFAULT: the file was truncated; the load below faults, and the guard handles that. */
    if (cancelled != NULL && atomic_load_explicit(cancelled, memory_order_relaxed)) {
      code = ZB_AGAIN;
    } else if (ZB_CALL(await_sleep, futex(data, FUTEX_WAIT_BITSET, 0, &deadline), -1) != 0 &&
               errno != EAGAIN && errno != EFAULT) {
      code = errno == ETIMEDOUT ? ZB_AGAIN : zb_code_of(errno);
    }
    seen = atomic_load_explicit(data, memory_order_relaxed);
  }
  atomic_fetch_sub_explicit(data, one_waiter, memory_order_relaxed);
  return code == ZB_AGAIN && (uint32_t)seen > 0 ? ZB_OK : code;
}

void zb_semaphore_wake(zb_semaphore *semaphore) { futex(data_of(semaphore), FUTEX_WAKE, INT_MAX, NULL); }
