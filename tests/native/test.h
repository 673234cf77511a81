/* What the C tests share: cases that register themselves, checks, and a ring to work on. */
#ifndef TEST_H
#define TEST_H

#include "internal.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A case. Its name, read with spaces, is a sentence about behaviour. */
#define TEST(name) \
  static void name(void); \
  __attribute__((constructor)) static void register_##name(void) { register_test(#name, name); } \
  static void name(void)

/* The same for a case with waiters (zb_waiter_open), and a second case in which threads wait, if the kernel did before. */
#define WAITER_TEST(name) \
  static void run_##name(void); \
  TEST(name) { run_##name(); } \
  TEST(name##_with_threads) { \
    make_waiters_use_threads(); \
    run_##name(); \
  } \
  static void run_##name(void)

/* Whether the program is compiled with ThreadSanitizer, which makes everything several times slower. */
#if defined(__SANITIZE_THREAD__)
#define THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREAD_SANITIZER 1
#endif
#endif

void register_test(const char *name, void (*run)(void));

/* Each of these ends the program with a message when it does not hold. */
#define CHECK(condition) check_true(condition, #condition, __FILE__, __LINE__)
#define EQUAL(actual, expected) check_equal(actual, expected, #actual, __FILE__, __LINE__)
#define OK(call) EQUAL(call, ZB_OK)

void check_true(bool holds, const char *text, const char *file, int line);
void check_equal(double actual, double expected, const char *text, const char *file, int line);

/* Waits until the condition holds; fails after a minute. */
#define UNTIL(condition) \
  for (int64_t give_up_ns = zb_now_ns() + 60000000000; !(condition); usleep(100)) \
  check_true(zb_now_ns() < give_up_ns, #condition, __FILE__, __LINE__)

/* Milliseconds from `start_ns` to now. */
int64_t elapsed_ms(int64_t start_ns);

/* The first part of each unique name. */
extern char name_prefix[32];
/* A buffer name that nobody else uses. What it names goes with the program. */
const char *unique_name(void);
/* Opens the memory of a name to write, and maps it. Codes as zb_memory_look and zb_memory_map. */
int32_t open_memory(const char *name, zb_memory **memory);
/* Memory under its name. Codes as zb_memory_create and zb_memory_link. */
int32_t make_memory(const char *name, uint64_t size, int32_t mode, zb_memory **memory);

/* The system's: posix.c, win32.c. */

/* Before the first case. */
void prepare_system(void);
/* A path in a directory of this program's own, which goes with it. */
const char *temporary_path(const char *file);
/* Whether just so many threads and processes wait for the semaphore. Where the system does not tell, it is true after
 * a moment: no case may need it to hold. */
bool waits(zb_semaphore *semaphore, uint32_t count);
/* From now on the waiters of this process use threads. */
void make_waiters_use_threads(void);
/* Whether the bell of a waiter (zb_waiter_open) rings within the time; takes the byte. */
bool rings(int32_t bell, int wait_ms);
/* Closes what is the listener's, once the waiter is closed; fails if the waiter has left its own end open. */
void close_bell(int32_t bell);

/* `count`, times the factor of a longer run where ZB_TEST_FACTOR says one. */
uint32_t long_run(uint32_t count);

void start_thread(pthread_t *thread, void *(*run)(void *), void *argument);
void join_thread(pthread_t thread);

/* Both ends of a buffer in this process, working on one mapping. */
struct ring {
  char name[64];
  zb_memory *memory;
  zb_semaphore *written, *released;
  zb_reader *reader;
  zb_writer *writer;
  struct zb_oieb *oieb;
  const struct zb_reader_view *view;        /* what the reader tells */
  const struct zb_writer_view *writer_view; /* what the writer tells */
  uint8_t *payload;
  uint64_t payload_size;
};

void open_ring(struct ring *ring, uint64_t payload_size);
/* Makes memory and semaphores of a buffer and its OIEB, and no ends. */
void open_buffer(struct ring *ring, uint64_t metadata_size, uint64_t payload_size);
void close_ring(struct ring *ring);
/* A small ring, and a waiter for its frames. */
void open_waited(struct ring *ring, zb_waiter **waiter, int32_t *bell);
void close_waited(struct ring *ring, zb_waiter *waiter, int32_t bell);
/* Makes the ring empty and both its ends new. */
void reset_ring(struct ring *ring);

/* Leaves the ring with its first half free, 64 bytes held in the middle, and the last 64 bytes ahead. */
void leave_64_bytes_ahead(struct ring *ring);

/* The bytes of frame `sequence` follow a pattern that tells frames and offsets apart. */
void fill(uint8_t *bytes, uint64_t size, uint64_t sequence);
bool is_filled(const uint8_t *bytes, uint64_t size, uint64_t sequence);

/* Writes frame `sequence` with its pattern, without waiting. Returns the code. */
int32_t write_frame(struct ring *ring, uint64_t size, uint64_t sequence);
/* Looks once, expects exactly one frame, and checks its size, number and bytes. */
void read_frame(struct ring *ring, uint64_t size, uint64_t sequence);
/* Checks the `i`th frame that the last look brought. */
void check_frame(struct ring *ring, int i, uint64_t size, uint64_t sequence);

/* What a peer of another implementation does, step by step. */
void put_header(struct ring *ring, uint64_t position, uint64_t size, uint64_t sequence);
/* Header and pattern at the position, and nothing else. */
void put_frame(struct ring *ring, uint64_t position, uint64_t size, uint64_t sequence);
/* Takes `bytes` from the free bytes and posts `posts` tokens. */
void publish(struct ring *ring, uint64_t bytes, int32_t posts);

/* How many frames a long stream has. */
#ifdef THREAD_SANITIZER
#define STREAM_FRAMES 100000
#else
#define STREAM_FRAMES 300000
#endif

struct stream {
  struct ring *ring;
  uint64_t frames;
};

/* The size of a frame of a stream: such that a small ring wraps every few frames, and now and then one takes nearly all
 * of it. */
uint64_t size_of(uint64_t sequence, uint64_t payload_size);
/* Writes a stream (a struct stream). */
void *write_stream(void *argument);
/* The same on a mapping of its own, which it opens by the ring's name. */
void write_stream_from_outside(void *argument);
/* Reads all frames of a stream. The last one of each look is held for a while beyond it, so that the ring wraps instead
 * of being rewound; but the writer may need an empty ring. */
void read_frames_of(struct ring *ring, uint64_t frames, int32_t flags);
/* The same, with nothing left over. */
void read_stream(struct ring *ring, uint64_t frames, int32_t flags);
/* Reads a stream without end, whose writer `kill_writer` ends after more than so many frames, and checks that what it
 * leaves is whole. */
void read_until_killed(struct ring *ring, uint64_t frames, void (*kill_writer)(void *), void *writer);

/* Sleeps, and waits at both ends of a ring that has room for its one frame of 48 bytes, while each of that is
 * interrupted. */
void wait_while_interrupted(struct ring *ring);

uint64_t word(const uint64_t *field);
void set_word(uint64_t *field, uint64_t value);

#endif
