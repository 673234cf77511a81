/* Windows: file mappings and semaphores in the namespace of the session.
 *
 * A name cannot be removed. It exists until the last handle of its object is closed, and means that object until
 * then. */
#include "win32.h"

#include <stdlib.h>
#include <string.h>

/* ---- objects ------------------------------------------------------------------------------------------------- */

static struct zb_object *objects; /* the open objects of this process */
static SRWLOCK objects_lock = SRWLOCK_INIT;

/* Registers an object. It owns the handle and, if there is one, the view. */
static int32_t register_object(HANDLE handle, void *view, size_t length, const char *name,
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
  object->owned = true; /* the namespace belongs to one session */
  for (size_t i = 0; i + 1 < sizeof object->path && name[i] != '\0'; i++) object->path[i] = name[i];
  AcquireSRWLockExclusive(&objects_lock);
  object->next = objects;
  objects = object;
  ReleaseSRWLockExclusive(&objects_lock);
  zb_object_opened(object);
  *result = object;
  return ZB_OK;
}

void zb_object_close_handle(struct zb_object *object) {
  if (object->handle != NULL) CloseHandle(object->handle); /* the name goes with it, a view stays */
  object->handle = NULL;
}

void zb_object_unmap(struct zb_object *object) {
  AcquireSRWLockExclusive(&objects_lock);
  struct zb_object **link = &objects;
  while (*link != object) link = &(*link)->next;
  *link = object->next;
  ReleaseSRWLockExclusive(&objects_lock);
  void *view = zb_object_address(object);
  if (view != NULL) UnmapViewOfFile(view);
  free(object);
}

void zb_object_name(wchar_t wide[ZB_NAME_CAPACITY], const char *prefix, const char *name) {
  size_t length = 0;
  for (; *prefix != '\0'; prefix++) wide[length++] = (wchar_t)*prefix;
  for (; *name != '\0' && length + 1 < ZB_NAME_CAPACITY; name++) wide[length++] = (unsigned char)*name;
  wide[length] = L'\0';
}

/* ---- shared memory ------------------------------------------------------------------------------------------- */

static int32_t map_view(HANDLE mapping, DWORD access, size_t length, const char *name,
                        struct zb_object **object) {
  MEMORY_BASIC_INFORMATION region;
  void *view = MapViewOfFile(mapping, access, 0, 0, length);
  if (view == NULL || VirtualQuery(view, &region, sizeof region) == 0) {
    int32_t code = zb_last_code();
    if (view != NULL) UnmapViewOfFile(view);
    CloseHandle(mapping);
    return code;
  }
  /* Only the creator knows the exact size. For others the size is a multiple of the page size. */
  return register_object(mapping, view, length > 0 ? length : region.RegionSize, name, object);
}

int32_t zb_memory_create(const char *name, uint64_t size, int32_t mode, zb_memory **memory) {
  wchar_t wide[ZB_NAME_CAPACITY];
  (void)mode; /* the namespace belongs to one user */
  if (size > INT64_MAX) return ZB_NO_SPACE;
  zb_object_name(wide, "", name);
  /* SEC_COMMIT: too little memory is an error now, instead of a fault at the first access. */
  HANDLE mapping = CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE | SEC_COMMIT,
                                      (DWORD)(size >> 32), (DWORD)size, wide);
  DWORD error = GetLastError();
  if (mapping == NULL) {
    int32_t code = zb_code_of_error(error);
    /* The system has no room, in memory, in its page file, or at all. */
    if (code == ZB_NO_MEMORY || error == ERROR_INVALID_PARAMETER) return ZB_NO_SPACE;
    return code == ZB_UNSAFE ? ZB_EXISTS : code;
  }
  if (error == ERROR_ALREADY_EXISTS) {
    CloseHandle(mapping);
    return ZB_EXISTS;
  }
  return map_view(mapping, FILE_MAP_READ | FILE_MAP_WRITE, (size_t)size, name, (struct zb_object **)memory);
}

int32_t zb_memory_link(zb_memory *memory) {
  (void)memory; /* it has its name already: the system has no unnamed objects */
  return ZB_OK;
}

int32_t zb_memory_look(const char *name, int32_t writable, zb_memory **memory) {
  wchar_t wide[ZB_NAME_CAPACITY];
  const DWORD access = writable ? FILE_MAP_READ | FILE_MAP_WRITE : FILE_MAP_READ;
  zb_object_name(wide, "", name);
  HANDLE mapping = OpenFileMappingW(access, FALSE, wide);
  if (mapping == NULL) return zb_last_code();
  int32_t code = map_view(mapping, access, 0, name, (struct zb_object **)memory);
  /* A viewer must not keep the name alive. */
  if (code == ZB_OK && !writable) zb_object_close_handle(&(*memory)->object);
  return code;
}

int32_t zb_object_map(struct zb_object *object) {
  (void)object; /* it has been mapped when it was opened */
  return ZB_OK;
}

void zb_object_read(const struct zb_object *object, uint64_t offset, size_t size, void *target) {
  (void)object; /* all memory is mapped */
  (void)offset;
  memset(target, 0, size);
}

int32_t zb_memory_named(zb_memory *memory) {
  zb_memory *there;
  if (memory->object.handle != NULL) return ZB_OK; /* while the handle is open, the name means this memory */
  int32_t code = zb_memory_look(memory->object.path, false, &there);
  if (code != ZB_OK) return code;
  bool same = zb_oieb_agrees(zb_object_address(&memory->object), zb_object_address(&there->object));
  zb_memory_close(there);
  return same ? ZB_OK : ZB_EXISTS;
}

int32_t zb_memory_unlink(zb_memory *memory) {
  (void)memory;
  return ZB_OK;
}

void zb_guard(void) { AcquireSRWLockExclusive(&objects_lock); }

void zb_unguard(void) { ReleaseSRWLockExclusive(&objects_lock); }

struct zb_object *zb_first_object(void) { return objects; }

bool zb_object_is(const struct zb_object *one, const struct zb_object *other) {
  return strcmp(one->path, other->path) == 0;
}

/* ---- semaphores ---------------------------------------------------------------------------------------------- */

static void semaphore_name(wchar_t wide[ZB_NAME_CAPACITY], const char *name, int32_t role) {
  zb_object_name(wide, role == ZB_WRITER ? "sem-w-" : "sem-r-", name);
}

int32_t zb_semaphore_create(const char *name, int32_t role, int32_t mode, zb_semaphore **semaphore) {
  wchar_t wide[ZB_NAME_CAPACITY];
  (void)mode;
  semaphore_name(wide, name, role);
  HANDLE handle = CreateSemaphoreW(NULL, 0, ZB_MOST_TOKENS, wide);
  DWORD error = GetLastError();
  if (handle == NULL) {
    int32_t code = zb_code_of_error(error);
    return code == ZB_UNSAFE ? ZB_EXISTS : code;
  }
  if (error == ERROR_ALREADY_EXISTS) {
    CloseHandle(handle);
    return ZB_EXISTS;
  }
  return register_object(handle, NULL, 0, name, (struct zb_object **)semaphore);
}

static int32_t open_semaphore(const char *name, int32_t role, DWORD access, zb_semaphore **semaphore) {
  wchar_t wide[ZB_NAME_CAPACITY];
  semaphore_name(wide, name, role);
  HANDLE handle = OpenSemaphoreW(access, FALSE, wide);
  if (handle == NULL) return zb_last_code();
  return register_object(handle, NULL, 0, name, (struct zb_object **)semaphore);
}

#define QUERY_SEMAPHORE 0x0001 /* SEMAPHORE_QUERY_STATE, which the headers lack */

int32_t zb_semaphore_open(const char *name, int32_t role, zb_semaphore **semaphore) {
  return open_semaphore(name, role, QUERY_SEMAPHORE | SEMAPHORE_MODIFY_STATE | SYNCHRONIZE, semaphore);
}

int32_t zb_semaphore_view(const char *name, int32_t role, zb_semaphore **semaphore) {
  return open_semaphore(name, role, QUERY_SEMAPHORE, semaphore);
}

void zb_semaphore_close(zb_semaphore *semaphore) { zb_object_close(&semaphore->object); }

int32_t zb_semaphore_unlink(zb_semaphore *semaphore) {
  (void)semaphore;
  return ZB_OK;
}

int32_t zb_semaphore_remove(const char *name, int32_t role) {
  (void)name; /* the system has removed it with its last handle */
  (void)role;
  return ZB_NOT_FOUND;
}
