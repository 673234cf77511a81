/* Windows: the library itself, codes, time, and processes. */
#include "win32.h"

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

static DWORD error_slot = TLS_OUT_OF_INDEXES; /* thread-local variables need a C runtime */
HANDLE zb_interruption;
zb_query_semaphore zb_nt_query_semaphore;
static LARGE_INTEGER ticks_per_second;

/* The program's own handlers run after this one, in a thread of their own. A blocked call returns so that they can
 * work. */
static BOOL WINAPI on_control(DWORD kind) {
  (void)kind;
  atomic_fetch_add_explicit(&zb_signals.arrived, 1, memory_order_relaxed);
  SetEvent(zb_interruption);
  return FALSE;
}

BOOL WINAPI _DllMainCRTStartup(HINSTANCE library, DWORD reason, void *reserved) {
  (void)library;
  (void)reserved;
  if (reason == DLL_THREAD_DETACH) zb_thread_ended();
  if (reason == DLL_PROCESS_DETACH) SetConsoleCtrlHandler(on_control, FALSE);
  if (reason != DLL_PROCESS_ATTACH) return TRUE;
  error_slot = TlsAlloc();
  zb_interruption = CreateEventW(NULL, FALSE, FALSE, NULL);
  zb_nt_query_semaphore =
      (zb_query_semaphore)(void (*)(void))GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "NtQuerySemaphore");
  QueryPerformanceFrequency(&ticks_per_second);
  if (error_slot == TLS_OUT_OF_INDEXES || zb_interruption == NULL || zb_nt_query_semaphore == NULL)
    return FALSE;
  SetConsoleCtrlHandler(on_control, TRUE);
  return TRUE;
}

/* ---- codes --------------------------------------------------------------------------------------------------- */

int32_t zb_system_error(void) { return (int32_t)(intptr_t)TlsGetValue(error_slot); }

int32_t zb_code_of_error(DWORD error) {
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
  case ERROR_INVALID_HANDLE: /* an object of another kind has this name */
    return ZB_UNSAFE;
  default:
    return ZB_SYSTEM;
  }
}

int32_t zb_last_code(void) { return zb_code_of_error(GetLastError()); }

/* ---- time ---------------------------------------------------------------------------------------------------- */

int64_t zb_now_ns(void) {
  LARGE_INTEGER ticks;
  QueryPerformanceCounter(&ticks);
  int64_t rate = ticks_per_second.QuadPart;
  return ticks.QuadPart / rate * 1000000000 + ticks.QuadPart % rate * 1000000000 / rate;
}

int64_t zb_now_coarse_ns(void) { return (int64_t)GetTickCount64() * 1000000; }

bool zb_has_other_cpu(uint64_t pid) {
  DWORD_PTR own, other, all;
  /* With more than 64 processors there are several groups. A mask then covers one group, and it is 0 for a process that
   * runs in several groups. So masks cannot be compared, and hardly any process is bound to a single processor. */
  if (GetActiveProcessorGroupCount() > 1) return true;
  if (!GetProcessAffinityMask(GetCurrentProcess(), &own, &all)) return false;
  HANDLE process = pid == 0 ? NULL : OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, (DWORD)pid);
  if (process != NULL) {
    if (GetProcessAffinityMask(process, &other, &all)) own |= other;
    CloseHandle(process);
  }
  return (own & (own - 1)) != 0;
}

bool zb_populate(void *start, size_t length, bool write) {
  (void)start; /* the system has no call for it */
  (void)length;
  (void)write;
  return false;
}

void zb_yield(void) { SwitchToThread(); }

DWORD zb_milliseconds_until(int64_t deadline_ns) {
  int64_t left_ns = deadline_ns - zb_now_ns();
  if (left_ns <= 0) return 0;
  int64_t milliseconds = (left_ns + 999999) / 1000000;
  return milliseconds < INT32_MAX ? (DWORD)milliseconds : INT32_MAX;
}

int32_t zb_sleep(int32_t wait_us) {
  const int64_t end_ns = zb_now_ns() + (int64_t)wait_us * 1000;
  do
    if (zb_ended_by_signal()) return ZB_INTERRUPTED;
  while (WaitForSingleObject(zb_interruption, zb_milliseconds_until(end_ns)) == WAIT_OBJECT_0);
  return ZB_OK;
}

double zb_wall_clock_us(void) {
  /* Tenths of microseconds between 1601 and 1970. */
  const int64_t before_1970 = 116444736000000000;
  FILETIME now;
  GetSystemTimePreciseAsFileTime(&now);
  return (double)((((int64_t)now.dwHighDateTime << 32 | now.dwLowDateTime) - before_1970) / 10);
}

int32_t zb_other_end_closed(int32_t descriptor) {
  (void)descriptor;
  return 0;
}

/* ---- threads ------------------------------------------------------------------------------------------------- */

uintptr_t zb_this_thread(void) { return GetCurrentThreadId(); }

void zb_watch_thread(void) { /* the system tells every library */
}

/* ---- signals ------------------------------------------------------------------------------------------------- */

void zb_signals_open(void) {
  atomic_store_explicit(&zb_signals.listener, zb_this_thread(), memory_order_relaxed);
  atomic_store_explicit(&zb_signals.counted, true, memory_order_relaxed);
}

void zb_signals_watch(void) { /* Ctrl+C ends a program that does not listen to it */
}

/* ---- processes ----------------------------------------------------------------------------------------------- */

double zb_process_start(uint32_t pid) {
  FILETIME created, ended, kernel, user;
  HANDLE process = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION | SYNCHRONIZE, FALSE, pid);
  if (process == NULL) return GetLastError() == ERROR_ACCESS_DENIED ? 0 : -1;
  double start = 0;
  /* A pid stays valid after its process has ended, as long as any process has a handle of it. */
  if (WaitForSingleObject(process, 0) == WAIT_OBJECT_0) {
    start = -1;
  } else if (GetProcessTimes(process, &created, &ended, &kernel, &user)) {
    /* In milliseconds: a double cannot hold the system's unit exactly. */
    start = (double)(((uint64_t)created.dwHighDateTime << 32 | created.dwLowDateTime) / 10000);
  }
  CloseHandle(process);
  return start;
}

/* ---- child processes ----------------------------------------------------------------------------------------- */

#define MOST_LISTED 256
#define MOST_ROUNDS 1000

/* The job that this process is in, and so everything it starts. The handle is closed by the end of this process, which
 * ends the others. */
static HANDLE children;

int32_t zb_children_bind(void) {
  if (children != NULL) return ZB_OK;
  HANDLE job = CreateJobObjectW(NULL, NULL);
  if (job == NULL) return zb_last_code();
  JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {
      .BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
  };
  /* A child could start others before it is in a job; it cannot before it exists. So it inherits ours. */
  if (!SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof limits) ||
      !AssignProcessToJobObject(job, GetCurrentProcess())) {
    int32_t code = zb_last_code();
    CloseHandle(job);
    return code;
  }
  children = job;
  return ZB_OK;
}

/* Its id may already belong to a process outside of the job. */
static bool end_child(DWORD pid) {
  BOOL inside = FALSE;
  HANDLE process = OpenProcess(PROCESS_TERMINATE | PROCESS_QUERY_INFORMATION, FALSE, pid);
  if (process == NULL) return false;
  /* It fails for a process that is ending. */
  bool ended = IsProcessInJob(process, children, &inside) && inside && TerminateProcess(process, 1);
  CloseHandle(process);
  return ended;
}

/* Children may start others while the list is read: repeated until a list has nothing to end. */
void zb_children_end(void) {
  struct {
    JOBOBJECT_BASIC_PROCESS_ID_LIST head;
    ULONG_PTR more[MOST_LISTED];
  } list;
  if (children == NULL) return;
  bool ended = true;
  for (int round = 0; ended && round < MOST_ROUNDS; round++) {
    /* A list that is too long is cut, and the rest comes in the next round. */
    list.head.NumberOfProcessIdsInList = 0;
    QueryInformationJobObject(children, JobObjectBasicProcessIdList, &list, sizeof list, NULL);
    ended = false;
    for (DWORD i = 0; i < list.head.NumberOfProcessIdsInList; i++) {
      DWORD pid = (DWORD)list.head.ProcessIdList[i];
      if (pid != GetCurrentProcessId() && end_child(pid)) ended = true;
    }
  }
}
