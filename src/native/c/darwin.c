/* macOS: shared memory and semaphores with names but without files, processes from the kernel's table.
 *
 * v1 peers use the system's semaphores, so we do, too. These tell no value, and a wait for one ends only with a token.
 * So a wait here looks, and sleeps longer and longer between two looks. */
#include "internal.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysctl.h>
#include <time.h>
#include <unistd.h>

#define NAME_LENGTH 31    /* the longest name that the system accepts */
#define PREFIX_LENGTH 22  /* of a longer name, the part that stays */
#define MOST_TOKENS 32767 /* SEM_VALUE_MAX, which the headers do not define */
#define SHORTEST_SLEEP_NS 20000
#define LONGEST_SLEEP_NS 1000000

/* From the system's library. Its header warns that MD5 is not secure; here it only makes names short. */
unsigned char *CC_MD5(const void *data, uint32_t length, unsigned char digest[16]);

/* ---- this library -------------------------------------------------------------------------------------------- */

int32_t zb_library_path(char *path, uint32_t capacity) {
  Dl_info library;
  if (dladdr((const void *)&zb_library_path, &library) == 0) return ZB_NOT_FOUND;
  return strlcpy(path, library.dli_fname, capacity) < capacity ? ZB_OK : ZB_NOT_FOUND;
}

/* ---- time ---------------------------------------------------------------------------------------------------- */

int64_t zb_now_ns(void) { return (int64_t)clock_gettime_nsec_np(CLOCK_UPTIME_RAW); }

int64_t zb_now_coarse_ns(void) { return (int64_t)clock_gettime_nsec_np(CLOCK_UPTIME_RAW_APPROX); }

bool zb_has_other_cpu(uint64_t pid) {
  (void)pid; /* the system binds no process to a processor */
  return sysconf(_SC_NPROCESSORS_ONLN) > 1;
}

bool zb_populate(void *start, size_t length, bool write) {
  (void)start; /* the system has no call for it */
  (void)length;
  (void)write;
  return false;
}

void zb_yield(void) { sched_yield(); }

int zb_socket_pair(int ends[2]) {
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return -1;
  for (int i = 0; i < 2; i++) {
    fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    fcntl(ends[i], F_SETFL, O_NONBLOCK);
  }
  return 0;
}

/* ---- names --------------------------------------------------------------------------------------------------- */

/* Shortens a name that is too long, and makes it unique by the MD5 of the full name (docs/protocol.md, section 1). */
static void object_name(char result[ZB_OBJECT_PATH_MAX], const char *prefix, const char *name) {
  int length = snprintf(result, ZB_OBJECT_PATH_MAX, "/%s%s", prefix, name);
  if (length <= NAME_LENGTH) return;
  uint8_t digest[16];
  CC_MD5(result, (uint32_t)length, digest);
  snprintf(result + PREFIX_LENGTH, ZB_OBJECT_PATH_MAX - PREFIX_LENGTH, "%02x%02x%02x%02x", digest[0],
           digest[1], digest[2], digest[3]);
}

static void semaphore_name(char result[ZB_OBJECT_PATH_MAX], const char *name, int32_t role) {
  object_name(result, role == ZB_WRITER ? "sem-w-" : "sem-r-", name);
}

/* An object with a given mode must get exactly that mode. The system cannot change the mode of such an object later, so
 * this clears the umask, which belongs to the whole process, while the object is made. */
static mode_t clear_umask(int32_t mode) { return mode < 0 ? 0 : umask(0); }

static void restore_umask(int32_t mode, mode_t before) {
  if (mode >= 0) umask(before);
}

static mode_t permissions(int32_t mode) { return mode < 0 ? 0666 : (mode_t)mode; }

/* ---- shared memory ------------------------------------------------------------------------------------------- */

/* Its descriptor cannot be read, so that it is mapped at once, unless it is smaller than an OIEB: then it reads as 0. */
static int32_t add_mapped(int fd, size_t length, const char *path, zb_memory **memory) {
  int32_t code = zb_object_add(fd, length, path, (struct zb_object **)memory);
  if (code != ZB_OK || length < sizeof(struct zb_oieb)) return code;
  code = zb_memory_map(*memory);
  if (code == ZB_OK)
    zb_object_close_handle(&(*memory)->object);
  else
    zb_memory_close(*memory);
  return code;
}

int32_t zb_memory_create(const char *name, uint64_t size, int32_t mode, zb_memory **memory) {
  char path[ZB_OBJECT_PATH_MAX];
  if (size > (uint64_t)INT64_MAX) return ZB_NO_SPACE;
  object_name(path, "", name);
  mode_t before = clear_umask(mode);
  int fd = shm_open(path, O_RDWR | O_CREAT | O_EXCL, permissions(mode));
  int error = errno;
  restore_umask(mode, before);
  if (fd < 0) return zb_code_of(error);
  int32_t code = ZB_OK;
  /* The system has several error codes for too little space. */
  if (ftruncate(fd, (off_t)size) != 0)
    code = errno == EINVAL || errno == ENOMEM ? ZB_NO_SPACE : zb_code_of(errno);
  if (code != ZB_OK)
    close(fd);
  else
    code = add_mapped(fd, (size_t)size, path, memory);
  if (code == ZB_NO_MEMORY) code = ZB_NO_SPACE;
  if (code != ZB_OK) shm_unlink(path);
  return code;
}

int32_t zb_memory_link(zb_memory *memory) {
  (void)memory; /* it has its name already: the system has no unnamed objects */
  return ZB_OK;
}

int32_t zb_memory_look(const char *name, int32_t writable, zb_memory **memory) {
  char path[ZB_OBJECT_PATH_MAX];
  struct stat status;
  object_name(path, "", name);
  int fd = shm_open(path, writable ? O_RDWR : O_RDONLY, 0);
  if (fd < 0) return zb_code_of(errno);
  if (fstat(fd, &status) == 0) return add_mapped(fd, (size_t)status.st_size, path, memory);
  int32_t code = zb_code_of(errno);
  close(fd);
  return code;
}

int32_t zb_object_named(const struct zb_object *object) {
  struct stat status;
  int fd = shm_open(object->path, O_RDONLY, 0);
  if (fd < 0) return zb_code_of(errno);
  int32_t code = ZB_EXISTS;
  if (fstat(fd, &status) == 0 && object->length < sizeof(struct zb_oieb)) {
    if ((uint64_t)status.st_size == object->length) code = ZB_OK;
  } else if ((uint64_t)status.st_size >= sizeof(struct zb_oieb)) {
    void *there = mmap(NULL, sizeof(struct zb_oieb), PROT_READ, MAP_SHARED, fd, 0);
    if (there != MAP_FAILED) {
      struct zb_oieb *ours = (void *)atomic_load_explicit(&object->start, memory_order_relaxed);
      if (zb_oieb_agrees(ours, there)) code = ZB_OK;
      munmap(there, sizeof(struct zb_oieb));
    }
  }
  close(fd);
  return code;
}

int32_t zb_object_unlink(const struct zb_object *object) {
  int32_t code = zb_object_named(object);
  if (code != ZB_OK) return code;
  return shm_unlink(object->path) == 0 ? ZB_OK : zb_code_of(errno);
}

/* ---- semaphores ---------------------------------------------------------------------------------------------- */

static sem_t *sem_of(zb_semaphore *semaphore) { return zb_object_address(&semaphore->object); }

static void close_resource(struct zb_resource *resource) {
  zb_semaphore_close((zb_semaphore *)ZB_RESOURCE_OF(struct zb_object, resource));
}

static int32_t note_semaphore(sem_t *opened, const char *path, zb_semaphore **result) {
  zb_semaphore *semaphore = calloc(1, sizeof *semaphore);
  if (semaphore == NULL) {
    sem_close(opened);
    return ZB_NO_MEMORY;
  }
  atomic_store_explicit(&semaphore->object.start, (uintptr_t)opened, memory_order_relaxed);
  snprintf(semaphore->object.path, sizeof semaphore->object.path, "%s", path);
  zb_resource_add(&semaphore->object.resource, close_resource);
  *result = semaphore;
  return ZB_OK;
}

int32_t zb_semaphore_create(const char *name, int32_t role, int32_t mode, zb_semaphore **semaphore) {
  char path[ZB_OBJECT_PATH_MAX];
  semaphore_name(path, name, role);
  mode_t before = clear_umask(mode);
  sem_t *opened = sem_open(path, O_CREAT | O_EXCL, permissions(mode), 0);
  int error = errno;
  restore_umask(mode, before);
  if (opened == SEM_FAILED) return zb_code_of(error);
  int32_t code = note_semaphore(opened, path, semaphore);
  if (code != ZB_OK) sem_unlink(path);
  return code;
}

int32_t zb_semaphore_open(const char *name, int32_t role, zb_semaphore **semaphore) {
  char path[ZB_OBJECT_PATH_MAX];
  semaphore_name(path, name, role);
  sem_t *opened = sem_open(path, 0);
  return opened == SEM_FAILED ? zb_code_of(errno) : note_semaphore(opened, path, semaphore);
}

int32_t zb_semaphore_view(const char *name, int32_t role, zb_semaphore **semaphore) {
  (void)name; /* the only way to see the value is to take tokens */
  (void)role;
  (void)semaphore;
  return zb_code_of(ENOTSUP);
}

void zb_semaphore_close(zb_semaphore *semaphore) {
  zb_resource_remove(&semaphore->object.resource);
  sem_close(sem_of(semaphore));
  free(semaphore);
}

int32_t zb_semaphore_unlink(zb_semaphore *semaphore) {
  /* The system does not tell what the name means. The owner holds the locks of the buffer; that has to be enough. */
  return sem_unlink(semaphore->object.path) == 0 ? ZB_OK : zb_code_of(errno);
}

int32_t zb_semaphore_remove(const char *name, int32_t role) {
  char path[ZB_OBJECT_PATH_MAX];
  semaphore_name(path, name, role);
  return sem_unlink(path) == 0 ? ZB_OK : zb_code_of(errno);
}

void zb_semaphore_post(zb_semaphore *semaphore, int32_t count) {
  while (count-- > 0 && sem_post(sem_of(semaphore)) == 0) continue;
}

const bool zb_semaphore_counts = false;

/* 1 if there are tokens. It takes one and posts it again. In between another waiter may find none; it looks again
 * later. */
int32_t zb_semaphore_value(zb_semaphore *semaphore) {
  if (sem_trywait(sem_of(semaphore)) != 0) return 0;
  sem_post(sem_of(semaphore));
  return 1;
}

int32_t zb_semaphore_waiters(zb_semaphore *semaphore) {
  (void)semaphore;
  return ZB_UNSUPPORTED;
}

uint32_t zb_semaphore_take(zb_semaphore *semaphore, uint32_t most) {
  /* The number of tokens is bounded, so that this ends even if a peer posts without end. The system guarantees that
   * what was published before a post is visible after the call that takes its token. */
  uint32_t taken = 0;
  while (taken < most && taken < MOST_TOKENS && sem_trywait(sem_of(semaphore)) == 0) taken++;
  return taken;
}

int32_t zb_semaphore_await(zb_semaphore *semaphore, int64_t deadline_ns, const atomic_bool *cancelled) {
  for (int64_t sleep_ns = SHORTEST_SLEEP_NS;;
       sleep_ns = 2 * sleep_ns < LONGEST_SLEEP_NS ? 2 * sleep_ns : LONGEST_SLEEP_NS) {
    if (zb_semaphore_value(semaphore) > 0) return ZB_OK;
    if (cancelled != NULL && atomic_load_explicit(cancelled, memory_order_relaxed)) return ZB_AGAIN;
    int64_t left_ns = deadline_ns - zb_now_ns();
    if (left_ns <= 0) return ZB_AGAIN;
    const struct timespec time = {.tv_nsec = sleep_ns < left_ns ? sleep_ns : left_ns};
    if (nanosleep(&time, NULL) != 0) return zb_code_of(errno);
  }
}

void zb_semaphore_wake(zb_semaphore *semaphore) { (void)semaphore; /* no sleep is long */ }

/* ---- processes ----------------------------------------------------------------------------------------------- */

double zb_process_start(uint32_t pid) {
  struct kinfo_proc process;
  size_t size = sizeof process;
  if (pid == 0 || pid > INT_MAX) return -1;
  int query[] = {CTL_KERN, KERN_PROC, KERN_PROC_PID, (int)pid};
  if (sysctl(query, 4, &process, &size, NULL, 0) != 0) return 0;
  if (size == 0 || process.kp_proc.p_stat == SZOMB) return -1;
  const struct timeval start = process.kp_proc.p_starttime;
  return (double)start.tv_sec * 1000000 + start.tv_usec;
}
