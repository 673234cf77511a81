/* Reading frames (docs/protocol.md, section 3). */
#include "fault.h"
#include "ring.h"
#include "tuning.h"

#include <stdlib.h>

struct lent_frame {
  uint64_t credit; /* the bytes of the frame and of the wrap before it */
  uint64_t end;    /* where it ends; P and not 0 if it ends the ring */
  bool released;
};

struct zb_reader {
  struct zb_reader_view view; /* first: callers read it at the reader's address */
  struct ring ring;
  uint64_t read_pos;
  uint64_t read_count;
  uint64_t next_sequence;  /* 0: any number may come */
  uint64_t held;           /* bytes read and not yet credited, wrap waste included */
  struct lent_frame *lent; /* indexed modulo its capacity, which is a power of two */
  uint32_t lent_capacity;
  uint32_t oldest, newest; /* index of the oldest lent frame, and of the next frame to read, modulo 2^32 */
  int32_t failed;          /* the code of the frame that was refused; the reader stays failed */
  bool settle_due;         /* zb_reader_settle found frames held */
  struct gather gather;
  struct zb_resource resource;
};

static void close_resource(struct zb_resource *resource) {
  zb_reader_close(ZB_RESOURCE_OF(zb_reader, resource));
}

int32_t zb_reader_open(zb_memory *memory, zb_semaphore *written, zb_semaphore *released, double sequence,
                       int32_t wait, zb_reader **result) {
  struct ring ring;
  if (!zb_ring_open(&ring, memory, written, released)) return ZB_BAD_CONTROL;
  zb_reader *reader = ZB_CALL(reader_allocate, calloc(1, sizeof *reader), NULL);
  if (reader == NULL) return ZB_NO_MEMORY;
  reader->ring = ring;
  reader->ring.idle = zb_idle_start(&ring.oieb->writer_pid, wait);
  reader->read_count = LOAD(ring.oieb->payload_read_count, relaxed);
  reader->next_sequence = (uint64_t)sequence;
  reader->gather = zb_gather_start();
  zb_populating_start(&reader->ring);
  zb_resource_add(&reader->resource, close_resource);
  *result = reader;
  return ZB_OK;
}

void zb_reader_close(zb_reader *reader) {
  zb_resource_remove(&reader->resource);
  zb_populating_stop(&reader->ring);
  free(reader->lent);
  free(reader);
}

/* Makes room for the frames of one zb_reader_next. */
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
  reader->failed = is_broken(&reader->ring) ? ZB_BROKEN : code;
  return reader->failed;
}

/* The bytes at a read position that belong to no frame: a tail too short for a header, which a v1 writer skips without
 * a marker, or everything from a wrap marker to the end. */
static uint64_t waste_at(const zb_reader *reader, uint64_t position, bool *marker) {
  uint64_t to_end = reader->ring.payload_size - position;
  *marker = false;
  if (to_end < HEADER) return to_end;
  struct zb_frame_header header = load_header(reader->ring.payload + position);
  *marker = header.size == 0 && header.sequence == 0;
  return *marker ? to_end : 0;
}

/* Reads up to `tokens` frames into the view (docs/protocol.md, section 3, steps 1 to 4); a token without a
 * frame is surplus. Returns the number of frames, or the code of the refusal if the first one is refused. */
static int32_t read_frames(zb_reader *reader, uint32_t tokens, int32_t flags) {
  struct zb_oieb *oieb = reader->ring.oieb;
  const uint64_t size = reader->ring.payload_size;
  const bool without_token = (flags & ZB_WITHOUT_TOKEN) != 0;
  /* acquire: pairs with the writer's subtraction. The token alone is not enough: it may belong to another frame. */
  uint64_t free_bytes = LOAD(oieb->payload_free_bytes, acquire);
  if (free_bytes > size) return refuse(reader, ZB_BAD_CONTROL, reader->read_pos, free_bytes);
  if (reader->held == 0) {
    /* The writer may have rewound the position. It cannot while a frame is held. */
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
    struct zb_frame_header header = load_header(reader->ring.payload + position);
    bool fits = header.size >= 1 && header.size <= size - HEADER && header.size <= size - HEADER - position;
    bool follows = header.sequence == reader->next_sequence;
    bool starts = header.sequence == 1;
    if (reader->next_sequence == 0) follows = header.sequence != 0;
    if (without_token) {
      /* Without a token a frame counts only if it is complete. Otherwise there is none yet. */
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
    zb_populate_to(&reader->ring, position + HEADER + header.size, false);
    reader->view.frames[count].offset = reader->ring.payload_offset + (double)(position + HEADER);
    reader->view.frames[count].size = (double)header.size;
    reader->view.frames[count].sequence = (double)header.sequence;
    const uint64_t end = position + HEADER + header.size;
    reader->lent[reader->newest++ & (reader->lent_capacity - 1)] =
        (struct lent_frame){.credit = credit, .end = end};
    reader->read_pos = end;
    if (reader->read_pos == size) reader->read_pos = 0;
    reader->read_count += marker ? 2 : 1;
    if (reader->next_sequence != 0) reader->next_sequence = header.sequence + 1;
    reader->held += credit;
    unread -= (int64_t)credit;
    count++;
  }
  if (!without_token && reader->failed == ZB_OK) reader->view.surplus_tokens += tokens - (uint32_t)count;
  if (count == 0) return reader->failed;
  ZB_POINT(read_positions);
  STORE(oieb->payload_read_count, reader->read_count, relaxed);
  return count;
}

int32_t zb_reader_next(zb_reader *reader, int32_t wait_us, int32_t flags) {
  if (reader->failed != ZB_OK) return reader->failed;
  if (is_broken(&reader->ring)) return refuse(reader, ZB_BROKEN, 0, 0);
  const bool has_surplus = reader->view.surplus_tokens != reader->view.surplus_seen;
  if (wait_us > 0 && !(has_surplus && (flags & ZB_UNLESS_SURPLUS))) {
    bool slept = false;
    if (semaphore_value(reader->ring.written) == 0) {
      int32_t code = zb_idle_await(&reader->ring.idle, reader->ring.written,
                                   zb_now_ns() + (int64_t)wait_us * 1000, &slept);
      if (code != ZB_OK) return code;
    }
    if (reader->gather.backoff > 0) {
      reader->gather.backoff--;
    } else if (zb_semaphore_counts && !slept && may_spin(&reader->ring.idle)) {
      zb_gather(&reader->gather, &reader->ring, reader->held, wait_us);
    }
  }
  int32_t count = 0;
  ZB_POINT(read_tokens);
  uint32_t tokens = semaphore_take(reader->ring.written, ZB_READER_LOOKAHEAD);
  if (tokens > 0) {
    ZB_POINT(read_headers);
    count = read_frames(reader, tokens, 0);
  }
  if (count == 0 && (flags & ZB_WITHOUT_TOKEN)) count = read_frames(reader, ZB_READER_LOOKAHEAD, flags);
  if (count != 0) return count;
  /* A peer that posts for nothing has kept it from waiting. */
  return wait_us > tuning.spin_ns / 1000 && zb_ended_by_signal() ? ZB_INTERRUPTED : ZB_AGAIN;
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
  uint64_t credit = 0, end = 0;
  int32_t credited = 0;
  while (reader->oldest != reader->newest && reader->lent[reader->oldest & mask].released) {
    const struct lent_frame *frame = &reader->lent[reader->oldest++ & mask];
    credit += frame->credit;
    end = frame->end;
    credited++;
  }
  if (credited == 0) return ZB_OK;
  reader->held -= credit;
  ZB_POINT(release_position);
  /* Not when it is read: a v1 writer in C++ takes what lies before this position for free, whatever is held there. After a
   * frame that ends the ring this stores P and not 0: a v1 writer in Python that finds 0 there and P in its own position is
   * stuck. relaxed: the addition comes later and orders it before a rewind */
  STORE(reader->ring.oieb->payload_read_pos, end, relaxed);
  ZB_POINT(release_space);
  /* release: a writer that sees the space as free sees that we have read it and stored our positions */
  atomic_fetch_add_explicit((_Atomic(uint64_t) *)&reader->ring.oieb->payload_free_bytes, credit,
                            memory_order_release);
  ZB_POINT(release_post);
  semaphore_post(reader->ring.released, credited);
  if (reader->held != 0 || !reader->settle_due) return ZB_OK;
  reader->settle_due = false;
  return ZB_SETTLE_DUE;
}

int32_t zb_reader_settle(zb_reader *reader) {
  if (reader->failed != ZB_OK) return reader->failed;
  reader->settle_due = reader->held != 0;
  if (reader->settle_due) return ZB_AGAIN;
  struct zb_oieb *oieb = reader->ring.oieb;
  uint64_t free_bytes = LOAD(oieb->payload_free_bytes, acquire);
  uint64_t position = LOAD(oieb->payload_read_pos, relaxed);
  if (free_bytes > reader->ring.payload_size || position > reader->ring.payload_size) return ZB_OK;
  if (position == reader->ring.payload_size) position = 0;
  bool marker;
  uint64_t unread = reader->ring.payload_size - free_bytes;
  if (unread > waste_at(reader, position, &marker)) return ZB_OK;
  ZB_POINT(settle_waste);
  if (atomic_compare_exchange_strong_explicit((_Atomic(uint64_t) *)&oieb->payload_free_bytes, &free_bytes,
                                              reader->ring.payload_size, memory_order_acq_rel,
                                              memory_order_relaxed))
    STORE(oieb->payload_write_pos, position, relaxed);
  return ZB_OK;
}
