/* What the helper's files share with each other. None of it is part of the ABI. */
#ifndef ZEROBUFFER_INTERNAL_H
#define ZEROBUFFER_INTERNAL_H

#include "zerobuffer.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#define ZB_PATH_MAX 4096 /* of a lock file; the path of an object is shorter */
#define ZB_OBJECT_PATH_MAX 288

/* A part of every object that the helper gives out: it belongs to the thread that opened it, and is closed at the latest
 * when that thread ends. */
struct zb_resource {
  uintptr_t thread;
  void (*close)(struct zb_resource *resource);
  struct zb_resource *next, **link;
};

/* The struct that the resource is a part of. */
#define ZB_RESOURCE_OF(type, part) ((type *)(void *)((char *)(part)-offsetof(type, resource)))

/* A file that this process has open, and perhaps mapped: the memory or a semaphore of a buffer. Objects are reused and
 * never freed, so that the SIGBUS handler can walk their list at any time. */
struct zb_object {
  bool in_use;              /* guarded */
  _Atomic(uintptr_t) start; /* 0: not mapped */
  size_t length;            /* of the file */
  atomic_bool broken;       /* the file was truncated; zero pages replace what it lost */
  uint64_t holds[2];        /* by role: the pid with which this object holds it; 0: it does not. Guarded */
  bool locked[2];           /* by role: whether this object has the lock of its bytes */
  uint32_t references;      /* by the owner, and by each window of JavaScript. Guarded */
  struct zb_resource resource;
  dev_t device;
  ino_t inode;
  bool owned;                    /* the user of this process owns the file, or is root */
  bool named;                    /* false: link_file is still to give it its name */
  int descriptor;                /* POSIX: of the file, as long as the memory is open; -1: closed */
  char path[ZB_OBJECT_PATH_MAX]; /* the path or name that it was opened by */
  void *handle;                  /* Windows; NULL for a view */
  struct zb_object *next;
};

struct zb_memory {
  struct zb_object object;
};

/* The first 16 bytes of glibc's sem_t on 64-bit Linux, which its sem_open, sem_post and sem_wait use. */
struct zb_semaphore_layout {
  _Atomic(uint64_t) data; /* value in the low half, number of waiters in the high half */
  uint32_t futex_private; /* 128: shared between processes */
  uint32_t pad;
};

struct zb_semaphore {
  struct zb_object object;
};

/* Whether two mappings seem to show the same memory, for systems that give it no number. It compares the fields that
 * only a creator stores, and the pid of the reader. */
bool zb_oieb_agrees(struct zb_oieb *one, struct zb_oieb *other);

/* threads.c */

/* Gives the resource to this thread. When the thread ends, `close` is called if the resource has not been removed. */
void zb_resource_add(struct zb_resource *resource, void (*close)(struct zb_resource *resource));
void zb_resource_remove(struct zb_resource *resource);
/* Closes the resources of this thread, which is about to end. */
void zb_thread_ended(void);

/* memory.c */

/* Gives a new mapping to this thread. */
void zb_object_opened(struct zb_object *object);
/* Ends the owner's use of the mapping. It is unmapped now, or when its last window is gone. Whether that is now. */
bool zb_object_close(struct zb_object *object);

/* posix.c, win32.c and win32_objects.c */

/* One mutex guards what the threads of this process share: the list of objects, the holders of roles, and the resources of
 * threads. What says "Guarded" is used between these two calls. They do not nest. */
void zb_guard(void);
void zb_unguard(void);
/* The first object of this process. Unused objects hold no role. Guarded. */
struct zb_object *zb_first_object(void);
/* Whether both are the same memory. */
bool zb_object_is(const struct zb_object *one, const struct zb_object *other);
/* Copies bytes of an object that is not mapped. Those past its end are 0. */
void zb_object_read(const struct zb_object *object, uint64_t offset, size_t size, void *target);
/* Closes what the object has open besides its mapping. The locks of its bytes end with it. */
void zb_object_close_handle(struct zb_object *object);
/* The number of this thread, which no other living thread has. */
uintptr_t zb_this_thread(void);
/* From now on zb_thread_ended is called when this thread ends. */
void zb_watch_thread(void);

/* signals.c */

/* The signals that the program listens to. */
struct zb_signals {
  _Atomic(uint32_t) arrived;   /* how many so far, modulo 2^32 */
  _Atomic(uint32_t) settled;   /* of these, those that end no wait any more */
  _Atomic(uintptr_t) listener; /* the thread that runs the listeners; 0: none is known */
  atomic_bool counted;         /* false: `arrived` tells nothing */
};

extern struct zb_signals zb_signals;

/* Ends a wait: settles all signals that have arrived. False if this thread does not run the listeners. */
bool zb_settle_signals(void);
static inline bool zb_has_unsettled_signal(void) {
  return atomic_load_explicit(&zb_signals.arrived, memory_order_relaxed) !=
         atomic_load_explicit(&zb_signals.settled, memory_order_relaxed);
}
/* Whether a signal ends what this thread waits in. It then has ended this wait and ends no other. */
static inline bool zb_ended_by_signal(void) { return zb_has_unsettled_signal() && zb_settle_signals(); }
/* The same if a signal has interrupted a system call, whichever signal that was. */
static inline bool zb_ended_by_interruption(void) {
  bool counted = atomic_load_explicit(&zb_signals.counted, memory_order_relaxed);
  return counted ? zb_ended_by_signal() : zb_settle_signals();
}

/* posix.c */

/* Makes an object of `length` bytes of the file. It takes the descriptor over, also if it fails. */
int32_t zb_object_add(int descriptor, size_t length, const char *path, struct zb_object **object);
/* Maps it, for writing if its descriptor is for that. */
int32_t zb_object_map(struct zb_object *object);
void zb_object_unmap(struct zb_object *object);
/* Stores `error` for zb_system_error, and returns the code for it. */
int32_t zb_code_of(int error);

static inline void *zb_object_address(struct zb_object *object) {
  return (void *)atomic_load_explicit(&object->start, memory_order_relaxed);
}

/* linux_presence.c */

/* Locks the mark of memory that was opened to read, as a reader of shared frames. The lock lives as long as the mapping, even
 * if the memory is closed before that. ZB_LOCKED, ZB_UNSUPPORTED. */
int32_t zb_shared_lock(zb_memory *memory);

/* linux_sharing.c, no_sharing.c */

/* Opens the memory of a name for reading and locks it as shared, if it is that of the device and the inode. It is not mapped
 * yet. Codes of zb_reader_open_source. */
int32_t zb_memory_open_source(const char *name, uint64_t device, uint64_t inode, zb_memory **memory);

/* linux_uring.c, no_uring.c: for waiter.c */

/* Waits for a semaphore in the kernel, without a thread. All calls are of the thread that opens it. */
struct zb_uring;
/* `bell` is the socket that gets a byte for each wait. NULL if the system has no such waits, refuses them, or has no memory or
 * descriptors for them. */
struct zb_uring *zb_uring_open(struct zb_semaphore *semaphore, int bell);
/* As zb_waiter_arm, zb_waiter_heard and zb_waiter_close. */
void zb_uring_arm(struct zb_uring *uring, int32_t wait_us);
void zb_uring_heard(struct zb_uring *uring);
void zb_uring_close(struct zb_uring *uring);

/* The system's file: linux.c, darwin.c, win32.c */

/* Monotonic time in nanoseconds. The coarse time is cheaper and up to 10 ms behind. */
int64_t zb_now_ns(void);
int64_t zb_now_coarse_ns(void);
/* Fills the page table for part of a mapping, for writing or for reading. False if the system cannot do that. */
bool zb_populate(void *start, size_t length, bool write);
/* Whether this thread and the process can run at the same time, each on its own processor. With 0, or if the process
 * cannot be asked: whether this thread may run on more than one processor. */
bool zb_has_other_cpu(uint64_t pid);
/* Tells the processor that this thread is spinning. */
static inline void zb_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}
/* Asks for the line at `address`, which is to be written to. x86 processors without this instruction do nothing. */
static inline void zb_prefetch_to_write(const void *address) {
#if defined(__x86_64__) || defined(__i386__)
  __asm__ volatile("prefetchw %0" : : "m"(*(const char *)address));
#else
  __builtin_prefetch(address, 1);
#endif
}
/* Lets another thread run if one is waiting for this processor. */
void zb_yield(void);
/* Whether zb_semaphore_value counts the tokens. On macOS it only says whether there are any: 0 or 1. */
extern const bool zb_semaphore_counts;
/* Takes up to `most` tokens without waiting, and returns their number. Everything that was published before their posts
 * is visible afterwards (acquire). */
uint32_t zb_semaphore_take(struct zb_semaphore *semaphore, uint32_t most);
/* Blocks until the semaphore has a token, and does not take it. ZB_AGAIN at the deadline, or if `*cancelled` is set and
 * zb_semaphore_wake is called. ZB_INTERRUPTED after any signal, one that ends no wait too. `cancelled` may be NULL. */
int32_t zb_semaphore_await(struct zb_semaphore *semaphore, int64_t deadline_ns, const atomic_bool *cancelled);
/* As zb_semaphore_await, for several: until any of them has a token. ZB_UNSUPPORTED: the system has no such wait, or not for
 * so many. */
int32_t zb_semaphores_await(struct zb_semaphore *const *semaphores, uint32_t count, int64_t deadline_ns);
/* Wakes every thread that waits, without a token. */
void zb_semaphore_wake(struct zb_semaphore *semaphore);

/* Also in the system's file, for posix.c and waiter.c */

/* 0, ZB_NOT_FOUND or ZB_EXISTS: see zb_memory_named. */
int32_t zb_object_named(const struct zb_object *object);
/* Removes the name if it still means this object. */
int32_t zb_object_unlink(const struct zb_object *object);
/* A connected pair of sockets that do not block and are not inherited by other programs. */
int zb_socket_pair(int ends[2]);

#endif
