/* Attachments and descriptors as the reader of a target finds them, and impossible ones (docs/protocol.md, section 10). */
#include "passing.h"

#include <sys/stat.h>

TEST(an_attachment_is_credited_with_the_frames_before_it_and_answered_before_that) {
  struct passing passing;
  open_passing(&passing, 65536, 16384);
  struct ring *target = &passing.target;
  EQUAL(word(&target->oieb->payload_free_bytes), 16384);
  EQUAL(zb_semaphore_value(target->released), 1);
  OK(write_frame(target, 24, 1));
  OK(zb_target_attach(passing.passed, ID + 2, passing.source.name));
  OK(write_frame(target, 24, 2));
  EQUAL(zb_reader_next(target->reader, 0, 0), 1);
  const uint64_t free_bytes = word(&target->oieb->payload_free_bytes);
  EQUAL(zb_target_answer(passing.passed), 0);
  EQUAL(zb_reader_next(target->reader, 0, 0), ZB_READ_ATTACHMENT);
  EQUAL(zb_reader_next(target->reader, 0, 0), ZB_READ_ATTACHMENT);
  OK(zb_reader_answer(target->reader, NULL, 0, 0));
  EQUAL(zb_target_answer(passing.passed), -1);
  EQUAL(word(&target->oieb->answer), ID + 3);
  EQUAL(word(&target->oieb->payload_free_bytes), free_bytes);
  read_frame(target, 24, 2);
  EQUAL(target->view->surplus_tokens, 0);
  OK(zb_reader_release(target->reader, 0, 1));
  EQUAL(word(&target->oieb->payload_free_bytes), 16384 - HEADER - 24);
  OK(zb_reader_release(target->reader, 1, 1));
  EQUAL(zb_semaphore_value(target->released), 4);
  /* Refused: from now on frames are copied. */
  EQUAL(pass(&passing, 2048, 1), ZB_PASSED_COPIED);
  OK(zb_target_attach(passing.passed, ID + 4, ""));
  EQUAL(zb_reader_next(target->reader, 0, 0), 1);
  EQUAL(zb_reader_next(target->reader, 0, 0), ZB_READ_ATTACHMENT);
  EQUAL(target->view->source_name[0], 0);
  OK(zb_reader_answer(target->reader, NULL, 0, 0));
  EQUAL(word(&target->oieb->answer), 0);
  close_passing(&passing);
}

/* ---- impossible special frames --------------------------------------------------------------------------------- */

struct descriptor {
  uint64_t id, offset, length;
};

/* A descriptor as a hostile writer puts it into the empty ring. */
static void put_descriptor(struct passing *passing, uint64_t header, uint64_t sequence,
                           const struct descriptor *descriptor) {
  put_header(&passing->target, 0, header, sequence);
  memcpy(passing->target.payload + HEADER, descriptor, sizeof *descriptor);
  set_word(&passing->target.oieb->payload_read_pos, 0);
  publish(&passing->target, HEADER + sizeof *descriptor, 1);
}

static int32_t read_hostile(uint64_t header, uint64_t sequence, uint64_t id, uint64_t offset,
                            uint64_t length) {
  struct passing passing;
  open_passing(&passing, 65536, 16384);
  put_descriptor(&passing, header, sequence, &(struct descriptor){id, offset, length});
  int32_t code = zb_reader_next(passing.target.reader, 0, 0);
  if (code < 0) {
    EQUAL(passing.target.view->fault_position, 0);
    EQUAL(zb_reader_next(passing.target.reader, 0, 0), code);
  }
  close_passing(&passing);
  return code;
}

TEST(a_descriptor_is_refused_for_good_unless_it_lies_in_the_attached_payload) {
  const uint64_t is_descriptor = SPECIAL | 24;
  EQUAL(read_hostile(is_descriptor, 1, ID, 0, 1), ZB_READ_SHARED + 1);
  EQUAL(read_hostile(is_descriptor, 1, ID, 65535, 1), ZB_READ_SHARED + 1);
  EQUAL(read_hostile(is_descriptor, 1, ID, 0, 16384 - 16), ZB_READ_SHARED + 1);
  EQUAL(read_hostile(is_descriptor, 1, ID, 65536 - 8192, 8192), ZB_READ_SHARED + 1);
  EQUAL(read_hostile(is_descriptor, 2, ID, 0, 1), ZB_BAD_SEQUENCE);
  const struct {
    uint64_t header, id, offset, length;
  } wrong[] = {
      {is_descriptor, ID + 1, 0, 1},
      {is_descriptor, 0, 0, 1},
      {is_descriptor, ID, 0, 0},
      {is_descriptor, ID, 0, 16384 - 15},
      {is_descriptor, ID, 65536, 1},
      {is_descriptor, ID, 65535, 2},
      {is_descriptor, ID, UINT64_MAX, 1},
      {is_descriptor, ID, UINT64_MAX - 1, 2},
      {is_descriptor, ID, 0, UINT64_MAX},
      {is_descriptor, ID, (uint64_t)1 << 63, (uint64_t)1 << 63},
      {SPECIAL | 23, ID, 0, 1},
      {SPECIAL | 25, ID, 0, 1},
      {SPECIAL, ID, 0, 1},
      {SPECIAL | (uint64_t)1 << 61 | 24, ID, 0, 1},
      {SPECIAL | ATTACHMENT | 23, ID, 0, 1},
      {SPECIAL | ATTACHMENT | 24, ID, 0, 1}, /* its sequence is not 0 */
  };
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    EQUAL(read_hostile(wrong[i].header, 1, wrong[i].id, wrong[i].offset, wrong[i].length), ZB_BAD_DESCRIPTOR);
  EQUAL(read_hostile(SPECIAL | ATTACHMENT | 24, 0, ID, 0, 0), ZB_READ_ATTACHMENT);
  EQUAL(read_hostile(SPECIAL | ATTACHMENT | 24, 0, ID + 1, 0, 0), ZB_BAD_DESCRIPTOR);
  EQUAL(read_hostile(SPECIAL | ATTACHMENT | 24, 0, 0, 0, 0), ZB_BAD_DESCRIPTOR);
  EQUAL(read_hostile(ATTACHMENT | 24, 1, ID, 0, 1), ZB_BAD_FRAME);
}

TEST(a_descriptor_is_checked_by_the_sizes_that_the_source_had_when_it_was_attached) {
  const struct descriptor beyond[] = {{ID, 0, 4097}, {ID, 4096, 1}, {ID, 4096 - 100, 8192}};
  for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
    struct passing passing;
    open_passing(&passing, 4096, 16384);
    set_word(&passing.source.oieb->payload_size, (uint64_t)1 << 40);
    put_descriptor(&passing, SPECIAL | 24, 1, &beyond[i]);
    EQUAL(zb_reader_next(passing.target.reader, 0, 0), ZB_BAD_DESCRIPTOR);
    set_word(&passing.source.oieb->payload_size, 4096);
    close_passing(&passing);
  }
}

TEST(a_descriptor_without_a_source_is_refused) {
  struct passing passing;
  open_passing(&passing, 65536, 16384);
  zb_reader_detach(passing.target.reader);
  EQUAL(word(&passing.target.oieb->answer), 0);
  put_descriptor(&passing, SPECIAL | 24, 1, &(struct descriptor){0, 0, 1});
  EQUAL(zb_reader_next(passing.target.reader, 0, 0), ZB_BAD_DESCRIPTOR);
  close_passing(&passing);
}

TEST(a_special_frame_that_ends_beyond_the_ring_is_refused) {
  struct passing passing;
  open_passing(&passing, 65536, 16384);
  struct ring *target = &passing.target;
  /* One frame is held, so that the next one is read where it ends. */
  const uint64_t at = 16384 - 32;
  put_frame(target, 0, at - HEADER, 1);
  set_word(&target->oieb->payload_read_pos, 0);
  publish(target, at, 1);
  read_frame(target, at - HEADER, 1);
  /* Its last 8 bytes are behind the ring, in the same page. */
  put_header(target, at, SPECIAL | 24, 2);
  memcpy(target->payload + at + HEADER, &(struct descriptor){ID, 0, 1}, sizeof(struct descriptor));
  publish(target, 32, 1);
  EQUAL(zb_reader_next(target->reader, 0, 0), ZB_BAD_DESCRIPTOR);
  EQUAL(target->view->fault_position, at);
  close_passing(&passing);
}

TEST(a_reader_that_takes_no_descriptors_refuses_special_frames) {
  struct ring ring;
  open_ring(&ring, 4096);
  put_header(&ring, 0, SPECIAL | 24, 1);
  publish(&ring, HEADER + 24, 1);
  EQUAL(zb_reader_next(ring.reader, 0, 0), ZB_BAD_FRAME);
  close_ring(&ring);
}

TEST(a_name_that_is_too_long_is_refused) {
  for (uint64_t length = ZB_NAME_MAX; length <= ZB_NAME_MAX + 1; length++) {
    struct passing passing;
    open_passing(&passing, 65536, 16384);
    struct ring *target = &passing.target;
    const struct descriptor attachment = {ID, 0, 0};
    memset(target->payload + HEADER + sizeof attachment, 'a', length);
    put_descriptor(&passing, SPECIAL | ATTACHMENT | (sizeof attachment + length), 0, &attachment);
    publish(target, length, 0);
    EQUAL(zb_reader_next(target->reader, 0, 0),
          length == ZB_NAME_MAX ? ZB_READ_ATTACHMENT : ZB_BAD_DESCRIPTOR);
    close_passing(&passing);
  }
}

TEST(a_name_with_a_zero_byte_is_refused) {
  struct passing passing;
  open_passing(&passing, 65536, 16384);
  OK(zb_target_attach(passing.passed, ID + 2, passing.source.name));
  passing.target.payload[HEADER + 24 + strlen(passing.source.name) - 1] = 0;
  EQUAL(zb_reader_next(passing.target.reader, 0, 0), ZB_BAD_DESCRIPTOR);
  close_passing(&passing);
}

/* ---- the memory of an attachment ------------------------------------------------------------------------------- */

static struct stat status_of(const char *path) {
  struct stat status;
  EQUAL(stat(path, &status), 0);
  return status;
}

/* Attaches memory of this name that means this file, and returns what opening it returns. */
static int32_t open_attached(struct passing *passing, const char *name, struct stat file) {
  zb_memory *memory = NULL;
  const uint64_t means[] = {(uint64_t)file.st_dev, (uint64_t)file.st_ino};
  OK(zb_target_attach(passing->passed, ID + 2, name));
  memcpy(passing->target.payload + HEADER + 8, means, sizeof means);
  EQUAL(zb_reader_next(passing->target.reader, 0, 0), ZB_READ_ATTACHMENT);
  int32_t code = zb_reader_open_source(passing->target.reader, &memory);
  if (memory != NULL) zb_memory_close(memory);
  OK(zb_reader_answer(passing->target.reader, NULL, 0, 0));
  return code;
}

TEST(only_the_memory_that_an_attachment_means_is_opened) {
  struct passing passing;
  open_passing(&passing, 65536, 16384);
  const char *source = passing.source.name, *target = passing.target.name;
  const struct stat file = status_of(shm_path("", source));
  zb_memory *memory;
  EQUAL(zb_reader_open_source(passing.target.reader, &memory), ZB_NOT_FOUND); /* there is none */
  OK(open_attached(&passing, source, file));
  EQUAL(open_attached(&passing, "no-such-buffer", file), ZB_NOT_FOUND);
  EQUAL(open_attached(&passing, target, file), ZB_NOT_FOUND);
  struct stat other = file;
  other.st_ino++;
  EQUAL(open_attached(&passing, source, other), ZB_NOT_FOUND);
  other = file;
  other.st_dev++;
  EQUAL(open_attached(&passing, source, other), ZB_NOT_FOUND);
  EQUAL(open_attached(&passing, target, status_of(shm_path("", target))), ZB_UNSAFE);
  close_passing(&passing);
}

TEST(a_link_to_the_memory_that_an_attachment_means_and_what_is_no_file_are_refused) {
  struct passing passing;
  open_passing(&passing, 65536, 16384);
  char path[128], name[64];
  snprintf(name, sizeof name, "%s", unique_name());
  snprintf(path, sizeof path, "%s", shm_path("", name));
  EQUAL(symlink(passing.source.name, path), 0);
  EQUAL(open_attached(&passing, name, status_of(path)), ZB_UNSAFE);
  EQUAL(unlink(path), 0);
  EQUAL(mkdir(path, 0700), 0);
  EQUAL(open_attached(&passing, name, status_of(path)), ZB_UNSAFE);
  EQUAL(rmdir(path), 0);
  EQUAL(mkfifo(path, 0600), 0);
  EQUAL(open_attached(&passing, name, status_of(path)), ZB_UNSAFE);
  EQUAL(unlink(path), 0);
  close_passing(&passing);
}

TEST(a_payload_that_is_not_inside_the_memory_is_refused) {
  const double places[][2] = {{128, 65536 + 65}, {65537 + 128 + 64, 0}, {128 + 64, 1e15}, {1e15, 1}};
  for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
    struct passing passing;
    open_passing(&passing, 65536, 16384);
    OK(zb_target_attach(passing.passed, ID + 2, passing.source.name));
    EQUAL(zb_reader_next(passing.target.reader, 0, 0), ZB_READ_ATTACHMENT);
    EQUAL(zb_reader_answer(passing.target.reader, passing.mapped, places[i][0], places[i][1]),
          ZB_BAD_CONTROL);
    EQUAL(zb_target_answer(passing.passed), -1);
    put_descriptor(&passing, SPECIAL | 24, 1, &(struct descriptor){ID + 2, 0, 1});
    EQUAL(zb_reader_next(passing.target.reader, 0, 0), ZB_BAD_DESCRIPTOR);
    close_passing(&passing);
  }
}

TEST(memory_that_others_may_write_to_or_own_is_refused_in_both_places) {
  struct passing passing;
  open_passing(&passing, 65536, 16384);
  const char *source = passing.source.name;
  char paths[2][128];
  snprintf(paths[0], sizeof paths[0], "%s", shm_path("", source));
  snprintf(paths[1], sizeof paths[1], "%s", shm_path("", passing.target.name));
  for (int i = 0; i < 2; i++) {
    EQUAL(chmod(paths[i], 0602), 0);
    EQUAL(open_attached(&passing, source, status_of(paths[0])), ZB_PERMISSION);
    EQUAL(chmod(paths[i], 0660), 0);
    OK(open_attached(&passing, source, status_of(paths[0])));
    if (geteuid() != 0) {
      printf("only root can give a file away\n");
      continue;
    }
    EQUAL(chown(paths[i], 65534, 0), 0);
    EQUAL(open_attached(&passing, source, status_of(paths[0])), ZB_PERMISSION);
    EQUAL(chown(paths[i], 0, 0), 0);
  }
  close_passing(&passing);
}
