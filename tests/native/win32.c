/* What the C tests need of Windows, and the cases that only Windows has: two processes, without fork. */
#include "test.h"

#include <stdlib.h>

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

/* ---- the harness ---------------------------------------------------------------------------------------------- */

static char directory[MAX_PATH];
static int as_child(void);
static BOOL WINAPI swallow_control(DWORD kind) { return kind == CTRL_C_EVENT; }

BOOL WINAPI _DllMainCRTStartup(HINSTANCE library, DWORD reason, void *reserved);

static void clean_up(void) {
  WIN32_FIND_DATAA found;
  char path[2 * MAX_PATH];
  snprintf(path, sizeof path, "%s\\*", directory);
  HANDLE search = FindFirstFileA(path, &found);
  if (search == INVALID_HANDLE_VALUE) return;
  do {
    snprintf(path, sizeof path, "%s\\%s", directory, found.cFileName);
    DeleteFileA(path);
  } while (FindNextFileA(search, &found));
  FindClose(search);
  RemoveDirectoryA(directory);
}

void prepare_system(void) {
  /* As the system does when it loads the library, into a program that handles Ctrl+C. */
  CHECK(SetConsoleCtrlHandler(swallow_control, TRUE));
  CHECK(_DllMainCRTStartup(NULL, DLL_PROCESS_ATTACH, NULL));
  if (getenv("ZB_TEST_WORK") != NULL) exit(as_child());
  atexit(clean_up);
}

const char *temporary_path(const char *file) {
  static char path[2 * MAX_PATH];
  if (directory[0] == '\0') {
    char parent[MAX_PATH - 40];
    CHECK(GetTempPathA(sizeof parent, parent) > 0);
    snprintf(directory, sizeof directory, "%s%sfiles", parent, name_prefix);
    CHECK(CreateDirectoryA(directory, NULL));
  }
  snprintf(path, sizeof path, "%s\\%s", directory, file);
  return path;
}

void make_waiters_use_threads(void) { /* They do. */
}

bool waits(zb_semaphore *semaphore, uint32_t count) {
  (void)semaphore;
  if (count > 0) Sleep(2);
  return true;
}

#define MOST_BELLS 1000
static HANDLE bells[MOST_BELLS];

bool rings(int32_t bell, int wait_ms) {
  CHECK(bell < MOST_BELLS);
  char name[64], byte;
  snprintf(name, sizeof name, "\\\\.\\pipe\\zerobuffer-%lu-%d", GetCurrentProcessId(), (int)bell);
  if (bells[bell] == NULL) bells[bell] = CreateFileA(name, GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL);
  CHECK(bells[bell] != INVALID_HANDLE_VALUE);
  for (int64_t end_ns = zb_now_ns() + (int64_t)wait_ms * 1000000;;) {
    DWORD available = 0, size;
    CHECK(PeekNamedPipe(bells[bell], NULL, 0, NULL, &available, NULL));
    if (available > 0) return ReadFile(bells[bell], &byte, 1, &size, NULL);
    if (zb_now_ns() >= end_ns) return false;
    Sleep(0);
  }
}

void close_bell(int32_t bell) {
  char name[64];
  snprintf(name, sizeof name, "\\\\.\\pipe\\zerobuffer-%lu-%d", GetCurrentProcessId(), (int)bell);
  CHECK(CreateFileA(name, GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL) == INVALID_HANDLE_VALUE);
}

/* ---- child processes ------------------------------------------------------------------------------------------ */

/* Starts this program again, to do what the arguments say, or `work` with the name. */
static HANDLE start_process(const char *arguments, const char *work, const char *name) {
  char program[MAX_PATH], command[2 * MAX_PATH];
  STARTUPINFOA startup = {.cb = sizeof startup};
  PROCESS_INFORMATION process;
  CHECK(GetModuleFileNameA(NULL, program, sizeof program) > 0);
  snprintf(command, sizeof command, "\"%s\" %s", program, arguments);
  SetEnvironmentVariableA("ZB_TEST_WORK", work);
  SetEnvironmentVariableA("ZB_TEST_NAME", name);
  CHECK(CreateProcessA(program, command, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &process));
  SetEnvironmentVariableA("ZB_TEST_WORK", NULL);
  CloseHandle(process.hThread);
  return process.hProcess;
}

static DWORD end_of(HANDLE process) {
  DWORD code;
  EQUAL(WaitForSingleObject(process, 60000), WAIT_OBJECT_0);
  CHECK(GetExitCodeProcess(process, &code));
  CloseHandle(process);
  return code;
}

static void kill_process(void *process) {
  CHECK(TerminateProcess(process, 9));
  EQUAL(end_of(process), 9);
}

static int as_child(void) {
  const char *work = getenv("ZB_TEST_WORK"), *name = getenv("ZB_TEST_NAME");
  if (strcmp(work, "lock") == 0) {
    zb_lock *lock;
    OK(zb_lock_open(name, 1, &lock));
    Sleep(INFINITE);
  } else if (strcmp(work, "hold") == 0) {
    zb_memory *memory;
    OK(open_memory(name, &memory));
    OK(zb_oieb_claim(memory, ZB_WRITER, 0, (uint64_t)getpid()));
    Sleep(INFINITE);
  } else if (strcmp(work, "parent that sleeps") == 0) {
    OK(zb_children_bind());
    CloseHandle(start_process("child", "parent that ends", name));
    Sleep(INFINITE);
  } else if (strcmp(work, "parent that ends") == 0) {
    CloseHandle(start_process("child", "lock", name));
  } else if (strcmp(work, "parent that ends its children") == 0) {
    OK(zb_children_bind());
    OK(zb_children_bind());
    for (int round = 0; round < 3; round++) {
      CloseHandle(start_process("child", round == 1 ? "lock" : "parent that ends", name));
      UNTIL(zb_lock_held(name) == 1);
      zb_children_end();
      UNTIL(zb_lock_held(name) == ZB_NOT_FOUND);
    }
    return 7;
  } else {
    return 2;
  }
  return 0;
}

static HANDLE start_writer(struct ring *ring, uint32_t frames) {
  char arguments[128];
  snprintf(arguments, sizeof arguments, "write %s %lu", ring->name, (unsigned long)frames);
  return start_process(arguments, NULL, NULL);
}

/* ---- two processes -------------------------------------------------------------------------------------------- */

TEST(frames_pass_between_two_processes_byte_for_byte) {
  struct ring ring;
  open_ring(&ring, 4096);
  uint32_t frames = long_run(STREAM_FRAMES / 30);
  HANDLE writer = start_writer(&ring, frames);
  read_stream(&ring, frames, 0);
  EQUAL(end_of(writer), 0);
  close_ring(&ring);
}

TEST(a_writer_that_is_killed_at_any_moment_leaves_whole_frames_only) {
  for (int round = 0; round < 5; round++) {
    struct ring ring;
    open_ring(&ring, 1024);
    HANDLE writer = start_writer(&ring, UINT32_MAX);
    read_until_killed(&ring, 200 + (uint64_t)round * 7, kill_process, writer);
    close_ring(&ring);
  }
}

TEST(a_process_that_has_ended_does_not_live_even_if_somebody_has_a_handle_of_it) {
  struct ring ring;
  open_buffer(&ring, 64, 256);
  HANDLE process = start_process("child", "hold", ring.name);
  UNTIL(word(&ring.oieb->writer_pid) != 0);
  uint32_t pid = (uint32_t)word(&ring.oieb->writer_pid);
  EQUAL(pid, GetProcessId(process));
  CHECK(zb_process_start(pid) > 0);
  CHECK(TerminateProcess(process, 9));
  EQUAL(WaitForSingleObject(process, 60000), WAIT_OBJECT_0);
  EQUAL(zb_process_start(pid), -1);
  CloseHandle(process);
  close_ring(&ring);
}

TEST(a_lock_file_goes_with_the_process_that_made_it) {
  zb_lock *lock;
  char path[MAX_PATH];
  snprintf(path, sizeof path, "%s", temporary_path("a.lock"));
  HANDLE process = start_process("child", "lock", path);
  UNTIL(zb_lock_held(path) == 1);
  EQUAL(zb_lock_open(path, 1, &lock), ZB_LOCKED);
  kill_process(process);
  UNTIL(zb_lock_held(path) == ZB_NOT_FOUND);
}

TEST(what_a_process_has_started_ends_when_it_is_killed_even_if_what_started_that_has_ended_before) {
  char path[MAX_PATH];
  snprintf(path, sizeof path, "%s", temporary_path("a.lock"));
  HANDLE process = start_process("child", "parent that sleeps", path);
  UNTIL(zb_lock_held(path) == 1);
  kill_process(process);
  UNTIL(zb_lock_held(path) == ZB_NOT_FOUND);
}

TEST(a_process_ends_all_that_it_has_started_and_goes_on) {
  char path[MAX_PATH];
  snprintf(path, sizeof path, "%s", temporary_path("a.lock"));
  HANDLE bystander = start_process("child", "lock", temporary_path("another.lock"));
  EQUAL(end_of(start_process("child", "parent that ends its children", path)), 7);
  EQUAL(WaitForSingleObject(bystander, 0), WAIT_TIMEOUT);
  kill_process(bystander);
}

TEST(nothing_ends_without_a_process_that_is_bound_to_this_one) {
  HANDLE process = start_process("child", "lock", temporary_path("a.lock"));
  zb_children_end();
  EQUAL(WaitForSingleObject(process, 0), WAIT_TIMEOUT);
  kill_process(process);
}

/* ---- Ctrl+C --------------------------------------------------------------------------------------------------- */

static void *press_control_c_until_done(void *argument) {
  atomic_bool *done = argument;
  while (!atomic_load(done)) {
    CHECK(GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0));
    Sleep(1);
  }
  return NULL;
}

TEST(control_c_ends_a_sleep_and_the_waits_of_a_reader_and_of_a_writer) {
  struct ring ring;
  pthread_t thread;
  atomic_bool done = false;
  zb_signals_open();
  open_ring(&ring, 64);
  OK(write_frame(&ring, 48, 1));
  start_thread(&thread, press_control_c_until_done, &done);
  wait_while_interrupted(&ring);
  atomic_store(&done, true);
  join_thread(thread);
  close_ring(&ring);
}

static uint32_t arrived(void) { return atomic_load(&zb_signals.arrived); }

TEST(control_c_between_two_waits_ends_the_next_one_and_no_other) {
  struct ring ring;
  zb_signals_open();
  for (int32_t mode = ZB_WAIT_ADAPTIVE; mode <= ZB_WAIT_BLOCK; mode++) {
    open_ring(&ring, 64);
    zb_reader_close(ring.reader);
    OK(zb_reader_open(ring.memory, ring.written, ring.released, 1, mode, &ring.reader));
    uint32_t before = arrived();
    CHECK(GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0));
    UNTIL(arrived() != before);
    EQUAL(zb_reader_next(ring.reader, 30000000, 0), ZB_INTERRUPTED);
    int64_t start = zb_now_ns();
    EQUAL(zb_reader_next(ring.reader, 200000, 0), ZB_AGAIN);
    CHECK(elapsed_ms(start) >= 190);
    close_ring(&ring);
  }
}

static void *post_for_ever(void *argument) {
  struct ring *ring = argument;
  for (;;) zb_semaphore_post(ring->released, 1);
}

TEST(a_reader_that_posts_without_end_holds_no_writer_beyond_its_wait) {
  struct ring ring;
  pthread_t thread;
  open_ring(&ring, 64);
  OK(write_frame(&ring, 48, 1));
  start_thread(&thread, post_for_ever, &ring);
  UNTIL(zb_semaphore_value(ring.released) > 100);
  int64_t start = zb_now_ns();
  EQUAL(zb_writer_acquire(ring.writer, 48, 50000), ZB_AGAIN);
  CHECK(elapsed_ms(start) < 3000);
  ExitProcess(0); /* the thread ends with it */
}

/* ---- objects -------------------------------------------------------------------------------------------------- */

TEST(a_name_lasts_as_long_as_anybody_has_its_object_open) {
  zb_memory *first, *second;
  char name[64];
  snprintf(name, sizeof name, "%s", unique_name());
  OK(make_memory(name, 4096, -1, &first));
  OK(open_memory(name, &second));
  OK(zb_memory_unlink(first));
  zb_memory_close(first);
  EQUAL(make_memory(name, 4096, -1, &first), ZB_EXISTS);
  zb_memory_close(second);
  OK(make_memory(name, 4096, -1, &first));
  zb_memory_close(first);
}

TEST(a_name_that_is_used_by_an_object_of_another_kind_is_refused) {
  zb_memory *memory;
  zb_semaphore *semaphore;
  char name[64], prefixed[80];
  snprintf(name, sizeof name, "%s", unique_name());
  snprintf(prefixed, sizeof prefixed, "sem-w-%s", name);
  OK(make_memory(prefixed, 4096, -1, &memory));
  EQUAL(zb_semaphore_create(name, ZB_WRITER, -1, &semaphore), ZB_EXISTS);
  EQUAL(zb_semaphore_open(name, ZB_WRITER, &semaphore), ZB_UNSAFE);
  zb_memory_close(memory);
  OK(zb_semaphore_create(name, ZB_WRITER, -1, &semaphore));
  EQUAL(make_memory(prefixed, 4096, -1, &memory), ZB_EXISTS);
  EQUAL(open_memory(prefixed, &memory), ZB_UNSAFE);
  zb_semaphore_close(semaphore);
}

TEST(a_view_cannot_be_written_shows_what_is_written_and_keeps_no_name) {
  struct ring ring;
  zb_memory *view;
  MEMORY_BASIC_INFORMATION region;
  open_buffer(&ring, 64, 256);
  OK(zb_memory_look(ring.name, false, &view));
  CHECK(VirtualQuery(zb_memory_address(view), &region, sizeof region) > 0);
  EQUAL(region.Protect, PAGE_READONLY);
  ring.payload[5] = 9;
  EQUAL(((const uint8_t *)zb_memory_address(view))[128 + 64 + 5], 9);
  OK(zb_memory_named(view));
  char name[64];
  snprintf(name, sizeof name, "%s", ring.name);
  close_ring(&ring);
  EQUAL(zb_memory_named(view), ZB_NOT_FOUND); /* a view keeps no name */
  zb_memory *next;
  OK(make_memory(name, 4096, -1, &next));
  EQUAL(zb_memory_named(view), ZB_EXISTS);
  zb_memory_close(next);
  zb_memory_close(view);
}

TEST(a_view_of_a_semaphore_tells_its_value_and_takes_nothing) {
  struct ring ring;
  zb_semaphore *view;
  open_buffer(&ring, 64, 256);
  zb_semaphore_post(ring.written, 5);
  OK(zb_semaphore_view(ring.name, ZB_WRITER, &view));
  EQUAL(zb_semaphore_value(view), 5);
  EQUAL(zb_semaphore_value(ring.written), 5);
  zb_semaphore_close(view);
  close_ring(&ring);
}

/* ---- lock files ----------------------------------------------------------------------------------------------- */

TEST(a_lock_path_that_is_a_directory_or_has_two_names_is_refused) {
  zb_lock *lock;
  char path[MAX_PATH], other[MAX_PATH];
  snprintf(path, sizeof path, "%s", temporary_path("a.lock"));
  snprintf(other, sizeof other, "%s", temporary_path("other"));
  CHECK(CreateDirectoryA(path, NULL));
  CHECK(zb_lock_open(path, 1, &lock) < 0);
  CHECK(zb_lock_held(path) < 0);
  CHECK(RemoveDirectoryA(path));
  CloseHandle(CreateFileA(other, GENERIC_WRITE, 0, NULL, CREATE_NEW, 0, NULL));
  CHECK(CreateHardLinkA(path, other, NULL));
  EQUAL(zb_lock_open(path, 1, &lock), ZB_UNSAFE);
  EQUAL(zb_lock_held(path), ZB_UNSAFE);
}

TEST(a_lock_file_that_was_there_before_stays_unless_it_is_to_go) {
  zb_lock *lock;
  char path[MAX_PATH];
  snprintf(path, sizeof path, "%s", temporary_path("a.lock"));
  CloseHandle(CreateFileA(path, GENERIC_WRITE, 0, NULL, CREATE_NEW, 0, NULL));
  OK(zb_lock_open(path, 1, &lock));
  zb_lock_close(lock, 0);
  EQUAL(zb_lock_held(path), 0);
  OK(zb_lock_open(path, 1, &lock));
  zb_lock_close(lock, 1);
  EQUAL(zb_lock_held(path), ZB_NOT_FOUND);
}

TEST(a_lock_path_may_be_long_and_hold_any_character) {
  zb_lock *lock;
  char path[1024], name[300];
  memset(name, 'x', 240);
  snprintf(name + 240, sizeof name - 240, ".lock");
  snprintf(path, sizeof path, "%s", temporary_path("\xC3\xA4\xE2\x82\xAC.lock"));
  OK(zb_lock_open(path, 1, &lock));
  zb_lock_close(lock, 1);
  snprintf(path, sizeof path, "%s", temporary_path(name));
  CHECK(strlen(path) > MAX_PATH);
  OK(zb_lock_open(path, 1, &lock));
  EQUAL(zb_lock_held(path), 1);
  zb_lock_close(lock, 1);
  EQUAL(zb_lock_held(path), ZB_NOT_FOUND);
}
