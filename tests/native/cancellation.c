/* Requests that are taken back (docs/protocol.md, section 9.5). */
#include "test.h"

/* In the ring, which nobody uses. */
enum { TABLE = 128 + 64 };

static uint64_t *word_at(struct ring *ring, uint64_t index) {
  return (uint64_t *)((uint8_t *)ring->oieb + TABLE) + index;
}

TEST(a_cancelled_request_stands_in_its_own_word_until_a_later_one_takes_that) {
  struct ring ring;
  open_buffer(&ring, 64, 16384);
  const double numbers[] = {1, 1023, 1024, 1025, 5000, 9007199254740991};
  for (int i = 0; i < 6; i++) EQUAL(zb_cancellation_stored(ring.memory, TABLE, numbers[i]), 0);
  for (int i = 0; i < 6; i++) {
    zb_cancellation_store(ring.memory, TABLE, numbers[i]);
    EQUAL(zb_cancellation_stored(ring.memory, TABLE, numbers[i]), 1);
    EQUAL(*word_at(&ring, (uint64_t)numbers[i] % ZB_CANCELLATION_WORDS), numbers[i]);
  }
  EQUAL(zb_cancellation_stored(ring.memory, TABLE, 1), 0); /* 1025 has its word */
  EQUAL(zb_cancellation_stored(ring.memory, TABLE, 1024), 1);
  EQUAL(zb_cancellation_stored(ring.memory, TABLE, 2048), 0);
  uint64_t used = 0;
  for (uint64_t i = 0; i < ZB_CANCELLATION_WORDS; i++) used += *word_at(&ring, i) != 0;
  EQUAL(used, 4); /* 0, 1, 904, 1023 */
  close_ring(&ring);
}

TEST(all_tokens_of_a_semaphore_can_be_taken_at_once) {
  struct ring ring;
  open_buffer(&ring, 64, 16384);
  zb_semaphore_clear(ring.released);
  zb_semaphore_post(ring.released, 7);
  zb_semaphore_clear(ring.released);
  EQUAL(zb_semaphore_value(ring.released), 0);
  close_ring(&ring);
}

enum { REQUESTS = 20000 };

struct client {
  struct ring *ring;
  uint32_t said[REQUESTS + 1]; /* what the client stores before it cancels a request */
};

static void *cancel_all(void *argument) {
  struct client *client = argument;
  for (uint32_t i = 1; i <= REQUESTS; i++) {
    client->said[i] = i;
    zb_cancellation_store(client->ring->memory, TABLE, i);
    zb_semaphore_post(client->ring->released, 1);
  }
  return NULL;
}

TEST(who_sees_a_cancellation_sees_what_its_client_stored_before_and_is_woken_by_it) {
  static struct client client;
  struct ring ring;
  open_buffer(&ring, 64, 16384);
  client = (struct client){.ring = &ring};
  pthread_t thread;
  start_thread(&thread, cancel_all, &client);
  uint32_t seen = 0;
  while (seen != REQUESTS) {
    OK(zb_semaphore_await(ring.released, zb_now_ns() + 60000000000, NULL));
    zb_semaphore_clear(ring.released);
    for (uint32_t i = seen + 1; i <= REQUESTS; i++) {
      if (zb_cancellation_stored(ring.memory, TABLE, i) == 0) continue;
      EQUAL(client.said[i], i);
      seen = i;
    }
  }
  join_thread(thread);
  close_ring(&ring);
}
