/* What every system does the same way with a mapping. */
#include "internal.h"

#include <string.h>

int32_t zb_abi_version(void) { return ZB_ABI_VERSION; }

void *zb_memory_address(zb_memory *memory) { return zb_object_address(&memory->object); }

double zb_memory_size(zb_memory *memory) { return (double)memory->object.length; }

void zb_memory_copy(zb_memory *memory, double offset, double size, void *target) {
  memcpy(target, (const uint8_t *)zb_object_address(&memory->object) + (size_t)offset, (size_t)size);
}

void zb_memory_copy_frames(zb_memory *memory, const struct zb_frame_place *frames, int32_t count,
                           void *target) {
  uint8_t *next = target;
  for (int32_t i = 0; i < count; i++) {
    zb_memory_copy(memory, frames[i].offset, frames[i].size, next);
    next += (size_t)frames[i].size;
  }
}

int32_t zb_memory_owned(zb_memory *memory) { return memory->object.owned; }
