/* Windows: file mappings and semaphores in the namespace of the session, lock files that go with their handles,
 * processes by their handles.
 *
 * Names cannot be removed: each is there until the last handle of its object is closed, and means that object as long. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#define NAME_CAPACITY 288
#define WIDE_PATH_CAPACITY 32768 /* what the system takes with the prefix of long paths */
#define MOST_TOKENS INT32_MAX

/* ---- this library -------------------------------------------------------------------------------------------- */

int32_t zb_library_path(char *path, uint32_t capacity) {
  HMODULE library;
  const DWORD by_address =
      GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
  if (!GetModuleHandleExA(by_address, (LPCSTR)&zb_library_path, &library)) return ZB_NOT_FOUND;
  const DWORD length = GetModuleFileNameA(library, path, capacity);
  return length > 0 && length < capacity ? ZB_OK : ZB_NOT_FOUND;
}

/* ---- the library's own state --------------------------------------------------------------------------------- */

typedef LONG(WINAPI *query_semaphore)(HANDLE semaphore, int kind, void *result, ULONG size, ULONG *written);

static DWORD error_slot = TLS_OUT_OF_INDEXES; /* compilers' thread locals need a C runtime */
static HANDLE interruption;                   /* set when the user presses Ctrl+C */
static query_semaphore nt_query_semaphore;
static LARGE_INTEGER ticks_per_second;

/* The handlers of the program come next, in a thread of their own: what blocks here has to let them work. */
static BOOL WINAPI on_control(DWORD kind) {
  (void)kind;
  SetEvent(interruption);
  return FALSE;
}

BOOL WINAPI _DllMainCRTStartup(HINSTANCE library, DWORD reason, void *reserved) {
  (void)library;
  (void)reserved;
  if (reason == DLL_PROCESS_DETACH) SetConsoleCtrlHandler(on_control, FALSE);
  if (reason != DLL_PROCESS_ATTACH) return TRUE;
  error_slot = TlsAlloc();
  interruption = CreateEventW(NULL, FALSE, FALSE, NULL);
  nt_query_semaphore =
      (query_semaphore)(void (*)(void))GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "NtQuerySemaphore");
  QueryPerformanceFrequency(&ticks_per_second);
  if (error_slot == TLS_OUT_OF_INDEXES || interruption == NULL || nt_query_semaphore == NULL) return FALSE;
  SetConsoleCtrlHandler(on_control, TRUE);
  return TRUE;
}

/* ---- codes --------------------------------------------------------------------------------------------------- */

int32_t zb_system_error(void) { return (int32_t)(intptr_t)TlsGetValue(error_slot); }

/* Notes the error and gives the code for it. */
static int32_t code_of(DWORD error) {
  TlsSetValue(error_slot, (void *)(intptr_t)error);
  switch (error) {
  case ERROR_FILE_NOT_FOUND:
  case ERROR_PATH_NOT_FOUND:
    return ZB_NOT_FOUND;
  case ERROR_ALREADY_EXISTS:
  case ERROR_FILE_EXISTS:
    return ZB_EXISTS;
  case ERROR_SHARING_VIOLATION:
  case ERROR_LOCK_VIOLATION:
    return ZB_LOCKED;
  case ERROR_ACCESS_DENIED:
  case ERROR_WRITE_PROTECT:
    return ZB_PERMISSION;
  case ERROR_COMMITMENT_LIMIT:
  case ERROR_DISK_FULL:
  case ERROR_NO_SYSTEM_RESOURCES:
    return ZB_NO_SPACE;
  case ERROR_NOT_ENOUGH_MEMORY:
  case ERROR_OUTOFMEMORY:
    return ZB_NO_MEMORY;
  case ERROR_TOO_MANY_OPEN_FILES:
    return ZB_NO_DESCRIPTORS;
  case ERROR_INVALID_HANDLE: /* the name is that of an object of another kind */
    return ZB_UNSAFE;
  default:
    return ZB_SYSTEM;
  }
}

static int32_t last_code(void) { return code_of(GetLastError()); }

/* ---- time ---------------------------------------------------------------------------------------------------- */

int64_t zb_now_ns(void) {
  LARGE_INTEGER ticks;
  QueryPerformanceCounter(&ticks);
  int64_t rate = ticks_per_second.QuadPart;
  return ticks.QuadPart / rate * 1000000000 + ticks.QuadPart % rate * 1000000000 / rate;
}

int64_t zb_now_coarse_ns(void) { return (int64_t)GetTickCount64() * 1000000; }

bool zb_runs_apart(uint64_t pid) {
  DWORD_PTR own, other, all;
  if (!GetProcessAffinityMask(GetCurrentProcess(), &own, &all)) return false;
  HANDLE process = pid == 0 ? NULL : OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, (DWORD)pid);
  if (process != NULL) {
    if (GetProcessAffinityMask(process, &other, &all)) own |= other;
    CloseHandle(process);
  }
  return (own & (own - 1)) != 0;
}

void zb_populate(void *start, size_t length, bool write) {
  (void)start; /* the system has no call for it */
  (void)length;
  (void)write;
}

void zb_yield(void) { SwitchToThread(); }

static DWORD milliseconds_until(int64_t deadline_ns) {
  int64_t left_ns = deadline_ns - zb_now_ns();
  if (left_ns <= 0) return 0;
  int64_t milliseconds = (left_ns + 999999) / 1000000;
  return milliseconds < INT32_MAX ? (DWORD)milliseconds : INT32_MAX;
}

int32_t zb_sleep(int32_t wait_us) {
  ResetEvent(interruption);
  DWORD milliseconds = milliseconds_until(zb_now_ns() + (int64_t)wait_us * 1000);
  return WaitForSingleObject(interruption, milliseconds) == WAIT_OBJECT_0 ? ZB_INTERRUPTED : ZB_OK;
}

/* ---- objects ------------------------------------------------------------------------------------------------- */

static struct zb_object *objects; /* those of this process that are open */
static SRWLOCK objects_lock = SRWLOCK_INIT;

/* Takes the handle and, where there is one, the view of it. */
static int32_t note_object(HANDLE handle, void *view, size_t length, const char *name,
                           struct zb_object **result) {
  struct zb_object *object = calloc(1, sizeof *object);
  if (object == NULL) {
    if (view != NULL) UnmapViewOfFile(view);
    CloseHandle(handle);
    return ZB_NO_MEMORY;
  }
  atomic_store_explicit(&object->start, (uintptr_t)view, memory_order_relaxed);
  object->handle = handle;
  object->length = length;
  object->owned = true; /* the namespace is that of one session */
  for (size_t i = 0; i + 1 < sizeof object->path && name[i] != '\0'; i++) object->path[i] = name[i];
  AcquireSRWLockExclusive(&objects_lock);
  object->next = objects;
  objects = object;
  ReleaseSRWLockExclusive(&objects_lock);
  *result = object;
  return ZB_OK;
}

static void close_object(struct zb_object *object) {
  AcquireSRWLockExclusive(&objects_lock);
  struct zb_object **link = &objects;
  while (*link != object) link = &(*link)->next;
  *link = object->next;
  ReleaseSRWLockExclusive(&objects_lock);
  void *view = zb_object_address(object);
  if (view != NULL) UnmapViewOfFile(view);
  if (object->handle != NULL) CloseHandle(object->handle);
  free(object);
}

/* The names of buffers are ASCII. */
static void object_name(wchar_t wide[NAME_CAPACITY], const char *prefix, const char *name) {
  size_t length = 0;
  for (; *prefix != '\0'; prefix++) wide[length++] = (wchar_t)*prefix;
  for (; *name != '\0' && length + 1 < NAME_CAPACITY; name++) wide[length++] = (unsigned char)*name;
  wide[length] = L'\0';
}

/* ---- shared memory ------------------------------------------------------------------------------------------- */

static int32_t map_view(HANDLE mapping, DWORD access, size_t length, const char *name,
                        struct zb_object **object) {
  MEMORY_BASIC_INFORMATION region;
  void *view = MapViewOfFile(mapping, access, 0, 0, length);
  if (view == NULL || VirtualQuery(view, &region, sizeof region) == 0) {
    int32_t code = last_code();
    if (view != NULL) UnmapViewOfFile(view);
    CloseHandle(mapping);
    return code;
  }
  /* Only the creator knows the size to the byte; for others it ends with the last page. */
  return note_object(mapping, view, length > 0 ? length : region.RegionSize, name, object);
}

int32_t zb_memory_create(const char *name, uint64_t size, int32_t mode, zb_memory **memory) {
  wchar_t wide[NAME_CAPACITY];
  (void)mode; /* the session's namespace is for one user */
  if (size > INT64_MAX) return ZB_NO_SPACE;
  object_name(wide, "", name);
  /* Committed now: what is missing is an error here and not a fault at the first touch. */
  HANDLE mapping = CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE | SEC_COMMIT,
                                      (DWORD)(size >> 32), (DWORD)size, wide);
  DWORD error = GetLastError();
  if (mapping == NULL) {
    int32_t code = code_of(error);
    /* All the same to the caller: the system has no room for it, in memory or in its page file, or at all. */
    if (code == ZB_NO_MEMORY || error == ERROR_INVALID_PARAMETER) return ZB_NO_SPACE;
    return code == ZB_UNSAFE ? ZB_EXISTS : code;
  }
  if (error == ERROR_ALREADY_EXISTS) {
    CloseHandle(mapping);
    return ZB_EXISTS;
  }
  return map_view(mapping, FILE_MAP_READ | FILE_MAP_WRITE, (size_t)size, name, (struct zb_object **)memory);
}

static int32_t open_memory(const char *name, DWORD access, zb_memory **memory) {
  wchar_t wide[NAME_CAPACITY];
  object_name(wide, "", name);
  HANDLE mapping = OpenFileMappingW(access, FALSE, wide);
  if (mapping == NULL) return last_code();
  return map_view(mapping, access, 0, name, (struct zb_object **)memory);
}

int32_t zb_memory_open(const char *name, zb_memory **memory) {
  return open_memory(name, FILE_MAP_READ | FILE_MAP_WRITE, memory);
}

int32_t zb_memory_view(const char *name, zb_memory **memory) {
  int32_t code = open_memory(name, FILE_MAP_READ, memory);
  if (code != ZB_OK) return code;
  /* The name must not last because somebody looks. */
  CloseHandle((*memory)->object.handle);
  (*memory)->object.handle = NULL;
  return ZB_OK;
}

int32_t zb_memory_discard(const char *name) {
  (void)name; /* a creation that was killed leaves nothing */
  return ZB_NOT_FOUND;
}

void zb_memory_close(zb_memory *memory) { close_object(&memory->object); }

int32_t zb_memory_named(zb_memory *memory) {
  zb_memory *there;
  if (memory->object.handle != NULL) return ZB_OK; /* its name cannot mean another as long as it is open */
  int32_t code = zb_memory_view(memory->object.path, &there);
  if (code != ZB_OK) return code;
  bool same = zb_oieb_agrees(zb_object_address(&memory->object), zb_object_address(&there->object));
  zb_memory_close(there);
  return same ? ZB_OK : ZB_EXISTS;
}

int32_t zb_memory_unlink(zb_memory *memory) {
  (void)memory;
  return ZB_OK;
}

int32_t zb_memory_held_here(zb_memory *memory, int32_t role) {
  bool held = false;
  AcquireSRWLockShared(&objects_lock);
  for (struct zb_object *object = objects; object != NULL && !held; object = object->next) {
    held = object != &memory->object && strcmp(object->path, memory->object.path) == 0 &&
           atomic_load_explicit(&object->holds[role], memory_order_relaxed);
  }
  ReleaseSRWLockShared(&objects_lock);
  return held;
}

/* ---- semaphores ---------------------------------------------------------------------------------------------- */

static void semaphore_name(wchar_t wide[NAME_CAPACITY], const char *name, int32_t role) {
  object_name(wide, role == ZB_WRITER ? "sem-w-" : "sem-r-", name);
}

int32_t zb_semaphore_create(const char *name, int32_t role, int32_t mode, zb_semaphore **semaphore) {
  wchar_t wide[NAME_CAPACITY];
  (void)mode;
  semaphore_name(wide, name, role);
  HANDLE handle = CreateSemaphoreW(NULL, 0, MOST_TOKENS, wide);
  DWORD error = GetLastError();
  if (handle == NULL) {
    int32_t code = code_of(error);
    return code == ZB_UNSAFE ? ZB_EXISTS : code;
  }
  if (error == ERROR_ALREADY_EXISTS) {
    CloseHandle(handle);
    return ZB_EXISTS;
  }
  return note_object(handle, NULL, 0, name, (struct zb_object **)semaphore);
}

static int32_t open_semaphore(const char *name, int32_t role, DWORD access, zb_semaphore **semaphore) {
  wchar_t wide[NAME_CAPACITY];
  semaphore_name(wide, name, role);
  HANDLE handle = OpenSemaphoreW(access, FALSE, wide);
  if (handle == NULL) return last_code();
  return note_object(handle, NULL, 0, name, (struct zb_object **)semaphore);
}

#define QUERY_SEMAPHORE 0x0001 /* SEMAPHORE_QUERY_STATE, which no header of the system has */

int32_t zb_semaphore_open(const char *name, int32_t role, zb_semaphore **semaphore) {
  return open_semaphore(name, role, QUERY_SEMAPHORE | SEMAPHORE_MODIFY_STATE | SYNCHRONIZE, semaphore);
}

int32_t zb_semaphore_view(const char *name, int32_t role, zb_semaphore **semaphore) {
  return open_semaphore(name, role, QUERY_SEMAPHORE, semaphore);
}

void zb_semaphore_close(zb_semaphore *semaphore) { close_object(&semaphore->object); }

int32_t zb_semaphore_unlink(zb_semaphore *semaphore) {
  (void)semaphore;
  return ZB_OK;
}

int32_t zb_semaphore_remove(const char *name, int32_t role) {
  (void)name; /* what nobody has open is gone already */
  (void)role;
  return ZB_NOT_FOUND;
}

void zb_semaphore_post(zb_semaphore *semaphore, int32_t count) {
  /* Fails where the semaphore is full, and then it wakes whoever waits without it. */
  ReleaseSemaphore(semaphore->object.handle, count, NULL);
}

int32_t zb_semaphore_value(zb_semaphore *semaphore) {
  struct {
    LONG count, most;
  } state;
  return nt_query_semaphore(semaphore->object.handle, 0, &state, sizeof state, NULL) == 0 ? state.count : 0;
}

uint32_t zb_semaphore_take(zb_semaphore *semaphore, uint32_t most) {
  /* Each token is a call of its own: what is there now is the bound, so that a peer that posts for ever ends it, too.
   * What was published before a post is visible after the call that takes its token, which is the system's promise. */
  uint32_t value = (uint32_t)zb_semaphore_value(semaphore), taken = 0;
  if (value < most) most = value;
  while (taken < most && WaitForSingleObject(semaphore->object.handle, 0) == WAIT_OBJECT_0) taken++;
  return taken;
}

/* Waits for the semaphore or the other event, and gives the token back that the system takes from a semaphore for
 * waiting: 0, or ZB_AGAIN, or what the event stands for. */
static int32_t await_either(HANDLE semaphore, HANDLE event, int32_t event_code, int64_t deadline_ns) {
  const HANDLE handles[] = {event, semaphore};
  switch (WaitForMultipleObjects(2, handles, FALSE, milliseconds_until(deadline_ns))) {
  case WAIT_OBJECT_0:
    return event_code;
  case WAIT_OBJECT_0 + 1:
    ReleaseSemaphore(semaphore, 1, NULL);
    return ZB_OK;
  case WAIT_TIMEOUT:
    return ZB_AGAIN;
  default:
    return last_code();
  }
}

int32_t zb_semaphore_await(zb_semaphore *semaphore, int64_t deadline_ns, const atomic_bool *cancelled) {
  (void)cancelled; /* the waiter below has an event for it */
  ResetEvent(interruption);
  return await_either(semaphore->object.handle, interruption, ZB_INTERRUPTED, deadline_ns);
}

/* ---- lock files ---------------------------------------------------------------------------------------------- */

struct zb_lock {
  HANDLE file;
  bool goes_with_handle;
  wchar_t path[];
};

/* The path as the system takes it, at the end of a new lock. Absolute paths get the prefix that lets them be long. */
static zb_lock *new_lock(const char *path) {
  const wchar_t prefix[] = L"\\\\?\\";
  size_t skipped = path[0] != '\0' && path[1] == ':' ? 4 : 0;
  int length = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, NULL, 0);
  if (length <= 0 || length > WIDE_PATH_CAPACITY - 4) return NULL;
  zb_lock *lock = malloc(sizeof *lock + ((size_t)length + skipped) * sizeof(wchar_t));
  if (lock == NULL) return NULL;
  memcpy(lock->path, prefix, skipped * sizeof(wchar_t));
  MultiByteToWideChar(CP_UTF8, 0, path, -1, lock->path + skipped, length);
  for (wchar_t *at = lock->path + skipped; *at != L'\0'; at++)
    if (*at == L'/') *at = L'\\';
  return lock;
}

/* A plain file with one name: neither a directory, nor a link, nor a device. */
static int32_t judge_file(HANDLE file) {
  BY_HANDLE_FILE_INFORMATION status;
  if (GetFileType(file) != FILE_TYPE_DISK) return ZB_UNSAFE;
  if (!GetFileInformationByHandle(file, &status)) return last_code();
  bool odd = (status.dwFileAttributes & (FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT)) != 0;
  return odd || status.nNumberOfLinks > 1 ? ZB_UNSAFE : ZB_OK;
}

/* A file that is open without sharing is locked, and nobody can remove or replace it. */
static int32_t open_lock_file(zb_lock *lock, DWORD disposition, DWORD flags) {
  for (int round = 0;; round++) {
    lock->file = CreateFileW(lock->path, GENERIC_READ | GENERIC_WRITE | DELETE, 0, NULL, disposition,
                             FILE_ATTRIBUTE_NORMAL | FILE_FLAG_OPEN_REPARSE_POINT | flags, NULL);
    if (lock->file != INVALID_HANDLE_VALUE) break;
    DWORD error = GetLastError();
    /* A file on its way out refuses access for an instant. */
    if (error != ERROR_ACCESS_DENIED || round == 10) return code_of(error);
    Sleep(1);
  }
  int32_t code = judge_file(lock->file);
  if (code != ZB_OK) CloseHandle(lock->file);
  return code;
}

int32_t zb_lock_open(const char *path, int32_t create, zb_lock **result) {
  zb_lock *lock = new_lock(path);
  if (lock == NULL) return ZB_NO_MEMORY;
  /* A file that is here already is looked at before it gets the flag that ends it. */
  int32_t code = open_lock_file(lock, OPEN_EXISTING, 0);
  lock->goes_with_handle = false;
  if (code == ZB_NOT_FOUND && create) {
    code = open_lock_file(lock, CREATE_NEW, FILE_FLAG_DELETE_ON_CLOSE);
    lock->goes_with_handle = true;
    if (code == ZB_EXISTS) code = ZB_LOCKED; /* somebody was quicker */
  }
  if (code != ZB_OK) {
    free(lock);
    return code;
  }
  *result = lock;
  return ZB_OK;
}

void zb_lock_close(zb_lock *lock, int32_t remove) {
  FILE_DISPOSITION_INFO disposition = {.DeleteFile = TRUE};
  if (remove && !lock->goes_with_handle)
    SetFileInformationByHandle(lock->file, FileDispositionInfo, &disposition, sizeof disposition);
  CloseHandle(lock->file);
  if (!remove && lock->goes_with_handle) {
    HANDLE file = CreateFileW(lock->path, GENERIC_WRITE, 0, NULL, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, NULL);
    if (file != INVALID_HANDLE_VALUE) CloseHandle(file);
  }
  free(lock);
}

int32_t zb_lock_held(const char *path) {
  zb_lock *lock = new_lock(path);
  if (lock == NULL) return ZB_NO_MEMORY;
  HANDLE file =
      CreateFileW(lock->path, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
                  OPEN_EXISTING, FILE_FLAG_OPEN_REPARSE_POINT | FILE_FLAG_BACKUP_SEMANTICS, NULL);
  int32_t code = file == INVALID_HANDLE_VALUE ? last_code() : judge_file(file);
  if (file != INVALID_HANDLE_VALUE) CloseHandle(file);
  free(lock);
  return code == ZB_LOCKED ? 1 : code;
}

/* ---- processes ----------------------------------------------------------------------------------------------- */

double zb_process_start(uint32_t pid) {
  FILETIME created, ended, kernel, user;
  HANDLE process = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION | SYNCHRONIZE, FALSE, pid);
  if (process == NULL) return GetLastError() == ERROR_ACCESS_DENIED ? 0 : -1;
  double start = 0;
  /* Somebody else's handle keeps the pid of a process that has ended. */
  if (WaitForSingleObject(process, 0) == WAIT_OBJECT_0) {
    start = -1;
  } else if (GetProcessTimes(process, &created, &ended, &kernel, &user)) {
    /* In milliseconds: the system's own unit is beyond what a double holds exactly. */
    start = (double)(((uint64_t)created.dwHighDateTime << 32 | created.dwLowDateTime) / 10000);
  }
  CloseHandle(process);
  return start;
}

int32_t zb_process_maps(uint32_t pid, zb_memory *memory) {
  (void)pid; /* the system tells nobody what another process has mapped */
  (void)memory;
  return ZB_PERMISSION;
}

/* ---- the waiter of an event loop ----------------------------------------------------------------------------- */

/* The event loop listens to a named pipe, since its descriptors are those of a C runtime that is not ours. */
struct zb_waiter {
  zb_semaphore *semaphore;
  HANDLE pipe, thread;
  HANDLE armed, stopped; /* events */
  HANDLE written;        /* of what is under way on the pipe */
  _Atomic(int64_t) deadline_ns;
};

/* Waits for what was begun on the pipe. False if the waiter has to end. */
static bool finish(zb_waiter *waiter, OVERLAPPED *operation, BOOL done) {
  DWORD error = done ? ERROR_SUCCESS : GetLastError(), size;
  if (error != ERROR_IO_PENDING) return true; /* done, connected already, or closed by who listened */
  const HANDLE handles[] = {waiter->stopped, waiter->written};
  if (WaitForMultipleObjects(2, handles, FALSE, INFINITE) == WAIT_OBJECT_0 + 1) return true;
  CancelIoEx(waiter->pipe, operation);
  GetOverlappedResult(waiter->pipe, operation, &size, TRUE);
  return false;
}

static DWORD WINAPI run_waiter(void *argument) {
  zb_waiter *waiter = argument;
  const HANDLE handles[] = {waiter->stopped, waiter->armed};
  OVERLAPPED operation = {.hEvent = waiter->written};
  bool going = finish(waiter, &operation, ConnectNamedPipe(waiter->pipe, &operation));
  while (going && WaitForMultipleObjects(2, handles, FALSE, INFINITE) == WAIT_OBJECT_0 + 1) {
    int64_t deadline_ns = atomic_load_explicit(&waiter->deadline_ns, memory_order_acquire);
    int32_t code =
        await_either(waiter->semaphore->object.handle, waiter->stopped, ZB_INTERRUPTED, deadline_ns);
    if (code == ZB_INTERRUPTED) break;
    going = finish(waiter, &operation, WriteFile(waiter->pipe, "", 1, NULL, &operation));
  }
  return 0;
}

static void free_waiter(zb_waiter *waiter) {
  const HANDLE handles[] = {waiter->pipe, waiter->thread, waiter->armed, waiter->stopped, waiter->written};
  for (int i = 0; i < 5; i++)
    if (handles[i] != NULL && handles[i] != INVALID_HANDLE_VALUE) CloseHandle(handles[i]);
  free(waiter);
}

/* The name by which zerobuffer.h tells callers to open the pipe. */
static void pipe_name(wchar_t wide[NAME_CAPACITY], uint32_t pid, int32_t number) {
  char digits[24], *at = digits + sizeof digits - 1;
  *at = '\0';
  do *--at = (char)('0' + number % 10);
  while ((number /= 10) > 0);
  *--at = '-';
  do *--at = (char)('0' + pid % 10);
  while ((pid /= 10) > 0);
  object_name(wide, "\\\\.\\pipe\\zerobuffer-", at);
}

int32_t zb_waiter_open(zb_semaphore *semaphore, int32_t *descriptor, zb_waiter **result) {
  static _Atomic(int32_t) pipes;
  wchar_t name[NAME_CAPACITY];
  int32_t number = 1 + atomic_fetch_add_explicit(&pipes, 1, memory_order_relaxed);
  zb_waiter *waiter = calloc(1, sizeof *waiter);
  if (waiter == NULL) return ZB_NO_MEMORY;
  waiter->semaphore = semaphore;
  pipe_name(name, GetCurrentProcessId(), number);
  waiter->pipe = CreateNamedPipeW(
      name, PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | FILE_FLAG_FIRST_PIPE_INSTANCE,
      PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS, 1, 4096, 0, 0, NULL);
  waiter->armed = CreateEventW(NULL, FALSE, FALSE, NULL);
  waiter->stopped = CreateEventW(NULL, TRUE, FALSE, NULL);
  waiter->written = CreateEventW(NULL, TRUE, FALSE, NULL);
  bool complete = waiter->pipe != INVALID_HANDLE_VALUE && waiter->armed != NULL && waiter->stopped != NULL &&
                  waiter->written != NULL;
  if (complete) waiter->thread = CreateThread(NULL, 65536, run_waiter, waiter, 0, NULL);
  if (waiter->thread == NULL) {
    int32_t code = last_code();
    free_waiter(waiter);
    return code;
  }
  *descriptor = number;
  *result = waiter;
  return ZB_OK;
}

void zb_waiter_arm(zb_waiter *waiter, int32_t wait_us) {
  /* release: the thread that wakes finds the deadline */
  atomic_store_explicit(&waiter->deadline_ns, zb_now_ns() + (int64_t)wait_us * 1000, memory_order_release);
  SetEvent(waiter->armed);
}

void zb_waiter_close(zb_waiter *waiter) {
  SetEvent(waiter->stopped);
  WaitForSingleObject(waiter->thread, INFINITE);
  free_waiter(waiter);
}
