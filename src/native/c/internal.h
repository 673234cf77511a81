/* What the helper's own files share with each other, and nobody else sees. */
#ifndef ZEROBUFFER_INTERNAL_H
#define ZEROBUFFER_INTERNAL_H

#include "zerobuffer.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#define ZB_PATH_MAX 4096 /* of a lock file; an object of /dev/shm has less */
#define ZB_OBJECT_PATH_MAX 288

/* A file mapped into this process: the memory or a semaphore of a buffer. Objects are recycled, never freed, so that
 * the SIGBUS handler can walk them at any moment. */
struct zb_object {
  _Atomic(uintptr_t) start; /* 0: not in use */
  size_t length;
  atomic_bool broken;   /* the file was truncated under the mapping; zero pages stand in for it */
  atomic_bool holds[2]; /* by role: this mapping's owner is the writer, the reader */
  dev_t device;
  ino_t inode;
  bool owned;                    /* by the user of this process */
  int unnamed;                   /* Linux: the descriptor of a file that has no name yet; -1 otherwise */
  char path[ZB_OBJECT_PATH_MAX]; /* what it was opened by */
  void *handle;                  /* on Windows; NULL for a view */
  struct zb_object *next;
};

struct zb_memory {
  struct zb_object object;
};

/* The first 16 bytes of glibc's sem_t on 64-bit Linux: what its sem_open, sem_post and sem_wait use. */
struct zb_semaphore_layout {
  _Atomic(uint64_t) data; /* value in the low half, number of waiters in the high half */
  uint32_t futex_private; /* 128: shared between processes */
  uint32_t pad;
};

struct zb_semaphore {
  struct zb_object object;
};

/* Whether two mappings seem to be of one memory, where the system gives it no number: what only a creator stores agrees,
 * and so does the pid of the reader, who is the one that creates and removes. */
bool zb_oieb_agrees(struct zb_oieb *one, struct zb_oieb *other);

/* posix.c */

/* Maps `length` bytes of the file and registers the mapping, which can be written if the descriptor can. Takes no
 * ownership of the descriptor. */
int32_t zb_object_map(int descriptor, size_t length, const char *path, struct zb_object **object);
void zb_object_unmap(struct zb_object *object);
/* Notes errno and gives the code for it. */
int32_t zb_code_of(int error);

static inline void *zb_object_address(struct zb_object *object) {
  return (void *)atomic_load_explicit(&object->start, memory_order_relaxed);
}

/* The system's file: linux.c, darwin.c, win32.c */

/* Monotonic, in nanoseconds; the coarse one is cheaper and up to 10 ms behind. */
int64_t zb_now_ns(void);
int64_t zb_now_coarse_ns(void);
/* Fills the page table of a part of a mapping ahead of its use, as far as the system can; for writing or reading. */
void zb_populate(void *start, size_t length, bool write);
/* Whether this thread and the process can run at the same time, each on a processor of its own; with 0 or a process
 * that cannot be asked, whether this thread has more than one processor to choose from. */
bool zb_has_other_cpu(uint64_t pid);
/* Tells the processor that this thread spins. */
static inline void zb_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}
/* Lets another thread run that waits for this processor, if there is one. */
void zb_yield(void);
/* Whether zb_semaphore_value counts the tokens. On macOS it only says whether there are any: 0 or 1. */
extern const bool zb_semaphore_counts;
/* Takes up to `most` tokens without waiting, and returns how many. What was published before their posts is visible
 * afterwards (acquire). */
uint32_t zb_semaphore_take(struct zb_semaphore *semaphore, uint32_t most);
/* Blocks until the semaphore has a token and leaves it there. ZB_AGAIN at the deadline, ZB_INTERRUPTED by a signal,
 * ZB_AGAIN also once `*cancelled` (may be NULL) is set and zb_semaphore_wake was called. */
int32_t zb_semaphore_await(struct zb_semaphore *semaphore, int64_t deadline_ns, const atomic_bool *cancelled);
/* Wakes whoever waits, without a token. */
void zb_semaphore_wake(struct zb_semaphore *semaphore);

/* The same, for posix.c and waiter.c */

/* 0, ZB_NOT_FOUND or ZB_EXISTS: see zb_memory_named. */
int32_t zb_object_named(const struct zb_object *object);
/* Removes the name, only if it still means this object. */
int32_t zb_object_unlink(const struct zb_object *object);
/* pipe(2) whose ends neither block nor go to other programs. */
int zb_socket_pair(int ends[2]);

#endif
