/* The part of the ABI that shares payloads (docs/protocol.md, section 10). A frame of one buffer, the source, is passed on
 * through another one, the target, as a descriptor. The forwarder reads the source and writes the targets; the reader of a
 * target has the source mapped and reads the frame there. Only Linux offers it.
 *
 * A zb_target must be closed before its source's reader, and left before its writer is closed. */
#ifndef ZEROBUFFER_SHARING_H
#define ZEROBUFFER_SHARING_H

#include "zerobuffer.h"

/* 1 if this system can share payloads. */
ZB_API int32_t zb_sharing_offered(void);
/* 1 if the memory belongs to the effective user of this process and not everybody may write to it. */
ZB_API int32_t zb_memory_trusted(zb_memory *memory);
/* 1 if a reader has the memory mapped that reads its frames through another buffer, 0 if none has. ZB_UNSUPPORTED. */
ZB_API int32_t zb_memory_shared(zb_memory *memory);
/* 1 if the memory was truncated under its mapping. */
ZB_API int32_t zb_memory_broken(zb_memory *memory);
/* Adds flags to those of the OIEB, atomically. */
ZB_API void zb_oieb_add_flags(zb_memory *memory, uint64_t flags);

/* ---- reading shared frames ------------------------------------------------------------------------------------- */

/* zb_reader_next returns this plus the number of frames if they lie in the memory of the source: their offsets count from
 * its start. Frames of both kinds never come together. */
#define ZB_READ_SHARED 128
/* zb_reader_next returns this for an attachment, whose source is named in the view. It returns the same until
 * zb_reader_answer is called. */
#define ZB_READ_ATTACHMENT 256

/* From now on the reader takes descriptors and attachments. */
ZB_API void zb_reader_take_descriptors(zb_reader *reader);
/* Opens the source of the attachment that zb_reader_next has returned, and locks it as shared; the caller has checked its
 * name. It is readable, and not mapped yet. ZB_NOT_FOUND: the name means no memory or another one. ZB_UNSAFE: it is this
 * reader's own memory, or no plain file. ZB_PERMISSION: as zb_memory_trusted. ZB_UNSUPPORTED. */
ZB_API int32_t zb_reader_open_source(zb_reader *reader, zb_memory **source);
/* Answers the attachment: `source` is its memory, mapped, with a payload of `payload_size` bytes that begins at
 * `payload_offset`. NULL: there is none, or it is refused. The memory has to stay mapped until another answer, or
 * zb_reader_detach, and until none of its frames is lent. ZB_BAD_CONTROL: the payload is not inside the memory; refused. */
ZB_API int32_t zb_reader_answer(zb_reader *reader, zb_memory *source, double payload_offset,
                                double payload_size);
/* Takes the last answer back: nothing is attached any more. */
ZB_API void zb_reader_detach(zb_reader *reader);

/* ---- passing frames on ----------------------------------------------------------------------------------------- */

typedef struct zb_target zb_target;

/* What a target tells, at its address. */
struct zb_target_view {
  double references; /* number of descriptors whose frames the target's reader has not released */
  double failed;     /* the code for good: ZB_BAD_CONTROL, or 0 */
};

/* Adds a target to those of the reader `source`: the buffer that `writer` writes to. From now on, waits of both end also
 * when a target releases a frame. */
ZB_API int32_t zb_target_open(zb_reader *source, zb_writer *writer, zb_target **target);
/* From now on, a write to the target waits, as for room, while its reader holds this many frames. */
ZB_API void zb_target_limit(zb_target *target, double most_references);
/* The writer is about to be closed: no more frames are passed on, and references stay. The target's memory has to stay open
 * until zb_target_close. */
ZB_API void zb_target_leave(zb_target *target);
/* Takes the target away. References that it still has stay for good: for a source that ends. */
ZB_API void zb_target_close(zb_target *target);
/* Writes an attachment of the source `name` with the id `id`, which is even and not 0, if there is room now. With an empty name
 * it takes the last attachment back: then nothing is shared any more, even if there is no room to say so. Codes as
 * zb_writer_write; ZB_AGAIN also while a region is acquired. */
ZB_API int32_t zb_target_attach(zb_target *target, uint64_t id, const char *name);
/* How the target's reader has answered the last attachment: 1 accepted, 0 not yet or none, -1 refused. */
ZB_API int32_t zb_target_answer(zb_target *target);
/* Passes a frame of the source on that is held: the one of index `index`, with its bytes at `offset` from the start of the
 * source's memory. Returns ZB_PASSED_SHARED or ZB_PASSED_COPIED. Waits and codes as zb_writer_write; ZB_ALREADY: the frame is
 * not held. */
ZB_API int32_t zb_target_pass(zb_target *target, uint32_t index, double offset, double size, int32_t wait_us);
#define ZB_PASSED_COPIED 1
#define ZB_PASSED_SHARED 2
/* The target's reader is gone: drops all its references. Returns 0 or ZB_SETTLE_DUE, as zb_reader_release. */
ZB_API int32_t zb_target_drop(zb_target *target);

/* Takes one more reference to a lent frame, so that it stays lent when it is released. ZB_ALREADY: it is not lent. */
ZB_API int32_t zb_reader_hold(zb_reader *reader, uint32_t index);
/* Drops a reference of zb_reader_hold. Returns 0 or ZB_SETTLE_DUE, as zb_reader_release. */
ZB_API int32_t zb_reader_drop(zb_reader *reader, uint32_t index);
/* Notes what the targets have released. With `take`, first takes the tokens of those that are not left: to be done before a
 * sleep until there are more. Returns 0 or ZB_SETTLE_DUE, which may also be due from a wait before. */
ZB_API int32_t zb_reader_collect(zb_reader *reader, int32_t take);

#endif
