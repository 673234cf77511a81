/* The ring: everything that two processes do to each other's memory (PROTOCOL.md, sections 2 to 4).
 *
 * One word orders it all: payload_free_bytes. The writer's subtraction (release) publishes a frame, the reader's
 * addition (release) gives its space back, and each side loads it (acquire) before it touches what the other side
 * has handed over. The semaphores only wake; their values decide nothing.
 *
 * Whatever is loaded from shared memory is loaded once into a local, checked, and used from there: the peer may be
 * hostile (section 7). */
#include "fault.h"
#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define HEADER sizeof(struct zb_frame_header)
#define GROUP_FRAMES 64         /* published together at the most, */
#define GROUP_BYTES (64u << 10) /* or until they are so many: the reader shall start before the writer ends */
#define EMPTY_EVERY 4096 /* frames between two times that a writer with room empties the other semaphore */
#define PEER_LOOK_NS 250000000 /* how long a writer goes on without a sign of its reader */

/* Spinning (struct waiting). */
#define SPIN_NS 20000         /* a blocked peer takes about twice as long to wake */
#define SPIN_LOOKS 32         /* between two times that a spinning thread offers its processor to others */
#define WAITS_UNSPUN_MOST 64u /* waits that do not spin after others that spun in vain */

/* Letting frames gather (gather): figures measured on processors with 1 MiB of second-level cache each. */
#define GATHER_NS 400             /* of silence that end it; longer where frames take longer to write */
#define GATHER_FRAMES 48          /* that are enough */
#define GATHER_BYTES (1u << 20)   /* that are enough: what a writer's own cache holds */
#define GATHER_UNTRIED_LEAST 16u  /* reads after a vain attempt before the next one, */
#define GATHER_UNTRIED_MOST 1024u /* doubled by each vain one up to this */
#define SMALL_FRAME 4096          /* below it, a single frame is no sign that more follow at once */
#define BYTES_PER_NS 4            /* slower streams gain nothing from a warm cache */
#define STALL_NS 10000            /* a reader that gives nothing back for so long may lack a processor */

#define WARM_BYTES (8u << 20)      /* of the ring that are used again and again while the reader keeps up */
#define POPULATED_BYTES (2u << 20) /* page tables are filled in steps of this, ahead of their first use */

static struct zb_oieb *oieb_of(zb_memory *memory) { return zb_object_address(&memory->object); }

#define LOAD(field, order) atomic_load_explicit((_Atomic(__typeof__(field)) *)&(field), memory_order_##order)
#define STORE(field, value, order) \
  atomic_store_explicit((_Atomic(__typeof__(field)) *)&(field), (value), memory_order_##order)

/* ---- headers ------------------------------------------------------------------------------------------------- */

/* Frames are not aligned. Volatile: read exactly once, whatever the peer does to it meanwhile. */
struct __attribute__((packed)) unaligned_header {
  uint64_t size;
  uint64_t sequence;
};

static struct zb_frame_header load_header(const uint8_t *at) {
  const volatile struct unaligned_header *shared = (const volatile struct unaligned_header *)at;
  return (struct zb_frame_header){.size = shared->size, .sequence = shared->sequence};
}

static void store_header(uint8_t *at, uint64_t size, uint64_t sequence) {
  volatile struct unaligned_header *shared = (volatile struct unaligned_header *)at;
  shared->size = size;
  shared->sequence = sequence;
}

/* ---- the OIEB ------------------------------------------------------------------------------------------------ */

void zb_oieb_load(zb_memory *memory, uint64_t words[16]) {
  const _Atomic(uint64_t) *shared = (const _Atomic(uint64_t) *)oieb_of(memory);
  /* acquire: pairs with zb_oieb_create, so that a size of 128 in the first word vouches for the others */
  for (int i = 0; i < 16; i++) words[i] = atomic_load_explicit(&shared[i], memory_order_acquire);
}

bool zb_oieb_agrees(struct zb_oieb *one, struct zb_oieb *other) {
  return LOAD(one->oieb_size, relaxed) == LOAD(other->oieb_size, relaxed) &&
         LOAD(one->metadata_size, relaxed) == LOAD(other->metadata_size, relaxed) &&
         LOAD(one->payload_size, relaxed) == LOAD(other->payload_size, relaxed) &&
         LOAD(one->reader_pid, relaxed) == LOAD(other->reader_pid, relaxed);
}

void zb_oieb_create(zb_memory *memory, uint64_t metadata_size, uint64_t payload_size, uint64_t reader_pid,
                    uint64_t flags) {
  struct zb_oieb *oieb = oieb_of(memory);
  ZB_POINT(oieb_fill);
  oieb->version[0] = 1;
  oieb->metadata_size = metadata_size;
  oieb->metadata_free_bytes = metadata_size;
  oieb->payload_size = payload_size;
  oieb->payload_free_bytes = payload_size;
  oieb->reader_pid = reader_pid;
  oieb->flags = flags;
  if (reader_pid != 0) atomic_store_explicit(&memory->object.holds[ZB_READER], true, memory_order_relaxed);
  ZB_POINT(oieb_publish);
  /* release: pairs with zb_oieb_load of a connecting writer */
  STORE(oieb->oieb_size, (uint32_t)sizeof *oieb, release);
}

int32_t zb_oieb_claim(zb_memory *memory, int32_t role, uint64_t expected, uint64_t pid) {
  struct zb_oieb *oieb = oieb_of(memory);
  _Atomic(uint64_t) *field = (_Atomic(uint64_t) *)(role == ZB_WRITER ? &oieb->writer_pid : &oieb->reader_pid);
  ZB_POINT(claim_pid);
  /* acquire: the new owner sees what the one before stored; release: whoever sees the pid sees what came first */
  if (!atomic_compare_exchange_strong_explicit(field, &expected, pid, memory_order_acq_rel,
                                               memory_order_relaxed))
    return ZB_EXISTS;
  atomic_store_explicit(&memory->object.holds[role], pid != 0, memory_order_relaxed);
  return ZB_OK;
}

/* The two sizes of the OIEB, if they can be true of this mapping. */
static bool load_sizes(zb_memory *memory, uint64_t *metadata_size, uint64_t *payload_size) {
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

static bool broken(zb_memory *memory, zb_semaphore *written, zb_semaphore *released) {
  return atomic_load_explicit(&memory->object.broken, memory_order_relaxed) ||
         atomic_load_explicit(&written->object.broken, memory_order_relaxed) ||
         atomic_load_explicit(&released->object.broken, memory_order_relaxed);
}

/* ---- metadata ------------------------------------------------------------------------------------------------ */

int32_t zb_metadata_write(zb_memory *memory, const void *data, double size) {
  struct zb_oieb *oieb = oieb_of(memory);
  uint64_t metadata_size, payload_size, length = (uint64_t)size;
  if (!load_sizes(memory, &metadata_size, &payload_size)) return ZB_BAD_CONTROL;
  if (metadata_size < sizeof length || length > metadata_size - sizeof length) return ZB_TOO_LARGE;
  uint8_t *block = (uint8_t *)(oieb + 1);
  ZB_POINT(metadata_withdraw);
  STORE(oieb->metadata_written_bytes, 0, relaxed);
  /* A reader that saw any of the new bytes finds 0 when it looks again (zb_metadata_read). */
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
  uint64_t metadata_size, payload_size, length;
  if (!load_sizes(memory, &metadata_size, &payload_size)) return ZB_BAD_CONTROL;
  /* acquire: pairs with the last store of zb_metadata_write */
  uint64_t written = LOAD(oieb->metadata_written_bytes, acquire);
  if (written == 0) return 0;
  if (written < sizeof length || written > metadata_size) return ZB_BAD_CONTROL;
  const uint8_t *block = (const uint8_t *)(oieb + 1);
  memcpy(&length, block, sizeof length);
  if (length != written - sizeof length) return ZB_AGAIN;
  if ((double)length > capacity) return ZB_TOO_LARGE;
  memcpy(data, block + sizeof length, written - sizeof length);
  /* The copy is whole only if no writer replaced the metadata meanwhile. */
  atomic_thread_fence(memory_order_acquire);
  if (LOAD(oieb->metadata_written_bytes, relaxed) != written) return ZB_AGAIN;
  return (double)(written - sizeof length);
}

/* The bytes stay: a reader of version 1 that is just copying them gets them whole. */
static void withdraw_metadata(struct zb_oieb *oieb, uint64_t metadata_size) {
  ZB_POINT(metadata_clear);
  STORE(oieb->metadata_written_bytes, 0, release);
  ZB_POINT(metadata_reset);
  STORE(oieb->metadata_free_bytes, metadata_size, relaxed);
}

void zb_metadata_clear(zb_memory *memory) {
  struct zb_oieb *oieb = oieb_of(memory);
  uint64_t metadata_size, payload_size;
  if (!load_sizes(memory, &metadata_size, &payload_size)) return;
  withdraw_metadata(oieb, metadata_size);
  if (metadata_size >= sizeof(uint64_t)) memset(oieb + 1, 0, sizeof(uint64_t));
}

/* ---- page tables --------------------------------------------------------------------------------------------- */

/* Fills the page table from the position it is filled to up to a bit beyond `end`; a fault a page would take longer.
 * Returns the position it is filled to now. */
static uint64_t populate(uint8_t *payload, uint64_t payload_size, uint64_t populated, uint64_t end,
                         bool write) {
  uint64_t until = payload_size - end > POPULATED_BYTES ? end + POPULATED_BYTES : payload_size;
  zb_populate(payload + populated, until - populated, write);
  return until;
}

/* ---- waiting ------------------------------------------------------------------------------------------------- */

/* How one side waits: as it was told to, and as its last waits went. */
struct waiting {
  int32_t mode;                  /* enum zb_wait */
  const _Atomic(uint64_t) *peer; /* the other side's pid in the OIEB */
  uint64_t known_peer;           /* the one that `apart` is about */
  bool apart;                    /* this thread and the peer can run at the same time */
  uint32_t unspun;               /* so many waits are still to come without spinning */
  uint32_t unspun_next;          /* after the next vain attempt */
};

static struct waiting waiting_for(const uint64_t *peer_pid, int32_t mode) {
  return (struct waiting){
      .mode = mode, .peer = (const _Atomic(uint64_t) *)peer_pid, .apart = zb_runs_apart(0), .unspun_next = 1};
}

/* Whether spinning can pay at all. */
static bool may_spin(const struct waiting *waiting) {
  return waiting->mode == ZB_WAIT_SPIN || (waiting->mode == ZB_WAIT_ADAPTIVE && waiting->apart);
}

/* The peer may have come since, and have only the processor that this thread runs on. */
static void look_at_peer(struct waiting *waiting) {
  uint64_t peer = atomic_load_explicit(waiting->peer, memory_order_relaxed);
  if (peer == waiting->known_peer) return;
  waiting->known_peer = peer;
  waiting->apart = zb_runs_apart(peer);
}

/* Spins until the semaphore has a token or the time has come; false then. */
static bool spin(zb_semaphore *semaphore, struct waiting *waiting, int64_t end_ns) {
  do {
    for (int i = 0; i < SPIN_LOOKS; i++) {
      zb_pause();
      if (zb_semaphore_value(semaphore) > 0) return true;
    }
    /* The peer may be waiting for this very processor. */
    zb_yield();
    look_at_peer(waiting);
  } while (zb_now_ns() < end_ns && may_spin(waiting));
  return false;
}

/* Waits until the semaphore has a token, and leaves it there: spins while that has paid lately, then blocks. A wait that
 * is shorter than spinning never blocks. */
static int32_t await_token(zb_semaphore *semaphore, struct waiting *waiting, int64_t deadline_ns,
                           bool *slept) {
  if (zb_semaphore_value(semaphore) > 0) return ZB_OK;
  const int64_t start = zb_now_ns();
  if (start >= deadline_ns) return ZB_AGAIN;
  if (!waiting->apart) look_at_peer(waiting);
  const bool spins_only = waiting->mode == ZB_WAIT_SPIN || deadline_ns - start <= SPIN_NS;
  /* What never blocks spins each time: whoever asks for it has a slower way to wait after it. */
  const bool spins = may_spin(waiting) && (spins_only || waiting->unspun == 0);
  if (spins && spin(semaphore, waiting, spins_only ? deadline_ns : start + SPIN_NS)) {
    waiting->unspun = 0;
    waiting->unspun_next = 1;
    return ZB_OK;
  }
  if (spins_only) return zb_semaphore_value(semaphore) > 0 ? ZB_OK : ZB_AGAIN;
  if (waiting->unspun > 0) {
    waiting->unspun--;
  } else if (spins && waiting->mode == ZB_WAIT_ADAPTIVE) {
    waiting->unspun = waiting->unspun_next;
    if (waiting->unspun_next < WAITS_UNSPUN_MOST) waiting->unspun_next *= 2;
  }
  *slept = true;
  int32_t code = zb_semaphore_await(semaphore, deadline_ns, NULL);
  if (code == ZB_OK && zb_now_ns() - start < 3 * SPIN_NS) {
    /* Waking took most of that: the next wait may well end while spinning. */
    waiting->unspun = 0;
    waiting->unspun_next = 1;
  }
  return code;
}

/* Passes the time without looking at shared memory; whoever waits for this processor comes first. */
static void pause_until(int64_t end_ns) {
  zb_yield();
  do zb_pause();
  while (zb_now_ns() < end_ns);
}

/* ---- reading ------------------------------------------------------------------------------------------------- */

struct lent_frame {
  uint64_t credit; /* the frame's bytes and those of the wrap before it */
  bool released;
};

struct zb_reader {
  struct zb_reader_view view; /* first: callers read it at the reader's address */
  zb_memory *memory;
  zb_semaphore *written, *released;
  struct zb_oieb *oieb;
  uint8_t *payload;
  uint64_t payload_size;
  double payload_offset; /* from the start of the memory */
  uint64_t read_pos;
  uint64_t read_count;
  uint64_t next_sequence;  /* 0: any number may come */
  uint64_t held;           /* bytes read and not yet credited, wrap waste included */
  struct lent_frame *lent; /* a ring of its own, by index modulo its capacity, which is a power of two */
  uint32_t lent_capacity;
  uint32_t oldest, newest; /* indices of the oldest lent frame and of the next one to be read, modulo 2^32 */
  int32_t failed;          /* a frame was refused: the code, for good */
  struct waiting waiting;
  uint32_t ungathered; /* so many reads are still to come before frames are let gather again; 0: they are */
  uint32_t ungathered_next; /* after the next vain attempt */
  uint64_t populated;       /* up to this position the page table has been filled */
};

int32_t zb_reader_open(zb_memory *memory, zb_semaphore *written, zb_semaphore *released, double sequence,
                       int32_t wait, zb_reader **result) {
  struct zb_oieb *oieb = oieb_of(memory);
  uint64_t metadata_size, payload_size;
  if (!load_sizes(memory, &metadata_size, &payload_size)) return ZB_BAD_CONTROL;
  zb_reader *reader = ZB_CALL(reader_allocate, calloc(1, sizeof *reader), NULL);
  if (reader == NULL) return ZB_NO_MEMORY;
  reader->memory = memory;
  reader->written = written;
  reader->released = released;
  reader->oieb = oieb;
  reader->payload = (uint8_t *)(oieb + 1) + metadata_size;
  reader->payload_size = payload_size;
  reader->payload_offset = (double)(sizeof *oieb + metadata_size);
  reader->read_count = LOAD(oieb->payload_read_count, relaxed);
  reader->next_sequence = (uint64_t)sequence;
  reader->waiting = waiting_for(&oieb->writer_pid, wait);
  reader->ungathered = reader->ungathered_next = GATHER_UNTRIED_LEAST;
  *result = reader;
  return ZB_OK;
}

void zb_reader_close(zb_reader *reader) {
  free(reader->lent);
  free(reader);
}

/* Room to lend as many frames as one look ahead can bring. */
static bool reserve_lent(zb_reader *reader) {
  uint32_t count = reader->newest - reader->oldest;
  if (count + ZB_READER_LOOKAHEAD <= reader->lent_capacity) return true;
  uint32_t capacity = reader->lent_capacity == 0 ? 2 * ZB_READER_LOOKAHEAD : 2 * reader->lent_capacity;
  struct lent_frame *lent = ZB_CALL(reader_reserve, malloc(capacity * sizeof *lent), NULL);
  if (lent == NULL) return false;
  for (uint32_t index = reader->oldest; index != reader->newest; index++)
    lent[index & (capacity - 1)] = reader->lent[index & (reader->lent_capacity - 1)];
  free(reader->lent);
  reader->lent = lent;
  reader->lent_capacity = capacity;
  return true;
}

static int32_t refuse(zb_reader *reader, int32_t code, uint64_t position, uint64_t found) {
  reader->view.fault_position = (double)position;
  reader->view.fault_expected = (double)reader->next_sequence;
  reader->view.fault_found = (double)found;
  reader->failed = broken(reader->memory, reader->written, reader->released) ? ZB_BROKEN : code;
  return reader->failed;
}

/* The bytes at the read position that belong to no frame: a tail too short for a header, which a v1 writer skips
 * silently, or everything from a wrap marker to the end. */
static uint64_t waste_at(const zb_reader *reader, uint64_t position, bool *marker) {
  uint64_t to_end = reader->payload_size - position;
  *marker = false;
  if (to_end < HEADER) return to_end;
  struct zb_frame_header header = load_header(reader->payload + position);
  *marker = header.size == 0 && header.sequence == 0;
  return *marker ? to_end : 0;
}

/* Reads up to `tokens` frames into the view (section 3, steps 1 to 4); tokens beyond what is there are surplus.
 * Returns how many, or the code of a refusal if the very first is refused. */
static int32_t read_frames(zb_reader *reader, uint32_t tokens, int32_t flags) {
  struct zb_oieb *oieb = reader->oieb;
  const uint64_t size = reader->payload_size;
  const bool guess = (flags & ZB_WITHOUT_TOKEN) != 0;
  /* acquire: pairs with the writer's subtraction, since a token may be that of another frame */
  uint64_t free_bytes = LOAD(oieb->payload_free_bytes, acquire);
  if (free_bytes > size) return refuse(reader, ZB_BAD_CONTROL, reader->read_pos, free_bytes);
  if (reader->held == 0) {
    /* Only while nothing is held can the writer have rewound the position. */
    uint64_t position = LOAD(oieb->payload_read_pos, relaxed);
    if (position > size) return refuse(reader, ZB_BAD_CONTROL, position, position);
    reader->read_pos = position == size ? 0 : position;
  }
  if (!reserve_lent(reader)) return ZB_NO_MEMORY;

  int64_t unread = (int64_t)(size - free_bytes - reader->held);
  int32_t count = 0;
  while ((uint32_t)count < tokens && unread > 0) {
    bool marker;
    uint64_t position = reader->read_pos;
    uint64_t waste = waste_at(reader, position, &marker);
    if (unread <= (int64_t)waste) break;
    if (waste > 0) position = 0;
    struct zb_frame_header header = load_header(reader->payload + position);
    bool fits = header.size >= 1 && header.size <= size - HEADER && header.size <= size - HEADER - position;
    bool follows = header.sequence == reader->next_sequence;
    bool starts = header.sequence == 1;
    if (reader->next_sequence == 0) follows = header.sequence != 0;
    if (guess) {
      /* No token vouches for the frame: it counts if it is complete, otherwise there is none yet. */
      if (!fits || waste + HEADER + header.size > (uint64_t)unread) break;
      if (!follows && !(starts && (flags & ZB_NEW_WRITER))) break;
    } else if (!fits) {
      refuse(reader, ZB_BAD_FRAME, position, header.size);
      break;
    } else if (!follows && !starts) {
      refuse(reader, ZB_BAD_SEQUENCE, position, header.sequence);
      break;
    }
    uint64_t credit = waste + HEADER + header.size;
    if (position + HEADER + header.size > reader->populated)
      reader->populated =
          populate(reader->payload, size, reader->populated, position + HEADER + header.size, false);
    reader->view.frames[count].offset = reader->payload_offset + (double)(position + HEADER);
    reader->view.frames[count].size = (double)header.size;
    reader->view.frames[count].sequence = (double)header.sequence;
    reader->lent[reader->newest++ & (reader->lent_capacity - 1)] = (struct lent_frame){.credit = credit};
    reader->read_pos = position + HEADER + header.size;
    if (reader->read_pos == size) reader->read_pos = 0;
    reader->read_count += marker ? 2 : 1;
    if (reader->next_sequence != 0) reader->next_sequence = header.sequence + 1;
    reader->held += credit;
    unread -= (int64_t)credit;
    count++;
  }
  if (!guess && reader->failed == ZB_OK) reader->view.surplus_tokens += tokens - (uint32_t)count;
  if (count == 0) return reader->failed;
  ZB_POINT(read_positions);
  /* relaxed: the release addition that follows at the latest before a rewind orders them */
  STORE(oieb->payload_read_pos, reader->read_pos, relaxed);
  STORE(oieb->payload_read_count, reader->read_count, relaxed);
  return count;
}

/* Lets more frames come before those at hand are taken. Two processes that hand each other every single frame spend
 * their time on moving a few cache lines to and fro; and bytes that the writer's own cache still holds take longer to
 * get than those that it had to give up. So a reader of a stream stays a bit behind. It learns whether that pays: where
 * nothing comes meanwhile, as when the peer waits for an answer, it tries again much later. */
static void gather(zb_reader *reader, int32_t wait_us) {
  const uint64_t size = reader->payload_size;
  const uint64_t enough = GATHER_BYTES < size / 2 ? GATHER_BYTES : size / 2;
  /* relaxed: nothing is done with the bytes before another look */
  uint64_t unread = size - LOAD(reader->oieb->payload_free_bytes, relaxed) - reader->held;
  int32_t tokens = zb_semaphore_value(reader->written);
  if (tokens <= 0 || tokens >= GATHER_FRAMES || unread >= enough) return;
  const uint64_t frame = unread / (uint32_t)tokens;
  const int32_t least = frame < SMALL_FRAME ? 2 : 1;
  const int64_t writing_ns = (int64_t)(frame / BYTES_PER_NS);
  const int64_t patience_ns = writing_ns > GATHER_NS ? writing_ns : GATHER_NS;
  int64_t now = zb_now_ns(), give_up = now + patience_ns;
  const int64_t deadline_ns = now + (int64_t)wait_us * 1000;
  bool paid = false;
  while (now < give_up && now < deadline_ns) {
    pause_until(now + GATHER_NS);
    now = zb_now_ns();
    int32_t more = zb_semaphore_value(reader->written);
    if (more < tokens + least) continue;
    paid = true;
    tokens = more;
    unread = size - LOAD(reader->oieb->payload_free_bytes, relaxed) - reader->held;
    if (tokens >= GATHER_FRAMES || unread >= enough) break;
    give_up = now + patience_ns;
  }
  if (paid) {
    reader->ungathered_next = GATHER_UNTRIED_LEAST;
  } else {
    reader->ungathered = reader->ungathered_next;
    if (reader->ungathered_next < GATHER_UNTRIED_MOST) reader->ungathered_next *= 2;
  }
}

int32_t zb_reader_next(zb_reader *reader, int32_t wait_us, int32_t flags) {
  if (reader->failed != ZB_OK) return reader->failed;
  if (broken(reader->memory, reader->written, reader->released)) return refuse(reader, ZB_BROKEN, 0, 0);
  if (wait_us > 0) {
    bool slept = false;
    if (zb_semaphore_value(reader->written) == 0) {
      int32_t code =
          await_token(reader->written, &reader->waiting, zb_now_ns() + (int64_t)wait_us * 1000, &slept);
      if (code != ZB_OK) return code;
    }
    if (reader->ungathered > 0) {
      reader->ungathered--;
    } else if (!slept && may_spin(&reader->waiting)) {
      gather(reader, wait_us);
    }
  }
  int32_t count = 0;
  ZB_POINT(read_tokens);
  uint32_t tokens = zb_semaphore_take(reader->written, ZB_READER_LOOKAHEAD);
  if (tokens > 0) {
    ZB_POINT(read_headers);
    count = read_frames(reader, tokens, 0);
  }
  if (count == 0 && (flags & ZB_WITHOUT_TOKEN)) count = read_frames(reader, ZB_READER_LOOKAHEAD, flags);
  return count == 0 ? ZB_AGAIN : count;
}

int32_t zb_reader_release(zb_reader *reader, uint32_t first, uint32_t count) {
  const uint32_t mask = reader->lent_capacity - 1;
  bool any = false;
  for (uint32_t index = first; index != first + count; index++) {
    if (index - reader->oldest >= reader->newest - reader->oldest) continue;
    if (reader->lent[index & mask].released) continue;
    any = reader->lent[index & mask].released = true;
  }
  if (!any) return ZB_ALREADY;
  uint64_t credit = 0;
  int32_t credited = 0;
  while (reader->oldest != reader->newest && reader->lent[reader->oldest & mask].released) {
    credit += reader->lent[reader->oldest++ & mask].credit;
    credited++;
  }
  if (credited == 0) return ZB_OK;
  reader->held -= credit;
  ZB_POINT(release_space);
  /* release: the writer that sees the space free finds our reads of it done, and our positions stored */
  atomic_fetch_add_explicit((_Atomic(uint64_t) *)&reader->oieb->payload_free_bytes, credit,
                            memory_order_release);
  ZB_POINT(release_post);
  zb_semaphore_post(reader->released, credited);
  return ZB_OK;
}

void zb_reader_settle(zb_reader *reader) {
  if (reader->held != 0 || reader->failed != ZB_OK) return;
  struct zb_oieb *oieb = reader->oieb;
  uint64_t free_bytes = LOAD(oieb->payload_free_bytes, acquire);
  uint64_t position = LOAD(oieb->payload_read_pos, relaxed);
  if (free_bytes > reader->payload_size || position >= reader->payload_size) return;
  bool marker;
  uint64_t unread = reader->payload_size - free_bytes;
  if (unread > waste_at(reader, position, &marker)) return;
  ZB_POINT(settle_waste);
  if (atomic_compare_exchange_strong_explicit((_Atomic(uint64_t) *)&oieb->payload_free_bytes, &free_bytes,
                                              reader->payload_size, memory_order_acq_rel,
                                              memory_order_relaxed))
    STORE(oieb->payload_write_pos, position, relaxed);
}

/* ---- writing ------------------------------------------------------------------------------------------------- */

struct zb_writer {
  struct zb_writer_view view; /* first: callers read it at the writer's address */
  zb_memory *memory;
  zb_semaphore *written, *released;
  struct zb_oieb *oieb;
  uint8_t *payload;
  uint64_t payload_size;
  double payload_offset; /* from the start of the memory */
  uint64_t write_pos;
  uint64_t written_count;
  uint32_t published; /* frames so far, modulo 2^32 */
  uint64_t free_left; /* bytes right after the last publication; what came since is the reader's doing */
  uint64_t free_seen; /* bytes when the frame that was acquired last was placed */
  uint64_t reader_pid;
  int64_t peer_seen_ns;
  bool found_full; /* the frame that is being placed has been counted as a wait */
  struct {
    uint64_t position, size, waste;
  } acquired;            /* size 0: none */
  uint64_t staged;       /* bytes of the frames that are written and not yet published, wrap waste included */
  int32_t staged_frames; /* how many those are */
  struct waiting waiting;
  uint64_t lap;       /* bytes written since the ring was last rewound, or could not be */
  uint64_t lap_most;  /* so many are enough */
  uint64_t populated; /* up to this position the page table has been filled */
};

/* What is posted meanwhile stays: a peer that posts for ever holds nobody here. */
static void empty_semaphore(zb_semaphore *semaphore) { zb_semaphore_take(semaphore, UINT32_MAX); }

/* Whether the reader is the one that was looked at, and that not too long ago. */
static bool reader_in_sight(const zb_writer *writer) {
  return LOAD(writer->oieb->reader_pid, relaxed) == writer->reader_pid &&
         zb_now_coarse_ns() - writer->peer_seen_ns <= PEER_LOOK_NS;
}

static void rewind_ring(zb_writer *writer) {
  ZB_POINT(rewind_read);
  /* relaxed: both are published with the next frame, and the reader looks at neither before */
  STORE(writer->oieb->payload_read_pos, 0, relaxed);
  ZB_POINT(rewind_write);
  STORE(writer->oieb->payload_write_pos, 0, relaxed);
  writer->write_pos = 0;
  writer->lap = 0;
  /* A ring that is not larger than this is always warm. */
  writer->lap_most = writer->payload_size > WARM_BYTES ? WARM_BYTES : UINT64_MAX;
}

int32_t zb_writer_open(zb_memory *memory, zb_semaphore *written, zb_semaphore *released, uint64_t reader_pid,
                       int32_t wait, zb_writer **result) {
  struct zb_oieb *oieb = oieb_of(memory);
  uint64_t metadata_size, payload_size;
  if (!load_sizes(memory, &metadata_size, &payload_size)) return ZB_BAD_CONTROL;
  uint64_t write_pos = LOAD(oieb->payload_write_pos, relaxed);
  if (write_pos > payload_size) return ZB_BAD_CONTROL;
  zb_writer *writer = ZB_CALL(writer_allocate, calloc(1, sizeof *writer), NULL);
  if (writer == NULL) return ZB_NO_MEMORY;
  writer->memory = memory;
  writer->written = written;
  writer->released = released;
  writer->oieb = oieb;
  writer->payload = (uint8_t *)(oieb + 1) + metadata_size;
  writer->payload_size = payload_size;
  writer->payload_offset = (double)(sizeof *oieb + metadata_size);
  writer->write_pos = write_pos == payload_size ? 0 : write_pos; /* a v1 writer leaves P after an exact fit */
  writer->written_count = LOAD(oieb->payload_written_count, relaxed);
  writer->view.sequence = 1;
  withdraw_metadata(oieb, metadata_size);
  writer->reader_pid = reader_pid;
  writer->peer_seen_ns = zb_now_coarse_ns();
  writer->waiting = waiting_for(&oieb->reader_pid, wait);
  writer->lap_most = payload_size > WARM_BYTES ? WARM_BYTES : UINT64_MAX;
  writer->free_left = LOAD(oieb->payload_free_bytes, acquire);
  if (writer->free_left == payload_size) {
    empty_semaphore(written);
    rewind_ring(writer);
  }
  *result = writer;
  return ZB_OK;
}

void zb_writer_close(zb_writer *writer) { free(writer); }

void zb_writer_peer(zb_writer *writer, uint64_t reader_pid) {
  writer->reader_pid = reader_pid;
  writer->peer_seen_ns = zb_now_coarse_ns();
}

static uint64_t unread_bytes(const zb_writer *writer) {
  return writer->payload_size - LOAD(writer->oieb->payload_free_bytes, relaxed);
}

/* Once enough of the ring has been used since it was last rewound, waits for an instant until it is empty and can be
 * rewound: the same memory stays in the processor's caches, which is worth more than the wait where the reader keeps
 * up. Where it does not, the wait is short, and the next one comes after twice as many bytes. */
static void keep_warm(zb_writer *writer) {
  uint64_t unread = unread_bytes(writer);
  if (unread > 0 && unread <= 2 * WARM_BYTES && may_spin(&writer->waiting)) {
    int64_t now = zb_now_ns(), moved_ns = now;
    const int64_t end_ns = now + GATHER_NS + (int64_t)(unread / BYTES_PER_NS);
    while (unread > 0 && now < end_ns) {
      if (now - moved_ns < STALL_NS || writer->waiting.mode == ZB_WAIT_SPIN) {
        pause_until(now + GATHER_NS);
      } else {
        /* What the reader waits for may be this processor. Tokens first, as always before a sleep. */
        empty_semaphore(writer->released);
        if (unread_bytes(writer) == unread) zb_semaphore_await(writer->released, end_ns, NULL);
      }
      now = zb_now_ns();
      uint64_t left = unread_bytes(writer);
      if (left != unread) moved_ns = now;
      unread = left;
    }
  }
  writer->lap = 0;
  writer->lap_most *= 2;
}

/* One pass of section 2, steps 1 to 4, for a frame that follows those already staged, whose publication leaves
 * `free_bytes`. ZB_AGAIN: too little room. */
static int32_t place(zb_writer *writer, uint64_t size, uint64_t free_bytes) {
  const uint64_t payload_size = writer->payload_size;
  const uint64_t total = HEADER + size;
  bool empty = free_bytes == payload_size;
  if (empty && (writer->write_pos != 0 || LOAD(writer->oieb->payload_read_pos, relaxed) != 0))
    rewind_ring(writer);

  uint64_t position = writer->write_pos, waste = 0;
  uint64_t to_end = payload_size - position;
  bool here = total <= to_end && (to_end == total || to_end - total >= HEADER);
  if (!here && to_end >= HEADER && total <= payload_size - to_end) {
    position = 0;
    waste = to_end;
  } else if (!here && !empty) {
    return ZB_AGAIN; /* it goes only at the start of an empty ring */
  }
  if (free_bytes < waste + total) return ZB_AGAIN;

  if (waste > 0) {
    ZB_POINT(write_marker);
    store_header(writer->payload + writer->write_pos, 0, 0);
  }
  if (position + total > writer->populated)
    writer->populated = populate(writer->payload, payload_size, writer->populated, position + total, true);
  writer->acquired.position = position;
  writer->acquired.size = size;
  writer->acquired.waste = waste;
  writer->view.offset = writer->payload_offset + (double)(position + HEADER);
  return ZB_OK;
}

/* A pass for the first frame, with nothing staged. ZB_PEER_CHECK: a look at the reader is due. */
static int32_t place_first(zb_writer *writer, uint64_t size) {
  /* acquire: pairs with the reader's addition; what it released may be overwritten */
  uint64_t free_bytes = LOAD(writer->oieb->payload_free_bytes, acquire);
  if (free_bytes > writer->payload_size) return ZB_BAD_CONTROL;
  /* What is free beyond what was left at the last publication shows that the reader lives. */
  if (free_bytes == writer->free_left && !reader_in_sight(writer)) return ZB_PEER_CHECK;
  int32_t code = place(writer, size, free_bytes);
  if (code == ZB_OK) {
    writer->free_seen = free_bytes;
    return ZB_OK;
  }
  /* It waits for a reader that it knows, and for no other. */
  return reader_in_sight(writer) ? ZB_AGAIN : ZB_PEER_CHECK;
}

int32_t zb_writer_acquire(zb_writer *writer, double size, int32_t wait_us) {
  int64_t deadline_ns = 0;
  if (!(size >= 1) || size > (double)(writer->payload_size - HEADER)) return ZB_TOO_LARGE;
  if (writer->lap >= writer->lap_most) keep_warm(writer);
  for (;;) {
    if (broken(writer->memory, writer->written, writer->released)) return ZB_BROKEN;
    int32_t code = place_first(writer, (uint64_t)size);
    if (code == ZB_AGAIN) {
      /* Tokens first, then another look: a release after that look leaves a token to wait for. */
      empty_semaphore(writer->released);
      code = place_first(writer, (uint64_t)size);
    }
    if (code != ZB_AGAIN) {
      if (code == ZB_OK) writer->found_full = false;
      return code;
    }
    if (!writer->found_full) writer->view.waits++;
    writer->found_full = true;
    if (wait_us <= 0) return ZB_AGAIN;
    /* Tokens that make no room do not prolong the wait. */
    int64_t now = zb_now_ns();
    if (deadline_ns == 0) deadline_ns = now + (int64_t)wait_us * 1000;
    if (now >= deadline_ns) return ZB_AGAIN;
    bool slept = false;
    code = await_token(writer->released, &writer->waiting, deadline_ns, &slept);
    if (code != ZB_OK) return code;
  }
}

/* Completes the acquired frame, all but its publication. */
static void stage(zb_writer *writer) {
  const uint64_t size = writer->acquired.size, waste = writer->acquired.waste, total = HEADER + size;
  ZB_POINT(write_header);
  store_header(writer->payload + writer->acquired.position, size, (uint64_t)writer->view.sequence);
  writer->view.sequence++;
  writer->write_pos = writer->acquired.position + total;
  if (writer->write_pos == writer->payload_size) writer->write_pos = 0;
  writer->written_count += waste > 0 ? 2 : 1;
  writer->acquired.size = 0;
  writer->staged += waste + total;
  writer->staged_frames++;
}

/* Publishes what is staged (section 2, step 5). */
static void publish(zb_writer *writer) {
  struct zb_oieb *oieb = writer->oieb;
  const uint64_t bytes = writer->staged;
  const int32_t frames = writer->staged_frames;
  ZB_POINT(write_positions);
  STORE(oieb->payload_write_pos, writer->write_pos, relaxed);
  STORE(oieb->payload_written_count, writer->written_count, relaxed);
  ZB_POINT(write_publish);
  /* release: the publication. Whoever sees the space gone sees markers, headers, bytes and positions; before it, a
   * reader that is killed or a writer that is killed has seen and left nothing of these frames. */
  writer->free_left =
      atomic_fetch_sub_explicit((_Atomic(uint64_t) *)&oieb->payload_free_bytes, bytes, memory_order_release) -
      bytes;
  ZB_POINT(write_post);
  zb_semaphore_post(writer->written, frames);
  writer->staged = 0;
  writer->staged_frames = 0;
  writer->lap += bytes;
  /* Now and then is enough to keep the reader's tokens from filling their semaphore; each look costs both sides. */
  uint32_t before = writer->published;
  writer->published += (uint32_t)frames;
  if (before / EMPTY_EVERY != writer->published / EMPTY_EVERY) empty_semaphore(writer->released);
}

int32_t zb_writer_commit(zb_writer *writer) {
  if (writer->acquired.size == 0) return ZB_ALREADY;
  stage(writer);
  publish(writer);
  return ZB_OK;
}

void zb_writer_cancel(zb_writer *writer) { writer->acquired.size = 0; }

static void copy_in(zb_writer *writer, const void *data) {
  ZB_POINT(write_copy);
  memcpy(writer->payload + writer->acquired.position + HEADER, data, writer->acquired.size);
}

int32_t zb_writer_write(zb_writer *writer, const void *data, double size, int32_t wait_us) {
  int32_t code = zb_writer_acquire(writer, size, wait_us);
  if (code != ZB_OK) return code;
  copy_in(writer, data);
  return zb_writer_commit(writer);
}

int32_t zb_writer_write_frames(zb_writer *writer, const void *data, double offset, double length,
                               double frame_size, int32_t wait_us) {
  const uint64_t most = (uint64_t)frame_size;
  const uint8_t *next = (const uint8_t *)data + (size_t)offset;
  uint64_t left = (uint64_t)length;
  if (most == 0 || left == 0) return ZB_TOO_LARGE;
  int32_t code = zb_writer_acquire(writer, (double)(left < most ? left : most), wait_us);
  if (code != ZB_OK) return code;
  do {
    copy_in(writer, next);
    next += writer->acquired.size;
    left -= writer->acquired.size;
    stage(writer);
  } while (left > 0 && writer->staged_frames < GROUP_FRAMES && writer->staged < GROUP_BYTES &&
           place(writer, left < most ? left : most, writer->free_seen - writer->staged) == ZB_OK);
  int32_t written = writer->staged_frames;
  publish(writer);
  return written;
}
