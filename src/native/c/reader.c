/* Reading frames (docs/protocol.md, section 3). */
#include "reader.h"
#include "fault.h"
#include "tuning.h"

#include <stdlib.h>

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
  reader->released_descriptors = LOAD(ring.oieb->released_descriptors, relaxed);
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

int32_t zb_reader_refuse(zb_reader *reader, int32_t code, uint64_t position, uint64_t found) {
  reader->view.fault_position = (double)position;
  reader->view.fault_expected = (double)reader->next_sequence;
  reader->view.fault_found = (double)found;
  reader->failed = is_broken(&reader->ring) ? ZB_BROKEN : code;
  return reader->failed;
}

/* Whether the frame is special and this reader takes such frames. */
static bool is_for_descriptors(const zb_reader *reader, const struct found *found) {
  return (found->header.size & SPECIAL) != 0 && reader->takes_descriptors;
}

/* Reads up to `tokens` frames into the view (docs/protocol.md, section 3, steps 1 to 4); a token without a
 * frame is surplus. Returns as zb_reader_next, or 0 if there is no frame. */
static int32_t read_frames(zb_reader *reader, uint32_t tokens, int32_t flags) {
  struct zb_oieb *oieb = reader->ring.oieb;
  const uint64_t size = reader->ring.payload_size;
  const bool without_token = (flags & ZB_WITHOUT_TOKEN) != 0;
  /* acquire: pairs with the writer's subtraction. The token alone is not enough: it may belong to another frame. */
  uint64_t free_bytes = LOAD(oieb->payload_free_bytes, acquire);
  if (free_bytes > size) return zb_reader_refuse(reader, ZB_BAD_CONTROL, reader->read_pos, free_bytes);
  if (reader->held == 0) {
    /* The writer may have rewound the position. It cannot while a frame is held. */
    uint64_t position = LOAD(oieb->payload_read_pos, relaxed);
    if (position > size) return zb_reader_refuse(reader, ZB_BAD_CONTROL, position, position);
    reader->read_pos = position == size ? 0 : position;
  }
  if (!reserve_lent(reader)) return ZB_NO_MEMORY;

  int64_t unread = (int64_t)(size - free_bytes - reader->held);
  int32_t count = 0;
  struct found found;
  while ((uint32_t)count < tokens && unread > 0 && find_header(reader, unread, &found)) {
    const struct zb_frame_header header = found.header;
    bool starts = header.sequence == 1;
    if (!fits(reader, found.position, header.size)) {
      if (is_for_descriptors(reader, &found)) {
        const struct found special = found; /* so that `found` needs no memory */
        if (count == 0) return zb_reader_read_special(reader, &special, tokens, unread, flags);
        /* Reading stops here, and begins here the next time. */
        if (!without_token) reader->kept_tokens = tokens - (uint32_t)count;
        tokens = (uint32_t)count;
        break;
      }
      /* Without a token a frame counts only if it is complete. Otherwise there is none yet. */
      if (!without_token) zb_reader_refuse(reader, ZB_BAD_FRAME, found.position, header.size);
      break;
    }
    if (without_token) {
      if (found.waste + HEADER + header.size > (uint64_t)unread) break;
      if (!follows(reader, header.sequence) && !(starts && (flags & ZB_NEW_WRITER))) break;
    } else if (!follows(reader, header.sequence) && !starts) {
      zb_reader_refuse(reader, ZB_BAD_SEQUENCE, found.position, header.sequence);
      break;
    }
    const uint64_t end = found.position + HEADER + header.size;
    zb_populate_to(&reader->ring, end, false);
    reader->view.frames[count].offset = reader->ring.payload_offset + (double)(found.position + HEADER);
    reader->view.frames[count].size = (double)header.size;
    reader->view.frames[count].sequence = (double)header.sequence;
    unread -= (int64_t)lend(reader, &found, header.size, 0);
    count++;
  }
  if (!without_token && reader->failed == ZB_OK) reader->view.surplus_tokens += tokens - (uint32_t)count;
  if (count == 0) return reader->failed;
  ZB_POINT(read_positions);
  STORE(oieb->payload_read_count, reader->read_count, relaxed);
  return count;
}

/* What a reader of descriptors looks at first: whether its source was truncated, an attachment that waits for its answer, and
 * frames at which reading has stopped. 0: go on. */
static int32_t look_at_source(zb_reader *reader) {
  zb_memory *source = reader->source.memory;
  if (source != NULL && zb_memory_broken(source)) return zb_reader_refuse(reader, ZB_BROKEN, 0, 0);
  if (reader->pending.exists) return ZB_READ_ATTACHMENT;
  uint32_t tokens = reader->kept_tokens;
  if (tokens == 0) return ZB_OK;
  reader->kept_tokens = 0;
  tokens += semaphore_take(reader->ring.written, ZB_READER_LOOKAHEAD - tokens);
  return read_frames(reader, tokens, 0);
}

/* Waits for a token of the writer. It collects what the targets release meanwhile. */
static int32_t await_as_source(zb_reader *reader, int32_t wait_us, int64_t deadline_ns, bool *slept) {
  struct idle *idle = &reader->ring.idle;
  zb_semaphore *written = reader->ring.written;
  for (;;) {
    /* In this order: a release after the collection leaves a token to wait for. */
    zb_sharing_collect(idle->sharing, zb_may_block(wait_us));
    if (semaphore_value(written) > 0) return ZB_OK;
    if (idle->sharing->settle_due) return ZB_AGAIN;
    int32_t code = zb_idle_await(idle, written, deadline_ns, slept);
    if (code != ZB_OK || semaphore_value(written) > 0) return code;
  }
}

HOT int32_t zb_reader_next(zb_reader *reader, int32_t wait_us, int32_t flags) {
  if (reader->failed != ZB_OK) return reader->failed;
  if (is_broken(&reader->ring)) return zb_reader_refuse(reader, ZB_BROKEN, 0, 0);
  if (reader->takes_descriptors) {
    int32_t code = look_at_source(reader);
    if (code != ZB_OK) return code;
  }
  const bool has_surplus = reader->view.surplus_tokens != reader->view.surplus_seen;
  if (wait_us > 0 && !(has_surplus && (flags & ZB_UNLESS_SURPLUS))) {
    bool slept = false;
    if (semaphore_value(reader->ring.written) == 0) {
      const int64_t deadline_ns = zb_now_ns() + (int64_t)wait_us * 1000;
      int32_t code = reader->ring.idle.sharing != NULL
                         ? await_as_source(reader, wait_us, deadline_ns, &slept)
                         : zb_idle_await(&reader->ring.idle, reader->ring.written, deadline_ns, &slept);
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
  if (reader->ring.idle.sharing != NULL) zb_sharing_collect(reader->ring.idle.sharing, false);
  /* A peer that posts for nothing has kept it from waiting. */
  return zb_may_block(wait_us) && zb_ended_by_signal() ? ZB_INTERRUPTED : ZB_AGAIN;
}

static inline void return_space(zb_reader *reader, uint64_t credit, uint64_t end, uint32_t posts) {
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
  semaphore_post(reader->ring.released, (int32_t)posts);
}

void zb_reader_return_space(zb_reader *reader, uint64_t credit, uint64_t end, uint32_t posts) {
  return_space(reader, credit, end, posts);
}

static inline int32_t credit_oldest(zb_reader *reader) {
  const uint32_t mask = reader->lent_capacity - 1;
  uint64_t credit = 0, end = 0, extras = 0;
  uint32_t credited = 0;
  while (reader->oldest != reader->newest && reader->lent[reader->oldest & mask].references == 0) {
    const struct lent_frame *frame = &reader->lent[reader->oldest++ & mask];
    credit += frame->credit;
    end = frame->end;
    extras += frame->extras;
    credited++;
  }
  if (credited == 0) return ZB_OK;
  if (extras != 0) {
    reader->released_descriptors += extras % POST;
    ZB_POINT(release_descriptors);
    /* release: the writer that sees the count sees that the bytes are read. Before the addition: a writer that finds the ring
     * empty finds all of them counted. */
    STORE(reader->ring.oieb->released_descriptors, reader->released_descriptors, release);
    credited += (uint32_t)(extras / POST);
  }
  return_space(reader, credit, end, credited);
  if (reader->held != 0 || !reader->settle_due) return ZB_OK;
  reader->settle_due = false;
  return ZB_SETTLE_DUE;
}

int32_t zb_reader_credit(zb_reader *reader) { return credit_oldest(reader); }

int32_t zb_reader_release(zb_reader *reader, uint32_t first, uint32_t count) {
  bool any = false;
  for (uint32_t index = first; index != first + count; index++) {
    struct lent_frame *frame = lent_at(reader, index);
    if (frame == NULL || (frame->references & PROGRAM) == 0) continue;
    frame->references -= PROGRAM;
    any = true;
  }
  return any ? credit_oldest(reader) : ZB_ALREADY;
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
