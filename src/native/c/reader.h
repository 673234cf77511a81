/* What reader.c, descriptors.c and sharing.c know of a reader. */
#ifndef ZEROBUFFER_READER_H
#define ZEROBUFFER_READER_H

#include "ring.h"

struct lent_frame {
  uint64_t credit; /* the bytes of the frame, of the wrap before it and of attachments behind it */
  uint64_t end;    /* where that ends; P and not 0 if it ends the ring */
  uint64_t extras; /* DESCRIPTOR if it is one, and POST for each attachment */
  uint32_t
      references; /* PROGRAM until the program releases the frame, and 1 for each descriptor that was sent */
};

#define PROGRAM ((uint32_t)1 << 31)

/* What crediting a frame does besides: sums of these are counts of both. */
#define DESCRIPTOR ((uint64_t)1)
#define POST ((uint64_t)1 << 32)

/* What a reader of descriptors reads frames from. */
struct source {
  zb_memory *memory; /* NULL: nothing is attached */
  uint64_t id;
  uint64_t payload_offset, payload_size; /* from the start of the memory; as they were checked */
  uint64_t populated;                    /* the page table is filled up to this offset in the payload */
};

/* What zb_reader_next finds at the read position. */
struct found {
  uint64_t position, waste;
  bool marker;
  struct zb_frame_header header;
};

/* An attachment that was read and waits for its answer. */
struct pending {
  bool exists;
  struct found found;
  uint64_t size; /* in bytes, behind its header */
  struct attachment attachment;
};

struct sharing {
  zb_reader *reader;
  struct zb_target *newest;
  bool settle_due; /* a collection has found that the caller has to settle */
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
  uint32_t kept_tokens;    /* taken for frames behind one at which reading has stopped */
  int32_t failed;          /* the code of the frame that was refused; the reader stays failed */
  bool settle_due;         /* zb_reader_settle found frames held */
  bool takes_descriptors;
  struct gather gather;
  /* Of a reader that takes descriptors. */
  uint64_t released_descriptors; /* as in the OIEB */
  struct source source;
  struct pending pending;
  struct sharing sharing; /* of a source */
  struct zb_resource resource;
};

/* The bytes at a read position that belong to no frame: a tail too short for a header, which a v1 writer skips without
 * a marker, or everything from a wrap marker to the end. */
static inline uint64_t waste_at(const zb_reader *reader, uint64_t position, bool *marker) {
  uint64_t to_end = reader->ring.payload_size - position;
  *marker = false;
  if (to_end < HEADER) return to_end;
  struct zb_frame_header header = load_header(reader->ring.payload + position);
  *marker = header.size == 0 && header.sequence == 0;
  return *marker ? to_end : 0;
}

/* Finds the next header. False if nothing is unread but the waste of a wrap. */
static inline bool find_header(const zb_reader *reader, int64_t unread, struct found *found) {
  found->position = reader->read_pos;
  found->waste = waste_at(reader, found->position, &found->marker);
  if (unread <= (int64_t)found->waste) return false;
  if (found->waste > 0) found->position = 0;
  found->header = load_header(reader->ring.payload + found->position);
  return true;
}

/* Whether a frame of so many bytes fits between its header and the end of the ring. */
static inline bool fits(const zb_reader *reader, uint64_t position, uint64_t size) {
  const uint64_t most = reader->ring.payload_size - HEADER;
  return size >= 1 && size <= most && size <= most - position;
}

/* Whether the number is that of the next frame. */
static inline bool follows(const zb_reader *reader, uint64_t sequence) {
  return reader->next_sequence == 0 ? sequence != 0 : sequence == reader->next_sequence;
}

/* Notes that the frame, with `size` bytes in the ring, is read and lent. Returns its credit. */
static inline uint64_t lend(zb_reader *reader, const struct found *found, uint64_t size, uint64_t extras) {
  const uint64_t credit = found->waste + HEADER + size, end = found->position + HEADER + size;
  reader->lent[reader->newest++ & (reader->lent_capacity - 1)] =
      (struct lent_frame){.credit = credit, .end = end, .extras = extras, .references = PROGRAM};
  reader->read_pos = end == reader->ring.payload_size ? 0 : end;
  reader->read_count += found->marker ? 2 : 1;
  if (reader->next_sequence != 0) reader->next_sequence = found->header.sequence + 1;
  reader->held += credit;
  return credit;
}

/* The lent frame of an index; NULL if there is none. */
static inline struct lent_frame *lent_at(const zb_reader *reader, uint32_t index) {
  if (index - reader->oldest >= reader->newest - reader->oldest) return NULL;
  return &reader->lent[index & (reader->lent_capacity - 1)];
}

/* reader.c */

/* Notes a refused frame, and returns the code. */
int32_t zb_reader_refuse(zb_reader *reader, int32_t code, uint64_t position, uint64_t found);
/* Returns the space of the oldest frames without references. 0 or ZB_SETTLE_DUE. */
int32_t zb_reader_credit(zb_reader *reader);
/* Returns space up to `end` to the writer, with so many posts. */
void zb_reader_return_space(zb_reader *reader, uint64_t credit, uint64_t end, uint32_t posts);

/* descriptors.c */

/* Reads descriptors, up to `tokens`, or the attachment at the read position. `found` is a special frame. Returns as
 * zb_reader_next; 0: without a token, there is none. */
int32_t zb_reader_read_special(zb_reader *reader, const struct found *found, uint32_t tokens, int64_t unread,
                               int32_t flags);

#endif
