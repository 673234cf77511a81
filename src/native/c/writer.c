/* Writing frames (docs/protocol.md, section 2). */
#include "writer.h"
#include "fault.h"
#include "tuning.h"

#include <stdlib.h>
#include <string.h>

static void close_resource(struct zb_resource *resource) {
  zb_writer_close(ZB_RESOURCE_OF(zb_writer, resource));
}

/* Whether the reader is still the one that the caller has looked at (zb_writer_peer). */
static bool is_same_reader(const zb_writer *writer) {
  return LOAD(writer->ring.oieb->reader_pid, relaxed) == writer->reader_pid;
}

static bool reader_seen_lately(const zb_writer *writer) {
  return zb_now_coarse_ns() - writer->peer_seen_ns <= tuning.peer_look_ns;
}

static void rewind_ring(zb_writer *writer) {
  if (!writer->rewound.unused) {
    writer->rewound.write_pos = LOAD(writer->ring.oieb->payload_write_pos, relaxed);
    writer->rewound.read_pos = LOAD(writer->ring.oieb->payload_read_pos, relaxed);
    writer->rewound.unused = true;
  }
  ZB_POINT(rewind_read);
  /* relaxed: the next publication (release) orders both, and the reader loads neither before it */
  STORE(writer->ring.oieb->payload_read_pos, 0, relaxed);
  ZB_POINT(rewind_write);
  STORE(writer->ring.oieb->payload_write_pos, 0, relaxed);
  writer->write_pos = 0;
  writer->keep_warm = zb_keep_warm_start(&writer->ring);
}

int32_t zb_writer_open(zb_memory *memory, zb_semaphore *written, zb_semaphore *released, uint64_t reader_pid,
                       double sequence, int32_t wait, zb_writer **result) {
  struct ring ring;
  if (!zb_ring_open(&ring, memory, written, released)) return ZB_BAD_CONTROL;
  uint64_t write_pos = LOAD(ring.oieb->payload_write_pos, relaxed);
  if (write_pos > ring.payload_size) return ZB_BAD_CONTROL;
  zb_writer *writer = ZB_CALL(writer_allocate, calloc(1, sizeof *writer), NULL);
  if (writer == NULL) return ZB_NO_MEMORY;
  writer->ring = ring;
  writer->ring.idle = zb_idle_start(&ring.oieb->reader_pid, wait);
  writer->write_pos =
      write_pos == ring.payload_size ? 0 : write_pos; /* a v1 writer leaves P after an exact fit */
  writer->written_count = LOAD(ring.oieb->payload_written_count, relaxed);
  writer->view.sequence = sequence;
  /* A v1 reader may still want the metadata of the last writer. */
  if (zb_is_reader_ours(ring.oieb)) zb_metadata_withdraw(ring.oieb, ring.metadata_size);
  writer->reader_pid = reader_pid;
  writer->own_pid = LOAD(ring.oieb->writer_pid, relaxed);
  /* The ring is empty: those of earlier writers are counted. */
  writer->descriptors = LOAD(ring.oieb->released_descriptors, acquire);
  writer->peer_seen_ns = zb_now_coarse_ns();
  writer->keep_warm = zb_keep_warm_start(&writer->ring);
  writer->free_after_publish = LOAD(ring.oieb->payload_free_bytes, acquire);
  if (writer->free_after_publish == ring.payload_size) {
    empty_semaphore(written);
    rewind_ring(writer);
  }
  zb_populating_start(&writer->ring);
  zb_resource_add(&writer->resource, close_resource);
  *result = writer;
  return ZB_OK;
}

void zb_writer_close(zb_writer *writer) {
  zb_resource_remove(&writer->resource);
  zb_populating_stop(&writer->ring);
  free(writer);
}

void zb_writer_leave(zb_writer *writer) {
  struct zb_oieb *oieb = writer->ring.oieb;
  if (!writer->rewound.unused || LOAD(oieb->payload_free_bytes, relaxed) != writer->ring.payload_size) return;
  ZB_POINT(leave_positions);
  STORE(oieb->payload_read_pos, writer->rewound.read_pos, relaxed);
  STORE(oieb->payload_write_pos, writer->rewound.write_pos, relaxed);
  writer->rewound.unused = false;
}

/* How many headers are looked at between two looks at the clock. */
enum { HEADERS_AT_ONCE = 1024 };

/* A frame's number beyond this would not be exact as a double. */
static const uint64_t most_sequence = ((uint64_t)1 << 53) - 1;

int32_t zb_ring_follow(zb_memory *memory, struct zb_walk *walk, int32_t slice_us) {
  struct ring ring;
  if (!zb_ring_open(&ring, memory, NULL, NULL)) return ZB_BAD_CONTROL;
  const int64_t deadline_ns = zb_now_ns() + (int64_t)slice_us * 1000;
  uint64_t end = LOAD(ring.oieb->payload_read_pos, relaxed);
  uint64_t position = (uint64_t)walk->position, sequence = (uint64_t)walk->sequence;
  if (LOAD(ring.oieb->payload_written_count, relaxed) == 0)
    end = position = sequence = 0;
  else if (end == 0)
    end = ring.payload_size;
  if (end > ring.payload_size) return ZB_BAD_CONTROL;
  for (int count = 1; position != end; count++) {
    if (position > end || end - position <= HEADER) return ZB_BAD_SEQUENCE;
    struct zb_frame_header header = load_header(ring.payload + position);
    if (header.size < 1 || header.size > end - position - HEADER) return ZB_BAD_SEQUENCE;
    if (header.sequence == 0 || header.sequence > most_sequence) return ZB_BAD_SEQUENCE;
    if (sequence != 0 && header.sequence != sequence + 1) return ZB_BAD_SEQUENCE;
    sequence = header.sequence;
    position += HEADER + header.size;
    if (count % HEADERS_AT_ONCE == 0 && zb_now_ns() >= deadline_ns) break;
  }
  walk->position = (double)position;
  walk->sequence = (double)(position == end ? sequence + 1 : sequence);
  return position == end ? ZB_OK : ZB_AGAIN;
}

void zb_writer_peer(zb_writer *writer, uint64_t reader_pid) {
  writer->reader_pid = reader_pid;
  writer->pid_lost = false;
  writer->peer_seen_ns = zb_now_coarse_ns();
}

/* One pass of docs/protocol.md, section 2, steps 1 to 4. The frame follows the staged ones, whose publication will
 * leave `free_bytes`. ZB_AGAIN: there is too little room. */
static int32_t place(zb_writer *writer, uint64_t size, uint64_t free_bytes) {
  const uint64_t payload_size = writer->ring.payload_size;
  const uint64_t total = HEADER + size;
  bool empty = free_bytes == payload_size;
  if (empty && (writer->write_pos != 0 || LOAD(writer->ring.oieb->payload_read_pos, relaxed) != 0))
    rewind_ring(writer);

  uint64_t position = writer->write_pos, waste = 0;
  uint64_t to_end = payload_size - position;
  bool here = total <= to_end && (to_end == total || to_end - total >= HEADER);
  if (!here && to_end >= HEADER && total <= payload_size - to_end) {
    position = 0;
    waste = to_end;
  } else if (!here && !empty) {
    return ZB_AGAIN; /* the frame only fits at the start of an empty ring */
  }
  if (free_bytes < waste + total) return ZB_AGAIN;

  if (waste > 0) {
    ZB_POINT(write_marker);
    store_header(writer->ring.payload + writer->write_pos, 0, 0);
  }
  zb_populate_to(&writer->ring, position + total, true);
  writer->acquired.position = position;
  writer->acquired.size = size;
  writer->acquired.waste = waste;
  writer->view.offset = writer->ring.payload_offset + (double)(position + HEADER);
  return ZB_OK;
}

/* A pass for a frame with nothing staged before it. ZB_PEER_CHECK: the caller has to look at the reader. */
static int32_t place_first(zb_writer *writer, uint64_t size) {
  /* acquire: pairs with the reader's addition, so that its reads are done before this side overwrites the bytes */
  uint64_t free_bytes = LOAD(writer->ring.oieb->payload_free_bytes, acquire);
  if (free_bytes > writer->ring.payload_size) return ZB_BAD_CONTROL;
  if (writer->pid_lost || !is_same_reader(writer)) return ZB_PEER_CHECK;
  /* More free bytes than after the last publication show that the reader lives. */
  if (free_bytes == writer->free_after_publish && !reader_seen_lately(writer)) return ZB_PEER_CHECK;
  const bool is_full = writer->target != NULL && zb_target_is_full(writer->target);
  int32_t code = is_full ? ZB_AGAIN : place(writer, size, free_bytes);
  if (code == ZB_OK) {
    writer->free_when_placed = free_bytes;
    return ZB_OK;
  }
  /* A writer waits only for a reader that the caller has looked at. */
  return reader_seen_lately(writer) ? ZB_AGAIN : ZB_PEER_CHECK;
}

int32_t zb_writer_acquire(zb_writer *writer, double size, int32_t wait_us) {
  int64_t deadline_ns = 0;
  if (writer->target != NULL && !zb_target_collect(writer->target)) return ZB_BAD_CONTROL;
  if (!(size >= 1) || size > (double)(writer->ring.payload_size - HEADER)) return ZB_TOO_LARGE;
  if (writer->keep_warm.since_rewind >= writer->keep_warm.rewind_after) {
    if (wait_us > 0) deadline_ns = zb_now_ns() + (int64_t)wait_us * 1000;
    zb_keep_warm(&writer->keep_warm, &writer->ring, (uint64_t)size, wait_us);
  }
  for (;;) {
    if (is_broken(&writer->ring)) return ZB_BROKEN;
    int32_t code = place_first(writer, (uint64_t)size);
    if (code == ZB_AGAIN) {
      /* Empty the semaphore, then look again: a release after this look leaves a token to wait for. */
      empty_semaphore(writer->ring.released);
      if (writer->target != NULL) zb_sharing_collect(writer->ring.idle.sharing, zb_may_block(wait_us));
      code = place_first(writer, (uint64_t)size);
    }
    if (code != ZB_AGAIN) {
      if (code == ZB_OK) writer->found_full = false;
      /* Truncated memory looks as if its reader had left. */
      return code != ZB_OK && is_broken(&writer->ring) ? ZB_BROKEN : code;
    }
    if (!writer->found_full) writer->view.waits++;
    writer->found_full = true;
    if (wait_us <= 0) return ZB_AGAIN;
    /* A token that makes no room does not extend the wait. */
    int64_t now = zb_now_ns();
    if (deadline_ns == 0) deadline_ns = now + (int64_t)wait_us * 1000;
    if (now >= deadline_ns) return ZB_AGAIN;
    bool slept = false;
    code = zb_idle_await(&writer->ring.idle, writer->ring.released, deadline_ns, &slept);
    if (code != ZB_OK) return code;
  }
}

/* Completes the acquired frame but does not publish it. */
static void stage_as(zb_writer *writer, uint64_t header_size, uint64_t sequence) {
  const uint64_t size = writer->acquired.size, waste = writer->acquired.waste, total = HEADER + size;
  ZB_POINT(write_header);
  store_header(writer->ring.payload + writer->acquired.position, header_size, sequence);
  writer->write_pos = writer->acquired.position + total;
  if (writer->write_pos == writer->ring.payload_size) writer->write_pos = 0;
  writer->written_count += waste > 0 ? 2 : 1;
  writer->acquired.size = 0;
  writer->staged += waste + total;
  writer->staged_frames++;
}

static void stage(zb_writer *writer) {
  stage_as(writer, writer->acquired.size, (uint64_t)writer->view.sequence);
  writer->view.sequence++;
}

/* Publishes the staged frames (docs/protocol.md, section 2, step 5). */
static void publish(zb_writer *writer) {
  struct zb_oieb *oieb = writer->ring.oieb;
  const uint64_t bytes = writer->staged;
  const int32_t frames = writer->staged_frames;
  ZB_POINT(write_positions);
  STORE(oieb->payload_write_pos, writer->write_pos, relaxed);
  STORE(oieb->payload_written_count, writer->written_count, relaxed);
  if (LOAD(oieb->writer_pid, relaxed) != writer->own_pid) writer->pid_lost = true;
  ZB_POINT(write_publish);
  /* release: this is the publication. A reader that sees the space taken sees markers, headers, bytes and positions.
   * Before it, no reader sees anything of these frames, and a killed writer leaves nothing of them. */
  writer->free_after_publish =
      atomic_fetch_sub_explicit((_Atomic(uint64_t) *)&oieb->payload_free_bytes, bytes, memory_order_release) -
      bytes;
  ZB_POINT(write_post);
  semaphore_post(writer->ring.written, frames);
  writer->staged = 0;
  writer->staged_frames = 0;
  writer->rewound.unused = false;
  writer->keep_warm.since_rewind += bytes;
  /* The reader's tokens must not fill their semaphore. Emptying it costs both sides, so do it only now and then. */
  uint32_t before = writer->published;
  writer->published += (uint32_t)frames;
  if (before / tuning.empty_every != writer->published / tuning.empty_every)
    empty_semaphore(writer->ring.released);
}

int32_t zb_writer_commit(zb_writer *writer) {
  if (writer->acquired.size == 0) return ZB_ALREADY;
  stage(writer);
  publish(writer);
  return ZB_OK;
}

void zb_writer_commit_as(zb_writer *writer, uint64_t size, uint64_t sequence) {
  stage_as(writer, size, sequence);
  publish(writer);
}

void zb_writer_cancel(zb_writer *writer) { writer->acquired.size = 0; }

/* The reader's processor has the lines of the lap before in its cache, and memcpy would wait for each of them. */
static void copy_ahead(uint8_t *target, const uint8_t *source, size_t size) {
  const size_t piece = tuning.prefetch_bytes;
  size_t done = 0;
  for (; size - done >= 2 * piece; done += piece) {
    for (size_t line = 0; line < piece; line += 64) zb_prefetch_to_write(target + done + piece + line);
    memcpy(target + done, source + done, piece);
  }
  memcpy(target + done, source + done, size - done);
}

void zb_writer_copy_in(zb_writer *writer, const void *data) {
  ZB_POINT(write_copy);
  uint8_t *target = acquired_bytes(writer);
  const size_t size = writer->acquired.size;
  if (size < tuning.prefetch_least) {
    memcpy(target, data, size);
  } else {
    copy_ahead(target, data, size);
  }
}

HOT int32_t zb_writer_write(zb_writer *writer, const void *data, double size, int32_t wait_us) {
  int32_t code = zb_writer_acquire(writer, size, wait_us);
  if (code != ZB_OK) return code;
  zb_writer_copy_in(writer, data);
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
    zb_writer_copy_in(writer, next);
    next += writer->acquired.size;
    left -= writer->acquired.size;
    stage(writer);
  } while (left > 0 && writer->staged_frames < tuning.group_frames && writer->staged < tuning.group_bytes &&
           place(writer, left < most ? left : most, writer->free_when_placed - writer->staged) == ZB_OK);
  int32_t written = writer->staged_frames;
  publish(writer);
  return written;
}
