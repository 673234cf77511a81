/* The waits of an event loop without a thread: an io_uring waits for the semaphore and then rings the bell. The kernel rings
 * it from the thread that has started the wait, when that thread enters the kernel or sleeps there. */
#include "fault.h"
#include "internal.h"
#include "tokens.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- the kernel's interface, which the headers of older systems lack ----------------------------------------- */

enum { SYS_SETUP = 425, SYS_ENTER = 426 }; /* on every architecture */
enum { SETUP_COOP_TASKRUN = 1 << 8, SETUP_NO_SQARRAY = 1 << 16 };
enum { FEAT_SINGLE_MMAP = 1, ENTER_GETEVENTS = 1, SIZE_U32 = 2, LINKED = 1 << 3 };
enum { OP_ASYNC_CANCEL = 14, OP_LINK_TIMEOUT = 15, OP_SEND = 26, OP_FUTEX_WAIT = 51 };
static const off_t entries_offset = 0x10000000;

struct entry { /* io_uring_sqe */
  uint8_t opcode, flags;
  uint16_t priority;
  int32_t descriptor;
  uint64_t address2, address;
  uint32_t length, operation_flags;
  uint64_t id;
  uint32_t unused[2];
  uint64_t address3, unused_too;
};

struct completion { /* io_uring_cqe */
  uint64_t id;
  int32_t result;
  uint32_t flags;
};

struct parameters { /* io_uring_params */
  uint32_t entries, completions, flags, thread[2], features, other_ring, unused[3];
  struct {
    uint32_t head, tail, mask, entries, flags, dropped, array, unused[3];
  } submission;
  struct {
    uint32_t head, tail, mask, entries, overflow, completions, flags, unused[3];
  } completion;
};

struct time { /* __kernel_timespec */
  int64_t seconds, nanoseconds;
};

_Static_assert(sizeof(struct entry) == 64 && offsetof(struct entry, address3) == 48, "layout of the kernel");
_Static_assert(sizeof(struct completion) == 16, "layout of the kernel");
_Static_assert(sizeof(struct parameters) == 120, "layout of the kernel");

static int setup(uint32_t entries, struct parameters *parameters) {
  return (int)syscall(SYS_SETUP, entries, parameters);
}

static int enter(int ring, uint32_t submitted, uint32_t least) {
  return (int)syscall(SYS_ENTER, ring, submitted, least, least > 0 ? ENTER_GETEVENTS : 0, NULL, 0);
}

/* ---- a ring -------------------------------------------------------------------------------------------------- */

enum { ENTRIES = 4 };
/* What a completion is of. Only these two are of interest. */
enum { OTHER, WAIT, BELL };

struct zb_uring {
  zb_semaphore *semaphore;
  int bell, descriptor;
  uint8_t *shared; /* heads, tails and completions */
  size_t shared_size;
  struct entry *entries;
  _Atomic(uint32_t) *head, *tail, *completion_head, *completion_tail;
  const struct completion *completions;
  uint32_t mask, completion_mask;
  uint32_t pending; /* of WAIT and BELL: how many have not ended */
  bool counted;     /* this ring is among the waiters of the semaphore */
  int32_t result;   /* of the last WAIT */
};

static void ring_bell(struct zb_uring *uring) {
  /* A failure does not matter: a full socket is readable already, and a closed one has no listener. */
  (void)send(uring->bell, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Takes the completions that there are. */
static void reap(struct zb_uring *uring) {
  uint32_t head = atomic_load_explicit(uring->completion_head, memory_order_relaxed);
  /* acquire and release: pair with the kernel, which fills the completions */
  const uint32_t tail = atomic_load_explicit(uring->completion_tail, memory_order_acquire);
  for (; head != tail; head++) {
    const struct completion *completion = &uring->completions[head & uring->completion_mask];
    if (completion->id == WAIT) uring->result = completion->result;
    if (completion->id != OTHER) uring->pending--;
    /* The kernel has refused a request that this one is linked to. */
    if (completion->id == BELL && completion->result == -ECANCELED) ring_bell(uring);
  }
  atomic_store_explicit(uring->completion_head, head, memory_order_release);
}

/* Hands `count` requests to the kernel, and returns how many it has taken. */
static uint32_t submit(struct zb_uring *uring, const struct entry *requests, uint32_t count) {
  const uint32_t tail = atomic_load_explicit(uring->tail, memory_order_relaxed);
  for (uint32_t i = 0; i < count; i++) uring->entries[(tail + i) & uring->mask] = requests[i];
  /* release: pairs with the kernel's load in enter */
  atomic_store_explicit(uring->tail, tail + count, memory_order_release);
  int taken = ZB_CALL(uring_submit, enter(uring->descriptor, count, 0), -1);
  /* The kernel looks at the tail only in enter, so what it has not taken can be taken back. */
  if (taken < (int)count)
    atomic_store_explicit(uring->tail, atomic_load_explicit(uring->head, memory_order_acquire),
                          memory_order_relaxed);
  return taken < 0 ? 0 : (uint32_t)taken;
}

/* Ends the wait that is under way. Afterwards the kernel uses neither the semaphore nor the bell, and takes no wake-up that is
 * meant for others. */
static void cancel(struct zb_uring *uring) {
  reap(uring);
  if (uring->pending == 0) return;
  const struct entry request = {.opcode = OP_ASYNC_CANCEL, .descriptor = -1, .address = WAIT};
  /* If the kernel does not take it, the end of the ring ends the wait. */
  if (submit(uring, &request, 1) == 0) return;
  for (reap(uring); uring->pending > 0; reap(uring))
    if (enter(uring->descriptor, 0, 1) < 0 && errno != EINTR) return;
}

/* Leaves the waiters of the semaphore once no wait is under way. */
static void leave(struct zb_uring *uring) {
  if (!uring->counted) return;
  uring->counted = false;
  ZB_POINT(uring_leave);
  uint64_t before = atomic_fetch_sub_explicit(data_of(uring->semaphore), one_waiter, memory_order_relaxed);
  /* The token stays, so pass the wake-up on: another sleeping thread may be the one that takes the token. */
  if ((uint32_t)before > 0 && before >> 32 > 1) zb_semaphore_wake(uring->semaphore);
}

static struct entry futex_wait(const void *word, uint32_t value, uint8_t flags) {
  return (struct entry){
      .opcode = OP_FUTEX_WAIT,
      .flags = flags,
      .descriptor = SIZE_U32,
      .address = (uintptr_t)word,
      .address2 = value,
      .address3 = FUTEX_BITSET_MATCH_ANY,
      .id = WAIT,
  };
}

/* Whether the kernel has such waits, since Linux 6.7. It also allocates all requests of the ring here, and keeps them. */
static bool has_futex_wait(struct zb_uring *uring) {
  static const uint32_t word = 1;
  const struct entry request = futex_wait(&word, 0, 0);
  uring->pending = submit(uring, &request, 1);
  reap(uring);
  return uring->result == -EAGAIN;
}

static bool map(struct zb_uring *uring, const struct parameters *parameters) {
  const size_t submission_size = parameters->submission.flags + sizeof(uint32_t);
  const size_t completion_size =
      parameters->completion.completions + parameters->completions * sizeof(struct completion);
  uring->shared_size = submission_size > completion_size ? submission_size : completion_size;
  void *shared = mmap(NULL, uring->shared_size, PROT_READ | PROT_WRITE, MAP_SHARED, uring->descriptor, 0);
  if (shared == MAP_FAILED) return false;
  uring->shared = shared;
  void *entries = mmap(NULL, ENTRIES * sizeof(struct entry), PROT_READ | PROT_WRITE, MAP_SHARED,
                       uring->descriptor, entries_offset);
  if (entries == MAP_FAILED) return false;
  uring->entries = entries;
  uring->head = (void *)(uring->shared + parameters->submission.head);
  uring->tail = (void *)(uring->shared + parameters->submission.tail);
  uring->completion_head = (void *)(uring->shared + parameters->completion.head);
  uring->completion_tail = (void *)(uring->shared + parameters->completion.tail);
  uring->completions = (void *)(uring->shared + parameters->completion.completions);
  uring->mask = parameters->entries - 1;
  uring->completion_mask = parameters->completions - 1;
  return true;
}

static void free_uring(struct zb_uring *uring) {
  if (uring->entries != NULL) munmap(uring->entries, ENTRIES * sizeof(struct entry));
  if (uring->shared != NULL) munmap(uring->shared, uring->shared_size);
  if (uring->descriptor >= 0) close(uring->descriptor);
  free(uring);
}

struct zb_uring *zb_uring_open(zb_semaphore *semaphore, int bell) {
  struct parameters parameters = {.flags = SETUP_COOP_TASKRUN | SETUP_NO_SQARRAY};
  struct zb_uring *uring = calloc(1, sizeof *uring);
  if (uring == NULL) return NULL;
  uring->semaphore = semaphore;
  uring->bell = bell;
  /* The kernel closes the descriptor in programs that this process starts. */
  uring->descriptor = ZB_CALL(uring_setup, setup(ENTRIES, &parameters), -1);
  if (uring->descriptor >= 0 && parameters.features & FEAT_SINGLE_MMAP && map(uring, &parameters) &&
      has_futex_wait(uring))
    return uring;
  free_uring(uring);
  return NULL;
}

void zb_uring_arm(struct zb_uring *uring, int32_t wait_us) {
  cancel(uring);
  leave(uring);
  ZB_POINT(uring_count);
  /* One atomic step counts this waiter. So a post either sees the waiter and wakes it, or the kernel sees the token. */
  atomic_fetch_add_explicit(data_of(uring->semaphore), one_waiter, memory_order_relaxed);
  uring->counted = true;
  const struct time time = {wait_us / 1000000, (int64_t)(wait_us % 1000000) * 1000};
  /* Hard links: the bell rings however the wait ends, also if it does not begin since there is a token. */
  const struct entry requests[] = {
      futex_wait(data_of(uring->semaphore), 0, LINKED),
      {.opcode = OP_LINK_TIMEOUT,
       .flags = LINKED,
       .descriptor = -1,
       .address = (uintptr_t)&time,
       .length = 1},
      {.opcode = OP_SEND,
       .descriptor = uring->bell,
       .address = (uintptr_t) "",
       .length = 1,
       .operation_flags = MSG_DONTWAIT | MSG_NOSIGNAL,
       .id = BELL},
  };
  const uint32_t taken = submit(uring, requests, 3);
  uring->pending += (taken > 0) + (taken == 3);
  if (taken < 3) ring_bell(uring);
  reap(uring);
}

void zb_uring_heard(struct zb_uring *uring) {
  reap(uring);
  if (uring->pending == 0) leave(uring);
}

void zb_uring_close(struct zb_uring *uring) {
  cancel(uring);
  leave(uring);
  free_uring(uring);
}
