/* What every system does the same way with a mapping. */
#include "internal.h"

#include <string.h>

int32_t zb_abi_version(void) { return ZB_ABI_VERSION; }

void *zb_memory_address(zb_memory *memory) { return zb_object_address(&memory->object); }

double zb_memory_size(zb_memory *memory) { return (double)memory->object.length; }

void zb_memory_copy(zb_memory *memory, double offset, double size, void *target) {
  const uint8_t *bytes = zb_object_address(&memory->object);
  if (bytes == NULL)
    zb_object_read(&memory->object, (uint64_t)offset, (size_t)size, target);
  else
    memcpy(target, bytes + (size_t)offset, (size_t)size);
}

int32_t zb_memory_map(zb_memory *memory) {
  if (memory->object.length < sizeof(struct zb_oieb)) return ZB_AGAIN;
  return zb_object_address(&memory->object) != NULL ? ZB_OK : zb_object_map(&memory->object);
}

void zb_memory_copy_frames(zb_memory *memory, const struct zb_frame_place *frames, int32_t count,
                           void *target) {
  uint8_t *next = target;
  for (int32_t i = 0; i < count; i++) {
    zb_memory_copy(memory, frames[i].offset, frames[i].size, next);
    next += (size_t)frames[i].size;
  }
}

/* ---- the end of a mapping --------------------------------------------------------------------------------------- */

/* For a thread that has ended and still holds its roles. Peers that know no locks judge a role by its pid: they find a dead
 * process. */
static void give_up_roles(zb_memory *memory) {
  for (int32_t role = ZB_WRITER; role <= ZB_READER; role++) {
    uint64_t pid = memory->object.holds[role];
    if (pid != 0) zb_oieb_claim(memory, role, pid, ZB_PID_OF_NOBODY);
  }
}

static void close_resource(struct zb_resource *resource) {
  struct zb_object *object = ZB_RESOURCE_OF(struct zb_object, resource);
  give_up_roles((zb_memory *)object);
  zb_object_close(object);
}

void zb_object_opened(struct zb_object *object) {
  object->references = 1;
  object->holds[ZB_WRITER] = object->holds[ZB_READER] = 0;
  object->locked[ZB_WRITER] = object->locked[ZB_READER] = false;
  zb_resource_add(&object->resource, close_resource);
}

/* Whether it was the last one. */
static bool drop_reference(struct zb_object *object) {
  zb_guard();
  bool last = --object->references == 0;
  zb_unguard();
  if (last) zb_object_unmap(object);
  return last;
}

bool zb_object_close(struct zb_object *object) {
  zb_resource_remove(&object->resource);
  zb_guard();
  object->holds[ZB_WRITER] = object->holds[ZB_READER] = 0;
  zb_unguard();
  zb_object_close_handle(object);
  return drop_reference(object);
}

int32_t zb_memory_close(zb_memory *memory) { return !zb_object_close(&memory->object); }

void zb_memory_resign(zb_memory *memory) {
  zb_guard();
  memory->object.holds[ZB_WRITER] = memory->object.holds[ZB_READER] = 0;
  zb_unguard();
  for (int32_t role = ZB_WRITER; role <= ZB_READER; role++) zb_role_unlock(memory, role);
}

void zb_memory_lend(zb_memory *memory) {
  zb_guard();
  memory->object.references++;
  zb_unguard();
}

void zb_memory_return(void *bytes, zb_memory *memory) {
  (void)bytes;
  drop_reference(&memory->object);
}

int32_t zb_memory_owned(zb_memory *memory) { return memory->object.owned; }

int32_t zb_memory_broken(zb_memory *memory) {
  return atomic_load_explicit(&memory->object.broken, memory_order_relaxed);
}
