/* Objects, the OIEB, metadata and locks, as every system has them (docs/protocol.md, sections 1, 4 and 7). */
#include "test.h"

/* ---- the library --------------------------------------------------------------------------------------------- */

TEST(the_abi_version_is_that_of_the_header) { EQUAL(zb_abi_version(), ZB_ABI_VERSION); }

TEST(a_sleep_takes_as_long_as_asked) {
  int64_t start = zb_now_ns();
  OK(zb_sleep(20000));
  CHECK(elapsed_ms(start) >= 19);
}

/* ---- shared memory ------------------------------------------------------------------------------------------- */

TEST(memory_is_made_once_with_all_its_bytes_zero_and_opened_whole) {
  zb_memory *memory, *second;
  char name[64];
  snprintf(name, sizeof name, "%s", unique_name());
  EQUAL(open_memory(name, &memory), ZB_NOT_FOUND);
  OK(make_memory(name, 100032, -1, &memory));
  EQUAL(make_memory(name, 4096, -1, &second), ZB_EXISTS);
  EQUAL(zb_memory_size(memory), 100032);
  uint8_t *bytes = zb_memory_address(memory);
  for (int i = 0; i < 100032; i++) CHECK(bytes[i] == 0);
  EQUAL(zb_memory_owned(memory), 1);
  OK(zb_memory_named(memory));
  bytes[100031] = 7;
  OK(open_memory(name, &second));
  CHECK(zb_memory_size(second) >= 100032);
  CHECK(zb_memory_address(second) != (void *)bytes);
  EQUAL(((uint8_t *)zb_memory_address(second))[100031], 7);
  zb_memory_close(second);
  OK(zb_memory_unlink(memory));
  zb_memory_close(memory);
  EQUAL(open_memory(name, &memory), ZB_NOT_FOUND);
}

TEST(memory_that_there_is_no_space_for_is_refused) {
  zb_memory *memory;
  const char *name = unique_name();
  EQUAL(zb_memory_create(name, (uint64_t)1 << 60, -1, &memory), ZB_NO_SPACE);
  EQUAL(zb_memory_create(name, UINT64_MAX, -1, &memory), ZB_NO_SPACE);
  EQUAL(open_memory(name, &memory), ZB_NOT_FOUND);
}

TEST(a_role_is_held_here_only_by_another_mapping_of_the_same_memory) {
  struct ring ring, stranger;
  zb_memory *second;
  const uint64_t pid = (uint64_t)getpid();
  open_buffer(&ring, 64, 256);
  open_buffer(&stranger, 64, 256);
  OK(open_memory(ring.name, &second));
  EQUAL(zb_memory_held_here(second, ZB_READER), 1); /* ring's creation */
  EQUAL(zb_memory_held_here(ring.memory, ZB_READER), 0);
  EQUAL(zb_memory_held_here(second, ZB_WRITER), 0);
  OK(zb_oieb_claim(second, ZB_WRITER, 0, pid));
  EQUAL(zb_memory_held_here(ring.memory, ZB_WRITER), 1);
  EQUAL(zb_memory_held_here(stranger.memory, ZB_WRITER), 0);
  OK(zb_oieb_claim(second, ZB_WRITER, pid, 0));
  EQUAL(zb_memory_held_here(ring.memory, ZB_WRITER), 0);
  OK(zb_oieb_claim(second, ZB_WRITER, 0, pid));
  zb_memory_close(second);
  EQUAL(zb_memory_held_here(ring.memory, ZB_WRITER), 0);
  OK(open_memory(ring.name, &second));
  EQUAL(zb_memory_held_here(ring.memory, ZB_WRITER), 0);
  zb_memory_close(second);
  close_ring(&ring);
  close_ring(&stranger);
}

/* ---- the OIEB ------------------------------------------------------------------------------------------------ */

TEST(a_new_oieb_holds_what_the_protocol_says) {
  struct ring ring;
  uint64_t words[16];
  open_buffer(&ring, 64, 256);
  zb_oieb_load(ring.memory, words);
  const uint64_t expected[16] = {(uint64_t)1 << 32 | 128, 64, 64, 0, 256, 256, 0, 0, 0, 0, 0,
                                 (uint64_t)getpid()};
  EQUAL(memcmp(words, expected, sizeof words), 0);
  close_ring(&ring);
}

TEST(an_oieb_has_its_size_only_once_it_is_published) {
  zb_memory *memory, *peer;
  uint64_t words[16];
  const uint64_t pid = (uint64_t)getpid();
  const char *name = unique_name();
  OK(zb_memory_create(name, sizeof(struct zb_oieb) + 64 + 256, 0600, &memory));
  zb_oieb_fill(memory, 64, 256, ZB_WRITER, pid, ZB_FLAG_CREATED_BY_WRITER);
  zb_oieb_load(memory, words);
  const uint64_t expected[16] = {(uint64_t)1 << 32, 64, 64, 0, 256, 256, 0, 0, 0, 0, pid, 0, 0, 0, 0, 1};
  EQUAL(memcmp(words, expected, sizeof words), 0);
  OK(zb_memory_link(memory));
  OK(open_memory(name, &peer));
  EQUAL(zb_memory_held_here(peer, ZB_WRITER), 1);
  EQUAL(zb_memory_held_here(peer, ZB_READER), 0);
  zb_oieb_publish(memory);
  zb_oieb_load(peer, words);
  EQUAL(words[0], (uint64_t)1 << 32 | 128);
  OK(zb_memory_unlink(memory));
  zb_memory_close(peer);
  zb_memory_close(memory);
}

TEST(a_pid_is_taken_only_from_the_expected_one) {
  struct ring ring;
  open_buffer(&ring, 64, 256);
  EQUAL(zb_oieb_claim(ring.memory, ZB_WRITER, 5, 6), ZB_EXISTS);
  OK(zb_oieb_claim(ring.memory, ZB_WRITER, 0, 5));
  EQUAL(zb_oieb_claim(ring.memory, ZB_WRITER, 0, 6), ZB_EXISTS);
  EQUAL(ring.oieb->writer_pid, 5);
  OK(zb_oieb_claim(ring.memory, ZB_WRITER, 5, 0));
  EQUAL(ring.oieb->writer_pid, 0);
  OK(zb_oieb_claim(ring.memory, ZB_READER, (uint64_t)getpid(), 9));
  EQUAL(ring.oieb->reader_pid, 9);
  close_ring(&ring);
}

TEST(a_pid_that_somebody_has_zeroed_is_put_back_and_that_of_another_peer_is_left_alone) {
  struct ring ring;
  open_buffer(&ring, 64, 256);
  OK(zb_oieb_claim(ring.memory, ZB_WRITER, 0, 5));
  EQUAL(zb_oieb_restore(ring.memory, ZB_WRITER, 5), 1);
  set_word(&ring.oieb->writer_pid, 0);
  EQUAL(zb_oieb_restore(ring.memory, ZB_WRITER, 5), 1);
  EQUAL(ring.oieb->writer_pid, 5);
  set_word(&ring.oieb->writer_pid, 6);
  EQUAL(zb_oieb_restore(ring.memory, ZB_WRITER, 5), 0);
  EQUAL(ring.oieb->writer_pid, 6);
  set_word(&ring.oieb->reader_pid, 0);
  EQUAL(zb_oieb_restore(ring.memory, ZB_READER, 7), 1);
  EQUAL(ring.oieb->reader_pid, 7);
  EQUAL(ring.oieb->writer_pid, 6);
  close_ring(&ring);
}

/* ---- metadata ------------------------------------------------------------------------------------------------ */

TEST(metadata_is_written_read_replaced_and_cleared) {
  struct ring ring;
  char bytes[64] = "unchanged";
  open_buffer(&ring, 64, 256);
  EQUAL(zb_metadata_read(ring.memory, bytes, 64), 0);
  CHECK(strcmp(bytes, "unchanged") == 0);
  OK(zb_metadata_write(ring.memory, "first one", 9));
  EQUAL(ring.oieb->metadata_written_bytes, 17);
  EQUAL(ring.oieb->metadata_free_bytes, 64 - 17);
  EQUAL(zb_metadata_read(ring.memory, bytes, 64), 9);
  EQUAL(memcmp(bytes, "first one", 9), 0);
  OK(zb_metadata_write(ring.memory, "2", 1));
  EQUAL(ring.oieb->metadata_free_bytes, 64 - 9);
  EQUAL(zb_metadata_read(ring.memory, bytes, 1), 1);
  EQUAL(bytes[0], '2');
  zb_metadata_clear(ring.memory);
  EQUAL(ring.oieb->metadata_written_bytes, 0);
  EQUAL(ring.oieb->metadata_free_bytes, 64);
  EQUAL(zb_metadata_read(ring.memory, bytes, 64), 0);
  close_ring(&ring);
}

TEST(
    a_writer_withdraws_the_last_ones_metadata_from_a_reader_of_ours_and_leaves_the_bytes_to_who_copies_them) {
  struct ring ring;
  char bytes[64];
  zb_writer *writer;
  open_buffer(&ring, 64, 256);
  OK(zb_metadata_write(ring.memory, "first one", 9));
  const uint64_t flags_of_v1_readers[] = {0, ~(uint64_t)ZB_FLAG_LOCKED_ROLES};
  for (int i = 0; i < 2; i++) {
    set_word(&ring.oieb->flags, flags_of_v1_readers[i]);
    OK(zb_writer_open(ring.memory, ring.written, ring.released, 1, 1, ZB_WAIT_ADAPTIVE, &writer));
    EQUAL(zb_metadata_read(ring.memory, bytes, 64), 9);
    EQUAL(ring.oieb->metadata_free_bytes, 64 - 17);
    zb_writer_close(writer);
  }
  set_word(&ring.oieb->flags, ZB_FLAG_LOCKED_ROLES);
  OK(zb_writer_open(ring.memory, ring.written, ring.released, 1, 1, ZB_WAIT_ADAPTIVE, &writer));
  EQUAL(zb_metadata_read(ring.memory, bytes, 64), 0);
  EQUAL(ring.oieb->metadata_written_bytes, 0);
  EQUAL(ring.oieb->metadata_free_bytes, 64);
  EQUAL(memcmp(ring.oieb + 1, "\x09\0\0\0\0\0\0\0first one", 17), 0);
  zb_writer_close(writer);
  close_ring(&ring);
}

TEST(metadata_may_fill_its_block_less_the_prefix_of_8_bytes) {
  struct ring ring;
  uint8_t bytes[64], copy[64];
  open_buffer(&ring, 64, 256);
  fill(bytes, 64, 1);
  memset(ring.payload, 0xEE, 256);
  EQUAL(zb_metadata_write(ring.memory, bytes, 57), ZB_TOO_LARGE);
  EQUAL(zb_metadata_write(ring.memory, bytes, 1e15), ZB_TOO_LARGE);
  EQUAL(ring.oieb->metadata_written_bytes, 0);
  OK(zb_metadata_write(ring.memory, bytes, 56));
  EQUAL(ring.oieb->metadata_free_bytes, 0);
  EQUAL(zb_metadata_read(ring.memory, copy, 55), ZB_TOO_LARGE);
  EQUAL(zb_metadata_read(ring.memory, copy, 56), 56);
  EQUAL(memcmp(bytes, copy, 56), 0);
  EQUAL(ring.payload[0], 0xEE);
  close_ring(&ring);
}

TEST(a_buffer_without_a_metadata_block_takes_none) {
  struct ring ring;
  uint8_t bytes[8] = {1};
  open_buffer(&ring, 0, 256);
  EQUAL(zb_metadata_write(ring.memory, bytes, 1), ZB_TOO_LARGE);
  EQUAL(zb_metadata_write(ring.memory, bytes, 0), ZB_TOO_LARGE);
  EQUAL(zb_metadata_read(ring.memory, bytes, 8), 0);
  ring.payload[0] = 0xEE;
  zb_metadata_clear(ring.memory);
  EQUAL(ring.payload[0], 0xEE);
  set_word(&ring.oieb->metadata_written_bytes, 8);
  EQUAL(zb_metadata_read(ring.memory, bytes, 8), ZB_BAD_CONTROL);
  close_ring(&ring);
}

TEST(a_metadata_prefix_that_contradicts_the_oieb_is_not_believed) {
  struct ring ring;
  uint8_t bytes[64];
  open_buffer(&ring, 64, 256);
  OK(zb_metadata_write(ring.memory, "hello", 5));
  const uint64_t lengths[] = {0, 4, 6, 56, 57, (uint64_t)1 << 63, UINT64_MAX};
  for (int i = 0; i < 7; i++) {
    set_word((uint64_t *)(ring.oieb + 1), lengths[i]);
    EQUAL(zb_metadata_read(ring.memory, bytes, 64), ZB_AGAIN);
  }
  set_word((uint64_t *)(ring.oieb + 1), 5);
  EQUAL(zb_metadata_read(ring.memory, bytes, 64), 5);
  const uint64_t written[] = {1, 7, 65, (uint64_t)1 << 63, UINT64_MAX};
  for (int i = 0; i < 5; i++) {
    set_word(&ring.oieb->metadata_written_bytes, written[i]);
    EQUAL(zb_metadata_read(ring.memory, bytes, 64), ZB_BAD_CONTROL);
  }
  close_ring(&ring);
}

/* ---- semaphores ---------------------------------------------------------------------------------------------- */

TEST(a_semaphore_is_made_once_with_value_0_and_counts_posts) {
  zb_semaphore *semaphore, *opened;
  char name[64];
  snprintf(name, sizeof name, "%s", unique_name());
  EQUAL(zb_semaphore_open(name, ZB_WRITER, &opened), ZB_NOT_FOUND);
  OK(zb_semaphore_create(name, ZB_WRITER, -1, &semaphore));
  EQUAL(zb_semaphore_create(name, ZB_WRITER, -1, &opened), ZB_EXISTS);
  EQUAL(zb_semaphore_open(name, ZB_READER, &opened), ZB_NOT_FOUND);
  OK(zb_semaphore_open(name, ZB_WRITER, &opened));
  EQUAL(zb_semaphore_value(semaphore), 0);
  EQUAL(zb_semaphore_take(semaphore, 1), 0);
  zb_semaphore_post(semaphore, 1);
  zb_semaphore_post(opened, 4);
  EQUAL(zb_semaphore_value(opened), zb_semaphore_counts ? 5 : 1);
  EQUAL(zb_semaphore_take(semaphore, 2), 2);
  EQUAL(zb_semaphore_take(opened, UINT32_MAX), 3);
  EQUAL(zb_semaphore_take(opened, UINT32_MAX), 0);
  EQUAL(zb_semaphore_value(opened), 0);
  zb_semaphore_close(opened);
  OK(zb_semaphore_unlink(semaphore));
  zb_semaphore_close(semaphore);
  EQUAL(zb_semaphore_open(name, ZB_WRITER, &opened), ZB_NOT_FOUND);
}

/* ---- lock files ---------------------------------------------------------------------------------------------- */

TEST(a_lock_is_held_once) {
  zb_lock *lock, *second;
  const char *path = temporary_path("a.lock");
  EQUAL(zb_lock_open(path, 0, &lock), ZB_NOT_FOUND);
  EQUAL(zb_lock_held(path), ZB_NOT_FOUND);
  OK(zb_lock_open(path, 1, &lock));
  EQUAL(zb_lock_open(path, 1, &second), ZB_LOCKED);
  EQUAL(zb_lock_open(path, 0, &second), ZB_LOCKED);
  EQUAL(zb_lock_held(path), 1);
  zb_lock_close(lock, 0);
  EQUAL(zb_lock_held(path), 0);
  OK(zb_lock_open(path, 0, &second));
  zb_lock_close(second, 1);
  EQUAL(zb_lock_held(path), ZB_NOT_FOUND);
}

/* ---- processes ----------------------------------------------------------------------------------------------- */

TEST(a_process_that_lives_keeps_its_start_time) {
  double start = zb_process_start((uint32_t)getpid());
  CHECK(start > 0);
  EQUAL(zb_process_start((uint32_t)getpid()), start);
}

TEST(a_number_that_is_no_pid_does_not_live) {
  const uint32_t pids[] = {0, INT32_MAX, 1u << 31, UINT32_MAX};
  for (int i = 0; i < 4; i++) EQUAL(zb_process_start(pids[i]), -1);
}
