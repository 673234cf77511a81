/* What the C tests need of Linux. */
#include "posix.h"

#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>

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
