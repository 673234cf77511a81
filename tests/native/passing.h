/* A source that is passed on to a target. */
#ifndef TEST_PASSING_H
#define TEST_PASSING_H

#include "linux.h"

#define HEADER 16u
#define SPECIAL ((uint64_t)1 << 63)
#define ATTACHMENT ((uint64_t)1 << 62)

/* The id of the first attachment. */
#define ID 4242u
/* The size of a frame that is shared, and its space in a ring. */
#define SIZE 8192u
#define SPACE (HEADER + SIZE)

/* A source that is passed on to one target, in this process. */
struct passing {
  struct ring source, target;
  zb_memory *mapped; /* the source, as the target's reader has it */
  zb_target *passed;
};

/* Their readers have agreed to share. */
void open_passing(struct passing *passing, uint64_t source_size, uint64_t target_size);
void close_passing(struct passing *passing);

/* Writes frame `sequence` to the source, reads it there and passes it on without waiting. */
int32_t pass(struct passing *passing, uint64_t size, uint64_t sequence);
/* Passes the frame that the source has read last on, once more. */
int32_t pass_again(struct passing *passing, uint64_t sequence, int32_t wait_us);
/* Expects one shared frame, with its bytes. */
void read_shared(struct passing *passing, uint64_t size, uint64_t sequence);

/* Descriptors that the target's reader has not released. */
double references(const struct passing *passing);
/* Bytes of the source's ring that are in use. */
uint64_t used(struct passing *passing);

#endif
