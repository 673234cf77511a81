/* Reading special frames: descriptors of frames in another buffer, and attachments of that buffer (docs/protocol.md, section
 * 10). */
#include "fault.h"
#include "reader.h"
#include "tuning.h"

void zb_reader_take_descriptors(zb_reader *reader) { reader->takes_descriptors = true; }

/* Bytes of the ring, each loaded once. The writer may be hostile, and the check is about the copy. */
static void copy_out(void *target, const uint8_t *at, size_t size) {
  const volatile uint8_t *shared = at;
  for (size_t i = 0; i < size; i++) ((uint8_t *)target)[i] = shared[i];
}

/* What the special bits leave of a size. */
static uint64_t size_of(const struct found *found) { return found->header.size & ~(SPECIAL | ATTACHMENT); }

static bool is_attachment(const struct found *found) { return (found->header.size & ATTACHMENT) != 0; }

/* Checks the header, and refuses it if it is impossible. False also if, without a token, there is no frame yet. */
static bool accept_header(zb_reader *reader, const struct found *found, int64_t unread, int32_t flags) {
  const uint64_t size = size_of(found), sequence = found->header.sequence;
  const bool without_token = (flags & ZB_WITHOUT_TOKEN) != 0;
  bool possible = fits(reader, found->position, size) &&
                  (is_attachment(found) ? size >= sizeof(struct attachment) &&
                                              size - sizeof(struct attachment) <= ZB_NAME_MAX && sequence == 0
                                        : size == sizeof(struct descriptor));
  if (without_token && (!possible || found->waste + HEADER + size > (uint64_t)unread)) return false;
  if (!possible) {
    zb_reader_refuse(reader, ZB_BAD_DESCRIPTOR, found->position, size);
    return false;
  }
  if (is_attachment(found) || follows(reader, sequence)) return true;
  if (without_token) return sequence == 1 && (flags & ZB_NEW_WRITER) != 0;
  if (sequence != 1) zb_reader_refuse(reader, ZB_BAD_SEQUENCE, found->position, sequence);
  return sequence == 1;
}

static int32_t read_attachment(zb_reader *reader, const struct found *found) {
  const uint64_t size = size_of(found), length = size - sizeof(struct attachment);
  const uint8_t *content = reader->ring.payload + found->position + HEADER;
  struct pending *pending = &reader->pending;
  copy_out(&pending->attachment, content, sizeof pending->attachment);
  copy_out(reader->view.source_name, content + sizeof pending->attachment, length);
  reader->view.source_name[length] = '\0';
  const uint64_t id = pending->attachment.id;
  bool possible = id != 0 && id % 2 == 0;
  for (uint64_t i = 0; i < length; i++) possible = possible && reader->view.source_name[i] != '\0';
  if (!possible) return zb_reader_refuse(reader, ZB_BAD_DESCRIPTOR, found->position, size);
  pending->exists = true;
  pending->found = *found;
  pending->size = size;
  return ZB_READ_ATTACHMENT;
}

/* Checks a descriptor, and stores the place of its frame. */
static bool read_descriptor(zb_reader *reader, const struct found *found, struct zb_frame_place *place) {
  struct descriptor descriptor;
  struct source *source = &reader->source;
  copy_out(&descriptor, reader->ring.payload + found->position + HEADER, sizeof descriptor);
  if (source->memory == NULL || descriptor.id != source->id || descriptor.length < 1 ||
      descriptor.length > reader->ring.payload_size - HEADER || descriptor.length > source->payload_size ||
      descriptor.offset > source->payload_size - descriptor.length) {
    zb_reader_refuse(reader, ZB_BAD_DESCRIPTOR, found->position, size_of(found));
    return false;
  }
  const uint64_t end = descriptor.offset + descriptor.length;
  if (end > source->populated) {
    const uint64_t left = source->payload_size - end;
    const uint64_t until = end + (left < tuning.populate_bytes ? left : tuning.populate_bytes);
    uint8_t *payload = (uint8_t *)zb_memory_address(source->memory) + source->payload_offset;
    zb_populate(payload + source->populated, until - source->populated, false);
    source->populated = until;
  }
  place->offset = (double)(source->payload_offset + descriptor.offset);
  place->size = (double)descriptor.length;
  place->sequence = (double)found->header.sequence;
  return true;
}

int32_t zb_reader_read_special(zb_reader *reader, const struct found *first, uint32_t tokens, int64_t unread,
                               int32_t flags) {
  struct found found = *first;
  const bool without_token = (flags & ZB_WITHOUT_TOKEN) != 0;
  uint32_t count = 0, used = 0;
  int32_t result = ZB_OK;
  bool stopped = false;
  do {
    stopped = (found.header.size & SPECIAL) == 0 || (count > 0 && is_attachment(&found));
    if (stopped || !accept_header(reader, &found, unread, flags)) break;
    if (is_attachment(&found)) {
      result = read_attachment(reader, &found);
      used = 1;
      stopped = true;
      break;
    }
    if (!read_descriptor(reader, &found, &reader->view.frames[count])) break;
    unread -= (int64_t)lend(reader, &found, sizeof(struct descriptor), DESCRIPTOR);
    used = ++count;
  } while (count < tokens && unread > 0 && find_header(reader, unread, &found));
  if (!without_token && stopped) reader->kept_tokens = tokens - used;
  if (!without_token && !stopped && reader->failed == ZB_OK) reader->view.surplus_tokens += tokens - used;
  if (count > 0) {
    ZB_POINT(read_descriptors);
    STORE(reader->ring.oieb->payload_read_count, reader->read_count, relaxed);
    return ZB_READ_SHARED + (int32_t)count;
  }
  return result != ZB_OK ? result : reader->failed;
}

int32_t zb_reader_open_source(zb_reader *reader, zb_memory **source) {
  const struct attachment *attachment = &reader->pending.attachment;
  const struct zb_object *own = &reader->ring.memory->object;
  if (!reader->pending.exists) return ZB_NOT_FOUND;
  if (!zb_memory_trusted(reader->ring.memory)) return ZB_PERMISSION;
  if (attachment->device == (uint64_t)own->device && attachment->inode == (uint64_t)own->inode)
    return ZB_UNSAFE;
  return zb_memory_open_source(reader->view.source_name, attachment->device, attachment->inode, source);
}

/* Returns the space of the attachment: now, or with that of the frames before it. */
static void credit_attachment(zb_reader *reader) {
  const struct pending *pending = &reader->pending;
  const uint64_t end = pending->found.position + HEADER + pending->size;
  const uint64_t credit = pending->found.waste + HEADER + pending->size;
  reader->read_pos = end == reader->ring.payload_size ? 0 : end;
  reader->read_count += pending->found.marker ? 2 : 1;
  reader->held += credit;
  STORE(reader->ring.oieb->payload_read_count, reader->read_count, relaxed);
  if (reader->oldest == reader->newest) {
    zb_reader_return_space(reader, credit, end, 1);
    return;
  }
  struct lent_frame *last = lent_at(reader, reader->newest - 1);
  last->credit += credit;
  last->end = end;
  last->extras += POST;
}

int32_t zb_reader_answer(zb_reader *reader, zb_memory *memory, double payload_offset, double payload_size) {
  struct pending *pending = &reader->pending;
  if (!pending->exists) return ZB_ALREADY;
  const uint64_t offset = (uint64_t)payload_offset, size = (uint64_t)payload_size;
  const uint64_t length = memory == NULL ? 0 : memory->object.length;
  const bool accepts = memory != NULL && offset <= length && size <= length - offset;
  const bool takes_back = reader->view.source_name[0] == '\0';
  const uint64_t id = pending->attachment.id;
  reader->source = (struct source){0};
  if (accepts)
    reader->source =
        (struct source){.memory = memory, .id = id, .payload_offset = offset, .payload_size = size};
  ZB_POINT(attachment_answer);
  /* release: the memory is mapped before a descriptor of it is sent */
  STORE(reader->ring.oieb->answer, takes_back ? 0 : accepts ? id : id + 1, release);
  ZB_POINT(attachment_credit);
  credit_attachment(reader);
  pending->exists = false;
  return memory != NULL && !accepts ? ZB_BAD_CONTROL : ZB_OK;
}

void zb_reader_detach(zb_reader *reader) {
  reader->source = (struct source){0};
  ZB_POINT(attachment_detach);
  STORE(reader->ring.oieb->answer, 0, release);
}
