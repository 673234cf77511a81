/* The fields of the OIEB, and the metadata (docs/protocol.md, sections 1 and 5). */
#include "fault.h"
#include "ring.h"

#include <string.h>

/* ---- the OIEB --------------------------------------------------------------------------------------------------- */

void zb_oieb_load(zb_memory *memory, uint64_t words[16]) {
  const _Atomic(uint64_t) *shared = (const _Atomic(uint64_t) *)oieb_of(memory);
  if (shared == NULL) {
    zb_object_read(&memory->object, 0, sizeof(struct zb_oieb), words);
    return;
  }
  /* acquire: pairs with zb_oieb_publish. A size of 128 in the first word means that the other words are filled. */
  for (int i = 0; i < 16; i++) words[i] = atomic_load_explicit(&shared[i], memory_order_acquire);
}

bool zb_oieb_agrees(struct zb_oieb *one, struct zb_oieb *other) {
  return LOAD(one->oieb_size, relaxed) == LOAD(other->oieb_size, relaxed) &&
         LOAD(one->metadata_size, relaxed) == LOAD(other->metadata_size, relaxed) &&
         LOAD(one->payload_size, relaxed) == LOAD(other->payload_size, relaxed) &&
         LOAD(one->reader_pid, relaxed) == LOAD(other->reader_pid, relaxed);
}

void zb_oieb_fill(zb_memory *memory, uint64_t metadata_size, uint64_t payload_size, int32_t role,
                  uint64_t pid, uint64_t flags) {
  struct zb_oieb *oieb = oieb_of(memory);
  ZB_POINT(oieb_fill);
  oieb->version[0] = 1;
  oieb->metadata_size = metadata_size;
  oieb->metadata_free_bytes = metadata_size;
  oieb->payload_size = payload_size;
  oieb->payload_free_bytes = payload_size;
  *(role == ZB_WRITER ? &oieb->writer_pid : &oieb->reader_pid) = pid;
  if (memory->object.locked[ZB_WRITER]) oieb->mark = pid;
  oieb->flags = flags;
  zb_guard();
  memory->object.holds[role] = pid;
  zb_unguard();
}

void zb_oieb_publish(zb_memory *memory) {
  struct zb_oieb *oieb = oieb_of(memory);
  ZB_POINT(oieb_publish);
  /* release: pairs with zb_oieb_load of a connecting writer */
  STORE(oieb->oieb_size, (uint32_t)sizeof *oieb, release);
}

void zb_oieb_add_flags(zb_memory *memory, uint64_t flags) {
  ZB_POINT(oieb_flags);
  /* release: a writer that sees a flag sees the reader's pid, which was stored before it */
  atomic_fetch_or_explicit((_Atomic(uint64_t) *)&oieb_of(memory)->flags, flags, memory_order_release);
}

/* ---- roles ------------------------------------------------------------------------------------------------------ */

/* Whether another mapping of the memory in this process holds the role. Guarded. */
static bool held_elsewhere(const zb_memory *memory, int32_t role) {
  for (const struct zb_object *object = zb_first_object(); object != NULL; object = object->next) {
    if (object != &memory->object && object->holds[role] != 0 && zb_object_is(object, &memory->object))
      return true;
  }
  return false;
}

int32_t zb_memory_held_here(zb_memory *memory, int32_t role) {
  zb_guard();
  bool held = held_elsewhere(memory, role);
  zb_unguard();
  return held;
}

int32_t zb_oieb_claim(zb_memory *memory, int32_t role, uint64_t expected, uint64_t pid) {
  struct zb_oieb *oieb = oieb_of(memory);
  _Atomic(uint64_t) *field = (_Atomic(uint64_t) *)(role == ZB_WRITER ? &oieb->writer_pid : &oieb->reader_pid);
  int32_t code = ZB_EXISTS;
  const bool marks = role == ZB_WRITER && memory->object.locked[ZB_WRITER];
  /* With the lock held, the mark is that of a writer that is gone, or this one's own. */
  if (marks) STORE(oieb->mark, 0, relaxed);
  ZB_POINT(claim_pid);
  zb_guard();
  /* The pid does not tell the threads of one process apart. */
  const bool is_taken = held_elsewhere(memory, role);
  /* acquire: the new owner sees what the last one stored. release: a process that sees the pid sees what was stored
   * before it. */
  if (!is_taken && atomic_compare_exchange_strong_explicit(field, &expected, pid, memory_order_acq_rel,
                                                           memory_order_relaxed)) {
    memory->object.holds[role] = pid;
    code = ZB_OK;
  }
  zb_unguard();
  ZB_POINT(claim_mark);
  /* release: a process that sees mark and pid equal sees what was stored before them */
  if (marks && code == ZB_OK && pid != 0) STORE(oieb->mark, pid, release);
  return code;
}

int32_t zb_oieb_restore(zb_memory *memory, int32_t role, uint64_t pid) {
  struct zb_oieb *oieb = oieb_of(memory);
  _Atomic(uint64_t) *field = (_Atomic(uint64_t) *)(role == ZB_WRITER ? &oieb->writer_pid : &oieb->reader_pid);
  uint64_t found = 0;
  return atomic_compare_exchange_strong_explicit(field, &found, pid, memory_order_relaxed,
                                                 memory_order_relaxed) ||
         found == pid;
}

bool zb_oieb_sizes(zb_memory *memory, uint64_t *metadata_size, uint64_t *payload_size) {
  struct zb_oieb *oieb = oieb_of(memory);
  uint64_t metadata = LOAD(oieb->metadata_size, relaxed);
  uint64_t payload = LOAD(oieb->payload_size, relaxed);
  uint64_t length = memory->object.length;
  if (length < sizeof *oieb || metadata > length - sizeof *oieb) return false;
  if (payload <= HEADER || payload > length - sizeof *oieb - metadata) return false;
  *metadata_size = metadata;
  *payload_size = payload;
  return true;
}

bool zb_ring_open(struct ring *ring, zb_memory *memory, zb_semaphore *written, zb_semaphore *released) {
  struct zb_oieb *oieb = oieb_of(memory);
  *ring = (struct ring){.memory = memory, .written = written, .released = released, .oieb = oieb};
  if (!zb_oieb_sizes(memory, &ring->metadata_size, &ring->payload_size)) return false;
  ring->payload = (uint8_t *)(oieb + 1) + ring->metadata_size;
  ring->payload_offset = (double)(sizeof *oieb + ring->metadata_size);
  return true;
}

/* ---- metadata --------------------------------------------------------------------------------------------------- */

int32_t zb_metadata_write(zb_memory *memory, const void *data, double size) {
  struct zb_oieb *oieb = oieb_of(memory);
  uint64_t metadata_size, payload_size, length = (uint64_t)size;
  if (!zb_oieb_sizes(memory, &metadata_size, &payload_size)) return ZB_BAD_CONTROL;
  if (metadata_size < sizeof length || length > metadata_size - sizeof length) return ZB_TOO_LARGE;
  uint8_t *block = (uint8_t *)(oieb + 1);
  ZB_POINT(metadata_withdraw);
  STORE(oieb->metadata_written_bytes, 0, relaxed);
  /* release: a reader that sees any of the new bytes sees this 0 when it looks again (zb_metadata_read) */
  atomic_thread_fence(memory_order_release);
  ZB_POINT(metadata_length);
  memcpy(block, &length, sizeof length);
  ZB_POINT(metadata_copy);
  memcpy(block + sizeof length, data, length);
  STORE(oieb->metadata_free_bytes, metadata_size - sizeof length - length, relaxed);
  ZB_POINT(metadata_publish);
  /* release: pairs with the first load of zb_metadata_read */
  STORE(oieb->metadata_written_bytes, sizeof length + length, release);
  return ZB_OK;
}

double zb_metadata_read(zb_memory *memory, void *data, double capacity) {
  struct zb_oieb *oieb = oieb_of(memory);
  uint64_t metadata_size, payload_size;
  if (!zb_oieb_sizes(memory, &metadata_size, &payload_size)) return ZB_BAD_CONTROL;
  /* acquire: pairs with the last store of zb_metadata_write */
  const uint64_t written = LOAD(oieb->metadata_written_bytes, acquire);
  if (written == 0) return 0;
  if (written < sizeof(uint64_t) || written > metadata_size) return ZB_BAD_CONTROL;
  uint64_t *block = (uint64_t *)(oieb + 1);
  const uint64_t length = written - sizeof *block;
  if (LOAD(block[0], relaxed) != length) return ZB_AGAIN;
  if ((double)length > capacity) return ZB_TOO_LARGE;
  memcpy(data, block + 1, length);
  /* metadata_written_bytes alone does not tell whether the copy is whole: the next writer may send metadata of the
   * same length. So the copy is compared with the block. A torn copy can equal the block only if that writer stores
   * some bytes before the copy reaches them, and others after the comparison has passed them. Meanwhile
   * metadata_written_bytes is 0, and the load between copy and comparison finds that. The fence keeps the copy before
   * that load, and acquire keeps the comparison after it. */
  atomic_thread_fence(memory_order_acquire);
  if (LOAD(oieb->metadata_written_bytes, acquire) != written) return ZB_AGAIN;
  if (memcmp(data, block + 1, length) != 0) return ZB_AGAIN;
  atomic_thread_fence(memory_order_acquire);
  if (LOAD(oieb->metadata_written_bytes, relaxed) != written) return ZB_AGAIN;
  return (double)length;
}

void zb_metadata_withdraw(struct zb_oieb *oieb, uint64_t metadata_size) {
  ZB_POINT(metadata_clear);
  STORE(oieb->metadata_written_bytes, 0, release);
  ZB_POINT(metadata_reset);
  STORE(oieb->metadata_free_bytes, metadata_size, relaxed);
}

void zb_metadata_clear(zb_memory *memory) {
  struct zb_oieb *oieb = oieb_of(memory);
  uint64_t metadata_size, payload_size;
  if (!zb_oieb_sizes(memory, &metadata_size, &payload_size)) return;
  zb_metadata_withdraw(oieb, metadata_size);
  if (metadata_size >= sizeof(uint64_t)) memset(oieb + 1, 0, sizeof(uint64_t));
}
