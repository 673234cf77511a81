/* Linux: whether peers live. Locks on the bytes of the pids, other descriptions of a file, and processes from /proc
 * (docs/protocol.md, section 4.4).
 *
 * The locks belong to the description of an open file. They hold in every pid namespace, and the kernel gives them up when
 * the process dies. */
#include "fault.h"
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

/* ---- locks of roles ------------------------------------------------------------------------------------------ */

/* Constants of the kernel that some C libraries hide. */
#ifndef F_OFD_GETLK
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#endif

/* Held by a reader of frames that this buffer only refers to. */
#define SHARED_PAYLOAD (-1)

static struct flock bytes_of(int32_t role, short type) {
  off_t start = offsetof(struct zb_oieb, writer_pid);
  if (role == ZB_READER) start = offsetof(struct zb_oieb, reader_pid);
  if (role == SHARED_PAYLOAD) start = offsetof(struct zb_oieb, mark);
  return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = sizeof(uint64_t)};
}

static int32_t code_of_lock(int error) {
  if (error == EAGAIN || error == EACCES) return ZB_LOCKED;
  return error == EINVAL || error == ENOLCK ? ZB_UNSUPPORTED : zb_code_of(error);
}

int32_t zb_role_lock(zb_memory *memory, int32_t role) {
  struct flock lock = bytes_of(role, F_WRLCK);
  if (memory->object.locked[role]) return ZB_OK;
  if (ZB_CALL(role_lock, fcntl(memory->object.descriptor, F_OFD_SETLK, &lock), -1) == 0) {
    memory->object.locked[role] = true;
    return ZB_OK;
  }
  return code_of_lock(errno);
}

void zb_role_unlock(zb_memory *memory, int32_t role) {
  struct flock lock = bytes_of(role, F_UNLCK);
  if (!memory->object.locked[role]) return;
  ZB_POINT(role_unlock);
  (void)fcntl(memory->object.descriptor, F_OFD_SETLK, &lock);
  memory->object.locked[role] = false;
}

static int32_t is_locked(zb_memory *memory, int32_t role) {
  struct flock lock = bytes_of(role, F_WRLCK);
  if (ZB_CALL(role_probe, fcntl(memory->object.descriptor, F_OFD_GETLK, &lock), -1) == 0)
    return lock.l_type != F_UNLCK;
  /* Without memory for an answer now, somebody might have the lock. */
  return errno == ENOMEM ? 1 : ZB_UNSUPPORTED;
}

int32_t zb_role_locked(zb_memory *memory, int32_t role) { return is_locked(memory, role); }

int32_t zb_memory_shared(zb_memory *memory) { return is_locked(memory, SHARED_PAYLOAD); }

int32_t zb_shared_lock(zb_memory *memory) {
  struct flock lock = bytes_of(SHARED_PAYLOAD, F_RDLCK);
  if (ZB_CALL(shared_lock, fcntl(memory->object.descriptor, F_OFD_SETLK, &lock), -1) == 0) return ZB_OK;
  return code_of_lock(errno);
}

/* ---- whether anybody else has the memory open ---------------------------------------------------------------- */

/* Constants of the kernel that some C libraries hide. */
#ifndef F_SETOWN_EX
#define F_SETOWN_EX 15
struct f_owner_ex {
  int type;
  pid_t pid;
};
#endif
#ifndef F_OWNER_TID
#define F_OWNER_TID 0
#endif
#ifndef F_SETSIG
#define F_SETSIG 10
#endif

/* The kernel sends this signal to the holder of the lease when another process opens the file. By default it is ignored. */
#define BREAK_SIGNAL SIGURG

/* Takes back the signal that the kernel may have sent to this thread. One that a process has sent is sent again. */
static void take_break_signal(void) {
  const struct timespec now = {0};
  siginfo_t info;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, BREAK_SIGNAL);
  bool foreign = false;
  while (sigtimedwait(&set, &info, &now) == BREAK_SIGNAL) {
    if (info.si_code <= 0) foreign = true;
  }
  if (foreign) kill(getpid(), BREAK_SIGNAL);
}

/* Asks for a write lease and gives it back: the kernel refuses it while another description of the file exists. Nobody has
 * to wait for longer than this takes, unless the process is stopped just now. 0: alone; otherwise errno. */
static int ask_for_lease(int descriptor) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const struct f_owner_ex owner = {.type = F_OWNER_TID, .pid = (pid_t)syscall(SYS_gettid)};
  int error = 0;
  if (ZB_CALL(lease_signal, fcntl(descriptor, F_SETSIG, BREAK_SIGNAL), -1) != 0 ||
      fcntl(descriptor, F_SETOWN_EX, &owner) != 0 ||
      ZB_CALL(lease_ask, fcntl(descriptor, F_SETLEASE, F_WRLCK), -1) != 0) {
    error = errno;
  } else {
    ZB_POINT(lease_held);
    (void)fcntl(descriptor, F_SETLEASE, F_UNLCK);
    take_break_signal();
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return error;
}

/* What leases are worth on this system. UNTRIED: not known yet; memory or descriptors were short. */
enum leases { UNTRIED, TELL, TELL_NOTHING };

/* Some systems refuse every lease, or say that nobody is ever alone: then there is nothing to be learnt from them. */
static enum leases try_leases(void) {
  int one = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (one < 0) return UNTRIED;
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", one);
  int alone = ask_for_lease(one);
  int other = open(path, O_RDONLY | O_CLOEXEC);
  int beside = other >= 0 ? ask_for_lease(one) : ENOMEM;
  if (other >= 0) close(other);
  close(one);
  if (alone == ENOMEM || beside == ENOMEM) return UNTRIED;
  return alone == 0 && beside == EAGAIN ? TELL : TELL_NOTHING;
}

int32_t zb_memory_alone(zb_memory *memory) {
  static _Atomic(enum leases) known = UNTRIED;
  if (atomic_load_explicit(&known, memory_order_relaxed) == UNTRIED)
    atomic_store_explicit(&known, try_leases(), memory_order_relaxed);
  if (atomic_load_explicit(&known, memory_order_relaxed) != TELL) return ZB_UNSUPPORTED;
  if (is_locked(memory, SHARED_PAYLOAD) != 0) return ZB_UNSUPPORTED;
  int error = ask_for_lease(memory->object.descriptor);
  return error == 0 ? 1 : error == EAGAIN ? 0 : ZB_UNSUPPORTED;
}

/* ---- processes ----------------------------------------------------------------------------------------------- */

double zb_process_start(uint32_t pid) {
  if (pid == 0 || pid > INT_MAX) return -1;
  /* tgkill instead of kill, which also succeeds for the id of a thread: only the first thread of a process is in the
   * thread group of its own id. /proc does not help: it has a hidden directory for each thread. */
  if (syscall(SYS_tgkill, (pid_t)pid, (pid_t)pid, 0) != 0 && errno != EPERM) return -1;
  char text[1024];
  snprintf(text, sizeof text, "/proc/%u/stat", pid);
  int fd = ZB_CALL(process_open, open(text, O_RDONLY | O_CLOEXEC), -1);
  if (fd < 0) return 0;
  ssize_t length = ZB_CALL(process_read, read(fd, text, sizeof text - 1), -1);
  close(fd);
  if (length <= 0) return 0;
  text[length] = '\0';
  /* "pid (command) state ppid …": the command can contain anything, so start after the last parenthesis. */
  const char *field = strrchr(text, ')');
  if (field == NULL || field[1] != ' ') return 0;
  field += 2;
  if (*field == 'Z' || *field == 'X') return -1;
  for (int number = 3; number < 22 && field != NULL; number++) {
    field = strchr(field, ' ');
    if (field != NULL) field++;
  }
  return field == NULL ? 0 : strtod(field, NULL);
}

int32_t zb_process_maps(uint32_t pid, zb_memory *memory) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%u/maps", pid);
  FILE *maps = ZB_CALL(maps_open, fopen(path, "re"), NULL);
  if (maps == NULL) return ZB_PERMISSION;
  int32_t found = 0;
  char *line = NULL;
  size_t capacity = 0;
  while (found < 2 && getline(&line, &capacity, maps) > 0) {
    unsigned device_major, device_minor;
    unsigned long long inode;
    if (sscanf(line, "%*s %*s %*s %x:%x %llu", &device_major, &device_minor, &inode) != 3) continue;
    if (makedev(device_major, device_minor) == memory->object.device && (ino_t)inode == memory->object.inode)
      found++;
  }
  bool unreadable = found == 0 && ferror(maps);
  free(line);
  fclose(maps);
  return unreadable ? ZB_PERMISSION : found;
}
