/* What the files of the ring share: oieb.c, reader.c, writer.c, wait.c, pacing.c (docs/protocol.md, sections 2 to 4).
 *
 * One word orders it all: payload_free_bytes. The writer's subtraction (release) publishes a frame, the reader's
 * addition (release) gives its space back, and each side loads it (acquire) before it touches what the other side
 * has handed over. The semaphores only wake; their values decide nothing.
 *
 * Whatever is loaded from shared memory is loaded once into a local, checked, and used from there: the peer may be
 * hostile (docs/protocol.md, section 7). */
#ifndef ZEROBUFFER_RING_H
#define ZEROBUFFER_RING_H

#include "internal.h"

#define HEADER sizeof(struct zb_frame_header)

#define LOAD(field, order) atomic_load_explicit((_Atomic(__typeof__(field)) *)&(field), memory_order_##order)
#define STORE(field, value, order) \
  atomic_store_explicit((_Atomic(__typeof__(field)) *)&(field), (value), memory_order_##order)

/* ---- headers ------------------------------------------------------------------------------------------------- */

/* Frames are not aligned. Volatile: read exactly once, whatever the peer does to it meanwhile. */
struct __attribute__((packed)) unaligned_header {
  uint64_t size;
  uint64_t sequence;
};

static inline struct zb_frame_header load_header(const uint8_t *at) {
  const volatile struct unaligned_header *shared = (const volatile struct unaligned_header *)at;
  return (struct zb_frame_header){.size = shared->size, .sequence = shared->sequence};
}

static inline void store_header(uint8_t *at, uint64_t size, uint64_t sequence) {
  volatile struct unaligned_header *shared = (volatile struct unaligned_header *)at;
  shared->size = size;
  shared->sequence = sequence;
}

/* ---- oieb.c -------------------------------------------------------------------------------------------------- */

static inline struct zb_oieb *oieb_of(zb_memory *memory) { return zb_object_address(&memory->object); }

/* The two sizes of the OIEB, if they can be true of this mapping. */
bool zb_oieb_sizes(zb_memory *memory, uint64_t *metadata_size, uint64_t *payload_size);
/* The bytes stay: a reader of version 1 that is just copying them gets them whole. */
void zb_metadata_withdraw(struct zb_oieb *oieb, uint64_t metadata_size);

/* ---- wait.c -------------------------------------------------------------------------------------------------- */

/* How one side waits: as it was told to, and as its last waits went. */
struct idle {
  int32_t mode;                  /* enum zb_wait */
  const _Atomic(uint64_t) *peer; /* the other side's pid in the OIEB */
  uint64_t known_peer;           /* the one that `apart` is about */
  bool apart;                    /* this thread and the peer can run at the same time */
  uint32_t unspun;               /* so many waits are still to come without spinning */
  uint32_t unspun_next;          /* after the next vain attempt */
};

struct idle zb_idle_for(const uint64_t *peer_pid, int32_t mode);

/* Whether spinning can pay at all. */
static inline bool may_spin(const struct idle *idle) {
  return idle->mode == ZB_WAIT_SPIN || (idle->mode == ZB_WAIT_ADAPTIVE && idle->apart);
}

/* Waits until the semaphore has a token, and leaves it there: spins while that has paid lately, then blocks. A wait that
 * is shorter than spinning never blocks. */
int32_t zb_idle_await(struct idle *idle, zb_semaphore *semaphore, int64_t deadline_ns, bool *slept);
/* Passes the time without looking at shared memory; whoever waits for this processor comes first. */
void zb_idle_until(int64_t end_ns);

/* What is posted meanwhile stays: a peer that posts for ever holds nobody here. */
static inline void empty_semaphore(zb_semaphore *semaphore) { zb_semaphore_take(semaphore, UINT32_MAX); }

/* ---- one side of a ring -------------------------------------------------------------------------------------- */

struct ring {
  zb_memory *memory;
  zb_semaphore *written, *released;
  struct zb_oieb *oieb;
  uint8_t *payload;
  uint64_t metadata_size, payload_size;
  double payload_offset; /* from the start of the memory */
  uint64_t populated;    /* up to this position the page table has been filled */
  struct idle idle;
};

/* Fills it but for its `idle`. False if the sizes in the OIEB cannot be true. */
static inline bool zb_ring_open(struct ring *ring, zb_memory *memory, zb_semaphore *written,
                                zb_semaphore *released) {
  struct zb_oieb *oieb = oieb_of(memory);
  *ring = (struct ring){.memory = memory, .written = written, .released = released, .oieb = oieb};
  if (!zb_oieb_sizes(memory, &ring->metadata_size, &ring->payload_size)) return false;
  ring->payload = (uint8_t *)(oieb + 1) + ring->metadata_size;
  ring->payload_offset = (double)(sizeof *oieb + ring->metadata_size);
  return true;
}

static inline bool is_broken(const struct ring *ring) {
  return atomic_load_explicit(&ring->memory->object.broken, memory_order_relaxed) ||
         atomic_load_explicit(&ring->written->object.broken, memory_order_relaxed) ||
         atomic_load_explicit(&ring->released->object.broken, memory_order_relaxed);
}

/* ---- pacing.c ------------------------------------------------------------------------------------------------ */

/* What a reader has learnt about letting frames gather. */
struct gathering {
  uint32_t ungathered; /* so many reads are still to come before frames are let gather again; 0: they are */
  uint32_t ungathered_next; /* after the next vain attempt */
};

struct gathering zb_gathering(void);
/* Lets more frames come before those at hand are taken. `held` is what the reader has read and not yet credited. It goes
 * by the number of tokens: only for systems whose semaphores count them. */
void zb_gather(struct gathering *gathering, struct ring *ring, uint64_t held, int32_t wait_us);

/* How far a writer is from its last rewind. */
struct warmth {
  uint64_t lap;      /* bytes written since the ring was last rewound, or could not be */
  uint64_t lap_most; /* so many are enough */
  int64_t left_ns;   /* of a wait that a call has begun and left to the next one; 0: none */
};

/* That of a ring which is at its start. */
struct warmth zb_warmth(const struct ring *ring);
/* Called once `lap_most` is reached, before a frame of `size` bytes: waits for an instant until the ring is empty and can
 * be rewound. It ends within `wait_us`; if that is 0, within tuning.warm_call_ns, or within half the time that copying a
 * large frame takes. */
void zb_keep_warm(struct warmth *warmth, struct ring *ring, uint64_t size, int32_t wait_us);

/* Fills the page table from the position it is filled to up to a bit beyond `end`; a fault a page would take longer. */
void zb_populate_to(struct ring *ring, uint64_t end, bool write);

#endif
