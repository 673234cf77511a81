/* macOS and Windows: they have no locks of bytes that belong to an open file, and do not tell what others have open or
 * mapped. Peers are judged by their pids. */
#include "internal.h"

int32_t zb_role_lock(zb_memory *memory, int32_t role) {
  (void)memory;
  (void)role;
  return ZB_UNSUPPORTED;
}

void zb_role_unlock(zb_memory *memory, int32_t role) {
  (void)memory;
  (void)role;
}

int32_t zb_role_locked(zb_memory *memory, int32_t role) {
  (void)memory;
  (void)role;
  return ZB_UNSUPPORTED;
}

int32_t zb_memory_alone(zb_memory *memory) {
  (void)memory;
  return ZB_UNSUPPORTED;
}

int32_t zb_process_maps(uint32_t pid, zb_memory *memory) {
  (void)pid;
  (void)memory;
  return ZB_PERMISSION;
}
