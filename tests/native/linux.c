/* What the C tests need of Linux. */
#include "linux.h"

#include <dirent.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

void remove_names(void) {
  DIR *shm = opendir("/dev/shm");
  for (struct dirent *entry; shm != NULL && (entry = readdir(shm)) != NULL;) {
    char path[300];
    if (strstr(entry->d_name, name_prefix) == NULL) continue;
    snprintf(path, sizeof path, "/dev/shm/%s", entry->d_name);
    unlink(path);
  }
  if (shm != NULL) closedir(shm);
}

void die_with_parent(void) { prctl(PR_SET_PDEATHSIG, SIGKILL); }

bool waits(zb_semaphore *semaphore, uint32_t count) {
  struct zb_semaphore_layout *layout = zb_object_address(&semaphore->object);
  return atomic_load_explicit(&layout->data, memory_order_relaxed) >> 32 == count;
}

/* As Docker does. */
void make_waiters_use_threads(void) { answer_call(SYS_io_uring_setup, EPERM); }

const char *shm_path(const char *prefix, const char *name) {
  static char path[128];
  snprintf(path, sizeof path, "/dev/shm/%s%s", prefix, name);
  return path;
}

bool exists(const char *path) { return access(path, F_OK) == 0; }

void make_file(const char *path, off_t size) {
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
  CHECK(fd >= 0);
  EQUAL(ftruncate(fd, size), 0);
  close(fd);
}

static bool install(struct sock_filter *filter, size_t length) {
  struct sock_fprog program = {.len = (unsigned short)length, .filter = filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

bool answer_fcntl(int command, int error) {
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fcntl, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)command, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  return install(filter, sizeof filter / sizeof *filter);
}

bool answer_call(long number, int error) {
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  return install(filter, sizeof filter / sizeof *filter);
}
