/* macOS: its kernel waits for nothing on behalf of a program. A thread does. */
#include "internal.h"

struct zb_uring *zb_uring_open(zb_semaphore *semaphore, int bell) {
  (void)semaphore;
  (void)bell;
  return NULL;
}

void zb_uring_arm(struct zb_uring *uring, int32_t wait_us) {
  (void)uring;
  (void)wait_us;
}

void zb_uring_heard(struct zb_uring *uring) { (void)uring; }

void zb_uring_close(struct zb_uring *uring) { (void)uring; }
