/* What the files of the ring share: oieb.c, reader.c, writer.c, wait.c, pacing.c (docs/protocol.md, sections 2 to 4).
 *
 * One word orders everything: payload_free_bytes. The writer subtracts from it (release) to publish a frame, the
 * reader adds to it (release) to return space, and each side loads it (acquire) before it touches what the other side
 * has handed over. The semaphores only wake a waiting peer; their values decide nothing.
 *
 * Everything in shared memory is loaded once into a local, checked, and used from there, because the peer may be
 * hostile (docs/protocol.md, section 7). */
#ifndef ZEROBUFFER_RING_H
#define ZEROBUFFER_RING_H

#include "internal.h"
#include "tokens.h"

#define HEADER sizeof(struct zb_frame_header)

/* Of a function through which most frames go: the calls in it are inlined. Worth 18 % of the writing of 64 B. */
#define HOT __attribute__((flatten))

#define LOAD(field, order) atomic_load_explicit((_Atomic(__typeof__(field)) *)&(field), memory_order_##order)
#define STORE(field, value, order) \
  atomic_store_explicit((_Atomic(__typeof__(field)) *)&(field), (value), memory_order_##order)

/* ---- headers ------------------------------------------------------------------------------------------------- */

/* Frames are not aligned. Volatile makes the compiler load each field exactly once, whatever the peer does
 * meanwhile. */
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

/* ---- special frames ------------------------------------------------------------------------------------------- */

/* Bits of a header's size (docs/protocol.md, section 10.2). The rest of it is the number of bytes behind the header. */
#define SPECIAL ((uint64_t)1 << 63)
#define ATTACHMENT ((uint64_t)1 << 62)

/* A special frame that stands for a frame of the source. */
struct descriptor {
  uint64_t id;     /* of the attachment */
  uint64_t offset; /* of the bytes, from the start of the source's payload */
  uint64_t length;
};

/* A special frame that names the source. Its name follows. */
struct attachment {
  uint64_t id;
  uint64_t device;
  uint64_t inode;
};

_Static_assert(sizeof(struct descriptor) == 24, "descriptor size");
_Static_assert(sizeof(struct attachment) == 24, "attachment size");

/* ---- oieb.c -------------------------------------------------------------------------------------------------- */

static inline struct zb_oieb *oieb_of(zb_memory *memory) { return zb_object_address(&memory->object); }

/* Loads the two sizes from the OIEB. False if they do not fit this mapping. */
bool zb_oieb_sizes(zb_memory *memory, uint64_t *metadata_size, uint64_t *payload_size);
/* Whether the reader is one of ours, as its flag says: it drops tokens without frames, and clears metadata. */
static inline bool zb_is_reader_ours(struct zb_oieb *oieb) {
  return (LOAD(oieb->flags, relaxed) & ZB_FLAG_LOCKED_ROLES) != 0;
}
/* Makes the metadata unavailable. Its bytes stay, so that a v1 reader that is copying them gets all of them. */
void zb_metadata_withdraw(struct zb_oieb *oieb, uint64_t metadata_size);

/* ---- wait.c -------------------------------------------------------------------------------------------------- */

/* sharing.c: what a source shares. */
struct sharing;

/* The idle strategy of one side: how it was told to wait, and what its last waits have shown. */
struct idle {
  int32_t mode;                  /* enum zb_wait */
  const _Atomic(uint64_t) *peer; /* the other side's pid in the OIEB */
  uint64_t known_peer;           /* the pid that peer_on_other_cpu was asked for */
  bool peer_on_other_cpu;        /* the peer can run while this thread runs */
  uint32_t spin_backoff;         /* this many waits block without spinning */
  uint32_t next_spin_backoff;    /* the backoff after the next spin without success */
  uint32_t yield_backoff;        /* this many times the processor is kept */
  uint32_t next_yield_backoff;   /* the backoff after the next offer that costs a time slice */
  struct sharing *sharing; /* of the source that this side reads, or shares with its target; NULL: none */
};

struct idle zb_idle_start(const uint64_t *peer_pid, int32_t mode);

/* Whether spinning can help: not if the peer needs this thread's processor. */
static inline bool may_spin(const struct idle *idle) {
  return idle->mode == ZB_WAIT_SPIN || (idle->mode == ZB_WAIT_ADAPTIVE && idle->peer_on_other_cpu);
}

/* Whether a wait of so many microseconds blocks the thread if spinning has no success. */
bool zb_may_block(int32_t wait_us);
/* Waits until the semaphore has a token, and does not take it. Spins first if that has succeeded lately, then blocks. A
 * wait without zb_may_block never blocks. Sets `slept` if it has blocked. With `sharing`, ZB_OK also means that a
 * target may have released a frame. */
int32_t zb_idle_await(struct idle *idle, zb_semaphore *semaphore, int64_t deadline_ns, bool *slept);
/* Lets time pass without touching shared memory. Threads that wait for this processor run first, unless they are slow to give
 * it back. */
void zb_idle_until(struct idle *idle, int64_t end_ns);

/* Takes the tokens that the semaphore has now. Tokens posted meanwhile stay, so a peer that posts without end cannot
 * keep this call from returning. */
static inline void empty_semaphore(zb_semaphore *semaphore) { semaphore_take(semaphore, UINT32_MAX); }

/* ---- sharing.c ------------------------------------------------------------------------------------------------- */

/* Whether a target has released a frame since the last collection. */
bool zb_sharing_woken(const struct sharing *sharing);
/* Blocks until the semaphore or that of a target that holds frames has a token, and takes none. ZB_OK also means that it is
 * time to collect. */
int32_t zb_sharing_await(const struct sharing *sharing, zb_semaphore *semaphore, int64_t deadline_ns);
/* Drops the references that targets have released. With `take`, first takes the tokens of their semaphores: before a wait that
 * may block, whose caller then looks after the asynchronous waits that these tokens were for. */
void zb_sharing_collect(struct sharing *sharing, bool take);
/* The same for the target of a writer. False if its count is impossible: the writer has failed. */
bool zb_target_collect(zb_target *target);
/* Whether the target's reader holds as many frames as it may. */
bool zb_target_is_full(const zb_target *target);

/* ---- one side of a ring -------------------------------------------------------------------------------------- */

struct ring {
  zb_memory *memory;
  zb_semaphore *written, *released;
  struct zb_oieb *oieb;
  uint8_t *payload;
  uint64_t metadata_size, payload_size;
  double payload_offset;         /* from the start of the memory */
  _Atomic(uint64_t) populated;   /* the page table is filled up to this position */
  struct populating *populating; /* the thread that fills it; NULL: there is none */
  struct idle idle;
};

/* Fills everything but `idle`. False if the sizes in the OIEB are impossible. */
bool zb_ring_open(struct ring *ring, zb_memory *memory, zb_semaphore *written, zb_semaphore *released);

static inline bool is_broken(const struct ring *ring) {
  return atomic_load_explicit(&ring->memory->object.broken, memory_order_relaxed) ||
         atomic_load_explicit(&ring->written->object.broken, memory_order_relaxed) ||
         atomic_load_explicit(&ring->released->object.broken, memory_order_relaxed);
}

/* ---- pacing.c ------------------------------------------------------------------------------------------------ */

/* What a reader has learned about gathering. */
struct gather {
  uint32_t backoff;      /* this many reads do not gather */
  uint32_t next_backoff; /* the backoff after the next attempt without success */
};

struct gather zb_gather_start(void);
/* Waits for some microseconds until more frames are available. `held` is the number of bytes that the reader has read
 * and not yet credited. It counts tokens, so it needs a system with zb_semaphore_counts. */
void zb_gather(struct gather *gather, struct ring *ring, uint64_t held, int32_t wait_us);

/* When a writer next tries to rewind the ring. */
struct keep_warm {
  uint64_t since_rewind; /* bytes written since the last rewind, or since the last attempt */
  uint64_t rewind_after; /* the next attempt comes after this many */
  int64_t left_ns;       /* what is left of an attempt that the last call has begun; 0: none has begun */
};

/* For a ring that has just been rewound. */
struct keep_warm zb_keep_warm_start(const struct ring *ring);
/* Called when `rewind_after` is reached, before a frame of `size` bytes: waits briefly for an empty ring, which can be
 * rewound. A call that may wait takes up to 4 ms for it, however short its `wait_us` is. If that is 0, it takes at most
 * tuning.warm_call_ns, or half the time that copying the frame takes, whichever is longer. */
void zb_keep_warm(struct keep_warm *keep_warm, struct ring *ring, uint64_t size, int32_t wait_us);

/* Notes that the page table is filled up to `end`. */
static inline void zb_populated(struct ring *ring, uint64_t end) {
  uint64_t populated = atomic_load_explicit(&ring->populated, memory_order_relaxed);
  while (populated < end &&
         !atomic_compare_exchange_weak_explicit(&ring->populated, &populated, end, memory_order_relaxed,
                                                memory_order_relaxed))
    continue;
}

/* Fills the page table up to `end` and some bytes beyond. One page fault per page would take longer. */
void zb_populate_beyond(struct ring *ring, uint64_t end, bool write);
/* The same, unless that is done. */
static inline void zb_populate_to(struct ring *ring, uint64_t end, bool write) {
  if (end > atomic_load_explicit(&ring->populated, memory_order_relaxed))
    zb_populate_beyond(ring, end, write);
}

/* ---- linux_populating.c ---------------------------------------------------------------------------------------- */

/* Fills the page table of a large ring by a thread of its own, which runs when no other wants the processor. Where that fails,
 * zb_populate_to is enough. */
#ifdef __linux__
void zb_populating_start(struct ring *ring);
/* Ends the thread. Before the memory is unmapped. */
void zb_populating_stop(struct ring *ring);
#else
static inline void zb_populating_start(struct ring *ring) { (void)ring; }
static inline void zb_populating_stop(struct ring *ring) { (void)ring; }
#endif

#endif
