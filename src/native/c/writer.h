/* What writer.c and sharing.c know of a writer. */
#ifndef ZEROBUFFER_WRITER_H
#define ZEROBUFFER_WRITER_H

#include "ring.h"

struct zb_writer {
  struct zb_writer_view view; /* first: callers read it at the writer's address */
  struct ring ring;
  uint64_t write_pos;
  uint64_t written_count;
  uint32_t published; /* frames so far, modulo 2^32 */
  uint64_t
      free_after_publish;    /* bytes right after the last publication; the reader has added any more since */
  uint64_t free_when_placed; /* bytes that place_first last found */
  uint64_t reader_pid;
  int64_t peer_seen_ns;
  uint64_t own_pid;
  bool pid_lost; /* somebody has overwritten own_pid in the OIEB */
  struct {
    bool unused; /* no frame has been published since */
    uint64_t write_pos, read_pos;
  } rewound;       /* the positions before the last rewind */
  bool found_full; /* the current frame is already counted in view.waits */
  struct {
    uint64_t position, size, waste;
  } acquired;            /* size 0: none */
  uint64_t staged;       /* bytes of frames that are written and not yet published, wrap waste included */
  int32_t staged_frames; /* the number of those frames */
  struct keep_warm keep_warm;
  zb_target *target;    /* the source that frames are shared of; NULL: none */
  uint64_t descriptors; /* how many are released once the reader has released all that this writer has sent */
  struct zb_resource resource;
};

/* writer.c */

/* Where the bytes of the acquired frame are. */
static inline uint8_t *acquired_bytes(const struct zb_writer *writer) {
  return writer->ring.payload + writer->acquired.position + HEADER;
}
/* Copies the bytes of the acquired frame into the ring. */
void zb_writer_copy_in(zb_writer *writer, const void *data);
/* Publishes the acquired frame with this header, whose size may have special bits. */
void zb_writer_commit_as(zb_writer *writer, uint64_t size, uint64_t sequence);

#endif
