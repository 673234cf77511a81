/* Windows: posts, waits, and the thread that waits for an event loop. */
#include "win32.h"

#include <stdlib.h>

/* ---- semaphores ---------------------------------------------------------------------------------------------- */

void zb_semaphore_post(zb_semaphore *semaphore, int32_t count) {
  /* Fails if the semaphore is full. A waiter then finds a token anyway. */
  ReleaseSemaphore(semaphore->object.handle, count, NULL);
}

const bool zb_semaphore_counts = true;

int32_t zb_semaphore_value(zb_semaphore *semaphore) {
  struct {
    LONG count, most;
  } state;
  return zb_nt_query_semaphore(semaphore->object.handle, 0, &state, sizeof state, NULL) == 0 ? state.count
                                                                                             : 0;
}

int32_t zb_semaphore_waiters(zb_semaphore *semaphore) {
  (void)semaphore;
  return ZB_UNSUPPORTED;
}

uint32_t zb_semaphore_take(zb_semaphore *semaphore, uint32_t most) {
  /* Each token takes one call. The number of tokens now is the bound, so that this ends even if a peer posts without
   * end. The system guarantees that what was published before a post is visible after the call that takes its token. */
  uint32_t value = (uint32_t)zb_semaphore_value(semaphore), taken = 0;
  if (value < most) most = value;
  while (taken < most && WaitForSingleObject(semaphore->object.handle, 0) == WAIT_OBJECT_0) taken++;
  return taken;
}

/* Waits for the semaphore or for the other event. A wait of this system takes a token, so this posts it again. ZB_OK
 * for a token, `event_code` for the event, ZB_AGAIN at the deadline. */
static int32_t await_either(HANDLE semaphore, HANDLE event, int32_t event_code, int64_t deadline_ns) {
  const HANDLE handles[] = {event, semaphore};
  switch (WaitForMultipleObjects(2, handles, FALSE, zb_milliseconds_until(deadline_ns))) {
  case WAIT_OBJECT_0:
    return event_code;
  case WAIT_OBJECT_0 + 1:
    ReleaseSemaphore(semaphore, 1, NULL);
    return ZB_OK;
  case WAIT_TIMEOUT:
    return ZB_AGAIN;
  default:
    return zb_last_code();
  }
}

int32_t zb_semaphore_await(zb_semaphore *semaphore, int64_t deadline_ns, const atomic_bool *cancelled) {
  (void)cancelled; /* the waiter below uses an event instead */
  return await_either(semaphore->object.handle, zb_interruption, ZB_INTERRUPTED, deadline_ns);
}

/* ---- the waiter of an event loop ----------------------------------------------------------------------------- */

/* The event loop reads from a named pipe: it cannot use descriptors of a C runtime that is not its own. */
struct zb_waiter {
  struct zb_resource resource;
  HANDLE semaphore; /* of its own: the owner may end before this thread */
  HANDLE pipe, thread;
  HANDLE armed, stopped; /* events */
  HANDLE written;        /* the event of the operation on the pipe */
  _Atomic(int64_t) deadline_ns;
  atomic_bool abandoned; /* its thread or its owner's has ended: the second one frees it */
};

/* Waits for the end of an operation on the pipe. False if the waiter has to stop. */
static bool finish(zb_waiter *waiter, OVERLAPPED *operation, BOOL done) {
  DWORD error = done ? ERROR_SUCCESS : GetLastError(), size;
  if (error != ERROR_IO_PENDING) return true; /* done, connected already, or closed by the listener */
  const HANDLE handles[] = {waiter->stopped, waiter->written};
  if (WaitForMultipleObjects(2, handles, FALSE, INFINITE) == WAIT_OBJECT_0 + 1) return true;
  CancelIoEx(waiter->pipe, operation);
  GetOverlappedResult(waiter->pipe, operation, &size, TRUE);
  return false;
}

static void free_waiter(zb_waiter *waiter) {
  const HANDLE handles[] = {waiter->pipe,    waiter->thread,  waiter->armed,
                            waiter->stopped, waiter->written, waiter->semaphore};
  for (int i = 0; i < 6; i++)
    if (handles[i] != NULL && handles[i] != INVALID_HANDLE_VALUE) CloseHandle(handles[i]);
  free(waiter);
}

static DWORD WINAPI run_waiter(void *argument) {
  zb_waiter *waiter = argument;
  const HANDLE handles[] = {waiter->stopped, waiter->armed};
  OVERLAPPED operation = {.hEvent = waiter->written};
  bool going = finish(waiter, &operation, ConnectNamedPipe(waiter->pipe, &operation));
  while (going && WaitForMultipleObjects(2, handles, FALSE, INFINITE) == WAIT_OBJECT_0 + 1) {
    int64_t deadline_ns = atomic_load_explicit(&waiter->deadline_ns, memory_order_acquire);
    int32_t code = await_either(waiter->semaphore, waiter->stopped, ZB_INTERRUPTED, deadline_ns);
    if (code == ZB_INTERRUPTED) break;
    going = finish(waiter, &operation, WriteFile(waiter->pipe, "", 1, NULL, &operation));
  }
  /* acquire and release: the thread that frees it sees everything that the other one did */
  if (atomic_exchange_explicit(&waiter->abandoned, true, memory_order_acq_rel)) free_waiter(waiter);
  return 0;
}

/* Without waiting: while a thread ends, the system lets no other one end. */
static void close_resource(struct zb_resource *resource) {
  zb_waiter *waiter = ZB_RESOURCE_OF(zb_waiter, resource);
  zb_resource_remove(resource);
  SetEvent(waiter->stopped);
  if (atomic_exchange_explicit(&waiter->abandoned, true, memory_order_acq_rel)) free_waiter(waiter);
}

/* The name of the pipe that zerobuffer.h documents. */
static void pipe_name(wchar_t wide[ZB_NAME_CAPACITY], uint32_t pid, int32_t number) {
  char digits[24], *at = digits + sizeof digits - 1;
  *at = '\0';
  do *--at = (char)('0' + number % 10);
  while ((number /= 10) > 0);
  *--at = '-';
  do *--at = (char)('0' + pid % 10);
  while ((pid /= 10) > 0);
  zb_object_name(wide, "\\\\.\\pipe\\zerobuffer-", at);
}

int32_t zb_waiter_open(zb_semaphore *semaphore, int32_t *descriptor, zb_waiter **result) {
  static _Atomic(int32_t) pipes;
  wchar_t name[ZB_NAME_CAPACITY];
  int32_t number = 1 + atomic_fetch_add_explicit(&pipes, 1, memory_order_relaxed);
  zb_waiter *waiter = calloc(1, sizeof *waiter);
  if (waiter == NULL) return ZB_NO_MEMORY;
  const HANDLE process = GetCurrentProcess();
  BOOL duplicated = DuplicateHandle(process, semaphore->object.handle, process, &waiter->semaphore, 0, FALSE,
                                    DUPLICATE_SAME_ACCESS);
  pipe_name(name, GetCurrentProcessId(), number);
  waiter->pipe = CreateNamedPipeW(
      name, PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | FILE_FLAG_FIRST_PIPE_INSTANCE,
      PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS, 1, 4096, 0, 0, NULL);
  waiter->armed = CreateEventW(NULL, FALSE, FALSE, NULL);
  waiter->stopped = CreateEventW(NULL, TRUE, FALSE, NULL);
  waiter->written = CreateEventW(NULL, TRUE, FALSE, NULL);
  bool complete = duplicated && waiter->pipe != INVALID_HANDLE_VALUE && waiter->armed != NULL &&
                  waiter->stopped != NULL && waiter->written != NULL;
  if (complete) waiter->thread = CreateThread(NULL, 65536, run_waiter, waiter, 0, NULL);
  if (waiter->thread == NULL) {
    int32_t code = zb_last_code();
    free_waiter(waiter);
    return code;
  }
  zb_resource_add(&waiter->resource, close_resource);
  *descriptor = number;
  *result = waiter;
  return ZB_OK;
}

void zb_waiter_arm(zb_waiter *waiter, int32_t wait_us) {
  /* release: the thread that wakes up sees the deadline */
  atomic_store_explicit(&waiter->deadline_ns, zb_now_ns() + (int64_t)wait_us * 1000, memory_order_release);
  SetEvent(waiter->armed);
}

void zb_waiter_heard(zb_waiter *waiter) { (void)waiter; }

void zb_waiter_close(zb_waiter *waiter) {
  zb_resource_remove(&waiter->resource);
  SetEvent(waiter->stopped);
  WaitForSingleObject(waiter->thread, INFINITE);
  free_waiter(waiter);
}
