/* Windows: lock files. The system removes a file that was opened for that when its last handle is closed. */
#include "win32.h"

#include <stdlib.h>
#include <string.h>

#define WIDE_PATH_CAPACITY 32768 /* the longest path with the prefix for long paths */

struct zb_lock {
  struct zb_resource resource;
  HANDLE file;
  bool removed_with_handle;
  wchar_t path[];
};

/* Makes a lock and converts the path for the system. An absolute path gets the prefix for long paths. */
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

/* ZB_UNSAFE unless it is a plain file with one name: no directory, no link, no device. */
static int32_t check_file(HANDLE file) {
  BY_HANDLE_FILE_INFORMATION status;
  if (GetFileType(file) != FILE_TYPE_DISK) return ZB_UNSAFE;
  if (!GetFileInformationByHandle(file, &status)) return zb_last_code();
  bool odd = (status.dwFileAttributes & (FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT)) != 0;
  return odd || status.nNumberOfLinks > 1 ? ZB_UNSAFE : ZB_OK;
}

/* Opening a file without sharing is the lock: no other process can open, remove or replace it. */
static int32_t open_lock_file(zb_lock *lock, DWORD disposition, DWORD flags) {
  for (int round = 0;; round++) {
    lock->file = CreateFileW(lock->path, GENERIC_READ | GENERIC_WRITE | DELETE, 0, NULL, disposition,
                             FILE_ATTRIBUTE_NORMAL | FILE_FLAG_OPEN_REPARSE_POINT | flags, NULL);
    if (lock->file != INVALID_HANDLE_VALUE) break;
    DWORD error = GetLastError();
    /* The system refuses access for a moment while it removes a file. */
    if (error != ERROR_ACCESS_DENIED || round == 10) return zb_code_of_error(error);
    Sleep(1);
  }
  int32_t code = check_file(lock->file);
  if (code != ZB_OK) CloseHandle(lock->file);
  return code;
}

/* As at the death of a process. */
static void close_resource(struct zb_resource *resource) {
  zb_lock *lock = ZB_RESOURCE_OF(zb_lock, resource);
  zb_lock_close(lock, lock->removed_with_handle);
}

int32_t zb_lock_open(const char *path, int32_t create, zb_lock **result) {
  zb_lock *lock = new_lock(path);
  if (lock == NULL) return ZB_NO_MEMORY;
  /* Check a file that exists before opening it in a way that removes it. */
  int32_t code = open_lock_file(lock, OPEN_EXISTING, 0);
  lock->removed_with_handle = false;
  if (code == ZB_NOT_FOUND && create) {
    code = open_lock_file(lock, CREATE_NEW, FILE_FLAG_DELETE_ON_CLOSE);
    lock->removed_with_handle = true;
    if (code == ZB_EXISTS) code = ZB_LOCKED; /* another process was faster */
  }
  if (code != ZB_OK) {
    free(lock);
    return code;
  }
  zb_resource_add(&lock->resource, close_resource);
  *result = lock;
  return ZB_OK;
}

void zb_lock_close(zb_lock *lock, int32_t remove) {
  FILE_DISPOSITION_INFO disposition = {.DeleteFile = TRUE};
  zb_resource_remove(&lock->resource);
  if (remove && !lock->removed_with_handle)
    SetFileInformationByHandle(lock->file, FileDispositionInfo, &disposition, sizeof disposition);
  CloseHandle(lock->file);
  if (!remove && lock->removed_with_handle) {
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
  int32_t code = file == INVALID_HANDLE_VALUE ? zb_last_code() : check_file(file);
  if (file != INVALID_HANDLE_VALUE) CloseHandle(file);
  free(lock);
  return code == ZB_LOCKED ? 1 : code;
}
