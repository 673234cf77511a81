/* Passing frames on (docs/protocol.md, section 10): references of frames, the targets that have them, and many frames at once. */
#include "sharing.h"
#include "fault.h"
#include "reader.h"
#include "tuning.h"
#include "writer.h"

#include <stdlib.h>
#include <string.h>

struct zb_target {
  struct zb_target_view view; /* first: callers read it at the target's address */
  zb_reader *source;
  zb_writer *writer; /* NULL: it has left */
  struct zb_oieb *oieb;
  zb_semaphore *released; /* of the target; not used once the writer has left */
  uint64_t id;            /* of the last attachment; 0: none */
  uint64_t seen;          /* descriptors released, at the last collection */
  uint64_t earlier; /* those of the writer's earlier sources that were not released then: they come first */
  uint32_t *sent;   /* indices of the frames that it holds, modulo its capacity, which is a power of two */
  uint32_t sent_capacity;
  uint32_t first, end; /* of those, modulo 2^32 */
  uint32_t most_references;
  zb_target *next, **link;
  struct zb_resource resource;
};

static uint32_t references(const zb_target *target) { return target->end - target->first; }

/* ---- references ------------------------------------------------------------------------------------------------ */

int32_t zb_reader_hold(zb_reader *reader, uint32_t index) {
  struct lent_frame *frame = lent_at(reader, index);
  if (frame == NULL || frame->references == 0) return ZB_ALREADY;
  frame->references++;
  return ZB_OK;
}

int32_t zb_reader_drop(zb_reader *reader, uint32_t index) {
  struct lent_frame *frame = lent_at(reader, index);
  if (frame != NULL && frame->references > 0) frame->references--;
  return zb_reader_credit(reader);
}

/* Drops the references to the `count` frames that were sent first. */
static void drop(zb_target *target, uint32_t count) {
  zb_reader *source = target->source;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t index = target->sent[target->first++ & (target->sent_capacity - 1)];
    lent_at(source, index)->references--;
  }
  target->view.references = references(target);
  if (count > 0 && zb_reader_credit(source) == ZB_SETTLE_DUE) source->sharing.settle_due = true;
}

bool zb_target_is_full(const zb_target *target) { return references(target) >= target->most_references; }

bool zb_target_collect(zb_target *target) {
  const bool has_left = target->writer == NULL;
  if (references(target) == 0 && has_left) return true;
  /* A reader that has answered an attachment has had its place: with 0 it has left. acquire: it has stored its last count before.
   * So this comes first: a count after the drop below would be impossible. */
  const bool is_reader_gone = LOAD(target->oieb->reader_pid, acquire) == 0;
  /* acquire: pairs with the store of the target's reader, which has read the bytes before it */
  const uint64_t count = LOAD(target->oieb->released_descriptors, acquire);
  const uint64_t more = count - target->seen;
  /* Later writers of the target count on. */
  const bool possible = more <= (has_left ? INT64_MAX : target->earlier + references(target));
  if (!possible) target->view.failed = ZB_BAD_CONTROL;
  if (target->view.failed == 0 && more > 0) {
    const uint64_t earlier = more < target->earlier ? more : target->earlier;
    const uint64_t released = more - earlier;
    target->seen = count;
    target->earlier -= earlier;
    ZB_POINT(collect_drop);
    drop(target, released < references(target) ? (uint32_t)released : references(target));
  }
  if (references(target) > 0 && is_reader_gone) drop(target, references(target));
  return target->view.failed == 0;
}

void zb_sharing_collect(struct sharing *sharing, bool take) {
  for (zb_target *target = sharing->newest; target != NULL; target = target->next) {
    if (references(target) == 0) continue;
    /* First the tokens: those of a release after the collection stay. */
    if (take && target->writer != NULL) empty_semaphore(target->released);
    zb_target_collect(target);
  }
}

int32_t zb_reader_collect(zb_reader *reader, int32_t take) {
  struct sharing *sharing = &reader->sharing;
  zb_sharing_collect(sharing, take != 0);
  const bool due = sharing->settle_due;
  sharing->settle_due = false;
  return due ? ZB_SETTLE_DUE : ZB_OK;
}

int32_t zb_target_drop(zb_target *target) {
  target->id = 0;
  /* Nobody counts on. What was released since the last collection is no more than these. */
  target->seen = LOAD(target->oieb->released_descriptors, acquire);
  target->earlier = 0;
  drop(target, references(target));
  return zb_reader_collect(target->source, 0);
}

/* ---- waiting --------------------------------------------------------------------------------------------------- */

bool zb_sharing_woken(const struct sharing *sharing) {
  for (const zb_target *target = sharing->newest; target != NULL; target = target->next) {
    if (references(target) > 0 && target->view.failed == 0 &&
        LOAD(target->oieb->released_descriptors, relaxed) != target->seen)
      return true;
  }
  return false;
}

/* The most semaphores of one wait. The system takes up to 128. */
#define MOST_SEMAPHORES 64

int32_t zb_sharing_await(const struct sharing *sharing, zb_semaphore *semaphore, int64_t deadline_ns) {
  zb_semaphore *semaphores[MOST_SEMAPHORES] = {semaphore};
  uint32_t count = 1;
  int64_t until_ns = deadline_ns;
  bool are_all = true;
  for (const zb_target *target = sharing->newest; target != NULL; target = target->next) {
    if (references(target) == 0) continue;
    const int64_t linger_ns = zb_now_ns() + tuning.linger_ns;
    if (target->writer == NULL) {
      if (linger_ns < until_ns) until_ns = linger_ns;
    } else if (target->released != semaphore) {
      if (count < MOST_SEMAPHORES)
        semaphores[count++] = target->released;
      else
        are_all = false;
    }
  }
  int32_t code = ZB_UNSUPPORTED;
  if (are_all && count > 1) code = zb_semaphores_await(semaphores, count, until_ns);
  if (code == ZB_UNSUPPORTED) {
    const int64_t slice_ns = zb_now_ns() + tuning.single_wait_ns;
    if (count > 1 && slice_ns < until_ns) until_ns = slice_ns;
    code = zb_semaphore_await(semaphore, until_ns, NULL);
  }
  return code == ZB_AGAIN && until_ns < deadline_ns ? ZB_OK : code;
}

/* ---- targets --------------------------------------------------------------------------------------------------- */

static void close_resource(struct zb_resource *resource) {
  zb_target *target = ZB_RESOURCE_OF(zb_target, resource);
  zb_target_leave(target);
  zb_target_close(target);
}

int32_t zb_target_open(zb_reader *source, zb_writer *writer, zb_target **result) {
  zb_target *target = ZB_CALL(target_allocate, calloc(1, sizeof *target), NULL);
  if (target == NULL) return ZB_NO_MEMORY;
  target->source = source;
  target->writer = writer;
  target->oieb = writer->ring.oieb;
  target->released = writer->ring.released;
  target->most_references = UINT32_MAX;
  target->seen = LOAD(target->oieb->released_descriptors, acquire);
  target->earlier = writer->descriptors - target->seen;
  if (target->earlier > INT64_MAX) target->view.failed = ZB_BAD_CONTROL;
  struct sharing *sharing = &source->sharing;
  sharing->reader = source;
  target->next = sharing->newest;
  target->link = &sharing->newest;
  if (target->next != NULL) target->next->link = &target->next;
  sharing->newest = target;
  source->ring.idle.sharing = sharing;
  writer->ring.idle.sharing = sharing;
  writer->target = target;
  zb_resource_add(&target->resource, close_resource);
  *result = target;
  return ZB_OK;
}

void zb_target_limit(zb_target *target, double most_references) {
  target->most_references = most_references < UINT32_MAX ? (uint32_t)most_references : UINT32_MAX;
}

void zb_target_leave(zb_target *target) {
  if (target->writer == NULL) return;
  target->writer->ring.idle.sharing = NULL;
  target->writer->target = NULL;
  target->writer = NULL;
}

void zb_target_close(zb_target *target) {
  struct sharing *sharing = &target->source->sharing;
  zb_resource_remove(&target->resource);
  *target->link = target->next;
  if (target->next != NULL) target->next->link = target->link;
  if (sharing->newest == NULL) target->source->ring.idle.sharing = NULL;
  free(target->sent);
  free(target);
}

/* Makes room for one more index. */
static bool reserve_sent(zb_target *target) {
  if (references(target) < target->sent_capacity) return true;
  const uint32_t capacity = target->sent_capacity == 0 ? 64 : 2 * target->sent_capacity;
  uint32_t *sent = ZB_CALL(target_reserve, malloc(capacity * sizeof *sent), NULL);
  if (sent == NULL) return false;
  for (uint32_t i = target->first; i != target->end; i++)
    sent[i & (capacity - 1)] = target->sent[i & (target->sent_capacity - 1)];
  free(target->sent);
  target->sent = sent;
  target->sent_capacity = capacity;
  return true;
}

int32_t zb_target_attach(zb_target *target, uint64_t id, const char *name) {
  zb_writer *writer = target->writer;
  const struct zb_object *source = &target->source->ring.memory->object;
  const struct attachment attachment = {id, (uint64_t)source->device, (uint64_t)source->inode};
  size_t length = 0;
  while (length < ZB_NAME_MAX && name[length] != '\0') length++;
  const size_t size = sizeof attachment + length;
  if (writer == NULL) return ZB_ALREADY;
  if (length == 0) target->id = 0;
  /* The program fills a region now. */
  if (writer->acquired.size != 0) return ZB_AGAIN;
  int32_t code = zb_writer_acquire(writer, (double)size, 0);
  if (code != ZB_OK) return code;
  ZB_POINT(attachment_write);
  memcpy(acquired_bytes(writer), &attachment, sizeof attachment);
  memcpy(acquired_bytes(writer) + sizeof attachment, name, length);
  if (length > 0) target->id = id;
  zb_writer_commit_as(writer, SPECIAL | ATTACHMENT | size, 0);
  return ZB_OK;
}

int32_t zb_target_answer(zb_target *target) {
  /* acquire: pairs with the answer of the target's reader, which has mapped the source before */
  const uint64_t answer = LOAD(target->oieb->answer, acquire);
  if (target->id == 0) return 0;
  return answer == target->id ? 1 : answer == target->id + 1 ? -1 : 0;
}

/* ---- passing on ------------------------------------------------------------------------------------------------ */

static bool may_share(zb_target *target, uint64_t size) {
  return size >= tuning.share_least && zb_target_answer(target) == 1 &&
         LOAD(target->oieb->writer_pid, relaxed) == target->writer->own_pid;
}

static void write_descriptor(zb_target *target, uint32_t index, uint64_t offset, uint64_t size) {
  zb_writer *writer = target->writer;
  const struct descriptor descriptor = {target->id, offset, size};
  ZB_POINT(descriptor_write);
  memcpy(acquired_bytes(writer), &descriptor, sizeof descriptor);
  lent_at(target->source, index)->references++;
  writer->descriptors++;
  target->sent[target->end++ & (target->sent_capacity - 1)] = index;
  target->view.references = references(target);
  zb_writer_commit_as(writer, SPECIAL | sizeof descriptor, (uint64_t)writer->view.sequence++);
}

int32_t zb_target_pass(zb_target *target, uint32_t index, double offset, double size, int32_t wait_us) {
  zb_writer *writer = target->writer;
  const struct ring *source = &target->source->ring;
  const struct lent_frame *frame = lent_at(target->source, index);
  if (writer == NULL || frame == NULL || frame->references == 0) return ZB_ALREADY;
  if (size > (double)(writer->ring.payload_size - HEADER)) return ZB_TOO_LARGE;
  const uint64_t position = (uint64_t)(offset - source->payload_offset), length = (uint64_t)size;
  if (!reserve_sent(target)) return ZB_NO_MEMORY;
  for (;;) {
    const bool shares = may_share(target, length);
    int32_t code = zb_writer_acquire(writer, shares ? (double)sizeof(struct descriptor) : size, wait_us);
    if (code != ZB_OK) return code;
    /* The target's reader may have gone while this waited. */
    if (shares && !may_share(target, length)) {
      zb_writer_cancel(writer);
      continue;
    }
    if (shares) {
      write_descriptor(target, index, position, length);
      return ZB_PASSED_SHARED;
    }
    zb_writer_copy_in(writer, source->payload + position);
    zb_writer_commit(writer);
    return ZB_PASSED_COPIED;
  }
}

/* ---- many at once ---------------------------------------------------------------------------------------------- */

/* Passes on a frame that was read, if there is room now. */
static int32_t pass_now(zb_reader *reader, zb_writer *writer, uint32_t index,
                        const struct zb_frame_place *frame) {
  if (writer->target != NULL && writer->target->source == reader)
    return zb_target_pass(writer->target, index, frame->offset, frame->size, 0);
  const uint8_t *bytes = reader->ring.payload + (uint64_t)(frame->offset - reader->ring.payload_offset);
  const int32_t code = zb_writer_write(writer, bytes, frame->size, 0);
  return code == ZB_OK ? ZB_PASSED_COPIED : code;
}

/* Passes on the frames of the last look from number `first` on, as long as that may be, and releases them. Returns the number
 * behind them. */
static int32_t pass_run(zb_reader *reader, zb_writer *writer, int32_t first, int32_t end, int32_t most,
                        double *bytes_left) {
  struct zb_reader_view *view = &reader->view;
  int32_t i = first;
  for (; i < end && view->forwarded < most; i++) {
    const struct zb_frame_place *frame = &view->frames[i];
    const double cost = frame->size + (double)tuning.forward_frame_bytes;
    if (frame->sequence == 1 || cost > *bytes_left) break;
    const uint32_t index = reader->newest - (uint32_t)(end - i);
    const int32_t code = pass_now(reader, writer, index, frame);
    if (code < 0) break;
    *bytes_left -= cost;
    view->forwarded++;
    view->forwarded_bytes += frame->size;
    if (code == ZB_PASSED_SHARED) view->forwarded_shared++;
    if (zb_reader_release(reader, index, 1) == ZB_SETTLE_DUE) view->settle_due = 1;
  }
  return i;
}

int32_t zb_reader_forward(zb_reader *reader, zb_writer *writer, int32_t first, int32_t end, int32_t most,
                          double most_bytes, int32_t wait_us, int32_t slice_us) {
  struct zb_reader_view *view = &reader->view;
  view->forwarded = view->forwarded_bytes = view->forwarded_shared = view->settle_due = 0;
  int64_t now = zb_now_ns();
  const int64_t last_ns = now + (int64_t)slice_us * 1000;
  double bytes_left = most_bytes;
  int32_t code = end;
  for (bool is_last = false; !is_last && view->forwarded < most;) {
    if (first == end) {
      first = end = 0;
      if (view->forwarded > 0) {
        now = zb_now_ns();
        is_last = last_ns - now <= tuning.forward_last_wait_ns;
        wait_us = (int32_t)((is_last ? tuning.forward_last_wait_ns : last_ns - now) / 1000);
      }
      code = zb_reader_next(reader, wait_us, ZB_UNLESS_SURPLUS);
      if (code < 0 || code > ZB_READER_LOOKAHEAD) break;
      end = code;
      if (zb_now_ns() - now >= tuning.forward_pause_ns) bytes_left = most_bytes;
    }
    first = pass_run(reader, writer, first, end, most, &bytes_left);
    if (first < end) break;
  }
  view->left_first = first;
  view->left_end = end;
  return code;
}
