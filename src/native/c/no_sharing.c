/* macOS and Windows offer no sharing of payloads: there a name does not go while memory is mapped, or tells no inode, and the
 * kernel has no locks that end with a mapping. */
#include "internal.h"

int32_t zb_sharing_offered(void) { return 0; }

int32_t zb_memory_trusted(zb_memory *memory) {
  (void)memory;
  return 0;
}

int32_t zb_memory_shared(zb_memory *memory) {
  (void)memory;
  return ZB_UNSUPPORTED;
}

int32_t zb_memory_open_source(const char *name, uint64_t device, uint64_t inode, zb_memory **memory) {
  (void)name;
  (void)device;
  (void)inode;
  (void)memory;
  return ZB_UNSUPPORTED;
}

int32_t zb_semaphores_await(struct zb_semaphore *const *semaphores, uint32_t count, int64_t deadline_ns) {
  (void)semaphores;
  (void)count;
  (void)deadline_ns;
  return ZB_UNSUPPORTED;
}
