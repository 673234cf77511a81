/* Requests of a duplex channel that their client has taken back (docs/protocol.md, section 9.5). */
#include "fault.h"
#include "ring.h"

static _Atomic(uint64_t) *word_of(zb_memory *memory, double table, double sequence) {
  uint8_t *words = (uint8_t *)oieb_of(memory) + (uint64_t)table;
  return (_Atomic(uint64_t) *)words + (uint64_t)sequence % ZB_CANCELLATION_WORDS;
}

void zb_cancellation_store(zb_memory *memory, double table, double sequence) {
  ZB_POINT(cancellation_store);
  /* release: a server that sees the number sees what its client stored before it */
  atomic_store_explicit(word_of(memory, table, sequence), (uint64_t)sequence, memory_order_release);
  ZB_POINT(cancellation_post);
}

int32_t zb_cancellation_stored(zb_memory *memory, double table, double sequence) {
  return atomic_load_explicit(word_of(memory, table, sequence), memory_order_acquire) == (uint64_t)sequence;
}

void zb_semaphore_clear(zb_semaphore *semaphore) { empty_semaphore(semaphore); }
