/* Linux: what sharing payloads needs of the system (docs/protocol.md, section 10). */
#include "fault.h"
#include "internal.h"
#include "tokens.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int32_t zb_sharing_offered(void) { return 1; }

int32_t zb_memory_trusted(zb_memory *memory) {
  struct stat status;
  return ZB_CALL(trusted_status, fstat(memory->object.descriptor, &status), -1) == 0 &&
         status.st_uid == geteuid() && (status.st_mode & S_IWOTH) == 0;
}

int32_t zb_memory_open_source(const char *name, uint64_t device, uint64_t inode, zb_memory **result) {
  zb_memory *memory;
  int32_t code = zb_memory_look(name, 0, &memory);
  if (code != ZB_OK) return code;
  if ((uint64_t)memory->object.device != device || (uint64_t)memory->object.inode != inode)
    code = ZB_NOT_FOUND;
  if (code == ZB_OK && !zb_memory_trusted(memory)) code = ZB_PERMISSION;
  if (code == ZB_OK) code = zb_shared_lock(memory);
  if (code == ZB_OK)
    *result = memory;
  else
    zb_memory_close(memory);
  return code;
}

/* ---- waiting for several semaphores ----------------------------------------------------------------------------- */

/* Constants of the kernel that some C libraries lack. */
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#define WAIT_32_BITS 2

struct wait_for {
  uint64_t value;
  uint64_t address;
  uint32_t flags;
  uint32_t reserved;
};

#define MOST_WAITS 128

int32_t zb_semaphores_await(zb_semaphore *const *semaphores, uint32_t count, int64_t deadline_ns) {
  static atomic_bool is_missing;
  struct wait_for waits[MOST_WAITS];
  if (count > MOST_WAITS || atomic_load_explicit(&is_missing, memory_order_relaxed)) return ZB_UNSUPPORTED;
  const struct timespec deadline = {.tv_sec = deadline_ns / 1000000000, .tv_nsec = deadline_ns % 1000000000};
  bool found = false;
  /* As in zb_semaphore_await: one atomic step counts this waiter and loads the value. */
  for (uint32_t i = 0; i < count; i++) {
    _Atomic(uint64_t) *data = data_of(semaphores[i]);
    waits[i] = (struct wait_for){.address = (uint64_t)(uintptr_t)data, .flags = WAIT_32_BITS};
    if ((uint32_t)atomic_fetch_add_explicit(data, one_waiter, memory_order_relaxed) > 0) found = true;
  }
  int32_t code = ZB_OK;
  if (!found &&
      ZB_CALL(await_several, syscall(SYS_futex_waitv, waits, count, 0, &deadline, CLOCK_MONOTONIC), -1) < 0) {
    /* EAGAIN: one of them has a token. */
    if (errno == ENOSYS || errno == EPERM || errno == EINVAL) {
      atomic_store_explicit(&is_missing, true, memory_order_relaxed);
      code = ZB_UNSUPPORTED;
    } else if (errno != EAGAIN && errno != EFAULT) {
      code = errno == ETIMEDOUT ? ZB_AGAIN : zb_code_of(errno);
    }
  }
  for (uint32_t i = 0; i < count; i++) {
    uint64_t seen = atomic_fetch_sub_explicit(data_of(semaphores[i]), one_waiter, memory_order_relaxed);
    if ((uint32_t)seen > 0 && code == ZB_AGAIN) code = ZB_OK;
  }
  return code;
}
