/* Lock files, mappings, and the guard against truncated files, for every POSIX system. */
#include "fault.h"
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- codes --------------------------------------------------------------------------------------------------- */

static _Thread_local int32_t last_system_error;

int32_t zb_system_error(void) { return last_system_error; }

int32_t zb_code_of(int error) {
  last_system_error = error;
  switch (error) {
  case EINTR:
    return ZB_INTERRUPTED;
  case ENOENT:
    return ZB_NOT_FOUND;
  case EEXIST:
    return ZB_EXISTS;
  case EACCES:
  case EPERM:
  case EROFS:
    return ZB_PERMISSION;
  case ENOSPC:
  case EDQUOT:
  case EFBIG:
    return ZB_NO_SPACE;
  case ENOMEM:
    return ZB_NO_MEMORY;
  case EMFILE:
  case ENFILE:
    return ZB_NO_DESCRIPTORS;
  case ELOOP:
  case EISDIR:
  case ENXIO:
  case ENOTDIR:
    return ZB_UNSAFE;
  default:
    return ZB_SYSTEM;
  }
}

int32_t zb_sleep(int32_t wait_us) {
  const int64_t end_ns = zb_now_ns() + (int64_t)wait_us * 1000;
  for (;;) {
    if (zb_ended_by_signal()) return ZB_INTERRUPTED;
    int64_t left_ns = end_ns - zb_now_ns();
    if (left_ns <= 0) return ZB_OK;
    const struct timespec time = {.tv_sec = left_ns / 1000000000, .tv_nsec = left_ns % 1000000000};
    if (nanosleep(&time, NULL) != 0 && zb_ended_by_interruption()) return ZB_INTERRUPTED;
  }
}

double zb_wall_clock_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (double)((int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

int32_t zb_other_end_closed(int32_t descriptor) {
  struct pollfd end = {.fd = descriptor};
  return poll(&end, 1, 0) == 1 && (end.revents & (POLLERR | POLLHUP)) != 0;
}

/* ---- mappings ------------------------------------------------------------------------------------------------ */

static _Atomic(struct zb_object *) objects;
static pthread_mutex_t objects_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction previous_sigbus;

/* If a peer truncates a mapped file, the next access to the lost part would kill this process. This puts zero pages
 * there and marks the object, so that the next call for it returns ZB_BROKEN (docs/protocol.md, section 7). It only
 * uses functions that are safe in a signal handler. False if the fault is not in a mapping of ours. */
static bool replace_lost_pages(uintptr_t fault) {
  for (struct zb_object *object = atomic_load_explicit(&objects, memory_order_acquire); object != NULL;
       object = object->next) {
    uintptr_t start = atomic_load_explicit(&object->start, memory_order_acquire);
    if (start == 0 || fault < start || fault - start >= object->length) continue;
    uintptr_t page = fault & ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
    void *zeros = mmap((void *)page, object->length - (page - start), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (zeros == MAP_FAILED) return false;
    atomic_store_explicit(&object->broken, true, memory_order_release);
    return true;
  }
  return false;
}

/* Whether a process has sent the signal. Then no access has failed, and `si_addr` is no address. */
static bool is_sent(const siginfo_t *info) {
  return info->si_code <= 0 || info->si_code == SI_USER || info->si_code == SI_QUEUE;
}

/* A signal that is not about our mappings has the effect that it would have without this handler. */
static void on_sigbus(int number, siginfo_t *info, void *context) {
  const bool sent = is_sent(info);
  if (!sent && replace_lost_pages((uintptr_t)info->si_addr)) return;
  if (previous_sigbus.sa_flags & SA_SIGINFO) {
    previous_sigbus.sa_sigaction(number, info, context);
  } else if (previous_sigbus.sa_handler != SIG_DFL && previous_sigbus.sa_handler != SIG_IGN) {
    previous_sigbus.sa_handler(number);
  } else if (!sent || previous_sigbus.sa_handler == SIG_DFL) {
    /* End the process: once this handler returns, the fault repeats or the signal arrives again. */
    signal(number, SIG_DFL);
    if (sent) raise(number);
  }
}

static void guard_sigbus(void) {
  struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &previous_sigbus);
}

static struct zb_object *unused_object(void) {
  struct zb_object *object = atomic_load_explicit(&objects, memory_order_relaxed);
  while (object != NULL && object->in_use) object = object->next;
  if (object != NULL) return object;
  object = ZB_CALL(map_register, calloc(1, sizeof *object), NULL);
  if (object == NULL) return NULL;
  object->next = atomic_load_explicit(&objects, memory_order_relaxed);
  /* release: if the handler finds the object, it finds it initialised */
  atomic_store_explicit(&objects, object, memory_order_release);
  return object;
}

int32_t zb_object_add(int descriptor, size_t length, const char *path, struct zb_object **result) {
  struct stat status;
  int32_t code = ZB_CALL(map_status, fstat(descriptor, &status), -1) == 0 ? ZB_OK : zb_code_of(errno);
  struct zb_object *object = NULL;
  if (code == ZB_OK) {
    pthread_mutex_lock(&objects_mutex);
    object = unused_object();
    if (object != NULL) {
      object->in_use = true;
      object->length = length;
      object->device = status.st_dev;
      object->inode = status.st_ino;
      object->owned = status.st_uid == geteuid() || geteuid() == 0;
      object->named = true;
      object->descriptor = descriptor;
      snprintf(object->path, sizeof object->path, "%s", path);
      atomic_store_explicit(&object->broken, false, memory_order_relaxed);
    }
    pthread_mutex_unlock(&objects_mutex);
    if (object == NULL) code = ZB_NO_MEMORY;
  }
  if (code != ZB_OK) {
    close(descriptor);
    return code;
  }
  zb_object_opened(object);
  *result = object;
  return ZB_OK;
}

int32_t zb_object_map(struct zb_object *object) {
  static pthread_once_t guarded = PTHREAD_ONCE_INIT;
  pthread_once(&guarded, guard_sigbus);
  bool writable = (fcntl(object->descriptor, F_GETFL) & O_ACCMODE) == O_RDWR;
  int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  void *start = ZB_CALL(map_memory, mmap(NULL, object->length, protection, MAP_SHARED, object->descriptor, 0),
                        MAP_FAILED);
  if (start == MAP_FAILED) return zb_code_of(errno);
  /* release: if the handler sees the start, it sees the length */
  atomic_store_explicit(&object->start, (uintptr_t)start, memory_order_release);
  return ZB_OK;
}

void zb_object_unmap(struct zb_object *object) {
  pthread_mutex_lock(&objects_mutex);
  ZB_POINT(unmap_object);
  if (zb_object_address(object) != NULL) munmap(zb_object_address(object), object->length);
  atomic_store_explicit(&object->start, 0, memory_order_release);
  object->in_use = false;
  pthread_mutex_unlock(&objects_mutex);
}

void zb_object_read(const struct zb_object *object, uint64_t offset, size_t size, void *target) {
  ssize_t length = pread(object->descriptor, target, size, (off_t)offset);
  size_t got = length > 0 ? (size_t)length : 0;
  memset((char *)target + got, 0, size - got);
}

int32_t zb_memory_named(zb_memory *memory) { return zb_object_named(&memory->object); }

int32_t zb_memory_unlink(zb_memory *memory) { return zb_object_unlink(&memory->object); }

void zb_guard(void) { pthread_mutex_lock(&objects_mutex); }

void zb_unguard(void) { pthread_mutex_unlock(&objects_mutex); }

struct zb_object *zb_first_object(void) { return atomic_load_explicit(&objects, memory_order_relaxed); }

bool zb_object_is(const struct zb_object *one, const struct zb_object *other) {
  return one->device == other->device && one->inode == other->inode && strcmp(one->path, other->path) == 0;
}

void zb_object_close_handle(struct zb_object *object) {
  /* A mapping that is still in use would keep a lock after the descriptor is closed. */
  for (int32_t role = ZB_WRITER; role <= ZB_READER; role++) zb_role_unlock((zb_memory *)object, role);
  if (object->descriptor >= 0) close(object->descriptor);
  object->descriptor = -1;
}

/* ---- threads ------------------------------------------------------------------------------------------------- */

static pthread_key_t watch;
static bool can_watch;

static void on_thread_end(void *value) {
  (void)value;
  zb_thread_ended();
}

static void make_watch(void) { can_watch = pthread_key_create(&watch, on_thread_end) == 0; }

uintptr_t zb_this_thread(void) { return (uintptr_t)pthread_self(); }

void zb_watch_thread(void) {
  static pthread_once_t made = PTHREAD_ONCE_INIT;
  pthread_once(&made, make_watch);
  if (can_watch) pthread_setspecific(watch, &watch); /* any value but NULL */
}

/* ---- child processes ----------------------------------------------------------------------------------------- */

int32_t zb_children_bind(void) { return ZB_UNSUPPORTED; }

void zb_children_end(void) { /* their process group is for that */
}

/* ---- lock files ---------------------------------------------------------------------------------------------- */

struct zb_lock {
  struct zb_resource resource;
  int descriptor;
  char path[ZB_PATH_MAX];
};

/* An existing file is opened without O_CREAT, which fs.protected_regular refuses for other users' files in a sticky
 * directory. O_NONBLOCK prevents that a FIFO blocks the open. */
static int32_t open_lock_file(const char *path, bool create, int *descriptor) {
  const int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
  int fd = ZB_CALL(lock_open, open(path, flags), -1);
  if (fd < 0 && errno == ENOENT && create) {
    fd = ZB_CALL(lock_create, open(path, flags | O_CREAT | O_EXCL, 0666), -1);
    if (fd < 0 && errno == EEXIST) fd = open(path, flags);
  }
  if (fd < 0) return zb_code_of(errno);
  struct stat status;
  int32_t code = ZB_CALL(lock_status, fstat(fd, &status), -1) == 0 ? ZB_OK : zb_code_of(errno);
  if (code == ZB_OK && (!S_ISREG(status.st_mode) || status.st_nlink > 1)) code = ZB_UNSAFE;
  if (code != ZB_OK) {
    close(fd);
    return code;
  }
  *descriptor = fd;
  return ZB_OK;
}

/* Whether the path still means the open file. The lock of an unlinked file protects nothing. */
static bool path_means_descriptor(const char *path, int descriptor) {
  struct stat named, opened;
  return lstat(path, &named) == 0 && fstat(descriptor, &opened) == 0 && named.st_dev == opened.st_dev &&
         named.st_ino == opened.st_ino;
}

/* As at the death of a process, the file stays. */
static void close_resource(struct zb_resource *resource) {
  zb_lock_close(ZB_RESOURCE_OF(zb_lock, resource), 0);
}

int32_t zb_lock_open(const char *path, int32_t create, zb_lock **result) {
  /* Another round means that a process has removed the file in between. A hundred rounds mean an attack. */
  for (int round = 0; round < 100; round++) {
    int descriptor = -1;
    int32_t code = open_lock_file(path, create, &descriptor);
    if (code != ZB_OK) {
      if (code == ZB_NOT_FOUND && create && round < 99) continue;
      return code;
    }
    if (ZB_CALL(lock_take, flock(descriptor, LOCK_EX | LOCK_NB), -1) != 0) {
      code = errno == EWOULDBLOCK ? ZB_LOCKED : zb_code_of(errno);
      close(descriptor);
      return code;
    }
    if (!path_means_descriptor(path, descriptor)) {
      close(descriptor);
      continue;
    }
    zb_lock *lock = ZB_CALL(lock_note, malloc(sizeof *lock), NULL);
    if (lock == NULL) {
      close(descriptor);
      return ZB_NO_MEMORY;
    }
    lock->descriptor = descriptor;
    snprintf(lock->path, sizeof lock->path, "%s", path);
    zb_resource_add(&lock->resource, close_resource);
    *result = lock;
    return ZB_OK;
  }
  return ZB_UNSAFE;
}

void zb_lock_close(zb_lock *lock, int32_t remove) {
  zb_resource_remove(&lock->resource);
  if (remove && path_means_descriptor(lock->path, lock->descriptor))
    (void)ZB_CALL(lock_remove, unlink(lock->path), -1);
  ZB_POINT(lock_release);
  close(lock->descriptor);
  free(lock);
}

int32_t zb_lock_held(const char *path) {
  int descriptor = -1;
  int32_t code = open_lock_file(path, false, &descriptor);
  if (code != ZB_OK) return code;
  code = ZB_CALL(lock_probe, flock(descriptor, LOCK_SH | LOCK_NB), -1) == 0 ? 0
         : errno == EWOULDBLOCK                                             ? 1
                                                                            : zb_code_of(errno);
  close(descriptor);
  return code;
}
